"""The step apply: what an inbox message says becomes facts, and the facts become patient, case, slides and scans."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from connectors.lims.message import Message
from connectors.lims.reading import read
from connectors.telemetry import traceparent_of
from connectors.wiring import Lab
from flows import cases, ledger
from flows.archive_upload.step import reject_edition
from flows.barcode_matching.step import order_key
from flows.books import Cause, Subject, clear_alert, raise_alert, record
from flows.changes import CANCELLED_WITH_ITS_SLIDE, change_scan, is_leaving, lock_scan
from flows.expectations import forget_scan
from flows.intake.patients import patient_stated
from flows.intake.profiles import profile_of
from flows.ledger import Claim
from flows.step import THE_LIMS, End
from models.base import table_of
from models.case_fold import Container, OrderFact
from models.database import database_now
from models.errors import RejectedError
from models.facets import Outcome, Quality, Storage
from models.scan_fold import EditionRaised, Ended, QualityJudged, Resumed, ScanReceived, fold
from models.statements import MessageStated, OrderStated
from models.tables.books import Fact, InboxMessage
from models.tables.case import Block, Slide, Specimen
from models.tables.reading import Read
from models.tables.scan import Scan, ScanFile

_INBOX, _SCAN_FILE = table_of(InboxMessage), table_of(ScanFile)

# A sender's clock may run ahead by so much; beyond it, our own time of receipt counts.
_CLOCK_AHEAD = timedelta(minutes=5)


def apply(lab: Lab, claimed: Claim) -> End:
    """Read one inbox message and return what it changes; raise ``RejectedError`` when it can't be acted on."""
    with lab.database.read() as session:
        message = session.get_one(InboxMessage, claimed.subject_id)
    cause = Cause(f"apply {message.source}", inbox_id=message.id)
    if message.source == "scanner":
        event = json.loads(message.payload)
        _begin_trace(lab, event, message.received_at)
        return lambda session: _scan_received(lab, session, claimed, message, event, cause)
    stated = read(Message(message.payload), profile_of(lab.settings, message.peer))
    if stated.order is None and stated.patient is None:
        raise RejectedError("; ".join(stated.problems) or "The message states nothing that Coverslip acts on.")
    return lambda session: _stated(lab, session, claimed, message, stated, cause)


def _begin_trace(lab: Lab, event: dict[str, str], received_at: datetime) -> None:
    """Tell that a scan's journey has begun with the first sight of its file."""
    with lab.database.read() as session:
        first_seen_at = session.scalar(select(ScanFile.first_seen_at).where(ScanFile.id == event["file_id"]))
    scan_id = lab.ids.scan(event["site_id"], (event["sha256"],))
    lab.telemetry.scan_received(scan_id, first_seen_at or received_at, received_at)


def _scan_received(
    lab: Lab, session: Session, claimed: Claim, message: InboxMessage, event: dict[str, str], cause: Cause
) -> None:
    """Register a scan with its file; its first two steps follow, side by side."""
    scan_id = lab.ids.scan(event["site_id"], (event["sha256"],))
    if session.get(Scan, scan_id) is None:
        scan = Scan(
            id=scan_id,
            site_id=event["site_id"],
            scanner=event["root"],
            received_at=message.received_at,
            traceparent=traceparent_of(scan_id),
            edition=1,
            quality="pending",
            quality_by_person=False,
            identity="pending",
            storage="received",
            outcome="active",
            purpose="primary",
        )
        session.add(scan)
        session.flush()
        session.execute(update(_SCAN_FILE).where(_SCAN_FILE.c.id == event["file_id"]).values(scan_id=scan_id))
        received = ScanReceived(site_id=event["site_id"], scanner=event["root"], digests=(event["sha256"],))
        change_scan(session, lab.settings, scan, [received], cause)
    _applied(session, claimed, message)


def _stated(
    lab: Lab, session: Session, claimed: Claim, message: InboxMessage, stated: MessageStated, cause: Cause
) -> None:
    effective_at = _effective_at(message, stated)
    patient_id = None
    if stated.patient is not None:
        patient_id = patient_stated(session, lab.ids, stated, cause, effective_at, message.received_at)
    if stated.order is not None:
        fact = OrderFact(order=stated.order, patient_id=patient_id)
        _ordered(
            lab, session, message, fact, cause=cause, effective_at=effective_at, sequence_number=stated.sequence_number
        )
    problem = "; ".join((*stated.problems, *_flags(session, message, stated))) or None
    _applied(session, claimed, message, problem)


