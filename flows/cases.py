"""The one way a case changes: its facts are folded, the rows below it brought in line, its images judged.

The caller holds the case's row (``lock_case``) in its write transaction.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, get_args

from pydantic import TypeAdapter
from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows import aliases, allocation, case_rows, holding, late_slides, ledger, reads, work_orders
from flows.books import Cause, Subject, clear_alert, note_changes, raise_alert
from flows.case_rows import SlideChanges
from flows.completeness import Completeness, ExpectedSlide, judge, standing_of
from flows.deadlines import keep as deadlines
from flows.expectations import close_set, expect_scans, settle_later
from flows.expected import expected_slides, with_lane
from flows.sending import announce, publish
from models.alias_fold import moved
from models.case_fold import CaseFact, CaseState, Told, fold
from models.database import database_now, insert_unless_there
from models.facets import Images, Lane, Reading
from models.opaque import OpaqueIds
from models.tables.books import Fact
from models.tables.case import Case, CasePatient, CaseSite, CaseVisit

ITS_LANE = "lane"
"""Who let a case be read whose images the archive has not proven yet."""
_CANCELLED = ("case cancelled", "the LIMS cancelled this case after it could be read: tell whoever has it")

_FACT_TYPES: dict[str, TypeAdapter[Any]] = {one.__name__: TypeAdapter(one) for one in get_args(CaseFact)}
"""Kinds of fact that a case is folded from."""

_CASES_LOCKED = (
    select(Case)
    .where(Case.id.in_(bindparam("cases", expanding=True)))
    .order_by(Case.id)
    .with_for_update()
    .execution_options(populate_existing=True)
)
_FACTS = select(Fact).where(Fact.subject_id == bindparam("of_case"), Fact.kind.in_(_FACT_TYPES))

_LATEST = select(func.max(Fact.effective_at)).where(Fact.subject_id == bindparam("of_case"), Fact.kind.in_(_FACT_TYPES))

_CASE_FIELDS = (
    *("site_id", "patient_id", "subspecialty", "study_instance_uid", "lane", "cancelled", "released", "stated_points"),
)


@dataclass(frozen=True)
class Known:
    """What is known of a case: its facts' state with the patient that stays, and what that rests on."""

    state: CaseState
    named_patient_id: str | None = None
    visits: frozenset[str] = frozenset()
    patients: frozenset[str] = frozenset()
    """Whom the moves of its visits speak of."""

    @property
    def row(self) -> dict[str, Any]:
        """The columns of the case's row that its facts decide."""
        return {
            **{name: getattr(self.state, name) for name in _CASE_FIELDS},
            "named_patient_id": self.named_patient_id,
            "report": self.state.round.report,
            "round": self.state.round.number,
            "round_opened_at": self.state.round.opened_at,
            "round_closed_at": self.state.round.closed_at,
            "reader_stated": self.state.reader.model_dump() if self.state.reader else None,
            "identity_digest": self.state.identity_digest,
        }


@dataclass(frozen=True)
class Projected:
    """What a new fold changed: the case, its slides, and whether its objects would name another patient or case."""

    case: Case
    state: CaseState
    slides: SlideChanges
    identity_changed: bool


def lock_case(session: Session, case_id: str) -> Case | None:
    """Lock a case's row and return it fresh; ``None`` when there is none yet, and nobody else can make it meanwhile."""
    found = lock_cases(session, (case_id,))
    if not found:
        ledger.hold_key(session, "a case", case_id)
        found = lock_cases(session, (case_id,))
    return next(iter(found), None)


def lock_cases(session: Session, case_ids: Sequence[str]) -> Sequence[Case]:
    """Lock the rows of those of these cases that there are, in id order, and return them fresh."""
    # A fresh row must not undo what this transaction has set and not written yet.
    session.flush()
    return session.scalars(_CASES_LOCKED, {"cases": case_ids}).all()


def told(session: Session, case_id: str) -> list[Told]:
    """Return everything that was said about a case."""
    rows = session.scalars(_FACTS, {"of_case": case_id})
    return [
        Told(
            _FACT_TYPES[row.kind].validate_python(row.body, strict=False),
            row.effective_at,
            row.received_at,
            row.digest,
            row.sequence_number,
        )
        for row in rows
    ]


