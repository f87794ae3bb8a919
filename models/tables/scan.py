"""Scans, the files that scanners wrote, and the DICOM objects made of them."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Digest, OpaqueId


class Scan(Base):
    """One scan of one slide = one DICOM series per edition."""

    __tablename__ = "scan"
    __table_args__ = (
        CheckConstraint("quality IN ('pending', 'pass', 'review', 'rescan', 'cannot judge')", name="quality"),
        CheckConstraint("identity IN ('pending', 'matched', 'unmatched')", name="identity"),
        CheckConstraint("storage IN ('received', 'stored', 'proven', 'purged')", name="storage"),
        CheckConstraint("outcome IN ('active', 'set aside', 'superseded', 'cancelled', 'withdrawn')", name="outcome"),
        CheckConstraint("purpose IN ('primary', 'replacement')", name="purpose"),
        CheckConstraint("(identity = 'matched') = (slide_id IS NOT NULL)", name="matched_has_a_slide"),
        CheckConstraint("(slide_id IS NULL) = (case_id IS NULL)", name="slide_has_a_case"),
        CheckConstraint("storage = 'received' OR slide_id IS NOT NULL", name="stored_is_matched"),
        Index("ix_scan_site_outcome", "site_id", "outcome", "storage"),
    )

    id: Mapped[str] = mapped_column(OpaqueId, primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"))
    scanner: Mapped[str] = mapped_column(String(64))
    slide_id: Mapped[str | None] = mapped_column(ForeignKey("slide.id"), index=True)
    case_id: Mapped[str | None] = mapped_column(ForeignKey("case.id"), index=True)
    purpose: Mapped[str] = mapped_column(String(32), default="primary")
    edition: Mapped[int] = mapped_column(default=1)
    quality: Mapped[str] = mapped_column(String(16), default="pending")
    quality_by_person: Mapped[bool] = mapped_column(default=False)
    identity: Mapped[str] = mapped_column(String(16), default="pending")
    storage: Mapped[str] = mapped_column(String(16), default="received")
    outcome: Mapped[str] = mapped_column(String(16), default="active")
    reason: Mapped[str | None] = mapped_column(Text)
    received_at: Mapped[datetime]
    scanned_at: Mapped[datetime | None]
    superseded_by_id: Mapped[str | None] = mapped_column(ForeignKey("scan.id"))
    traceparent: Mapped[str] = mapped_column(String(64), default="")


class ScanFile(Base):
    """One file that a scanner wrote, known from its first sight.

    ``root`` is a configured scanner's name, ``relative_path`` what it wrote below its folder; neither is ever
    used as a name of ours: the spool holds the bytes under the row's id.
    """

    __tablename__ = "scan_file"
    __table_args__ = (
        CheckConstraint("state IN ('arriving', 'taken', 'duplicate', 'refused')", name="state"),
        CheckConstraint("state <> 'taken' OR sha256 IS NOT NULL", name="taken_is_hashed"),
        Index(
            "uq_scan_file_arriving",
            "root",
            "relative_path",
            unique=True,
            sqlite_where=text("state = 'arriving'"),
            postgresql_where=text("state = 'arriving'"),
        ),
        UniqueConstraint("root", "relative_path", "bytes", "modified_ns"),
    )

    id: Mapped[str] = mapped_column(OpaqueId, primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"))
    root: Mapped[str] = mapped_column(String(64))
    relative_path: Mapped[str] = mapped_column(String(1024))
    bytes: Mapped[int] = mapped_column(BigInteger)
    modified_ns: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16))
    problem: Mapped[str | None] = mapped_column(Text)
    first_seen_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    taken_at: Mapped[datetime | None]
    sha256: Mapped[str | None] = mapped_column(Digest, index=True)
    place: Mapped[str | None] = mapped_column(String(64))
    scan_id: Mapped[str | None] = mapped_column(OpaqueId, index=True)


class Instance(Base):
    """One DICOM object of one edition of a scan; its digest is on record before a byte of it leaves."""

    __tablename__ = "instance"
    __table_args__ = (
        UniqueConstraint("scan_id", "edition", "role"),
        UniqueConstraint("sop_instance_uid"),
        CheckConstraint("state IN ('converted', 'stored', 'proven', 'rejected')", name="state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    scan_id: Mapped[str] = mapped_column(ForeignKey("scan.id"))
    edition: Mapped[int]
    role: Mapped[str] = mapped_column(String(32))
    study_instance_uid: Mapped[str] = mapped_column(String(64))
    series_instance_uid: Mapped[str] = mapped_column(String(64))
    sop_instance_uid: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(Digest)
    bytes: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16), default="converted")
