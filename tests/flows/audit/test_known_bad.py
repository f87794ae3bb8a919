"""Every check is shown to catch what it is for: each test breaks real books in one way and sees it said."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from models.base import Base
from models.tables.books import Alert, Fact, History, InboxMessage, OutboxMessage
from models.tables.case import Case, CaseVisit, Derivation, Identifier, Patient, Slide, Specimen
from models.tables.deadline import Deadline
from models.tables.reading import Assignment, Credit, Read, ReadSpecimen
from models.tables.scan import Instance, Scan, ScanFile
from models.tables.step import Slot, Step, Worker
from models.tables.work import WorkOrder
from tests.flows.audit.story import breaches

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
NOBODY = str(uuid.UUID(int=1))

Break = Callable[[Session], None]


def changed(table: type[Base], which: Any, **values: Any) -> Break:  # noqa: ANN401 - SQLAlchemy's conditions and values
    """Return what changes the first row that meets a condition, behind everybody's back."""
    key = table.__table__.c.id

    def break_books(session: Session) -> None:
        first = session.scalars(select(key).where(which).order_by(key).limit(1)).one()
        session.execute(update(table).where(key == first).values(**values))

    return break_books


def gone(table: type[Base], which: Any) -> Break:  # noqa: ANN401 - SQLAlchemy's conditions
    """Return what deletes the rows that meet a condition."""

    def break_books(session: Session) -> None:
        assert session.execute(delete(table).where(which)).rowcount  # type: ignore[attr-defined] # a DELETE gives a CursorResult

    return break_books


def added(table: type[Base], values: Callable[[Session], dict[str, Any]]) -> Break:
    """Return what adds a row that nobody had a reason to add."""

    def break_books(session: Session) -> None:
        session.execute(insert(table).values(**values(session)))

    return break_books


def nothing_is_registered_of_a_file(session: Session) -> None:
    waiting = session.scalars(select(Scan.id).where(Scan.identity == "unmatched", Scan.outcome == "active")).first()
    session.execute(update(ScanFile).where(ScanFile.scan_id == waiting).values(scan_id=None))


def a_scan_vanished(session: Session) -> None:
    waiting = session.scalars(select(Scan.id).where(Scan.edition == 1, Scan.identity == "unmatched")).first()
    session.execute(delete(Scan).where(Scan.id == waiting))


def two_owners(session: Session) -> dict[str, Any]:
    first = session.scalars(select(Assignment).order_by(Assignment.id)).first()
    assert first is not None
    times = {"started_at": first.started_at - timedelta(hours=1), "ended_at": first.started_at + timedelta(seconds=1)}
    return {"read_id": first.read_id, "pathologist_id": "tom", "decided_by": "a bug", "explanation": {}, **times}


def a_message_overtook_another(session: Session) -> None:
    key = session.scalars(
        select(Step.order_key).where(Step.kind == "send").group_by(Step.order_key).having(func.count() > 1)
    ).first()
    last = session.scalars(select(Step.subject_id).where(Step.order_key == key).order_by(Step.id.desc())).first()
    session.execute(update(OutboxMessage).where(OutboxMessage.id == last).values(answered_at=LONG_AGO))


def a_worker_died(session: Session) -> None:
    session.execute(update(Worker).values(heartbeat_at=LONG_AGO, ended_at=None))
    worker = session.scalars(select(Worker.id)).first()
    held = session.scalars(select(Step.id).where(Step.state == "done")).first()
    session.execute(update(Step).where(Step.id == held).values(state="running", worker_id=worker))


def a_slot_leaked(session: Session) -> None:
    done = session.scalars(select(Step.id).where(Step.kind == "store", Step.state == "done")).first()
    session.execute(update(Slot).where(Slot.name == "archive", Slot.number == 1).values(step_id=done))


def nobody_was_told(session: Session) -> None:
    step = session.scalars(select(Step).where(Step.subject_kind == "scan", Step.state == "set aside")).first()
    assert step is not None
    step.ended_at = LONG_AGO
    session.execute(delete(Alert).where(Alert.subject_id == step.subject_id))


def an_owner_left(session: Session) -> None:
    session.execute(update(Assignment).values(ended_at=Assignment.started_at))


def a_patient_without_an_identifier(session: Session) -> None:
    session.execute(delete(Identifier).where(Identifier.subject_kind == "patient"))


