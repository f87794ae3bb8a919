"""Reads, who has them, and the people who may have them."""

from datetime import date, datetime, time
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, OpaqueId


class Pool(Base):
    """A connected set of readers who may share a case; its row is locked before loads are read."""

    __tablename__ = "pool"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)


class Pathologist(Base):
    """Somebody who may be given reads."""

    __tablename__ = "pathologist"
    __table_args__ = (CheckConstraint("points_a_week > 0", name="capacity"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"))
    pool_id: Mapped[str] = mapped_column(ForeignKey("pool.id"))
    points_a_week: Mapped[float]
    active: Mapped[bool] = mapped_column(default=True)


class Competence(Base):
    """What a pathologist may read: 1 leads in the subspecialty, 2 may read it."""

    __tablename__ = "competence"
    __table_args__ = (UniqueConstraint("pathologist_id", "subspecialty", "valid_from"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    pathologist_id: Mapped[str] = mapped_column(ForeignKey("pathologist.id"))
    subspecialty: Mapped[str] = mapped_column(String(64))
    level: Mapped[int]
    digital: Mapped[bool] = mapped_column(default=True)
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]


class ReadingSession(Base):
    """Weekly hours in the civil time of the pathologist's site; Monday is 0."""

    __tablename__ = "reading_session"
    __table_args__ = (
        UniqueConstraint("pathologist_id", "weekday", "starts"),
        CheckConstraint("weekday BETWEEN 0 AND 6", name="weekday"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    pathologist_id: Mapped[str] = mapped_column(ForeignKey("pathologist.id"))
    weekday: Mapped[int]
    starts: Mapped[time]
    ends: Mapped[time]


class Leave(Base):
    """Days on which a pathologist reads nothing, both ends included."""

    __tablename__ = "leave"
    __table_args__ = (UniqueConstraint("pathologist_id", "first_day"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    pathologist_id: Mapped[str] = mapped_column(ForeignKey("pathologist.id"))
    first_day: Mapped[date]
    last_day: Mapped[date]


class Read(Base):
    """Case, round, scope and role: what is assigned."""

    __tablename__ = "read"
    __table_args__ = (
        UniqueConstraint("case_id", "round", "scope", "role"),
        CheckConstraint("role IN ('primary', 'second', 'trainee', 'opinion', 'intra-operative', 'mdt')", name="role"),
    )

    id: Mapped[str] = mapped_column(OpaqueId, primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("case.id"), index=True)
    round: Mapped[int]
    scope: Mapped[str] = mapped_column(String(200), default="whole")
    role: Mapped[str] = mapped_column(String(16))
    supervisor_id: Mapped[str | None] = mapped_column(ForeignKey("pathologist.id"))
    points: Mapped[float]
    created_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class Assignment(Base):
    """Who owns a read, from when to when, and why: never two open ones for a read."""

    __tablename__ = "assignment"
    __table_args__ = (
        Index(
            "uq_assignment_open",
            "read_id",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index("ix_assignment_pathologist_open", "pathologist_id", "ended_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    read_id: Mapped[str] = mapped_column(ForeignKey("read.id"))
    pathologist_id: Mapped[str] = mapped_column(ForeignKey("pathologist.id"))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    decided_by: Mapped[str] = mapped_column(String(200))
    explanation: Mapped[dict[str, Any]]