def _ordered(  # noqa: PLR0913 - one order and all that it touches
    lab: Lab,
    session: Session,
    message: InboxMessage,
    fact: OrderFact,
    *,
    cause: Cause,
    effective_at: datetime,
    sequence_number: int | None,
) -> None:
    order = fact.order
    case_id = lab.ids.of("case", order.issuer, order.accession_number)
    for key in sorted({order_key(name) for _issuer, name in _spoken_of(order, "slide")}):
        # Before the case, as matching does: who holds one of the two never waits for the other.
        ledger.hold_key(session, THE_LIMS, key)
    before = cases.lock_case(session, case_id)
    was = _Before(before.cancelled, before.lane, before.due_at, before.identity_digest) if before else _Before()
    _refuse_foreign_containers(lab, session, case_id, order)
    if order.site not in {site.id for site in lab.settings.sites}:
        raise RejectedError(
            "The order names a site that is not in the settings: add the site, then replay the message."
        )
    record(
        session,
        Subject("case", case_id),
        fact,
        cause,
        effective_at=effective_at,
        received_at=message.received_at,
        sequence_number=sequence_number,
    )
    projected = cases.project(session, lab.settings, lab.ids, case_id, cause)
    _consequences(lab, session, projected, was, cause)


@dataclass(frozen=True)
class _Before:
    """What a case was before a message."""

    cancelled: bool = False
    lane: int | None = None
    due_at: datetime | None = None
    identity_digest: str = ""


def _consequences(lab: Lab, session: Session, projected: cases.Projected, was: _Before, cause: Cause) -> None:
    """Wake, cancel, resume, hurry and correct what an order's change concerns."""
    case = projected.case
    slides = session.scalars(select(Slide).where(Slide.case_id == case.id).order_by(Slide.id)).all()
    turned = was.cancelled != case.cancelled
    gone = slides if turned and case.cancelled else projected.cancelled
    back = slides if turned else projected.reinstated
    for slide in gone:
        _slide_cancelled(lab, session, slide, cause)
    for slide in back:
        if not slide.cancelled and not case.cancelled:
            _slide_reinstated(lab, session, slide, cause)
    # Only a slide that nobody knew is waited for; its key is held since before the case was locked.
    new = (*projected.registered, *projected.cancelled)
    for key in sorted({order_key(slide.container_identifier) for slide in new}):
        ledger.wake(session, THE_LIMS, key)
    if was.identity_digest not in ("", case.identity_digest):
        _correct_archived(lab, session, case.id, cause)
    if (case.lane, case.due_at) != (was.lane, was.due_at):
        scans = session.scalars(select(Scan.id).where(Scan.case_id == case.id)).all()
        reads = session.scalars(select(Read.id).where(Read.case_id == case.id)).all()
        ledger.reprioritise(session, (*scans, *reads), case.lane, case.due_at)
    cases.evaluate(session, lab.settings, case.id, cause)


def _slide_cancelled(lab: Lab, session: Session, slide: Slide, cause: Cause) -> None:
    """Stop what moves; what the archive has, or may have already, stays, and a person is told."""
    forget_scan(session, slide.id)
    for scan_id in _active_scans(session, slide.id):
        scan = lock_scan(session, scan_id)
        if is_leaving(session, scan):
            sentence = "the LIMS cancelled a slide whose scan is archived: 'coverslip withdraw' if it must be hidden"
            raise_alert(session, Subject("scan", scan.id), "cancelled after archive", sentence, database_now(session))
            continue
        ended = Ended(outcome=Outcome.CANCELLED, reason=CANCELLED_WITH_ITS_SLIDE)
        change_scan(session, lab.settings, scan, [ended], cause)


def _slide_reinstated(lab: Lab, session: Session, slide: Slide, cause: Cause) -> None:
    cancelled = session.scalars(
        select(Scan.id).where(Scan.slide_id == slide.id, Scan.outcome == Outcome.CANCELLED).order_by(Scan.id)
    )
    for scan_id in cancelled.all():
        scan = lock_scan(session, scan_id)
        change_scan(session, lab.settings, scan, [Resumed(reason=_why_of_quality(session, scan))], cause)
    for scan_id in _active_scans(session, slide.id):
        for kind in ("slide cancelled", "cancelled after archive"):
            clear_alert(session, scan_id, kind, database_now(session))


