"""The step apply: what an inbox message says becomes facts, and the facts become patient, case, slides and scans."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select, union_all, update
from sqlalchemy.orm import Session

from connectors.lims.message import Message
from connectors.lims.reading import read
from connectors.wiring import Lab
from flows import cases, ledger
from flows.archive_upload.correcting import correct_archived
from flows.barcode_matching.step import order_key
from flows.books import Cause, Subject, clear_alert, raise_alert, record
from flows.changes import CANCELLED_WITH_ITS_SLIDE, change_scan, is_leaving, lock_scan
from flows.expectations import forget_scan
from flows.intake import storm
from flows.intake.inbox import Arrival, keep_all
from flows.intake.parts import take_parts
from flows.intake.patients import patient_stated
from flows.intake.profiles import profile_of
from flows.intake.records import PartArrived, message_of
from flows.intake.scanned import CLOCK_AHEAD, Received, register_scan, scanner_tells
from flows.ledger import Claim
from flows.step import THE_LIMS, End
from models.base import table_of
from models.case_fold import Container, OrderFact
from models.database import database_now
from models.errors import RejectedError
from models.events.envelope import Event, parse
from models.events.kinds import Hl7Part, Hl7Received
from models.facets import Outcome, Quality
from models.scan_fold import Ended, QualityJudged, Resumed, fold
from models.statements import MessageStated, OrderStated
from models.tables.books import Fact, InboxMessage
from models.tables.case import Block, Slide, Specimen
from models.tables.reading import Read
from models.tables.scan import Scan, ScanFile

_INBOX, _SCAN, _SCAN_FILE, _READ = table_of(InboxMessage), table_of(Scan), table_of(ScanFile), table_of(Read)
_MESSAGE = select(
    *(_INBOX.c.id, _INBOX.c.source, _INBOX.c.peer, _INBOX.c.payload),
    *(_INBOX.c.message_control_id, _INBOX.c.received_at, _INBOX.c.event_id, _INBOX.c.origin),
).where(_INBOX.c.id == bindparam("message_id"))
_APPLIED = (
    update(_INBOX).where(_INBOX.c.id == bindparam("message_id")).values(state="applied", problem=bindparam("but"))
)
_SAME_EVENT = (
    select(_INBOX.c.id)
    .where(_INBOX.c.event_id == bindparam("called"), _INBOX.c.peer == bindparam("of_peer"))
    .where(_INBOX.c.id != bindparam("message_id"))
)
_NAME_EVENT = update(_INBOX).where(_INBOX.c.id == bindparam("message_id")).values(event_id=bindparam("called"))
_TWINS = (
    select(_INBOX.c.payload)
    .where(_INBOX.c.peer == bindparam("of_peer"), _INBOX.c.message_control_id == bindparam("control_id"))
    .where(_INBOX.c.id != bindparam("message_id"), _INBOX.c.received_at <= bindparam("until"))
    .limit(10)
)
_FIRST_SEEN = select(_SCAN_FILE.c.first_seen_at).where(_SCAN_FILE.c.id == bindparam("file_id"))
_SLIDES_OF_CASE = select(Slide).where(Slide.case_id == bindparam("of_case")).order_by(Slide.id)
_SCANS_AND_READS_OF_CASE = union_all(
    select(_SCAN.c.id).where(_SCAN.c.case_id == bindparam("of_case")),
    select(_READ.c.id).where(_READ.c.case_id == bindparam("of_case")),
)
_FOREIGN = {
    kind: select(table.c.id)
    .where(table.c.id.in_(bindparam("spoken_of", expanding=True)), table.c.case_id != bindparam("of_case"))
    .limit(1)
    for kind, table in (("slide", table_of(Slide)), ("block", table_of(Block)), ("specimen", table_of(Specimen)))
}
_ACTIVE_SCANS = (
    select(_SCAN.c.id)
    .where(_SCAN.c.slide_id == bindparam("of_slide"), _SCAN.c.outcome == Outcome.ACTIVE)
    .order_by(_SCAN.c.id)
)


@dataclass(frozen=True)
class _Arrived:
    """What counts of a message that the inbox holds."""

    id: str
    source: str
    peer: str
    payload: bytes
    message_control_id: str | None
    received_at: datetime
    event_id: str | None
    origin: dict[str, Any] | None


def apply(lab: Lab, claimed: Claim) -> End:
    """Read one inbox message and return what it changes; raise ``RejectedError`` when it can't be acted on."""
    with lab.database.read() as session:
        message = _Arrived(**session.execute(_MESSAGE, {"message_id": claimed.subject_id}).one()._asdict())
        cause = Cause(f"apply {message.source}", inbox_id=message.id)
        if message.source == "scanner":
            event = json.loads(message.payload)
            _begin_trace(lab, session, event, message.received_at)
            return lambda session: _scan_received(lab, session, claimed, message, event, cause)
    if message.source == "event":
        said = parse(message.payload)
        return lambda session: _told(lab, session, claimed, message, said, cause)
    profile = profile_of(lab.settings, message.peer)
    stated = read(Message(message.payload, profile.limits, profile.charset), profile)
    if stated.order is None and stated.patient is None:
        raise RejectedError("; ".join(stated.problems) or "The message states nothing that Coverslip acts on.")
    return lambda session: _stated(lab, session, claimed, message, stated, cause)


