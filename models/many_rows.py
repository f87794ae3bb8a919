"""Hundreds of rows by one call of the driver: what SQLAlchemy works out for each row is worked out once here.

For each value of each row SQLAlchemy looks up its parameter, its default and how it is written, which costs more than
SQLite needs to keep the row. This is for the rooms where rows come by the hundred (decision 0011).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeAlias

from sqlalchemy import Dialect, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from models.database import PlainWrite

_Write: TypeAlias = tuple[str, Callable[[Any], Any]]
"""A column, and what turns a value of it into the driver's."""


# SQLAlchemy reads the count of an INSERT only when it is asked to.
_COUNTED = {"preserve_rowcount": True}


@dataclass(frozen=True)
class _Prepared:
    """A statement in the driver's words, with what becomes of a row on its way there."""

    statement: str
    defaults: Mapping[str, Any]
    writes: Sequence[_Write]
    parameters: Callable[[Mapping[str, Any]], Any]


def insert_many(
    session: Session | PlainWrite, table: Table, alike: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> int:
    """Insert rows in this order, passing over those that are there by some unique constraint; return how many are new.

    Parameters
    ----------
    alike
        What the rows have in common; a row that says otherwise is right.
    rows
        What each row has of its own; all of them name the same columns.
    """
    if not rows:
        return 0
    own = tuple(rows[0])
    prepared = _prepared(table, session.get_bind().dialect, frozenset(alike).union(own))
    common = {**prepared.defaults, **alike}
    _write(common, [one for one in prepared.writes if one[0] not in own])
    writes = [one for one in prepared.writes if one[0] in own]
    every = [prepared.parameters(_write({**common, **row}, writes)) for row in rows]
    if isinstance(session, PlainWrite):
        return session.run_for_each(prepared.statement, every)
    written = session.connection().exec_driver_sql(prepared.statement, every, execution_options=_COUNTED)
    return written.rowcount


def _write(values: dict[str, Any], writes: Sequence[_Write]) -> dict[str, Any]:
    """Turn these columns' values into the driver's."""
    for name, write in writes:
        values[name] = write(values[name])
    return values


@lru_cache(maxsize=64)
def _prepared(table: Table, dialect: Dialect, stated: frozenset[str]) -> _Prepared:
    # A default that is a function would be another one for each row: no table has one.
    defaults = {
        one.name: one.default.arg for one in table.columns if isinstance(one.default, ScalarElementColumnDefault)
    }
    named = stated.union(defaults)
    writes = tuple(
        (column.name, write)
        for column in table.columns
        if column.name in named and (write := column.type.dialect_impl(dialect).bind_processor(dialect)) is not None
    )
    made = sqlite.insert(table) if dialect.name == "sqlite" else postgresql.insert(table)
    compiled = made.on_conflict_do_nothing().inline().compile(dialect=dialect, column_keys=sorted(named))
    # SQLite's driver takes them by place, psycopg by name.
    by_place = compiled.positiontup
    return _Prepared(str(compiled), defaults, writes, itemgetter(*by_place) if by_place else dict)