def _why_of_quality(session: Session, scan: Scan) -> str | None:
    """Return why a scan's quality is what it is: the reason of its end had taken that one's place."""
    bodies = session.scalars(
        select(Fact.body)
        .where(Fact.subject_id == scan.id, Fact.kind == QualityJudged.__name__)
        .order_by(Fact.id.desc())
        .limit(1)
    )
    judged = [QualityJudged.model_validate(body) for body in bodies]
    return fold(judged).reason if scan.quality != Quality.PASS else None


def _correct_archived(lab: Lab, session: Session, case_id: str, cause: Cause) -> None:
    """Have archived objects that name another patient or case hidden, and made again under the next edition.

    What is on its way is compared when it is proven.
    """
    proven = (Scan.case_id == case_id, Scan.outcome == Outcome.ACTIVE, Scan.storage == Storage.PROVEN)
    for scan_id in session.scalars(select(Scan.id).where(*proven).order_by(Scan.id)).all():
        scan = lock_scan(session, scan_id)
        reject_edition(session, scan, scan.edition)
        change_scan(session, lab.settings, scan, [EditionRaised()], cause)


def _active_scans(session: Session, slide_id: str) -> list[str]:
    return list(
        session.scalars(
            select(Scan.id).where(Scan.slide_id == slide_id, Scan.outcome == Outcome.ACTIVE).order_by(Scan.id)
        )
    )


def _refuse_foreign_containers(lab: Lab, session: Session, case_id: str, order: OrderStated) -> None:
    """A container belongs to one case: an order that speaks of another case's goes to a person, whole."""
    for table, kind in ((Slide, "slide"), (Block, "block"), (Specimen, "specimen")):
        row_ids = [lab.ids.of(kind, *key) for key in _spoken_of(order, kind)]
        foreign = session.scalar(select(table.id).where(table.id.in_(row_ids), table.case_id != case_id).limit(1))
        if foreign is not None:
            message = (
                f"{kind} {foreign} belongs to another case already: correct the container identifier or the accession "
                "in the LIMS, then replay the message."
            )
            raise RejectedError(message)


def _spoken_of(order: OrderStated, kind: str) -> set[Container]:
    """Return every container that an order states, cancels or calls a parent, if it may be of this kind."""
    spoken = {(order.issuer, identifier) for identifier in order.cancelled}
    if kind == "slide":
        return spoken | {(one.issuer, one.container_identifier) for one in order.slides}
    spoken |= {(one.issuer, parent) for one in order.slides for parent in one.parents}
    spoken |= {(one.issuer, parent) for one in order.blocks for parent in one.parents}
    if kind == "block":
        return spoken | {(one.issuer, one.container_identifier) for one in order.blocks}
    return spoken | {(one.issuer, one.container_identifier) for one in order.specimens}


def _effective_at(message: InboxMessage, stated: MessageStated) -> datetime:
    """Return when a message counts from: its own time, or ours when that is missing or too far ahead."""
    if stated.sent_at is None or stated.sent_at.at > message.received_at + _CLOCK_AHEAD:
        return message.received_at
    return stated.sent_at.at


def _flags(session: Session, message: InboxMessage, stated: MessageStated) -> list[str]:
    flags = []
    if stated.sent_at is not None and stated.sent_at.at > message.received_at + _CLOCK_AHEAD:
        flags.append("The sender's clock is more than five minutes ahead: our time of receipt counts.")
    if message.message_control_id and _twins_say_the_same_time(session, message):
        flags.append("An earlier message of this sender has the same MSH-10 and MSH-7 with other bytes: both are kept.")
    return flags


def _twins_say_the_same_time(session: Session, message: InboxMessage) -> bool:
    """Tell whether an earlier message has our MSH-10 and MSH-7: some senders begin their numbers anew each day."""
    twins = session.scalars(
        select(InboxMessage.payload)
        .where(InboxMessage.peer == message.peer, InboxMessage.message_control_id == message.message_control_id)
        .where(InboxMessage.id != message.id, InboxMessage.received_at <= message.received_at)
        .limit(10)
    )
    ours = Message(message.payload).header.text(7)
    return any(Message(twin).header.text(7) == ours for twin in twins)


def _applied(session: Session, claimed: Claim, message: InboxMessage, problem: str | None = None) -> None:
    session.execute(update(_INBOX).where(_INBOX.c.id == message.id).values(state="applied", problem=problem))
    ledger.finish(session, claimed)
