"""What the LIMS and the event log were told: each event once, in order, and nothing for the LIMS left out."""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, String, and_, cast, exists, func, literal, or_, select

from connectors.settings import Settings
from flows.audit.snapshots import Books, snapshot
from flows.sending.announce import REPORTED_SCOPES, REPORTING_ROLES
from models.facets import OPEN_STEP_STATES, Outcome, StepState, Storage
from models.tables.books import OutboxMessage
from models.tables.case import Case
from models.tables.reading import Assignment, Read
from models.tables.scan import Scan
from models.tables.step import Step

_OPEN: Final = Step.state.in_(OPEN_STEP_STATES)
_STEP_OF_STATE: Final[tuple[tuple[str, ColumnElement[bool], str], ...]] = (
    ("pending", _OPEN, "is to be sent, and no step will send it"),
    ("refused", _OPEN, "was refused, and no step waits for a person's decision"),
    ("answered", Step.state == StepState.DONE, "counts as answered, and no step sent it"),
)


def events_are_told_once_and_in_order(books: Books) -> Iterator[str]:
    """Yield each event that stands twice, out of order, without its step, or not at all in the outbox."""
    with snapshot(books.database) as session:
        for peer, event_key in session.execute(_twice()):
            yield f"{peer} is told event {event_key} twice"
        for state, wanted, fault in _STEP_OF_STATE:
            for message_id in session.scalars(_without(state, wanted)):
                yield f"message {message_id} {fault}"
        for message_id, earlier_id in session.execute(_out_of_order()):
            yield f"message {message_id} was answered before message {earlier_id}, which stood before it"
        for scan_id in session.scalars(_untold_scans()):
            yield f"scan {scan_id} is archived, and no message tells the LIMS"
        for assignment_id in session.scalars(_untold_assignments(books.settings)):
            yield f"assignment {assignment_id} was made, and no message tells the LIMS"


def _twice() -> Select[str, str]:
    return (
        select(OutboxMessage.peer, OutboxMessage.event_key)
        .group_by(OutboxMessage.peer, OutboxMessage.event_key)
        .having(func.count() > 1)
    )


def _without(state: str, wanted: ColumnElement[bool]) -> Select[str]:
    step = exists().where(Step.subject_id == OutboxMessage.id, Step.kind == "send", wanted)
    return select(OutboxMessage.id).where(OutboxMessage.state == state, ~step).order_by(OutboxMessage.id)


def _out_of_order() -> Select[str, str]:
    """Compare each message with the one before it in its stream, by the order in which their steps were added."""
    in_order: dict[str, Any] = {"partition_by": Step.order_key, "order_by": Step.id}
    stream = (
        select(
            OutboxMessage.id,
            OutboxMessage.answered_at,
            OutboxMessage.state,
            func.lag(OutboxMessage.id).over(**in_order).label("earlier_id"),
            func.lag(OutboxMessage.state).over(**in_order).label("earlier_state"),
            func.lag(OutboxMessage.answered_at).over(**in_order).label("earlier_answered_at"),
        )
        .join(Step, and_(Step.subject_id == OutboxMessage.id, Step.kind == "send", Step.generation == 1))
        .where(Step.order_key.is_not(None))
        .subquery()
    )
    overtook = or_(stream.c.earlier_state != "answered", stream.c.earlier_answered_at > stream.c.answered_at)
    answered = and_(stream.c.state == "answered", stream.c.earlier_id.is_not(None))
    return select(stream.c.id, stream.c.earlier_id).where(answered, overtook).order_by(stream.c.id)


def _untold_scans() -> Select[str]:
    key = literal("archived:") + Scan.id + ":" + cast(Scan.edition, String) + ":" + Scan.slide_id
    archived = and_(Scan.outcome == Outcome.ACTIVE, Scan.storage == Storage.PROVEN)
    # A join and no EXISTS: keys have no index of their own, and both databases hash a join.
    told = (OutboxMessage, OutboxMessage.event_key == key)
    return select(Scan.id).outerjoin(*told).where(archived, OutboxMessage.id.is_(None)).order_by(Scan.id)


def _untold_assignments(settings: Settings) -> Select[int]:
    key = literal("assigned:") + Read.case_id + ":" + cast(Assignment.id, String)
    told = (OutboxMessage, OutboxMessage.event_key == key)
    made = select(Assignment.id).join(Read, Read.id == Assignment.read_id).join(Case, Case.id == Read.case_id)
    # Who gave the case away itself need not be told; who else reads it, only a LIMS that can tell them apart.
    ours = Assignment.decided_by != "lims"
    hears_all = [site.id for site in settings.sites if settings.peer(site.lims).hears_all_readers]
    of_reporter = and_(Read.role.in_(REPORTING_ROLES), Read.scope.in_(REPORTED_SCOPES))
    to_tell = or_(of_reporter, Case.site_id.in_(hears_all))
    return made.outerjoin(*told).where(ours, to_tell, OutboxMessage.id.is_(None)).order_by(Assignment.id)