def after_all(session: Session, case_id: str, now: datetime) -> datetime:
    """Return when what is said of a case now counts from: after all that was said, also by a clock that is ahead."""
    latest: datetime | None = session.scalar(_LATEST, {"of_case": case_id})
    return now if latest is None else max(now, latest + timedelta(microseconds=1))


def known(session: Session, ids: OpaqueIds, case_id: str) -> Known:
    """Return what everything that was said makes of a case, merges and moves followed."""
    state = fold(told(session, case_id))
    named = state.patient_id
    visits = frozenset(ids.of("visit", one.issuer, one.value) for one in state.visits)
    moves = aliases.moves_of(session, visits)
    theirs = moved(named, moves, lambda patient_id: aliases.stays(session, patient_id))
    spoken_of = frozenset(one for move in moves for one in (move.from_patient_id, move.to_patient_id))
    return Known(replace(state, patient_id=theirs), named, visits, spoken_of)


def project(session: Session, settings: Settings, ids: OpaqueIds, case_id: str, cause: Cause) -> Projected | None:
    """Fold a case's facts and bring its rows in line with them.

    The case row is made when the first order names the case: until then what was said of it waits among its facts, and
    there is nothing to return.
    """
    now = database_now(session)
    found = known(session, ids, case_id)
    if not found.state.is_ordered:
        return None
    before = session.get(Case, case_id)
    was_round = reads.Was.of(before)
    was_named = before.identity_digest if before else None
    case = _case_row(session, settings, case_id, found, cause, now)
    changes = case_rows.bring_in_line(session, ids, case, found.state, cause, now)
    work_orders.bring_in_line(session, settings, ids, case, found.state, cause, now)
    session.flush()
    reads.follow_rounds(session, case, found.state.round, was_round, cause, now)
    _keep_set(session, settings, case, found.state, changes, cause, now)
    deadlines.follow_orders(session, settings, case, found.state, cause, now)
    reads.keep(session, settings, case, cause, now, more_came=changes.are_late)
    reads.correct_credits(session, case, cause, now)
    allocation.follow(session, settings, case, cause, now)
    return Projected(case, found.state, changes, was_named not in (None, case.identity_digest))


def _keep_set(  # noqa: PLR0913, PLR0917 - one change and all that it touches
    session: Session,
    settings: Settings,
    case: Case,
    state: CaseState,
    changes: SlideChanges,
    cause: Cause,
    now: datetime,
) -> None:
    """Open a case's expected set when more is ordered, and close it when it may be."""
    if changes.are_late:
        case.expected_closed_at = None
        # At once: an open set is not ready, not even for the rest of this transaction.
        late = {slide.id for slide in (*changes.registered, *changes.reinstated)}
        evaluate(session, settings, case.id, cause, late=late)
    if case.expected_closed_at is not None:
        return
    if state.set_closed and not case.cancelled:
        close_set(session, case, cause, now)
    else:
        settle_later(session, settings, case)


def judged(session: Session, case: Case, now: datetime) -> tuple[list[ExpectedSlide], Completeness]:
    """Return the slides that a locked case expects, and what they and the policy make of its images now."""
    expected = with_lane(session, case, expected_slides(session, case), now)
    return expected, judge(expected, closed=case.expected_closed_at is not None, released=case.released)


def evaluate(
    session: Session, settings: Settings, case_id: str, cause: Cause, *, late: Collection[str] = ()
) -> Completeness:
    """Judge a locked case's images anew and add what follows: a read to assign, waits, messages out.

    ``late`` are slides that have just come to it: whoever reads the case hears of them, even if somebody released it.
    """
    case, now = session.get_one(Case, case_id), database_now(session)
    expected, verdict = judged(session, case, now)
    standings = {one.slide_id: standing_of(one) for one in expected if one.being_made is None}
    expect_scans(session, settings, case, standings, now)
    # A case that is cancelled keeps what could be read of it: ordered again, nothing of it is new.
    news = late_slides.News() if case.cancelled else late_slides.note_readable(session, expected, now)
    readers = late_slides.readers_of(session, case, is_ordered=bool(late)) if news or late else None
    before, how = case.images, case.released_how
    _say_how(session, case, verdict, cause, now)
    is_proven_now = False
    if how is not None and verdict.images == Images.READY and not verdict.unproven and not news.went:
        is_proven_now = late_slides.tell_proven(session, case, now) or how == ITS_LANE
    if case.images != verdict.images:
        _turn(session, settings, case, verdict, cause)
    elif case.images == Images.READY and (news or late or is_proven_now):
        case.completeness_version += 1
        _say_ready(session, settings, case, verdict)
    if readers is not None and readers.listen:
        late_slides.tell(session, case, readers, news, late, now)
    if Images.INCOMPLETE in (before, verdict.images):
        holding.keep(session, case, expected, verdict, now)
    session.flush()
    return verdict


