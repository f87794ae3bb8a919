"""What every table shares: names of constraints, times that know their zone, JSON."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, MetaData, String, Table
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """An instant in UTC; a naive ``datetime`` is refused, since nobody can say when it was."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware time into what the database stores; raise ``ValueError`` for a naive one."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = "a time without a zone can't be stored: give it its site's zone"
            raise ValueError(message)
        utc = value.astimezone(UTC)
        # SQLite has no time type: stored as text without offset, so that text order is time order.
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - the base class's signature
        """Give a stored time its zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def table_of(entity: "type[Base]") -> Table:
    """Return an entity's plain table: statements on it pass by the ORM, which costs more than SQLite itself."""
    table = entity.__table__
    assert isinstance(table, Table)  # noqa: S101 - SQLAlchemy types it as any FromClause; an entity has a table
    return table


# An opaque id: a UUID in its 36-character form, the same text in logs, pages, JSON and the database.
OpaqueId = String(36)
Digest = String(64)
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class Base(DeclarativeBase):
    """The root of every table; names of constraints are the same on each database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: Json, list[Any]: Json}  # noqa: RUF012 - SQLAlchemy reads a plain class attribute
