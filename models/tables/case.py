"""Patients, cases and what hangs below a case: specimens, blocks, slides."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Digest, OpaqueId


class Patient(Base):
    """One patient as their identifiers say; two rows are never merged by a likeness.

    ``merged_into_id`` is whom a message last said that they are; both rows stay, and the alias is resolved on reading.
    """

    __tablename__ = "patient"

    id: Mapped[str] = mapped_column(OpaqueId, primary_key=True)
    family_name: Mapped[str | None] = mapped_column(String(200))
    given_name: Mapped[str | None] = mapped_column(String(200))
    birth_date: Mapped[date | None]
    sex: Mapped[str | None] = mapped_column(String(16))
    nhs_number_status: Mapped[str] = mapped_column(String(32), default="")
    merged_into_id: Mapped[str | None] = mapped_column(OpaqueId, index=True)


class Identifier(Base):
    """A number that somebody gave to something: any subject has none, one or many."""

    __tablename__ = "identifier"
    __table_args__ = (
        UniqueConstraint("subject_id", "kind", "issuer", "value"),
        Index("ix_identifier_lookup", "kind", "value", "issuer"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    subject_kind: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(OpaqueId)
    kind: Mapped[str] = mapped_column(String(32))
    issuer: Mapped[str] = mapped_column(String(200))
    value: Mapped[str] = mapped_column(String(200))
    valid_from: Mapped[datetime | None]
    valid_to: Mapped[datetime | None]


class Case(Base):
    """One laboratory request. Its row is the lock for everything below it.

    ``patient_id`` is the patient that stays when merges and moves are followed from ``named_patient_id``, whom its
    orders name. ``reader_stated`` is who reads it as others say. A round is closed when ``round_closed_at`` is set;
    ``round_opened_at`` is when we heard of what opened it, and empty for the first.
    ``due_at`` is the earliest of its deadlines that live, ``due_kind`` names that one. ``released_how`` says who let it
    be read before all of it was there and proven: ``a person``, the ``policy``, or its ``lane``.
    ``stated_points`` is what the LIMS says that the case weighs.
    """

    __tablename__ = "case"
    __table_args__ = (
        CheckConstraint("images IN ('awaiting', 'incomplete', 'ready')", name="images"),
        CheckConstraint("reading IN ('none', 'unassigned', 'assigned')", name="reading"),
        CheckConstraint(
            "report IN ('none', 'preliminary', 'final', 'supplementary', 'corrected', 'cancelled')", name="report"
        ),
        CheckConstraint("images <> 'ready' OR expected_closed_at IS NOT NULL OR released", name="ready_is_closed"),
        Index("ix_case_site_images", "site_id", "images"),
    )

    id: Mapped[str] = mapped_column(OpaqueId, primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"))
    patient_id: Mapped[str | None] = mapped_column(ForeignKey("patient.id"), index=True)
    named_patient_id: Mapped[str | None] = mapped_column(OpaqueId, index=True)
    subspecialty: Mapped[str | None] = mapped_column(String(64))
    study_instance_uid: Mapped[str | None] = mapped_column(String(64))
    lane: Mapped[int] = mapped_column(default=2)
    due_at: Mapped[datetime | None]
    due_kind: Mapped[str | None] = mapped_column(String(64))
    cancelled: Mapped[bool] = mapped_column(default=False)
    released: Mapped[bool] = mapped_column(default=False)
    released_how: Mapped[str | None] = mapped_column(String(32))
    images: Mapped[str] = mapped_column(String(16), default="awaiting")
    reading: Mapped[str] = mapped_column(String(16), default="none")
    report: Mapped[str] = mapped_column(String(16), default="none")
    round: Mapped[int] = mapped_column(default=1)
    round_opened_at: Mapped[datetime | None]
    round_closed_at: Mapped[datetime | None]
    reader_stated: Mapped[dict[str, Any] | None]
    stated_points: Mapped[float | None]
    registered_at: Mapped[datetime]
    orders_changed_at: Mapped[datetime]
    expected_closed_at: Mapped[datetime | None]
    completeness_version: Mapped[int] = mapped_column(default=0)
    identity_digest: Mapped[str] = mapped_column(Digest, default="")


class CaseSite(Base):
    """A site's part in a case: requesting, accessioning, scanning or reading."""

    __tablename__ = "case_site"

    case_id: Mapped[str] = mapped_column(ForeignKey("case.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String(16), primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"), primary_key=True)


