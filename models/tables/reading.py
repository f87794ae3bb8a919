"""Reads, who has them, and the people who may have them."""

from datetime import date, datetime, time
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, false, text, true
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Digest, OpaqueId


class Network(Base):
    """Sites under one management; those of one region share readers where a subspecialty says so."""

    __tablename__ = "network"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    region: Mapped[str] = mapped_column(String(64))


class NetworkAid(Base):
    """An agreement: people of the aiding network may read the other one's cases."""

    __tablename__ = "network_aid"

    network_id: Mapped[str] = mapped_column(ForeignKey("network.id"), primary_key=True)
    aiding_id: Mapped[str] = mapped_column(ForeignKey("network.id"), primary_key=True)


class Pool(Base):
    """The readers of one network, or of all sites without one; its row is locked before their loads are read.

    Whoever needs several locks them in the order of their ids, and after the row of the case.
    """

    __tablename__ = "pool"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)


class Pathologist(Base):
    """Somebody who may be given reads.

    ``points_a_week`` is what they report in a usual week of theirs; ``max_points`` the most that may lie open with
    them, if there is such a maximum. ``known_as`` is what the LIMS and the PACS call them, the first being what we tell
    them; without any, it is the id. ``source`` tells who says all this: the settings, or an import.
    """

    __tablename__ = "pathologist"
    __table_args__ = (CheckConstraint("points_a_week > 0", name="capacity"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"))
    pool_id: Mapped[str] = mapped_column(ForeignKey("pool.id"))
    points_a_week: Mapped[float]
    active: Mapped[bool] = mapped_column(default=True)
    fte: Mapped[float] = mapped_column(default=1.0, server_default="1")
    max_points: Mapped[float | None]
    known_as: Mapped[list[Any] | None]
    source: Mapped[str] = mapped_column(String(16), default="settings", server_default="settings")


class Competence(Base):
    """What a pathologist may read: 1 leads in the subspecialty, 2 may read it, 3 reads ahead of a supervisor."""

    __tablename__ = "competence"
    __table_args__ = (UniqueConstraint("pathologist_id", "subspecialty", "valid_from"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    pathologist_id: Mapped[str] = mapped_column(ForeignKey("pathologist.id"))
    subspecialty: Mapped[str] = mapped_column(String(64))
    level: Mapped[int]
    digital: Mapped[bool] = mapped_column(default=True)
    glass: Mapped[bool] = mapped_column(default=True, server_default=true())
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
    kind: Mapped[str] = mapped_column(String(16), default="leave", server_default="leave")


class ReadingConflict(Base):
    """Somebody who may not read a case, or any case of a patient."""

    __tablename__ = "reading_conflict"
    __table_args__ = (
        UniqueConstraint("pathologist_id", "subject_id"),
        CheckConstraint("subject_kind IN ('case', 'patient')", name="subject_kind"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    pathologist_id: Mapped[str] = mapped_column(ForeignKey("pathologist.id"))
    subject_kind: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(OpaqueId, index=True)
    because: Mapped[str] = mapped_column(Text)


class PolicyVersion(Base):
    """One version of the laboratory's policy (``models.policy``); the highest that has begun is in force."""

    __tablename__ = "policy_version"

    version: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(Digest)
    body: Mapped[dict[str, Any]]
    begins_at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(200))
    because: Mapped[str] = mapped_column(Text)


class Read(Base):
    """Case, round, scope and role: what is assigned.

    ``scope`` is ``whole``, or ``part 1`` and so on of a case that was split, whose specimens ``ReadSpecimen`` names;
    ``opinion 1`` and so on number several reads of one role. ``weights`` names the model that made the points.
    ``subspecialty`` is what its reader needs, where that is not the case's own. ``asked_by`` and ``because`` say who
    wanted a read that does not come by itself.
    """

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
    subspecialty: Mapped[str | None] = mapped_column(String(64))
    supervisor_id: Mapped[str | None] = mapped_column(ForeignKey("pathologist.id"))
    points: Mapped[float]
    weights: Mapped[str] = mapped_column(String(64), default="weights/1", server_default="weights/1")
    asked_by: Mapped[str | None] = mapped_column(String(200))
    because: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class ReadSpecimen(Base):
    """A specimen that a read covers; one that names none covers all of its case."""

    __tablename__ = "read_specimen"

    read_id: Mapped[str] = mapped_column(ForeignKey("read.id"), primary_key=True)
    specimen_id: Mapped[str] = mapped_column(ForeignKey("specimen.id"), primary_key=True)


class Assignment(Base):
    """Who owns a read, from when to when, and why: never two open ones for a read.

    ``manual`` is an override by a person: no machine undoes it. ``ended_because`` says why somebody has it no more.
    """

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
        Index("ix_assignment_read", "read_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    read_id: Mapped[str] = mapped_column(ForeignKey("read.id"))
    pathologist_id: Mapped[str] = mapped_column(ForeignKey("pathologist.id"))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    decided_by: Mapped[str] = mapped_column(String(200))
    explanation: Mapped[dict[str, Any]]
    policy_version: Mapped[int | None]
    manual: Mapped[bool] = mapped_column(default=False, server_default=false())
    accepted_at: Mapped[datetime | None]
    opened_at: Mapped[datetime | None]
    ended_because: Mapped[str | None] = mapped_column(String(200))


class Declined(Base):
    """Somebody gave a read back and said why: it does not come to them again."""

    __tablename__ = "declined"
    __table_args__ = (UniqueConstraint("read_id", "pathologist_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    read_id: Mapped[str] = mapped_column(ForeignKey("read.id"))
    pathologist_id: Mapped[str] = mapped_column(ForeignKey("pathologist.id"))
    at: Mapped[datetime]
    because: Mapped[str] = mapped_column(Text)


class Notice(Base):
    """What a pathologist is told of their reads: given, taken away, a late slide, an absence; seen when they say so."""

    __tablename__ = "notice"
    __table_args__ = (Index("ix_notice_unseen", "pathologist_id", "seen_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    pathologist_id: Mapped[str] = mapped_column(ForeignKey("pathologist.id"))
    case_id: Mapped[str] = mapped_column(ForeignKey("case.id"), index=True)
    read_id: Mapped[str | None] = mapped_column(ForeignKey("read.id"))
    kind: Mapped[str] = mapped_column(String(32))
    sentence: Mapped[str] = mapped_column(Text)
    made_at: Mapped[datetime]
    seen_at: Mapped[datetime | None]


class Credit(Base):
    """Points that somebody has reported: once for each read that a report closed.

    ``forecast`` is what the read weighed when it was assigned. ``points`` is corrected once at most, when more is
    known; no case moves for it.
    """

    __tablename__ = "credit"
    __table_args__ = (Index("ix_credit_person", "pathologist_id", "credited_at"),)

    read_id: Mapped[str] = mapped_column(ForeignKey("read.id"), primary_key=True)
    pathologist_id: Mapped[str] = mapped_column(ForeignKey("pathologist.id"))
    forecast: Mapped[float]
    points: Mapped[float]
    weights: Mapped[str] = mapped_column(String(64))
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"))
    subspecialty: Mapped[str] = mapped_column(String(64))
    lane: Mapped[int]
    credited_at: Mapped[datetime]
    corrected_at: Mapped[datetime | None]


class Rebalance(Base):
    """One look of the batch at the unopened reads: why, how many there were and moved, and J before and after."""

    __tablename__ = "rebalance"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    why: Mapped[str] = mapped_column(String(200))
    policy_version: Mapped[int | None]
    reads: Mapped[int]
    moved: Mapped[int]
    held_back: Mapped[int]
    outcome: Mapped[dict[str, Any]]