def _begin_trace(lab: Lab, session: Session, event: dict[str, str], received_at: datetime) -> None:
    """Tell that a scan's journey has begun with the first sight of its file."""
    first_seen_at = session.scalar(_FIRST_SEEN, {"file_id": event["file_id"]})
    scan_id = lab.ids.scan(event["site_id"], (event["sha256"],))
    lab.telemetry.scan_received(scan_id, first_seen_at or received_at, received_at)


def _scan_received(
    lab: Lab, session: Session, claimed: Claim, message: _Arrived, event: dict[str, str], cause: Cause
) -> None:
    received = Received(event["site_id"], event["root"], event["file_id"], event["sha256"], message.received_at)
    register_scan(lab, session, received, cause)
    _applied(lab, session, claimed, message)


def _told(lab: Lab, session: Session, claimed: Claim, message: _Arrived, event: Event, cause: Cause) -> None:
    """Act on an event; a LIMS's message that was not taken out of its envelope at the door is taken out now."""
    if message.event_id is None:
        _name_event(session, message, event)
    envelope = Arrival(
        "event", event.origin.name or message.peer, message.payload, origin=message.origin, message_type=event.type
    )
    now = database_now(session)
    match event.data:
        case Hl7Received() as whole:
            kept = [message_of(lab.settings, envelope, whole.payload, whole.received_at)]
        case Hl7Part() as part:
            arrived = [PartArrived(envelope.peer, part, envelope)]
            kept = list(take_parts(session, lab.settings, lab.ids, arrived, now))
        case _:
            kept = []
            scanner_tells(lab, session, event, message.received_at, cause)
    if any(one.source == "event" for one in kept):
        raise RejectedError(
            "A part of a large message does not fit those that came before: have its gateway send the message again."
        )
    keep_all(session, lab.ids, kept, now)
    _applied(lab, session, claimed, message)


def _name_event(session: Session, message: _Arrived, event: Event) -> None:
    """Give a message the event id that it could not be given at the door; refuse what another event is called."""
    named = {"message_id": message.id, "of_peer": event.origin.name or message.peer, "called": event.id}
    if session.scalar(_SAME_EVENT, named) is not None:
        raise RejectedError(
            "Another event of the same sender had this id before, with other bytes: that one counts. Have the sender "
            "give each event an id of its own."
        )
    session.execute(_NAME_EVENT, named)


def _stated(lab: Lab, session: Session, claimed: Claim, message: _Arrived, stated: MessageStated, cause: Cause) -> None:
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
    _applied(lab, session, claimed, message, problem)


def _ordered(  # noqa: PLR0913 - one order and all that it touches
    lab: Lab,
    session: Session,
    message: _Arrived,
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
    turned = was.cancelled != case.cancelled
    slides = session.scalars(_SLIDES_OF_CASE, {"of_case": case.id}).all() if turned else ()
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
        correct_archived(lab, session, case.id, cause)
    if (case.lane, case.due_at) != (was.lane, was.due_at):
        theirs = session.scalars(_SCANS_AND_READS_OF_CASE, {"of_case": case.id}).all()
        ledger.reprioritise(session, theirs, case.lane, case.due_at)
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


def _active_scans(session: Session, slide_id: str) -> list[str]:
    return list(session.scalars(_ACTIVE_SCANS, {"of_slide": slide_id}))


def _refuse_foreign_containers(lab: Lab, session: Session, case_id: str, order: OrderStated) -> None:
    """A container belongs to one case: an order that speaks of another case's goes to a person, whole."""
    for kind, foreign_of_kind in _FOREIGN.items():
        row_ids = [lab.ids.of(kind, *key) for key in _spoken_of(order, kind)]
        foreign = session.scalar(foreign_of_kind, {"spoken_of": row_ids, "of_case": case_id})
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


def _effective_at(message: _Arrived, stated: MessageStated) -> datetime:
    """Return when a message counts from: its own time, or ours when that is missing or too far ahead."""
    if stated.sent_at is None or stated.sent_at.at > message.received_at + CLOCK_AHEAD:
        return message.received_at
    return stated.sent_at.at


def _flags(session: Session, message: _Arrived, stated: MessageStated) -> list[str]:
    flags = []
    if stated.sent_at is not None and stated.sent_at.at > message.received_at + CLOCK_AHEAD:
        flags.append("The sender's clock is more than five minutes ahead: our time of receipt counts.")
    if message.message_control_id and _twins_say_the_same_time(session, message):
        flags.append("An earlier message of this sender has the same MSH-10 and MSH-7 with other bytes: both are kept.")
    return flags


def _twins_say_the_same_time(session: Session, message: _Arrived) -> bool:
    """Tell whether an earlier message has our MSH-10 and MSH-7: some senders begin their numbers anew each day."""
    ours_is = {"of_peer": message.peer, "control_id": message.message_control_id, "message_id": message.id}
    twins = session.scalars(_TWINS, {**ours_is, "until": message.received_at})
    ours = Message(message.payload).header.text(7)
    return any(Message(twin).header.text(7) == ours for twin in twins)


def _applied(lab: Lab, session: Session, claimed: Claim, message: _Arrived, problem: str | None = None) -> None:
    session.execute(_APPLIED, {"message_id": message.id, "but": problem})
    storm.message_applied(session, lab.ids, message.peer, database_now(session))
    ledger.finish(session, claimed)
