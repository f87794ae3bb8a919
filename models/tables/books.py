"""The books: what came in, what it said, what went out, what changed, what needs attention."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Digest, OpaqueId


class InboxMessage(Base):
    """Bytes as they came in, committed before anybody was told that we have them.

    What came by an event log has the ``event_id`` that its sender gave it, unless another event of the same peer had
    it before, and its ``origin`` there. With ``quarantined_at`` it was set aside only until its peer's storm is over;
    with ``replaced_by_id`` for good, since a person had another message applied in its place.
    """

    __tablename__ = "inbox"
    __table_args__ = (
        UniqueConstraint("peer", "sha256"),
        CheckConstraint("state IN ('kept', 'applied', 'set aside')", name="state"),
        Index("ix_inbox_control", "peer", "message_control_id"),
        Index("ix_inbox_state", "state", "received_at"),
        Index(
            "uq_inbox_event",
            *("event_id", "peer"),
            unique=True,
            sqlite_where=text("event_id IS NOT NULL"),
            postgresql_where=text("event_id IS NOT NULL"),
        ),
        Index(
            "ix_inbox_quarantined",
            *("peer", "received_at"),
            sqlite_where=text("quarantined_at IS NOT NULL"),
            postgresql_where=text("quarantined_at IS NOT NULL"),
        ),
        Index(
            "ix_inbox_replaced",
            "replaced_by_id",
            sqlite_where=text("replaced_by_id IS NOT NULL"),
            postgresql_where=text("replaced_by_id IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(OpaqueId, primary_key=True)
    source: Mapped[str] = mapped_column(String(16))
    peer: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(Digest)
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    message_control_id: Mapped[str | None] = mapped_column(String(200))
    message_type: Mapped[str | None] = mapped_column(String(64))
    answer: Mapped[bytes | None] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(String(16), default="kept")
    problem: Mapped[str | None] = mapped_column(Text)
    received_at: Mapped[datetime]
    event_id: Mapped[str | None] = mapped_column(String(200))
    origin: Mapped[dict[str, Any] | None]
    quarantined_at: Mapped[datetime | None]
    replaced_by_id: Mapped[str | None] = mapped_column(OpaqueId)


class Fact(Base):
    """One thing that a message or a person said about a patient, a case or a scan; never changed, never deleted."""

    __tablename__ = "fact"
    __table_args__ = (UniqueConstraint("subject_id", "digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    subject_kind: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(OpaqueId)
    kind: Mapped[str] = mapped_column(String(32))
    effective_at: Mapped[datetime]
    # MSH-13 has up to fifteen digits; an INTEGER of SQLite holds as many as it must.
    sequence_number: Mapped[int | None] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"))
    rank: Mapped[int] = mapped_column(default=0)
    digest: Mapped[str] = mapped_column(Digest)
    body: Mapped[dict[str, Any]]
    received_at: Mapped[datetime]
    inbox_id: Mapped[str | None] = mapped_column(ForeignKey("inbox.id"))
    actor: Mapped[str | None] = mapped_column(String(200))
    reason: Mapped[str | None] = mapped_column(Text)


class OutboxMessage(Base):
    """What we tell a peer: its values are fixed with the change they tell of, its bytes before the first try."""

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("peer", "event_key"),
        UniqueConstraint("peer", "message_control_id"),
        CheckConstraint("state IN ('pending', 'answered', 'refused')", name="state"),
        CheckConstraint("state = 'pending' OR payload IS NOT NULL", name="answered_was_frozen"),
    )

    id: Mapped[str] = mapped_column(OpaqueId, primary_key=True)
    peer: Mapped[str] = mapped_column(String(64))
    event_key: Mapped[str] = mapped_column(String(128))
    subject_kind: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(OpaqueId, index=True)
    announcement: Mapped[dict[str, Any]]
    message_control_id: Mapped[str] = mapped_column(String(20))
    stated_at: Mapped[datetime]
    payload: Mapped[bytes | None] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(String(16), default="pending")
    tries: Mapped[int] = mapped_column(default=0)
    answered_at: Mapped[datetime | None]
    answer_code: Mapped[str | None] = mapped_column(String(8))
    answer: Mapped[bytes | None] = mapped_column(LargeBinary)


class History(Base):
    """One change: what of which subject, from what to what, why and by whom. Append-only by trigger."""

    __tablename__ = "history"
    __table_args__ = (Index("ix_history_subject", "subject_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    subject_kind: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(OpaqueId)
    what: Mapped[str] = mapped_column(String(32))
    before: Mapped[str | None] = mapped_column(Text)
    after: Mapped[str | None] = mapped_column(Text)
    cause: Mapped[str] = mapped_column(String(200))
    actor: Mapped[str | None] = mapped_column(String(200))
    reason: Mapped[str | None] = mapped_column(Text)


class Alert(Base):
    """Something that people must see: raised once, cleared once."""

    __tablename__ = "alert"
    __table_args__ = (
        Index(
            "uq_alert_open",
            "subject_id",
            "kind",
            unique=True,
            sqlite_where=text("cleared_at IS NULL"),
            postgresql_where=text("cleared_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    subject_kind: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(OpaqueId)
    kind: Mapped[str] = mapped_column(String(64))
    sentence: Mapped[str] = mapped_column(Text)
    raised_at: Mapped[datetime]
    cleared_at: Mapped[datetime | None]
