"""What the doors of the event log keep: how far each partition was read, parts, storms, and what scanners say."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Digest, OpaqueId


class ConsumerPosition(Base):
    """How far a partition of an event log was read into the inbox: it only ever moves forward.

    A topic that is deleted and made again has another ``topic_id``, and a position of its own.
    """

    __tablename__ = "consumer_position"

    cluster_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    topic: Mapped[str] = mapped_column(String(249), primary_key=True)
    topic_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    partition: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(BigInteger)
    changed_at: Mapped[datetime]


class Consumer(Base):
    """A process that reads an event log; alive as long as its heartbeat is fresh by the database's clock."""

    __tablename__ = "consumer"

    id: Mapped[str] = mapped_column(OpaqueId, primary_key=True)
    host: Mapped[str] = mapped_column(String(200))
    pid: Mapped[int]
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    partitions: Mapped[int] = mapped_column(default=0)
    lag: Mapped[int] = mapped_column(BigInteger, default=0)
    away_since: Mapped[datetime | None]
    away_because: Mapped[str | None] = mapped_column(Text)
    ended_at: Mapped[datetime | None]


class MessagePart(Base):
    """One part of a message that was too large for one record; its parts go when the inbox has the whole.

    ``sha256`` and ``whole_bytes`` are the whole's.
    """

    __tablename__ = "message_part"

    peer: Mapped[str] = mapped_column(String(64), primary_key=True)
    sha256: Mapped[str] = mapped_column(Digest, primary_key=True)
    parts: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    whole_bytes: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    origin: Mapped[dict[str, Any] | None]
    received_at: Mapped[datetime] = mapped_column(index=True)


class Circuit(Base):
    """What stands between us and a peer whose messages can't be acted on, one after the other.

    While ``opened_at`` is set, what comes from the peer is quarantined, and one message is tried at ``try_at``.
    ``holding`` says that messages may still be quarantined, which are let out when it is closed.
    """

    __tablename__ = "circuit"

    peer: Mapped[str] = mapped_column(String(64), primary_key=True)
    in_a_row: Mapped[int] = mapped_column(default=0)
    holding: Mapped[bool] = mapped_column(default=False)
    opened_at: Mapped[datetime | None]
    try_at: Mapped[datetime | None]


class ScannerStanding(Base):
    """How a scanner last said it was: what it said later counts, whenever it comes in."""

    __tablename__ = "scanner_standing"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    site_id: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(32))
    said: Mapped[dict[str, Any] | None]
    stated_at: Mapped[datetime]
    heard_at: Mapped[datetime]
