"""What tests of the flows look at: rows as short values, and whether the books balance."""

import json
import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, text, update

from connectors.wiring import Lab
from flows.audit.oracle import CHECKS, audit
from flows.audit.snapshots import Books
from models.tables.books import Alert, InboxMessage, OutboxMessage
from models.tables.case import Case, Slide
from models.tables.scan import Instance, Scan
from models.tables.step import Step
from tests.small_lab import message_arrives, run_until_calm

A, B, C = "26H000001-A1-1", "26H000001-A1-2", "26H000001-A1-3"
LATER = "20250101130000+0000"
LATEST = "20250101140000+0000"
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


def the_case(lab: Lab) -> Case:
    with lab.database.read() as session:
        return session.scalars(select(Case)).one()


def the_scan(lab: Lab) -> Scan:
    with lab.database.read() as session:
        return session.scalars(select(Scan)).one()


def scan_of(lab: Lab, scan_id: str) -> Scan:
    with lab.database.read() as session:
        return session.get_one(Scan, scan_id)


def slides(lab: Lab) -> dict[str, bool]:
    """Return every slide with whether it is expected."""
    with lab.database.read() as session:
        rows = session.scalars(select(Slide).order_by(Slide.container_identifier))
        return {row.container_identifier: not row.cancelled for row in rows}


def alerts(lab: Lab) -> list[str]:
    """Return the kinds of the open alerts."""
    with lab.database.read() as session:
        return sorted(session.scalars(select(Alert.kind).where(Alert.cleared_at.is_(None))))


def steps(lab: Lab, kind: str) -> list[str]:
    """Return the states of all steps of a kind, oldest first; a waiting one with what it waits for."""
    with lab.database.read() as session:
        rows = session.scalars(select(Step).where(Step.kind == kind).order_by(Step.id))
        return [f"waiting for {row.waiting_for}" if row.waiting_for else row.state for row in rows]


def told(lab: Lab) -> list[str]:
    """Return what kinds of news were put into the outbox, in order."""
    with lab.database.read() as session:
        rows = session.scalars(select(OutboxMessage.event_key).order_by(OutboxMessage.stated_at, OutboxMessage.id))
        return [key.split(":")[0] for key in rows]


def says(lab: Lab, *messages: bytes) -> None:
    """Have messages come from a LIMS one after the other, each acted on before the next comes."""
    for one in messages:
        message_arrives(lab, one)
        run_until_calm(lab)


def inbox(lab: Lab) -> list[str]:
    """Return the states of all messages, oldest first."""
    with lab.database.read() as session:
        return [str(state) for state in session.scalars(select(InboxMessage.state).order_by(InboxMessage.received_at))]


def time_passes(lab: Lab, kind: str) -> None:
    """Have every wait of a kind of step reach its end."""
    with lab.database.write("time passes") as session:
        session.execute(update(Step).where(Step.kind == kind, Step.state == "waiting").values(waiting_until=LONG_AGO))


def archived_names_the_patient(lab: Lab) -> None:
    """Hold what the archive offers of each archived scan against the patient of its case."""
    with lab.database.read() as session:
        rows = session.execute(
            select(Instance, Case.patient_id)
            .join(Scan, (Scan.id == Instance.scan_id) & (Scan.edition == Instance.edition))
            .join(Case, Case.id == Scan.case_id)
            .where(Scan.storage == "proven")
        ).all()
    for instance, patient_id in rows:
        folder = lab.settings.resolved(lab.settings.archive_folder) / instance.study_instance_uid
        content = (folder / instance.series_instance_uid / f"{instance.sop_instance_uid}.dcm").read_text()
        patient = json.loads(content.splitlines()[1])["patient"]
        assert lab.ids.of("patient", patient["issuer"], patient["identifier"]) == patient_id


def books_balance(lab: Lab) -> None:
    """Hold the whole of the books against the audit."""
    books = Books(lab.settings, lab.database, lab.ids, lab.spool, lab.archive, full=True)
    found = audit(books, CHECKS, second_look_after=timedelta(0))
    assert {one.check.name: one.sentences for one in found if one.sentences} == {}


def wait_until_somebody_waits(lab: Lab) -> None:
    """Return when somebody waits for a lock on PostgreSQL and has looked for a deadlock: who waits next is ended."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with lab.database.read() as session:
            if session.scalar(text("SELECT 1 FROM pg_locks WHERE NOT granted LIMIT 1")):
                # deadlock_timeout is a second.
                time.sleep(1.2)
                return
        time.sleep(0.02)
    message = "nobody waits for a lock"
    raise AssertionError(message)
