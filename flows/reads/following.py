"""Which reads a case has: brought in line with its rounds, its specimens, its lane and the policy in force.

A primary one for each part; a second one and a trainee's beside it where the policy says so; one for a frozen section
first. The caller holds the case's row in its write transaction.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows.books import Cause, clear_alert
from flows.case_assignment import giving
from flows.case_assignment.candidate import GENERAL
from flows.people.policies import policy_in_force
from flows.reads import crediting, rows
from flows.reads.parts import WHOLE, Part, Tissue, parts_of
from flows.reads.rows import ANSWERED, Row
from flows.reads.weight import weigh_anew
from models.facets import Images, Lane, Report
from models.policy import Policy
from models.tables.case import Case, Specimen
from models.tables.reading import Competence, Pathologist, Read

NOTHING_LEFT: Final = "nothing of it is left to read"
_SECOND, _TRAINEE, _INTRA_OPERATIVE = "second", "trainee", "intra-operative"
_LEARNS: Final = 3
_BESIDE: Final = (_SECOND, _TRAINEE)
# In which order readers are looked for: whoever looks second has to know who is first.
_ORDER: Final = (_INTRA_OPERATIVE, "primary", _SECOND, _TRAINEE)


@dataclass(frozen=True)
class _At:
    """A case at work: its rules, whether it is ours to say who reads it, and why and when it is looked at."""

    session: Session
    case: Case
    policy: Policy
    ours: bool
    cause: Cause
    now: datetime

    @property
    def own(self) -> str:
        """The case's own subspecialty."""
        return self.case.subspecialty or GENERAL

    @property
    def split(self) -> bool:
        """Whether specimens of other subspecialties have readers of their own."""
        return self.ours and self.policy.of(self.case.subspecialty).split

    def beside(self, subspecialty: str) -> tuple[str, ...]:
        """The roles that go with a primary read of a subspecialty."""
        rules = self.policy.of(subspecialty)
        if not self.ours:
            return ()
        second = (_SECOND,) if rules.double else ()
        return (*second, _TRAINEE) if rules.trainees and self._is_taught(subspecialty) else second

    def _is_taught(self, subspecialty: str) -> bool:
        """Whether somebody of the site learns a subspecialty."""
        trainees = select(Competence.id).join(Pathologist, Pathologist.id == Competence.pathologist_id)
        here = (Pathologist.site_id == self.case.site_id, Pathologist.active.is_(True))
        wanted = trainees.where(*here, Competence.subspecialty == subspecialty, Competence.level == _LEARNS)
        return self.session.scalars(wanted.limit(1)).first() is not None


def keep(
    session: Session, settings: Settings, case: Case, cause: Cause, now: datetime, *, more_came: bool = False
) -> None:
    """Bring the reads of an open round in line; the first come when the case can be read, and are assigned as long.

    ``more_came`` says that slides were ordered that the case did not have: after a frozen section, its paraffin.
    """
    if case.cancelled:
        return
    there = rows.rows_of_round(session, case) if case.round_closed_at is None else []
    # What somebody asked for may be there before anything can be read.
    has_begun = any(row.read.role in _ORDER for row in there)
    if case.round_closed_at is None and (has_begun or case.images == Images.READY):
        ours = settings.site(case.site_id).who_allocates(case.subspecialty) == "coverslip"
        at = _At(session, case, policy_in_force(session, now).policy, ours, cause, now)
        _bring_in_line(at, there, more_came=more_came)
        giving.say_reading(session, case, cause, now)
    if case.images == Images.READY:
        have_it_read(session, case, now)


def _bring_in_line(at: _At, there: list[Row], *, more_came: bool) -> None:
    if _after_the_frozen_section(at, there, more_came=more_came):
        _divide(at, there)
    for row in there:
        if row.is_open and row.owner is None and row.read.role in _ORDER:
            weigh_anew(at.session, at.case, row, at.policy, at.now)
    at.session.flush()


def have_it_read(session: Session, case: Case, now: datetime) -> None:
    """See that every open read of a case is being assigned that nobody has."""
    wanted = rows.open_to_all(session, case)
    order = {role: place for place, role in enumerate(_ORDER)}
    wanted.sort(key=lambda read: (order.get(read.role, len(order)), read.scope))
    rows.have_assigned(session, case, wanted, now)


def stop_assigning(session: Session, case: Case, now: datetime) -> None:
    """Give the reads of a case that is no longer ready to nobody; who has one keeps it."""
    rows.stop(session, session.scalars(select(Read.id).where(Read.case_id == case.id)))
    clear_alert(session, case.id, giving.NOBODY_ELIGIBLE, now)