def word(kind: str, body: dict[str, Any], actor: str | None) -> Callable[[Session], dict[str, Any]]:
    """Return the row of a fact about the oldest scan."""

    def values(session: Session) -> dict[str, Any]:
        scan = session.scalars(select(Scan.id).where(Scan.storage == "proven").order_by(Scan.id)).first()
        told = {"kind": kind, "body": body, "actor": actor, "reason": "because" if actor else None}
        at = {"effective_at": LONG_AGO, "received_at": LONG_AGO, "rank": 0, "digest": "0" * 64}
        return {"subject_kind": "scan", "subject_id": scan, **told, **at}

    return values


def of_nobody(kind: str) -> Callable[[Session], dict[str, Any]]:
    """Return the row of a fact about something that is not there."""
    at = {"effective_at": LONG_AGO, "received_at": LONG_AGO, "rank": 0, "digest": "0" * 64}
    return lambda _session: {"subject_kind": kind, "subject_id": NOBODY, "kind": "Any", "body": {}, **at}


def of_a_visit(session: Session) -> dict[str, Any]:
    return {"case_id": session.scalars(select(Case.id)).first(), "visit_id": NOBODY}


def of_no_fact(session: Session) -> dict[str, Any]:
    work = {"number": "W1", "kind": "recut", "subject_kind": "slide", "subject_id": NOBODY, "state": "asked"}
    case_id = session.scalars(select(Case.id)).first()
    return {"id": NOBODY, "case_id": case_id, **work, "asked_by": "Ann", "because": "x", "asked_at": LONG_AGO}


def nameless_reason(_session: Session) -> dict[str, Any]:
    return {
        "at": LONG_AGO,
        "subject_kind": "scan",
        "subject_id": NOBODY,
        "what": "outcome",
        "cause": "match",
        "actor": "Ann Example",
        "reason": " ",
    }


PROVEN = Scan.storage == "proven"


def a_specimen(session: Session, case_id: str) -> str:
    made = {"id": str(uuid.uuid4()), "case_id": case_id, "issuer": "NET", "container_identifier": str(uuid.uuid4())}
    session.execute(insert(Specimen).values(**made))
    return made["id"]


def parts_that_overlap(session: Session) -> None:
    """Two parts of a case have its specimen, beside the read of all of it."""
    case_id = session.scalars(select(Case.id).where(READY_CASE)).first() or NOBODY
    specimen_id = a_specimen(session, case_id)
    for number in (1, 2):
        read = {"id": str(uuid.UUID(int=number)), "case_id": case_id, "round": 1, "scope": f"part {number}"}
        session.execute(insert(Read).values(**read, role="primary", points=1, created_at=LONG_AGO))
        session.execute(insert(ReadSpecimen).values(read_id=read["id"], specimen_id=specimen_id))


def a_part_lost_its_specimen(session: Session) -> None:
    """A case is divided, and one of its specimens is in no part."""
    read = session.scalars(select(Read).where(Read.closed_at.is_(None))).first()
    assert read is not None
    covered, _left_out = (a_specimen(session, read.case_id) for _ in range(2))
    session.execute(insert(ReadSpecimen).values(read_id=read.id, specimen_id=covered))


def for_an_open_read(session: Session) -> dict[str, Any]:
    given = session.scalars(select(Assignment).where(Assignment.ended_at.is_(None))).first()
    assert given is not None
    points = {"forecast": 1, "points": 1, "weights": "weights/1", "subspecialty": "general", "lane": 2}
    who = {"read_id": given.read_id, "pathologist_id": given.pathologist_id, "site_id": "site-a"}
    return {**who, **points, "credited_at": LONG_AGO}


ANSWERED = OutboxMessage.state == "answered"
READY_CASE = Case.images == "ready"