class CaseVisit(Base):
    """A visit that a case was requested in (PV1-19): when it moves to another patient, the case does."""

    __tablename__ = "case_visit"

    case_id: Mapped[str] = mapped_column(ForeignKey("case.id"), primary_key=True)
    visit_id: Mapped[str] = mapped_column(OpaqueId, primary_key=True, index=True)


class CasePatient(Base):
    """A patient whom the move of a case's visit speaks of: when they are merged, the case is looked at again."""

    __tablename__ = "case_patient"

    case_id: Mapped[str] = mapped_column(ForeignKey("case.id"), primary_key=True)
    patient_id: Mapped[str] = mapped_column(OpaqueId, primary_key=True, index=True)


class Specimen(Base):
    """Tissue as received, in its container (SPM, SAC).

    ``subspecialty`` is its own, where its order states one. ``reported`` says that a final result of the case's present
    round covers it.
    """

    __tablename__ = "specimen"
    __table_args__ = (UniqueConstraint("issuer", "container_identifier"),)

    id: Mapped[str] = mapped_column(OpaqueId, primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("case.id"), index=True)
    container_identifier: Mapped[str] = mapped_column(String(200))
    issuer: Mapped[str] = mapped_column(String(200))
    specimen_type: Mapped[dict[str, Any] | None]
    anatomic_site: Mapped[dict[str, Any] | None]
    laterality: Mapped[dict[str, Any] | None]
    subspecialty: Mapped[str | None] = mapped_column(String(64))
    received_at: Mapped[datetime | None]
    cancelled: Mapped[bool] = mapped_column(default=False)
    reported: Mapped[bool] = mapped_column(default=False, server_default=false())


class Block(Base):
    """A cassette of embedded tissue."""

    __tablename__ = "block"
    __table_args__ = (UniqueConstraint("issuer", "container_identifier"),)

    id: Mapped[str] = mapped_column(OpaqueId, primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("case.id"), index=True)
    container_identifier: Mapped[str] = mapped_column(String(200))
    issuer: Mapped[str] = mapped_column(String(200))
    cancelled: Mapped[bool] = mapped_column(default=False)


class Slide(Base):
    """One piece of glass, as the LIMS registered it.

    ``images_elsewhere`` is what an image manager last said, if it did: it has images of the slide, or none are left.
    ``readable_at`` is since when its case's readers can look at it, while they can.
    """

    __tablename__ = "slide"
    __table_args__ = (
        UniqueConstraint("issuer", "container_identifier"),
        CheckConstraint("route IN ('scan', 'glass only')", name="route"),
    )

    id: Mapped[str] = mapped_column(OpaqueId, primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("case.id"), index=True)
    container_identifier: Mapped[str] = mapped_column(String(200), index=True)
    issuer: Mapped[str] = mapped_column(String(200))
    stains: Mapped[list[Any]] = mapped_column(default=list)
    stain_text: Mapped[str | None] = mapped_column(String(200))
    route: Mapped[str] = mapped_column(String(16), default="scan")
    cancelled: Mapped[bool] = mapped_column(default=False)
    preferred_scan_id: Mapped[str | None] = mapped_column(
        ForeignKey("scan.id", use_alter=True, name="fk_slide_preferred_scan_id")
    )
    images_elsewhere: Mapped[bool | None]
    elsewhere_study_uid: Mapped[str | None] = mapped_column(String(64))
    elsewhere_series_uid: Mapped[str | None] = mapped_column(String(64))
    elsewhere_at: Mapped[datetime | None]
    readable_at: Mapped[datetime | None]


class Derivation(Base):
    """Where a block or slide was taken from: none, one or several parents (SPM-3)."""

    __tablename__ = "derivation"

    child_id: Mapped[str] = mapped_column(OpaqueId, primary_key=True)
    parent_id: Mapped[str] = mapped_column(OpaqueId, primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("case.id"), index=True)
