"""A read goes to whom a person names: handed over by whoever has it, or decided by somebody above both."""

from dataclasses import replace
from typing import Any, Final

from sqlalchemy.orm import Session

from flows import allocation, ledger
from flows.actions.desk import Acted, Desk, Person
from flows.actions.reads_held import Held, are_told, expect_ours, expect_owner, hold, name_of, when
from flows.actions.reads_named import Seen
from flows.alerts import READER_ABSENT
from flows.books import Subject, clear_alert, note_changes
from flows.case_assignment import giving
from flows.case_assignment.cut_off import cut_off_sites
from flows.case_assignment.eligibility import Excluded, eligible
from flows.case_assignment.wanted import wanted
from flows.people.candidates import load_candidates
from flows.people.policies import policy_in_force
from models.errors import RefusedError
from models.facets import StepState
from models.tables.reading import Assignment, Pathologist

_STAYS: Final = "no machine moves it: 'coverslip assign override CASE --release' lets it be moved again"


def hand_over(desk: Desk, seen: Seen, reader_id: str, to_id: str, person: Person, *, insist: bool = False) -> Acted:
    """Hand a read of one's own over to a colleague, who has it from then on and is told.

    Raises
    ------
    RefusedError
        Somebody was first; it is not theirs; the colleague reads no longer, has it already, or may not have it by the
        rules and nobody insists.
    """
    with desk.database.write("people.hand_over") as session:
        held = hold(session, desk.settings, seen)
        expect_ours(desk.settings, held)
        if to_id == reader_id:
            raise RefusedError("a read is handed over to somebody else: 'coverslip assign accept' keeps it")
        expect_owner(session, desk.settings, held, reader_id)
        objection = _objection_unless(session, desk, held, to_id, insist=insist)
        return entrust(session, desk, held, to_id, person, "hand over", objection)


def override(desk: Desk, seen: Seen, to_id: str, person: Person) -> Acted:
    """Have somebody read a case, whoever has it and whatever the rules say; what they object to is kept and told.

    Raises
    ------
    RefusedError
        Somebody was first; whoever is named reads no longer, or has it by a person's decision already.
    """
    with desk.database.write("people.override") as session:
        held = hold(session, desk.settings, seen)
        expect_ours(desk.settings, held)
        if held.given is not None and held.given.pathologist_id == to_id:
            return _keep(session, desk, held, held.given, person)
        return entrust(session, desk, held, to_id, person, "override", objection_to(session, desk, held, to_id))


def let_move(desk: Desk, seen: Seen, person: Person) -> Acted:
    """Let a read that a person gave be moved by the machine again.

    Raises
    ------
    RefusedError
        Somebody was first, or no person gave it.
    """
    with desk.database.write("people.let_move") as session:
        held = hold(session, desk.settings, seen)
        if held.given is None or not held.given.manual:
            raise RefusedError("no person decided who has this read: it may be moved as it is")
        _set_manual(session, held, held.given, person, stays=False)
        who = name_of(session, held.given.pathologist_id)
        follows = "nobody moves it, since it is open" if held.given.opened_at else "it moves when that is better"
        return Acted(f"{who} keeps it for now", (follows,), case=held.case.id)


def objection_to(session: Session, desk: Desk, held: Held, to_id: str, *, has_it: bool = False) -> str | None:
    """Return what the rules say against somebody's having a read; all pools are locked from then on.

    ``has_it`` says that it lies on their desk already.

    Raises
    ------
    RefusedError
        They read no longer for this laboratory: nobody can have them read.
    """
    person = session.get(Pathologist, to_id)
    if person is None or not person.active:
        who = person.name if person is not None else to_id
        raise RefusedError(f"{who} reads no longer for this laboratory: name somebody who does")
    want = wanted(session, held.case, held.read, policy_in_force(session, held.now).policy)
    # Of every pool: a person may name somebody of whom no machine would think.
    cut_off = cut_off_sites(session, desk.settings, desk.ids)
    everybody = load_candidates(session, held.now, among=lambda one: one.pathologist_id == to_id, cut_off=cut_off)
    them = next(one for one in everybody if one.pathologist_id == to_id)
    them = replace(them, open_points=them.open_points - held.read.points) if has_it else them
    verdict = eligible(want, them, held.now)
    return verdict.sentence if isinstance(verdict, Excluded) else None


def entrust(  # noqa: PLR0913, PLR0917 - whom, by whom, and what is said against it
    session: Session, desk: Desk, held: Held, to_id: str, person: Person, what: str, objection: str | None
) -> Acted:
    """Give a locked read to somebody on a person's word, which no machine undoes."""
    # What was still looking for somebody, or waits for one, has found them.
    ledger.end_open(session, held.read.id, ("case_assignment",), StepState.SUPERSEDED)
    had, who = held.seen.pathologist_id, name_of(session, to_id)
    cause = person.cause(what)
    giving.give(
        *(session, desk.settings, held.case, held.read, to_id),
        decided_by=person.name.strip(),
        explanation=_explanation(person, what, objection),
        cause=cause,
        now=held.now,
        manual=True,
        policy_version=policy_in_force(session, held.now).version,
        because=f"{person.name.strip()} gave it to {who}",
    )
    clear_alert(session, held.read.id, READER_ABSENT, held.now)
    allocation.follow(session, desk.settings, held.case, cause, held.now)
    follows = [f"the rules object: {who} {objection}"] if objection else []
    return Acted(f"given to {who}", (*follows, are_told(session, held, to_id, had), _STAYS), case=held.case.id)


def _objection_unless(session: Session, desk: Desk, held: Held, to_id: str, *, insist: bool) -> str | None:
    objection = objection_to(session, desk, held, to_id)
    if objection is not None and not insist:
        who = name_of(session, to_id)
        raise RefusedError(f"{who} {objection}: choose somebody else, or say with --insist that it is to be so")
    return objection


def _keep(session: Session, desk: Desk, held: Held, given: Assignment, person: Person) -> Acted:
    """Have whoever has a read keep it."""
    who = name_of(session, given.pathologist_id)
    if given.manual:
        since = when(given.started_at, held.now, desk.settings.site(held.case.site_id).zone)
        raise RefusedError(f"{who} has it by a person's decision already: {given.decided_by} decided {since}")
    _set_manual(session, held, given, person, stays=True)
    return Acted(f"{who} has it and keeps it", (_STAYS,), case=held.case.id)


def _set_manual(session: Session, held: Held, given: Assignment, person: Person, *, stays: bool) -> None:
    given.manual = stays
    words = ("may be moved", "stays")
    changes = [(f"{held.read.role} reader", words[not stays], words[stays])]
    note_changes(session, Subject("case", held.case.id), changes, person.cause("override"), held.now)


def _explanation(person: Person, what: str, objection: str | None) -> dict[str, Any]:
    name = person.name.strip()
    said = {"hand over": "handed it over", "accept": "accepted it"}.get(what, "decided it")
    doubt = f"; by the rules this reader {objection}" if objection else ""
    sentence = f"{name} {said}: {person.reason.strip()}{doubt}"
    return {"sentence": sentence, "decided_by": name, "reason": person.reason.strip(), "objection": objection}