#    check            how the books are broken                                             what is said of it
KNOWN_BAD: list[tuple[str, Break, str]] = [
    ("scans", a_scan_vanished, "site site-a received 12 scans, and 11 stand somewhere"),
    ("scans", a_scan_vanished, "names a scan that its site does not have"),
    ("scans", nothing_is_registered_of_a_file, "neither a scan nor a message that waits tells of it"),
    ("scans", changed(ScanFile, ScanFile.state == "taken", state="refused"), "has no file that was taken"),
    ("scans", changed(ScanFile, ScanFile.state == "taken", site_id="site-b"), "site site-b received 1 scans, and 0"),
    ("inbox", changed(InboxMessage, InboxMessage.state == "applied", state="kept"), "no step will apply it"),
    ("inbox", changed(InboxMessage, InboxMessage.state == "set aside", state="applied"), "no step applied it"),
    ("inbox", changed(InboxMessage, InboxMessage.state == "applied", state="set aside"), "no step set it aside"),
    ("inbox", changed(InboxMessage, InboxMessage.state == "set aside", quarantined_at=LONG_AGO), "and there is none"),
    ("archive", changed(Instance, Instance.state == "proven", sop_instance_uid="1.2.3"), "which the books do not know"),
    ("archive", changed(Instance, Instance.state == "proven", sop_instance_uid="1.2.3"), "does not offer object 1.2.3"),
    ("archive", changed(Instance, Instance.state == "proven", state="rejected"), "still offers object"),
    ("archive", changed(Instance, Instance.state == "rejected", state="proven"), "which counts as proven"),
    ("archive", changed(Instance, Instance.state == "proven", sha256="0" * 64), "gives back other bytes"),
    (
        "archive",
        changed(Instance, Instance.state == "proven", series_instance_uid="1.2.3"),
        "in another study or series",
    ),
    ("owners", added(Assignment, two_owners), "had two owners at the same time"),
    ("owners", added(Assignment, two_owners), "stands in no history"),
    ("owners", changed(Assignment, Assignment.ended_at.is_(None), ended_at=LONG_AGO), "ended before it began"),
    ("outbox", changed(OutboxMessage, ANSWERED, state="pending"), "no step will send it"),
    ("outbox", changed(OutboxMessage, ANSWERED, state="refused"), "no step waits for a person's decision"),
    ("outbox", changed(Step, Step.kind == "send", kind="sent"), "counts as answered, and no step sent it"),
    ("outbox", a_message_overtook_another, "was answered before message"),
    ("outbox", gone(OutboxMessage, OutboxMessage.event_key.startswith("archived:")), "is archived, and no message"),
    ("outbox", gone(OutboxMessage, OutboxMessage.event_key.startswith("assigned:")), "was made, and no message tells"),
    ("time", a_worker_died, "runs on a worker that is silent or has ended"),
    (
        "time",
        changed(Step, Step.state == "waiting", waiting_until=LONG_AGO),
        "waits past its time, and nobody was told",
    ),
    ("time", a_slot_leaked, "slot archive 1 is held by step"),
    ("time", nobody_was_told, "was set aside, and nobody was told"),
    ("waiting", gone(Step, Step.waiting_for == "a person"), "is active and not archived, and no step of it is open"),
    (
        "waiting",
        changed(Case, Case.id.in_(select(Scan.case_id).where(PROVEN)), identity_digest=""),
        "is archived under another patient or case than its own",
    ),
    ("waiting", gone(Step, Step.waiting_for == "a rescan"), "has neither a scan nor a wait for one"),
    ("waiting", gone(Step, Step.waiting_for == "a rescan"), "is active and not archived, and no step of it is open"),
    ("waiting", gone(Step, Step.waiting_for == "the scanner"), "has neither a scan nor a wait for one"),
    ("waiting", changed(Case, Case.images == "incomplete", expected_closed_at=None), "nothing waits to close it"),
    ("waiting", changed(Case, READY_CASE, round=2), "can be read, and has no read"),
    ("waiting", an_owner_left, "has no owner, and no step looks for one"),
    ("spool", changed(ScanFile, ScanFile.state == "taken", bytes=1), "in the spool, and 1 in the books"),
    ("spool", changed(ScanFile, ScanFile.state == "taken", sha256="0" * 64), "has other bytes in the spool"),
    ("spool", changed(ScanFile, ScanFile.state == "taken", id=NOBODY), f"lost file {NOBODY}"),
    ("spool", changed(ScanFile, ScanFile.state == "taken", id=NOBODY), "which no row explains"),
    ("scan facts", changed(Scan, PROVEN, purpose="replacement"), "is not what its facts say: purpose"),
    ("scan facts", changed(Scan, PROVEN, edition=7), "is not what its facts say: edition"),
    ("scan facts", changed(Scan, Scan.outcome == "set aside", outcome="active"), "is not what its facts say: outcome"),
    ("scan facts", changed(Scan, PROVEN, scanner="another"), "is not the one that was received"),
    ("scan facts", a_scan_vanished, "has facts and no row"),
    (
        "scan facts",
        added(Fact, word("QualityReviewed", {"quality": "rescan"}, "Ann")),
        "say: quality, quality_by_person",
    ),
    ("scan facts", added(Fact, word("Guessed", {}, None)), "has a fact that can't be read"),
    ("scan facts", added(Fact, of_nobody("scan")), f"scan {NOBODY} has facts and no row"),
    ("due", changed(Case, READY_CASE, due_kind="another"), "is due by none of its deadlines"),
    ("due", gone(Deadline, Deadline.ended_at.is_(None)), "is due by none of its deadlines"),
    ("due", changed(Deadline, Deadline.ended_at.is_(None), due_at=LONG_AGO), "has a deadline that is earlier"),
    ("due", changed(Case, READY_CASE, round=7), "lives, and its round is over"),
    ("case facts", changed(Case, READY_CASE, lane=0), "is not what its facts say: lane"),
    ("case facts", changed(Case, READY_CASE, identity_digest=""), "is not what its facts say: identity_digest"),
    (
        "case facts",
        changed(Case, Case.images == "incomplete", images="awaiting"),
        "images awaiting, and its slides say",
    ),
    ("case facts", changed(Case, Case.reading == "assigned", reading="none"), "and its reads say assigned"),
    ("case facts", changed(Slide, Slide.route == "scan", route="glass only"), "is not what its facts say: slides"),
    (
        "case facts",
        changed(Slide, Slide.preferred_scan_id.is_not(None), preferred_scan_id=None),
        "latest archived scan",
    ),
    ("case facts", changed(Slide, Slide.cancelled.is_(True), cancelled=False), "is not what its facts say: slides"),
    ("case facts", gone(Derivation, Derivation.parent_id.is_not(None)), "is not what its facts say: derivations"),
    ("case facts", changed(Case, READY_CASE, report="final"), "is not what its facts say: report"),
    ("case facts", changed(Case, READY_CASE, named_patient_id=NOBODY), "is not what its facts say: named_patient_id"),
    ("case facts", changed(Slide, Slide.route == "scan", images_elsewhere=True), "is not what its facts say: slides"),
    ("case facts", added(CaseVisit, of_a_visit), "is not what its facts say: visits"),
    ("case facts", added(WorkOrder, of_no_fact), "is not what its facts say: work_orders"),
    ("case facts", changed(Read, Read.closed_at.is_(None), closed_at=LONG_AGO), "is open, and its round is over"),
    ("specimens", parts_that_overlap, "is in several open primary reads"),
    ("specimens", parts_that_overlap, "has an open primary read of all of it, and another one"),
    ("specimens", a_part_lost_its_specimen, "in none of the open primary reads"),
    ("specimens", added(Credit, for_an_open_read), "is credited, and open"),
    ("waiting", added(WorkOrder, of_no_fact), "is under way, and nothing waits for it"),
    ("case facts", gone(Identifier, Identifier.kind == "placer"), "is not what its facts say: identifiers"),
    ("case facts", added(Fact, of_nobody("case")), f"case {NOBODY} has facts and no row"),
    ("patient facts", changed(Patient, Patient.sex.is_not(None), merged_into_id=NOBODY), "whom they were merged into"),
    ("patient facts", changed(Patient, Patient.sex.is_not(None), sex=None), "is not what its facts say: sex"),
    ("patient facts", a_patient_without_an_identifier, "is not what its facts say: identifiers"),
    ("patient facts", added(Fact, of_nobody("patient")), f"patient {NOBODY} has facts and no row"),
    ("names", added(Fact, word("QualityReviewed", {"quality": "pass"}, None)), "is a person's word, and bears no name"),
    ("names", added(History, nameless_reason), "bears a name, and no reason"),
]


