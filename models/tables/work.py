"""Work that the laboratory is asked for: another scan, another cut, another stain."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, OpaqueId


class WorkOrder(Base):
    """One request for work (DPOW LAB-102), as its facts have it.

    ``number`` is ours, and stands in for ``filler_number`` until the laboratory gives one. What was made of it is
    known by its container before the laboratory registers it.
    """

    __tablename__ = "work_order"
    __table_args__ = (
        CheckConstraint("kind IN ('rescan', 'recut', 'stain', 'new block', 're-coverslip')", name="kind"),
        CheckConstraint("subject_kind IN ('slide', 'block')", name="subject_kind"),
        CheckConstraint("state IN ('asked', 'accepted', 'refused', 'fulfilled', 'cancelled')", name="state"),
    )

    id: Mapped[str] = mapped_column(OpaqueId, primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("case.id"), index=True)
    number: Mapped[str] = mapped_column(String(20), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    subject_kind: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(OpaqueId, index=True)
    stain: Mapped[str] = mapped_column(String(200), default="")
    asked_by: Mapped[str] = mapped_column(String(200))
    because: Mapped[str] = mapped_column(Text)
    asked_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16))
    filler_number: Mapped[str | None] = mapped_column(String(200))
    refusal: Mapped[str | None] = mapped_column(Text)
    made_container: Mapped[str | None] = mapped_column(String(200))
    made_issuer: Mapped[str | None] = mapped_column(String(200))
