"""The one queue: steps, the workers who hold them, and the slots that limit them."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, OpaqueId

_READY = text("state = 'ready'")
_WAITING = text("state = 'waiting'")
_RUNNING = text("state = 'running'")
_UNTOLD = text("state = 'set aside' AND NOT alerted")
_OPEN = text("state IN ('ready', 'running', 'waiting')")


class Step(Base):
    """One thing to do to one subject, once per generation.

    ``attempt`` counts every claim and is the token that a finish must still hold; ``lost`` counts the claims
    in a row that never ended; ``tries`` the times in a row that a neighbour was not ready.
    ``expired`` says that the last wait ended by its time and not by what was waited for.
    """

    __tablename__ = "step"
    __table_args__ = (
        UniqueConstraint("subject_id", "kind", "generation"),
        CheckConstraint(
            "state IN ('ready', 'running', 'waiting', 'done', 'set aside', 'superseded', 'cancelled')", name="state"
        ),
        CheckConstraint("(state = 'running') = (worker_id IS NOT NULL)", name="running_has_a_worker"),
        CheckConstraint("(state = 'waiting') = (waiting_for IS NOT NULL)", name="waiting_says_for_what"),
        CheckConstraint("state <> 'waiting' OR waiting_until IS NOT NULL", name="waiting_ends"),
        Index(
            "ix_step_claim",
            *("stage", "slot", "lane", "rank_at", "id"),
            sqlite_where=_READY,
            postgresql_where=_READY,
        ),
        Index("ix_step_until", "waiting_until", sqlite_where=_WAITING, postgresql_where=_WAITING),
        Index("ix_step_waiting", "waiting_for", "waiting_key", sqlite_where=_WAITING, postgresql_where=_WAITING),
        Index("ix_step_worker", "worker_id", sqlite_where=_RUNNING, postgresql_where=_RUNNING),
        Index("ix_step_untold", "id", sqlite_where=_UNTOLD, postgresql_where=_UNTOLD),
        Index("ix_step_order", "order_key", "id", sqlite_where=_OPEN, postgresql_where=_OPEN),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    stage: Mapped[str] = mapped_column(String(32))
    subject_kind: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(OpaqueId)
    generation: Mapped[int] = mapped_column(default=1)
    edition: Mapped[int] = mapped_column(default=1)
    state: Mapped[str] = mapped_column(String(16), default="ready")
    lane: Mapped[int] = mapped_column(default=2)
    rank_at: Mapped[datetime]
    place: Mapped[str] = mapped_column(String(64), default="")
    slot: Mapped[str] = mapped_column(String(64), default="")
    order_key: Mapped[str | None] = mapped_column(String(128))
    attempt: Mapped[int] = mapped_column(default=0)
    lost: Mapped[int] = mapped_column(default=0)
    worker_id: Mapped[str | None] = mapped_column(OpaqueId)
    deadline_at: Mapped[datetime | None]
    waiting_for: Mapped[str | None] = mapped_column(String(64))
    waiting_key: Mapped[str | None] = mapped_column(String(400))
    waiting_since: Mapped[datetime | None]
    waiting_until: Mapped[datetime | None]
    waiting_then: Mapped[str | None] = mapped_column(String(200))
    expired: Mapped[bool] = mapped_column(default=False)
    alerted: Mapped[bool] = mapped_column(default=False)
    tries: Mapped[int] = mapped_column(default=0)
    input_version: Mapped[str] = mapped_column(String(64), default="")
    code_version: Mapped[str] = mapped_column(String(32), default="")
    result: Mapped[dict[str, Any] | None]
    problem: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Worker(Base):
    """A process that claims steps; alive as long as its heartbeat is fresh by the database's clock."""

    __tablename__ = "worker"

    id: Mapped[str] = mapped_column(OpaqueId, primary_key=True)
    host: Mapped[str] = mapped_column(String(200))
    pid: Mapped[int]
    engine: Mapped[str] = mapped_column(String(200), default="")
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Slot(Base):
    """One place in a limit, such as "one message in flight to this LIMS": taken in the claim itself.

    A name that begins with @ is a spool's, which no step takes: ``paused_until`` says until when a worker serves it.
    """

    __tablename__ = "slot"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    step_id: Mapped[int | None] = mapped_column(ForeignKey("step.id"), index=True)
    paused_until: Mapped[datetime | None]
    paused_because: Mapped[str | None] = mapped_column(Text)
    silent_since: Mapped[datetime | None]
