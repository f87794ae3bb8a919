"""A person has steps of a scan done again; what stands and what is redone is shown before."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from flows.actions.desk import Acted, Desk, Person, locked, settle_what_was_set_aside
from flows.actions.resending import RESEND, plan_resend, resend
from flows.books import Subject, clear_alert, note_changes
from flows.changes import Latest, Way, change_scan, latest_steps, rerun_scan, state_of, way_of
from flows.journey import DOWNSTREAM, SCAN_KINDS, ScanStep
from models.database import database_now
from models.errors import RefusedError
from models.facets import Identity, Outcome, StepState, Storage
from models.scan_fold import Resumed, ScanState, fold
from models.tables.scan import Scan

RERUN_FROM: Final = (*SCAN_KINDS, RESEND)
"""What a rerun may begin with."""


@dataclass(frozen=True)
class Rerun:
    """What a rerun keeps, what it does again, and what the world outside sees of it."""

    scan: str
    start: str
    kept: tuple[str, ...]
    redone: tuple[str, ...]
    outside: tuple[str, ...]


def preview_rerun(desk: Desk, scan_id: str, start: str | None = None) -> Rerun:
    """Return what a rerun would do, without doing it; as ``rerun``."""
    with desk.database.read() as session:
        scan = session.get(Scan, scan_id)
        if scan is None:
            raise RefusedError(f"there is no scan {scan_id}: 'coverslip list' shows those there are")
        return _plan(desk, session, scan, start)


def rerun(desk: Desk, scan_id: str, person: Person, start: str | None = None, seen: Rerun | None = None) -> Acted:
    """Do a scan's steps again from one on; a scan that was set aside or closed takes part again.

    Parameters
    ----------
    start
        The first step to be done again; by default the first one that is not done, or was set aside. ``send`` sends
        the messages of the scan's case again that the LIMS refused.
    seen
        The preview that the person agreed to; refused when it is no longer what would be done.

    Raises
    ------
    RefusedError
        There is no such scan or step, the scan is superseded or cancelled, everything is done, or what the step needs
        is missing.
    """
    with desk.database.write("people.rerun") as session:
        scan = locked(session, scan_id)
        plan = _plan(desk, session, scan, start if seen is None else seen.start)
        if seen is not None and plan != seen:
            raise RefusedError(f"scan {scan.id} has changed since you looked: look again, then decide")
        if plan.start == RESEND:
            resend(desk, session, scan, person.cause("rerun send"))
        else:
            _redo(desk, session, scan, plan, person)
        return Acted(f"runs again from {plan.start}", plan.outside, scan.id, scan.slide_id, scan.case_id)


def _redo(desk: Desk, session: Session, scan: Scan, plan: Rerun, person: Person) -> None:
    now, cause = database_now(session), person.cause(f"rerun {plan.start}")
    again = {plan.start, *DOWNSTREAM[plan.start]}
    latest = latest_steps(session, scan.id)
    rerun_scan(session, scan, plan.start)
    for kind in plan.redone:
        if kind not in again and latest[kind].state == StepState.SET_ASIDE:
            rerun_scan(session, scan, kind)
    settle_what_was_set_aside(session, scan.id)
    note_changes(session, Subject("scan", scan.id), [("steps", None, f"again from {plan.start}")], cause, now)
    change_scan(session, desk.settings, scan, [] if scan.outcome == Outcome.ACTIVE else [Resumed()], cause)
    for kind in ("set aside", "needs a person", "waits too long"):
        clear_alert(session, scan.id, kind, now)


def _plan(desk: Desk, session: Session, scan: Scan, start: str | None) -> Rerun:
    if start is not None and start not in RERUN_FROM:
        raise RefusedError(f"no step of that name can run again: choose one of {', '.join(RERUN_FROM)}")
    latest = latest_steps(session, scan.id)
    way = way_of(session, scan, latest)
    steps = {step.kind: step for step in way.steps}
    if start == RESEND:
        return Rerun(scan.id, RESEND, tuple(steps), (RESEND,), plan_resend(desk, session, scan))
    _refuse_scan(scan)
    if start is not None and start not in steps:
        raise RefusedError(f"scan {scan.id} takes no step {start} now: choose one of {', '.join(steps)}")
    state = state_of(scan) if scan.outcome == Outcome.ACTIVE else fold([Resumed()], state_of(scan))
    first = steps[start] if start else _first_undone(scan.id, state, way, latest)
    _refuse_step(scan.id, state, way, latest, first)
    redone = tuple(
        kind
        for kind, step in steps.items()
        if kind == first.kind or kind in DOWNSTREAM[first.kind] or _comes_back(step, state, latest.get(kind))
    )
    kept = tuple(
        kind for kind, step in steps.items() if kind not in redone and _is_done(step, state, way, latest.get(kind))
    )
    return Rerun(scan.id, first.kind, kept, redone, tuple(_outside(scan, way, redone)))


def _refuse_scan(scan: Scan) -> None:
    if scan.outcome == Outcome.SUPERSEDED:
        raise RefusedError(f"scan {scan.id} was replaced by scan {scan.superseded_by_id}: run that one again")
    if scan.outcome == Outcome.CANCELLED:
        raise RefusedError(
            f"scan {scan.id} is cancelled with its slide: it comes back when the LIMS orders the slide again; "
            "'coverslip withdraw' if it shows another slide"
        )


def _refuse_step(scan_id: str, state: ScanState, way: Way, latest: Mapping[str, Latest], first: ScanStep) -> None:
    if first.kind == "barcode_matching" and state.identity == Identity.MATCHED:
        raise RefusedError(f"scan {scan_id} is matched: 'coverslip withdraw' takes the match back")
    if first.kind == "slide_qc" and state.quality_by_person and _is_done(first, state, way, latest.get(first.kind)):
        raise RefusedError(f"scan {scan_id} was judged by a person, which stands: 'coverslip review' changes it")
    if not first.needs(state) and state.identity != Identity.MATCHED:
        raise RefusedError(f"scan {scan_id} is not matched to a slide: 'coverslip match' comes before {first.kind}")
    if not first.needs(state):
        raise RefusedError(
            f"scan {scan_id} has quality {state.quality}: 'coverslip review {scan_id} pass' comes before {first.kind}"
        )
    for step in way.steps:
        if step.kind in first.after and not _is_done(step, state, way, latest.get(step.kind)):
            raise RefusedError(f"scan {scan_id} is not through {step.kind} yet: run it again from there")


def _first_undone(scan_id: str, state: ScanState, way: Way, latest: Mapping[str, Latest]) -> ScanStep:
    for step in way.steps:
        if not _is_done(step, state, way, latest.get(step.kind)):
            return step
    raise RefusedError(f"every step of scan {scan_id} is done: say from which one it is to run again")


def _is_done(step: ScanStep, state: ScanState, way: Way, known: Latest | None) -> bool:
    """Whether the newest step of a kind was done, and what it found out still holds."""
    if known is None or known.state != StepState.DONE:
        return False
    if step.kind == "barcode_matching":
        return state.identity == Identity.MATCHED
    return not step.each_edition or known.edition >= way.edition


def _comes_back(step: ScanStep, state: ScanState, known: Latest | None) -> bool:
    """Whether a step that ended without being done is taken up again when its scan takes part again."""
    return known is not None and (
        known.state == StepState.SET_ASIDE or (known.state == StepState.CANCELLED and step.needs(state))
    )


def _outside(scan: Scan, way: Way, redone: Collection[str]) -> Iterator[str]:
    """Yield what archive, LIMS and readers see of it."""
    if scan.outcome == Outcome.SET_ASIDE and scan.slide_id:
        yield "the LIMS heard that the slide was set aside; it hears again when it is archived"
    if way.edition > scan.edition and "correct" in redone:
        yield f"its objects of edition {scan.edition} name another patient or case: they are hidden in the archive"
        yield f"the archive is given those of edition {way.edition}, and the LIMS hears of it"
    elif "store" not in redone:
        yield "the archive and the LIMS see nothing of it"
    elif scan.storage == Storage.RECEIVED:
        yield f"once it is matched and good, the archive is given its objects, of edition {scan.edition}"
    else:
        yield "the archive is given the same objects again, byte for byte: it keeps those that it has"
        yield "its case counts as incomplete until they are proven again: its reader is alerted meanwhile"
