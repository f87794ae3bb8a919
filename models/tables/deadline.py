"""By when a case has to be read, and what stops the clock."""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, OpaqueId

_OPEN = text("ended_at IS NULL")


class Holiday(Base):
    """A day on which nobody works, in one calendar (``Site.calendar``)."""

    __tablename__ = "holiday"

    calendar: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))


class Deadline(Base):
    """One moment by which a round of a case must be reported; of those that live, the earliest rules.

    ``kind`` is a name of the policy's targets, or ``ordered`` for what the LIMS itself asked for; ``source`` says where
    it comes from. ``due_at`` takes pauses into account. ``predicted_at`` is when a breach was foreseen, ``breached_at``
    when it came.
    """

    __tablename__ = "deadline"
    __table_args__ = (
        UniqueConstraint("case_id", "round", "kind"),
        CheckConstraint("basis IN ('calendar', 'working', 'moment')", name="basis"),
        Index("ix_deadline_live", "due_at", "id", sqlite_where=_OPEN, postgresql_where=_OPEN),
    )

    id: Mapped[str] = mapped_column(OpaqueId, primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("case.id"), index=True)
    round: Mapped[int]
    kind: Mapped[str] = mapped_column(String(64))
    source: Mapped[str] = mapped_column(String(200))
    basis: Mapped[str] = mapped_column(String(16))
    starts_at: Mapped[datetime]
    due_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    predicted_at: Mapped[datetime | None]
    breached_at: Mapped[datetime | None]


class DeadlinePause(Base):
    """A time in which a case's clock stood still, open while ``ended_at`` is missing."""

    __tablename__ = "deadline_pause"
    __table_args__ = (
        Index("ix_deadline_pause_case", "case_id", "began_at"),
        Index("uq_deadline_pause_open", "case_id", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("case.id"))
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    by: Mapped[str] = mapped_column(String(200))
    because: Mapped[str] = mapped_column(Text)
