"""Sites: where slides are cut, scanned and read."""

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Site(Base):
    """One hospital laboratory; its zone gives HL7 and DICOM times without offset their meaning.

    ``calendar`` names the public holidays that it keeps (``Holiday``); without one it has none.
    """

    __tablename__ = "site"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    zone: Mapped[str] = mapped_column(String(64))
    network_id: Mapped[str | None] = mapped_column(ForeignKey("network.id"))
    calendar: Mapped[str | None] = mapped_column(String(64))