def _say_how(session: Session, case: Case, verdict: Completeness, cause: Cause, now: datetime) -> None:
    """Keep that a case is read before the archive has proven its images, as long as that is so."""
    if case.released:
        return
    how = ITS_LANE if verdict.images == Images.READY and verdict.unproven else None
    note_changes(session, Subject("case", case.id), [("released_how", case.released_how, how)], cause, now)
    case.released_how = how


def _turn(session: Session, settings: Settings, case: Case, verdict: Completeness, cause: Cause) -> None:
    """Turn a case's images facet, and have its read assigned only as long as it is ready."""
    subject, now, before = Subject("case", case.id), database_now(session), case.images
    case.images = verdict.images
    case.completeness_version += 1
    note_changes(session, subject, [("images", before, verdict.images)], cause, now)
    if verdict.images == Images.READY:
        clear_alert(session, case.id, _CANCELLED[0], now)
        deadlines.keep(session, settings, case, cause, now)
        reads.keep(session, settings, case, cause, now)
        _say_ready(session, settings, case, verdict)
    elif before == Images.READY:
        reads.stop_assigning(session, case, now)
        if case.cancelled:
            raise_alert(session, subject, *_CANCELLED, now)


def _say_ready(session: Session, settings: Settings, case: Case, verdict: Completeness) -> None:
    announce.case_released(session, settings, case, verdict)
    publish.case_completed(session, settings, case, verdict)


def _case_row(session: Session, settings: Settings, case_id: str, found: Known, cause: Cause, now: datetime) -> Case:
    state = found.state
    case = session.get(Case, case_id)
    if case is None:
        case = Case(
            id=case_id,
            site_id=state.site_id,
            registered_at=state.registered_at or now,
            orders_changed_at=state.orders_changed_at or now,
            completeness_version=0,
            images=Images.AWAITING,
            reading=Reading.NONE,
            report="none",
            round=1,
            lane=Lane.ROUTINE,
            cancelled=False,
            released=False,
        )
        session.add(case)
        session.flush()
        note_changes(session, Subject("case", case_id), [("case", None, "registered")], cause, now)
    stated = found.row
    untold = ("identity_digest", "named_patient_id", "reader_stated")
    changes = [(name, getattr(case, name), after) for name, after in stated.items() if name not in untold]
    changes.append(("reader stated", _reader_id(case.reader_stated), _reader_id(stated["reader_stated"])))
    how = state.released_how or (case.released_how if case.released_how == ITS_LANE else None)
    changes.append(("released_how", case.released_how, how))
    for name, after in (*stated.items(), ("released_how", how)):
        setattr(case, name, after)
    if case.images == Images.READY and case.expected_closed_at is None and not case.released:
        # An open set that nobody releases any more is not ready, from the first write on.
        _turn(session, settings, case, Completeness(Images.INCOMPLETE, (), ()), cause)
    case.registered_at = state.registered_at or now
    if state.orders_changed_at:
        case.orders_changed_at = state.orders_changed_at
    note_changes(session, Subject("case", case_id), changes, cause, now)
    session.flush()
    if session.get(CaseSite, (case_id, "requesting", state.site_id)) is None:
        session.execute(delete(CaseSite).where(CaseSite.case_id == case_id, CaseSite.role == "requesting"))
        session.add(CaseSite(case_id=case_id, role="requesting", site_id=state.site_id))
        session.flush()
    _what_it_rests_on(session, case_id, found)
    return case


def _reader_id(stated: dict[str, Any] | None) -> str | None:
    return str(stated["id"]) if stated else None


def _what_it_rests_on(session: Session, case_id: str, found: Known) -> None:
    """Keep by which visits and patients a case is found again; facts only come, so these do too."""
    if found.visits:
        rows = [{"case_id": case_id, "visit_id": visit_id} for visit_id in sorted(found.visits)]
        insert_unless_there(session, CaseVisit, rows)
    if found.patients:
        rows = [{"case_id": case_id, "patient_id": patient_id} for patient_id in sorted(found.patients)]
        insert_unless_there(session, CasePatient, rows)