def _after_the_frozen_section(at: _At, there: list[Row], *, more_came: bool) -> bool:
    """Have a frozen section read at once, and return whether what comes after it is to be read by now."""
    case = at.case
    frozen = next((row for row in there if row.read.role == _INTRA_OPERATIVE), None)
    has_primary = any(row.read.role == "primary" for row in there)
    # What is ordered after the final report is no frozen section, however urgent its case was.
    is_over = case.round > 1 or case.lane != Lane.INTRA_OPERATIVE
    is_answered = is_over or case.report == Report.PRELIMINARY
    if frozen is None:
        if has_primary or is_answered or not at.ours:
            return True
        rows.new_row(at.session, case, there, _INTRA_OPERATIVE, WHOLE, at.now)
        return False
    if frozen.is_open and is_answered:
        rows.close(at.session, case, frozen, because=ANSWERED, cause=at.cause, now=at.now)
    return not frozen.is_open or has_primary or more_came


def _divide(at: _At, there: list[Row]) -> None:
    """Have one primary read for each part, with those that go beside it, and end those of which nothing is left."""
    primaries = [row for row in there if row.read.role == "primary"]
    tissues = _tissues(at) if at.split or any(row.covers is not None for row in primaries) else []
    _close_reported(at, there, tissues)
    held = [_held(at, row) for row in primaries if row.is_open and row.owner is not None]
    wanted = parts_of(
        tissues,
        held,
        at.own,
        split=at.split,
        spoken_for={row.read.scope for row in primaries if row.credited},
        known={row.read.scope for row in primaries},
    )
    kept = [(part, role, _row_of(at, there, role, part)) for part in wanted for role in ("primary", *_BESIDE)]
    stay = {row.read.id for _, _, row in kept if row is not None}
    for row in there:
        if row.is_open and row.read.role in ("primary", *_BESIDE) and row.read.id not in stay:
            rows.drop(at.session, at.case, row, because=NOTHING_LEFT, cause=at.cause, now=at.now)
    for part, role, known in kept:
        if known is not None or role in ("primary", *at.beside(part.subspecialty)):
            _have(at, there, part, role, known)


def _row_of(at: _At, there: list[Row], role: str, part: Part) -> Row | None:
    """Return the row of a part's read of this role, if there is one that may go on."""
    scope = part.was or part.scope
    row = next((one for one in there if one.read.role == role and one.read.scope == scope and not one.credited), None)
    goes_on = role in ("primary", *at.beside(part.subspecialty)) or (row is not None and row.owner is not None)
    return row if goes_on else None


def _have(at: _At, there: list[Row], part: Part, role: str, row: Row | None) -> None:
    mine = row or rows.new_row(at.session, at.case, there, role, part.scope, at.now)
    if row is None and role == _TRAINEE:
        # Whoever gets the primary read later becomes it then.
        mine.read.supervisor_id = next((one.owner for one in there if _is_primary_of(one, part)), None)
    mine.read.scope, mine.read.closed_at = part.scope, None
    # A part is of what it was made for, whatever the case turns out to be.
    mine.read.subspecialty = part.subspecialty if part.specimens or part.subspecialty != at.own else None
    rows.cover(at.session, mine, part.specimens)


def _is_primary_of(row: Row, part: Part) -> bool:
    return row.is_open and row.read.role == "primary" and row.read.scope == part.scope


def _held(at: _At, row: Row) -> Part:
    # A part of which no specimen is left, not even cancelled, is nothing; a whole case is all there is.
    covers = row.covers if row.covers is not None or row.read.scope == WHOLE else frozenset[str]()
    return Part(row.read.scope, row.read.subspecialty or at.own, covers, was=row.read.scope)


def _close_reported(at: _At, there: list[Row], tissues: list[Tissue]) -> None:
    """Close the reads of each part of which all that stands is reported, and credit who had them."""
    standing = {tissue.id for tissue in tissues}
    reported = {tissue.id for tissue in tissues if tissue.reported}
    over = [
        row
        for row in there
        if row.is_open
        and row.read.role in ("primary", *_BESIDE)
        and row.covers is not None
        and row.covers & standing
        and row.covers & standing <= reported
    ]
    for row in over:
        rows.close(at.session, at.case, row, because=rows.REPORTED, cause=at.cause, now=at.now)
    if over:
        crediting.credit(at.session, at.case, over, at.policy, at.cause, at.now)


def _tissues(at: _At) -> list[Tissue]:
    standing = (
        select(Specimen.id, Specimen.subspecialty, Specimen.reported)
        .where(Specimen.case_id == at.case.id, Specimen.cancelled.is_(False))
        .order_by(Specimen.id)
    )
    return [Tissue(one, own or at.own, reported) for one, own, reported in at.session.execute(standing)]
