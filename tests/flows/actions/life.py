"""What happens in a small laboratory while people act, and what can be seen of it afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from connectors.slides.bounded import DEFAULT_LIMITS, Limits
from connectors.wiring import Lab
from flows import ledger
from flows.actions import Person, slide_named
from flows.journey import STAGES
from flows.ledger import Claim, Wanted
from flows.step import End
from models.errors import RejectedError
from models.tables.books import Alert, OutboxMessage
from models.tables.case import Case
from models.tables.scan import Instance, Scan
from models.tables.step import Step
from tests.small_lab import (
    PLACE,
    SmallDecoder,
    SmallSlide,
    begin_worker,
    message_arrives,
    order,
    run_until_calm,
    scan_arrives,
)

ANN = Person("Ann Example", "looked at the glass")
ONE, TWO = "26B0001-A1-1", "26B0001-A1-2"
NOBODY = "00000000-0000-8000-8000-000000000000"
NOW = datetime(2026, 11, 23, tzinfo=UTC)


@dataclass
class FailsAtFirst:
    """A decoder that has trouble with the first so many jobs of a name."""

    job: str
    times: int = 1
    inner: SmallDecoder = field(default_factory=SmallDecoder)

    def run(self, job: str, arguments: Mapping[str, Any], limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
        if job.endswith(self.job) and self.times > 0:
            self.times -= 1
            raise RejectedError("this file can't be read")
        return self.inner.run(job, arguments, limits)


def ordered(lab: Lab, *names: str) -> None:
    message_arrives(lab, order("26B0001", *(names or (ONE,)), stain="HE"))
    run_until_calm(lab)


def scanned(lab: Lab, *codes: str, **shows: Any) -> str:  # noqa: ANN401 - any field of SmallSlide
    scan_id = scan_arrives(lab, SmallSlide(codes=codes, **shows))
    run_until_calm(lab)
    return scan_id


def row(lab: Lab, scan_id: str) -> Scan:
    with lab.database.read() as session:
        return session.get_one(Scan, scan_id)


def standing(lab: Lab, scan_id: str) -> tuple[str, str, str, str, int]:
    """Return quality, identity, storage, outcome and edition."""
    scan = row(lab, scan_id)
    return scan.quality, scan.identity, scan.storage, scan.outcome, scan.edition


def slide_of(lab: Lab, name: str) -> str:
    with lab.database.read() as session:
        return slide_named(session, name)


def case_of(lab: Lab) -> Case:
    with lab.database.read() as session:
        return session.scalars(select(Case)).one()


def waits(lab: Lab) -> set[tuple[str, str | None]]:
    with lab.database.read() as session:
        rows = session.execute(select(Step.kind, Step.waiting_for).where(Step.state == "waiting"))
        return {(kind, waiting_for) for kind, waiting_for in rows}


def told(lab: Lab) -> list[str]:
    """Return what the LIMS was told, in order, without ids."""
    with lab.database.read() as session:
        keys = session.scalars(select(OutboxMessage.event_key).order_by(OutboxMessage.stated_at))
        return [key.split(":")[0] for key in keys]


def offered(lab: Lab, scan_id: str) -> dict[int, int]:
    """Return how many objects of a scan the archive offers, by edition."""
    with lab.database.read() as session:
        rows = session.scalars(select(Instance).where(Instance.scan_id == scan_id)).all()
    found: dict[int, int] = {}
    for one in rows:
        listed = lab.archive.listed(one.study_instance_uid, one.series_instance_uid)
        found[one.edition] = found.get(one.edition, 0) + (one.sop_instance_uid in listed)
    return found


def open_alerts(lab: Lab) -> list[str]:
    with lab.database.read() as session:
        return list(session.scalars(select(Alert.kind).where(Alert.cleared_at.is_(None)).order_by(Alert.id)))


def claim(lab: Lab, kind: str) -> Claim:
    """Claim the next step of a kind, as a worker does that then takes its time."""
    stage = next(stage for stage in STAGES if kind in stage.kinds)
    limits = {"slotted": stage.slotted, "ordered": stage.ordered}
    wanted = Wanted(stage.name, (kind,), 1, stage.deadline, places=("", PLACE), **limits)
    worker_id = begin_worker(lab)
    with lab.database.write("test") as session:
        (claimed,) = ledger.claim(session, worker_id, wanted)
    return claimed


def finish(lab: Lab, end: End) -> None:
    with lab.database.write("test") as session:
        end(session)
