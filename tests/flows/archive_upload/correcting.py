"""What the tests of corrections share: a case that turns out to be another patient's, again and again."""

import random
from collections.abc import Iterable
from itertools import count
from typing import Final

from sqlalchemy import select

from connectors.wiring import Lab
from flows import ledger
from flows.journey import ARCHIVE_UPLOAD, STAGES
from flows.step import End
from flows.steps import STEPS
from models.facets import Outcome, Storage
from models.tables.scan import Instance
from models.tables.step import Step
from tests.flows.looking import A, archived_names_the_patient, the_case, the_scan
from tests.small_lab import PLACE, SmallDecoder, SmallSlide, begin_worker, message_arrives, order, run_until_calm
from tests.small_lab import scan_arrives as arrives

FIRST, OTHER, THIRD = "A100234", "B7", "C9"
"""Medical record numbers; the first is that of every order that says no other."""

SHARP: Final = SmallSlide(codes=(A,))
REJECTED: Final = {"rejected"}
PROVEN: Final = {"proven"}
MADE: Final = {"converted"}
BEFORE_ARCHIVE: Final = [stage for stage in STAGES if stage.name != ARCHIVE_UPLOAD]
_numbers = count(2)


def archived(lab: Lab) -> str:
    """Have one slide ordered, scanned and archived; return its scan."""
    scan_id = matched(lab)
    run_until_calm(lab)
    return scan_id


def matched(lab: Lab) -> str:
    """Have one slide ordered, scanned, judged and matched, but nothing archived; return its scan."""
    message_arrives(lab, order("26H1", A))
    scan_id = arrives(lab, SHARP)
    run_until_calm(lab, BEFORE_ARCHIVE)
    return scan_id


def becomes(lab: Lab, *patients: str, again: int = 1) -> None:
    """Have the case's patient be another, by one message after the other; no step of the archive runs meanwhile."""
    for patient in patients:
        number = next(_numbers)
        for copy in range(again):
            sent_at = f"20250102{number // 3600:02}{number // 60 % 60:02}{number % 60:02}+0000"
            payload = order("26H1", control="XO", patient=patient, sent_at=sent_at, control_id=f"M{number}-{copy}")
            message_arrives(lab, payload)
    run_until_calm(lab, BEFORE_ARCHIVE)


def claimed(lab: Lab, kind: str) -> ledger.Claim:
    """Claim the step of a kind that is ready, as a worker of its own."""
    found = claimed_if_free(lab, kind)
    assert found, f"no step {kind} is ready"
    return found


def claimed_if_free(lab: Lab, kind: str) -> ledger.Claim | None:
    """As ``claimed``; nothing when no step of the kind is ready, or no slot of its kind is free."""
    worker_id = begin_worker(lab)
    deadline = next(stage.deadline for stage in STAGES if stage.name == ARCHIVE_UPLOAD)
    wanted = ledger.Wanted(ARCHIVE_UPLOAD, (kind,), 1, deadline, places=("", PLACE), slotted=True)
    with lab.database.write("claim") as session:
        found = ledger.claim(session, worker_id, wanted)
    return next(iter(found), None)


def worked(lab: Lab, claim: ledger.Claim) -> End:
    """Do a step's work, without writing its end."""
    return STEPS[claim.kind](lab, claim)


def ended(lab: Lab, end: End) -> None:
    """Write a step's end."""
    with lab.database.write("end") as session:
        end(session)


def done(lab: Lab, *kinds: str) -> None:
    """Do these steps, one after the other."""
    for kind in kinds:
        ended(lab, worked(lab, claimed(lab, kind)))


def editions(lab: Lab) -> dict[int, set[str]]:
    """Return what became of the objects of each edition."""
    found: dict[int, set[str]] = {}
    with lab.database.read() as session:
        for edition, state in session.execute(select(Instance.edition, Instance.state).order_by(Instance.id)):
            found.setdefault(edition, set()).add(state)
    return found


def corrections(lab: Lab) -> list[str]:
    """Return how each correction ended."""
    with lab.database.read() as session:
        return list(session.scalars(select(Step.state).where(Step.kind == "correct").order_by(Step.id)))


def jobs(lab: Lab) -> list[str]:
    """Return what decoding children were asked to do to make objects, in order."""
    assert isinstance(lab.decoder, SmallDecoder)
    return [job.rpartition(":")[2] for job in lab.decoder.asked if job.endswith((":convert", ":correct"))]


def some_of(chance: random.Random, kinds: Iterable[str], lab: Lab) -> list[str]:
    """Return those of these kinds of which a step is ready, in some order."""
    with lab.database.read() as session:
        ready = session.scalars(select(Step.kind).where(Step.state == "ready", Step.kind.in_(list(kinds))).distinct())
        found = sorted(ready)
    chance.shuffle(found)
    return found


def the_end_is_right(lab: Lab, patient: str) -> None:
    """One scan, archived under the patient that its case has, and everything else hidden."""
    assert the_case(lab).patient_id == lab.ids.of("patient", "NET", patient)
    assert (the_scan(lab).outcome, the_scan(lab).storage) == (Outcome.ACTIVE, Storage.PROVEN)
    archived_names_the_patient(lab)
    assert editions(lab)[the_scan(lab).edition] == PROVEN
    with lab.database.read() as session:
        open_steps = session.scalars(select(Step.kind).where(Step.state.in_(("ready", "running", "waiting")))).all()
    assert open_steps == []
