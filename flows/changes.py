"""The one way a scan changes: facts are written, the fold is taken, and what follows is added, in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from sqlalchemy import bindparam, select, text, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from connectors.settings import Settings
from flows import asking, cases, ledger
from flows.archive_upload.editions import has_begun_to_leave, made, reject_edition
from flows.books import Cause, Subject, note_changes, raise_alert, record
from flows.journey import (
    CORRECTED_JOURNEY,
    CORRECTION,
    DOWNSTREAM,
    MAKERS,
    NEED_BYTES,
    OF_AN_EDITION,
    SCAN_JOURNEY,
    SCAN_KINDS,
    SLOT_OF_KIND,
    STAGE_OF_KIND,
    ScanStep,
)
from flows.sending import announce, publish
from models.base import table_of
from models.database import database_now
from models.facets import OPEN_STEP_STATES, FileState, Lane, Outcome, Quality, StepState, Storage
from models.scan_fold import (
    EditionRaised,
    Ended,
    MatchWithdrawn,
    ReplacementFound,
    ScanFact,
    ScanState,
    SlideMatched,
    fold,
)
from models.tables.books import Fact
from models.tables.case import Case, Slide
from models.tables.scan import Scan, ScanFile
from models.tables.step import Step

CANCELLED_WITH_ITS_SLIDE = "the LIMS cancelled its slide"
_SCANNED_AFTER_ALL = "the LIMS had cancelled the slide that was scanned: order it again there if it is to be read"
_SLIDE = table_of(Slide)
_FIELDS = tuple(one.name for one in fields(ScanState))
_SCAN = table_of(Scan)
_STEP = table_of(Step)
_CASE = table_of(Case)
_ROW = select(Scan).where(Scan.id == bindparam("scan")).with_for_update().execution_options(populate_existing=True)
_WRITE = (
    update(_SCAN).where(_SCAN.c.id == bindparam("scan")).values({name: bindparam(f"new_{name}") for name in _FIELDS})
)
_TO_REDO = (
    select(Scan)
    .where(Scan.slide_id == bindparam("slide"), Scan.id != bindparam("scan"))
    .where(Scan.outcome == Outcome.ACTIVE, Scan.quality == Quality.RESCAN)
    .with_for_update()
)
_IS_CANCELLED = select(_SLIDE.c.cancelled).where(_SLIDE.c.id == bindparam("slide"))
_FILE = table_of(ScanFile)
_URGENCY_AND_PLACE = (
    select(_CASE.c.lane, _CASE.c.due_at, _FILE.c.place)
    .select_from(
        _SCAN.outerjoin(_CASE, _CASE.c.id == _SCAN.c.case_id).outerjoin(
            _FILE, (_FILE.c.scan_id == _SCAN.c.id) & (_FILE.c.state == FileState.TAKEN)
        )
    )
    .where(_SCAN.c.id == bindparam("scan"))
    .order_by(_FILE.c.id)
    .limit(1)
)
_STEPS_OF_SCAN = (
    select(_STEP.c.kind, _STEP.c.generation, _STEP.c.edition, _STEP.c.state)
    .where(_STEP.c.subject_id == bindparam("scan"))
    .order_by(_STEP.c.generation)
)
_HAS_MADE = (StepState.DONE, StepState.SUPERSEDED)
_FACT = table_of(Fact)
# Which kind of fact the present edition began with.
_WHY_RAISED = (
    select(_FACT.c.kind)
    .where(_FACT.c.subject_id == bindparam("scan"))
    .where(_FACT.c.kind.in_((EditionRaised.__name__, MatchWithdrawn.__name__)))
    .order_by(_FACT.c.id.desc())
    .limit(1)
)
_PREFER_THE_LATEST = (
    update(_SLIDE)
    .where(_SLIDE.c.id == bindparam("slide"))
    .values(
        preferred_scan_id=select(_SCAN.c.id)
        .where(_SCAN.c.slide_id == bindparam("slide"))
        .where(_SCAN.c.outcome == Outcome.ACTIVE, _SCAN.c.storage == Storage.PROVEN)
        .order_by(_SCAN.c.received_at.desc(), _SCAN.c.id)
        .limit(1)
        .scalar_subquery()
    )
)
_SAVEPOINT, _LET_GO, _KEEP = (
    text(f"{verb} lock_scan") for verb in ("SAVEPOINT", "ROLLBACK TO SAVEPOINT", "RELEASE SAVEPOINT")
)


@dataclass(frozen=True)
class Latest:
    """The newest generation of one kind of step of a scan."""

    generation: int
    edition: int
    state: str


@dataclass(frozen=True)
class Way:
    """The steps that a scan takes, and the edition that they make: the present one, or the next that corrects it."""

    steps: tuple[ScanStep, ...]
    edition: int


def lock_scan(session: Session, scan_id: str, *case_ids: str) -> Scan:
    """Lock a scan's case and any other cases named, in id order, then the scan; return its fresh row."""
    # A fresh row must not undo what this transaction has set and not written yet.
    session.flush()
    if session.get_bind().dialect.name != "postgresql":
        return _locked(session, scan_id)
    session.execute(_SAVEPOINT)
    while True:
        own = session.scalar(select(Scan.case_id).where(Scan.id == scan_id))
        held = sorted({*case_ids, *([own] if own else [])})
        cases.lock_cases(session, held)
        scan = _locked(session, scan_id)
        if scan.case_id is None or scan.case_id in held:
            session.execute(_KEEP)
            return scan
        # It was matched while we waited: let go, since a case is never locked after a scan.
        session.execute(_LET_GO)