@pytest.mark.parametrize(("check", "break_books", "said"), KNOWN_BAD, ids=[f"{bad[0]}-{bad[2]}" for bad in KNOWN_BAD])
def test_broken_books_are_caught(lab: Lab, check: str, break_books: Break, said: str) -> None:
    with lab.database.write("break") as session:
        if lab.database.is_sqlite:
            session.execute(text("PRAGMA defer_foreign_keys=ON"))
        break_books(session)
    found = breaches(lab, check)
    assert any(said in sentence for sentence in found), found


@pytest.mark.postgres
def test_an_event_that_stands_twice_is_caught_even_when_the_constraint_is_gone(postgres_lab: Lab) -> None:
    columns = [column.name for column in OutboxMessage.__table__.c if column.name not in ("id", "message_control_id")]
    with postgres_lab.database.write("break") as session:
        session.execute(text("ALTER TABLE outbox DROP CONSTRAINT uq_outbox_peer_event_key"))
        message = session.scalars(select(OutboxMessage).where(ANSWERED)).first()
        values = {name: getattr(message, name) for name in columns}
        session.execute(insert(OutboxMessage).values(id=NOBODY, message_control_id="again", **values))
    assert any("is told event" in sentence and "twice" in sentence for sentence in breaches(postgres_lab, "outbox"))
