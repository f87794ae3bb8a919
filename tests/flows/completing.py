"""A laboratory whose cases wait for slides: its policy, its clock, its archive's proofs, and what its readers heard."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select, update

from connectors.archive.protocol import Archive
from connectors.wiring import Lab
from flows.actions import Desk, Person
from models.database import database_now
from models.errors import TransientError
from models.policy import Policy
from models.tables.books import Alert
from models.tables.case import Slide
from models.tables.reading import Notice, PolicyVersion
from tests.flows.looking import LONG_AGO, time_passes
from tests.small_lab import SmallSlide, run_until_calm, scan_arrives

ANN = Person("Ann Example", "looked at the glass")


@dataclass
class ProvesLater:
    """An archive that keeps everything, and is away, or has lost it all, when it is asked for a proof."""

    inner: Archive
    away: bool = True
    lost: bool = False

    def listed(self, study_instance_uid: str, series_instance_uid: str) -> frozenset[str]:
        """Answer as it is set."""
        if self.away:
            raise TransientError("the archive does not answer")
        return frozenset() if self.lost else self.inner.listed(study_instance_uid, series_instance_uid)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else an archive does
        return getattr(self.inner, name)


def desk(lab: Lab) -> Desk:
    return Desk(lab.database, lab.settings, lab.ids)


def under(lab: Lab, **rules: Any) -> int:  # noqa: ANN401 - any rule of a policy
    """Put a policy in force; return its version."""
    with lab.database.write("policy") as session:
        version = (session.scalar(select(func.max(PolicyVersion.version))) or 0) + 1
        now = database_now(session)
        body = Policy.model_validate(rules, strict=False).model_dump(mode="json")
        session.add(
            PolicyVersion(version=version, digest="", body=body, begins_at=now, by="Ann Example", because="a test")
        )
    return version


def archived(lab: Lab, *identifiers: str) -> None:
    """Have these slides scanned, and everything done that follows."""
    for identifier in identifiers:
        scan_arrives(lab, SmallSlide(codes=(identifier,)))
    run_until_calm(lab)


def days_pass(lab: Lab) -> None:
    """Have what can be read by now have been so for long, and let the wait for the rest come to its end."""
    with lab.database.write("days pass") as session:
        session.execute(update(Slide).where(Slide.readable_at.is_not(None)).values(readable_at=LONG_AGO))
    time_passes(lab, "hold")
    run_until_calm(lab, patience=timedelta(0))


def heard(lab: Lab, *kinds: str) -> list[tuple[str, str]]:
    """Return what readers were told: whom, and in which words."""
    wanted = select(Notice.pathologist_id, Notice.sentence).where(Notice.kind.in_(kinds)).order_by(Notice.id)
    with lab.database.read() as session:
        return [(reader, sentence) for reader, sentence in session.execute(wanted)]


def open_alert(lab: Lab, kind: str) -> Alert:
    """Return the one open alert of a kind."""
    with lab.database.read() as session:
        return session.scalars(select(Alert).where(Alert.kind == kind, Alert.cleared_at.is_(None))).one()