def _locked(session: Session, scan_id: str) -> Scan:
    return session.scalars(_ROW, {"scan": scan_id}).one()


def state_of(scan: Scan) -> ScanState:
    """Return the facets of a scan's row."""
    return ScanState(**{name: getattr(scan, name) for name in _FIELDS})


def change_scan(session: Session, settings: Settings, scan: Scan, facts: Sequence[ScanFact], cause: Cause) -> ScanState:
    """Write facts about a locked scan and all that follows from them: steps, case, messages out."""
    now = database_now(session)
    before = state_of(scan)
    subject = Subject("scan", scan.id)
    for number, fact in enumerate(facts):
        record(session, subject, fact, cause, effective_at=now, received_at=now, rank=number)
    after = fold(facts, before)
    _write(session, scan, before, after)
    note_changes(
        session, subject, ((name, getattr(before, name), getattr(after, name)) for name in _FIELDS), cause, now
    )
    if settings.kafka is not None:
        publish.scan_changed(session, scan, before, after, facts, cause)
    _end_obsolete(session, scan.id, before, after)
    follow(session, scan)
    if _matters_to_others(before, after):
        _tell(session, settings, scan, before, after, cause)
    elif after.case_id is not None and _may_be_read_now(session, after.case_id, before, after):
        cases.evaluate(session, settings, after.case_id, cause)
    return after


def _write(session: Session, scan: Scan, before: ScanState, after: ScanState) -> None:
    """Write the facets that changed; the row in the session follows without a flush, which costs ten times as much."""
    session.flush()
    if after == before:
        return
    session.execute(_WRITE, {"scan": scan.id, **{f"new_{name}": getattr(after, name) for name in _FIELDS}})
    for name in _FIELDS:
        set_committed_value(scan, name, getattr(after, name))


def match_to_slide(session: Session, settings: Settings, scan: Scan, matched: SlideMatched, cause: Cause) -> None:
    """Match a locked scan to a slide; it supersedes the slide's scans that were to be done again.

    A scan of a cancelled slide ends as cancelled, as it would have if the cancel had come after it.
    """
    to_redo = session.scalars(_TO_REDO, {"slide": matched.slide_id, "scan": scan.id}).all()
    for old in to_redo:
        ended = Ended(outcome=Outcome.SUPERSEDED, reason="scanned again", successor_id=scan.id)
        change_scan(session, settings, old, [ended], cause)
    facts: list[ScanFact] = [matched, ReplacementFound()] if to_redo else [matched]
    case = session.get_one(Case, matched.case_id)
    if case.cancelled or session.scalars(_IS_CANCELLED, {"slide": matched.slide_id}).one():
        facts.append(Ended(outcome=Outcome.CANCELLED, reason=CANCELLED_WITH_ITS_SLIDE))
        raise_alert(session, Subject("scan", scan.id), "slide cancelled", _SCANNED_AFTER_ALL, database_now(session))
    change_scan(session, settings, scan, facts, cause)
    ledger.reprioritise(session, (scan.id,), case.lane, case.due_at)


def is_leaving(session: Session, scan: Scan) -> bool:
    """Whether objects of a scan's edition are in the archive, or may be: what has begun to leave is not stopped."""
    if scan.storage != Storage.RECEIVED:
        return True
    begun = select(Step.id).where(
        Step.subject_id == scan.id,
        Step.kind == "store",
        Step.edition == scan.edition,
        Step.attempt > 0,
        Step.state.in_(OPEN_STEP_STATES),
    )
    return session.scalar(begun.limit(1)) is not None


def follow(session: Session, scan: Scan) -> None:
    """Add every step that a scan now needs and does not have yet; ask again as often as you like."""
    state = state_of(scan)
    if state.outcome == Outcome.SUPERSEDED:
        _hide_outdated(session, scan)
    if state.outcome != Outcome.ACTIVE:
        return
    latest = latest_steps(session, scan.id)
    way = way_of(session, scan, latest)
    new = []
    for step in way.steps:
        known = latest.get(step.kind)
        if known and _stands(known, step, way.edition):
            continue
        if not step.needs(state) or not all(_is_done(latest.get(kind), way.edition) for kind in step.after):
            continue
        new.append(_new_step(session, scan, step.kind, known.generation + 1 if known else 1, way.edition))
    ledger.add(session, new)


def _hide_outdated(session: Session, scan: Scan) -> None:
    """Hide what was archived of a replaced scan if it names another patient or case now: nobody corrects that."""
    known = made(session, scan.id, scan.edition)
    if known is not None and known.is_outdated and has_begun_to_leave(session, scan.id, scan.edition):
        reject_edition(session, scan.id, scan.edition)


def way_of(session: Session, scan: Scan, latest: Mapping[str, Latest]) -> Way:
    """Return which steps a scan takes now, and towards which edition."""
    made_by = (latest.get(kind) for kind in MAKERS)
    if any(known and known.edition == scan.edition and known.state in _HAS_MADE for known in made_by):
        known = made(session, scan.id, scan.edition)
        if known is not None and known.is_outdated:
            return Way(CORRECTION, scan.edition + 1)
    raised = scan.edition > 1 and session.scalar(_WHY_RAISED, {"scan": scan.id}) == EditionRaised.__name__
    return Way(CORRECTED_JOURNEY if raised else SCAN_JOURNEY, scan.edition)


def latest_steps(session: Session, scan_id: str) -> dict[str, Latest]:
    """Return the newest generation of each kind of step of a scan."""
    rows = session.execute(_STEPS_OF_SCAN, {"scan": scan_id})
    return {kind: Latest(generation, edition, state) for kind, generation, edition, state in rows if kind in SCAN_KINDS}


def rerun_scan(session: Session, scan: Scan, kind: str) -> None:
    """Do a kind of step of a locked scan again, and what was made from its result after it."""
    edition = way_of(session, scan, latest_steps(session, scan.id)).edition
    ledger.supersede(session, scan.id, DOWNSTREAM[kind])
    ledger.rerun(session, _new_step(session, scan, kind, 0, edition))


def _new_step(session: Session, scan: Scan, kind: str, generation: int, edition: int) -> ledger.NewStep:
    lane, due_at, place = session.execute(_URGENCY_AND_PLACE, {"scan": scan.id}).one()
    return ledger.NewStep(
        kind=kind,
        stage=STAGE_OF_KIND[kind],
        subject_kind="scan",
        subject_id=scan.id,
        rank_at=ledger.rank_at(scan.received_at, due_at),
        lane=Lane.ROUTINE if lane is None else lane,
        generation=generation,
        edition=edition if kind in OF_AN_EDITION else scan.edition,
        place=(place or "") if kind in NEED_BYTES else "",
        slot=SLOT_OF_KIND.get(kind, ""),
    )


def _stands(known: Latest, step: ScanStep, edition: int) -> bool:
    """Whether the newest step of a kind still counts: not ended by a rerun or a pause, not of an old edition."""
    if known.state in (StepState.SUPERSEDED, StepState.CANCELLED):
        return False
    return not step.each_edition or known.edition >= edition


def _is_done(latest: Latest | None, edition: int) -> bool:
    return latest is not None and latest.state == StepState.DONE and latest.edition >= edition


def _end_obsolete(session: Session, scan_id: str, before: ScanState, after: ScanState) -> None:
    """End the open steps of a scan that takes no part any more, or of an edition that is over."""
    if after.outcome != Outcome.ACTIVE and before.outcome == Outcome.ACTIVE:
        end = StepState.SUPERSEDED if after.outcome == Outcome.SUPERSEDED else StepState.CANCELLED
        ledger.end_open(session, scan_id, SCAN_KINDS, end)
    if after.edition != before.edition:
        ledger.end_open(session, scan_id, OF_AN_EDITION, StepState.SUPERSEDED)


def _matters_to_others(before: ScanState, after: ScanState) -> bool:
    """Whether a slide's case or the LIMS can see the difference."""
    return (
        (before.slide_id, before.outcome) != (after.slide_id, after.outcome)
        or (before.quality == Quality.RESCAN) != (after.quality == Quality.RESCAN)
        or (before.storage == Storage.PROVEN) != (after.storage == Storage.PROVEN)
    )


def _may_be_read_now(session: Session, case_id: str, before: ScanState, after: ScanState) -> bool:
    """Whether the scan of a case that may be read before its proof has come into the archive, or must go there anew."""
    has_turned = (before.storage == Storage.STORED) != (after.storage == Storage.STORED)
    return has_turned and session.get_one(Case, case_id).lane != Lane.ROUTINE


def _tell(session: Session, settings: Settings, scan: Scan, before: ScanState, after: ScanState, cause: Cause) -> None:
    """Let the slide, its case and the LIMS know."""
    if Storage.PROVEN in (before.storage, after.storage):
        for slide_id in sorted({one for one in (before.slide_id, after.slide_id) if one}):
            session.execute(_PREFER_THE_LATEST, {"slide": slide_id})
    announce.scan_changed(session, settings, scan, before, after)
    asking.scan_changed(session, settings, scan, before, after, cause)
    for case_id in sorted({one for one in (before.case_id, after.case_id) if one}):
        cases.evaluate(session, settings, case_id, cause)
