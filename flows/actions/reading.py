"""What a pathologist does with a read: opens it, accepts it, or gives it back."""

from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows import allocation, reads
from flows.actions.desk import Acted, Desk, Person
from flows.actions.reads_given import entrust, objection_to
from flows.actions.reads_held import MACHINES, Held, are_told, expect_ours, expect_owner, hold, hold_any, name_of, when
from flows.actions.reads_named import Seen
from flows.alerts import READER_ABSENT
from flows.books import Cause, Subject, clear_alert, note_changes
from flows.case_assignment import giving
from flows.case_assignment.choice import Choice
from flows.case_assignment.cut_off import cut_off_sites
from flows.case_assignment.wanted import wanted
from flows.people.policies import policy_in_force
from models.errors import RefusedError
from models.facets import Images
from models.tables.reading import Assignment, Declined

_PINNED: Final = "nobody but a person moves it from now on"


def open_read(desk: Desk, seen: Seen, reader_id: str, person: Person) -> Acted:
    """Say that somebody has opened what they are to read: from now on no machine moves it.

    Where a machine has just moved it on to somebody who has not touched it, it comes back: whoever reads, wins.

    Raises
    ------
    RefusedError
        The read is over, or somebody else has it.
    """
    with desk.database.write("people.open_read") as session:
        held = hold_any(session, seen)
        given, follows = held.given, [_PINNED]
        if given is not None and given.pathologist_id != reader_id and _was_moved_away(session, held, given, reader_id):
            given = _bring_back(session, desk, held, reader_id, person)
            follows.append("it had been moved a moment before, and came back")
        else:
            given = expect_owner(session, desk.settings, held, reader_id)
        zone = desk.settings.site(held.case.site_id).zone
        if given.opened_at is not None:
            return Acted(f"open since {when(given.opened_at, held.now, zone)[3:]}", (_PINNED,), case=held.case.id)
        given.opened_at = held.now
        _note(session, held, "opened by", reader_id, person.cause("open"))
        return Acted("opened", tuple(follows), case=held.case.id)


def accept(desk: Desk, seen: Seen, reader_id: str, person: Person, *, insist: bool = False) -> Acted:
    """Say that somebody will read what they were given; what nobody has yet becomes theirs.

    Raises
    ------
    RefusedError
        Somebody was first; somebody else has it; or nobody has it, the rules are against it and nobody insists.
    """
    with desk.database.write("people.accept") as session:
        held = hold(session, desk.settings, seen, also_marked=False)
        if held.given is None:
            return _take_up(session, desk, held, reader_id, person, insist=insist)
        given = expect_owner(session, desk.settings, held, reader_id)
        zone = desk.settings.site(held.case.site_id).zone
        if given.accepted_at is not None:
            return Acted(f"accepted already {when(given.accepted_at, held.now, zone)}", (), case=held.case.id)
        given.accepted_at = held.now
        _note(session, held, "accepted by", reader_id, person.cause("accept"))
        return Acted("accepted", (), case=held.case.id)


def decline(desk: Desk, seen: Seen, reader_id: str, person: Person) -> Acted:
    """Give a read back; it goes to somebody else at once, and never to them again by itself.

    Raises
    ------
    RefusedError
        Somebody was first, or somebody else has it.
    """
    with desk.database.write("people.decline") as session:
        held = hold(session, desk.settings, seen)
        expect_ours(desk.settings, held)
        expect_owner(session, desk.settings, held, reader_id)
        _keep_why(session, held, reader_id, person)
        follows = pass_on(session, desk, held, "given back", person.cause("decline"))
        # After the pools are locked: whoever says that somebody is back clears these under them.
        clear_alert(session, held.read.id, READER_ABSENT, held.now)
        return Acted("given back", (follows,), case=held.case.id)


def pass_on(session: Session, desk: Desk, held: Held, because: str, cause: Cause) -> str:
    """Take a locked read from whoever has it, and give it to whoever may have it now; say who that is."""
    giving.take(session, held.case, held.read, because=because, cause=cause, now=held.now)
    if held.case.images != Images.READY:
        return "it goes to somebody else as soon as the case can be read"
    cut_off = cut_off_sites(session, desk.settings, desk.ids)
    choice = giving.decide(session, held.case, held.read, held.now, cut_off)
    if not isinstance(choice, Choice):
        reads.have_it_read(session, held.case, held.now)
        return "nobody else may read it by the rules: it is raised, and a person has to give it to somebody"
    giving.give(
        *(session, desk.settings, held.case, held.read, choice.pathologist_id),
        decided_by="coverslip",
        explanation=choice.explanation.model_dump(mode="json"),
        cause=cause,
        now=held.now,
        policy_version=policy_in_force(session, held.now).version,
    )
    allocation.follow(session, desk.settings, held.case, cause, held.now)
    told = are_told(session, held, choice.pathologist_id)
    return f"{name_of(session, choice.pathologist_id)} has it now; {told}"


def _take_up(session: Session, desk: Desk, held: Held, reader_id: str, person: Person, *, insist: bool) -> Acted:
    """Give somebody what nobody has, on their own word."""
    expect_ours(desk.settings, held)
    objection = objection_to(session, desk, held, reader_id)
    if objection is not None and not insist:
        who = name_of(session, reader_id)
        raise RefusedError(f"{who} {objection}: leave it, or say with --insist that it is to be so")
    acted = entrust(session, desk, held, reader_id, person, "accept", objection)
    given = _open_assignment(session, held)
    given.accepted_at = held.now
    return Acted("accepted", acted.follows, case=held.case.id)


def _was_moved_away(session: Session, held: Held, given: Assignment, reader_id: str) -> bool:
    """Whether a machine took a read from this reader last who may have it still, and nobody has touched it since."""
    if given.manual or given.accepted_at or given.opened_at or given.decided_by not in MACHINES:
        return False
    before = (
        select(Assignment.pathologist_id, Assignment.ended_at)
        .where(Assignment.read_id == given.read_id, Assignment.id < given.id)
        .order_by(Assignment.id.desc())
        .limit(1)
    )
    last = session.execute(before).one_or_none()
    # Ended in the transaction that gave it on: nobody else had a hand in it meanwhile.
    moved = last is not None and last.pathologist_id == reader_id and last.ended_at == given.started_at
    if not moved:
        return False
    want = wanted(session, held.case, held.read, policy_in_force(session, held.now).policy)
    return reader_id not in want.declined | want.conflicts | want.reads_otherwise


def _bring_back(session: Session, desk: Desk, held: Held, reader_id: str, person: Person) -> Assignment:
    sentence = f"{person.name.strip()} had it open when it was moved"
    giving.give(
        *(session, desk.settings, held.case, held.read, reader_id),
        decided_by=person.name.strip(),
        explanation={"sentence": sentence, "decided_by": person.name.strip(), "objection": None},
        cause=person.cause("open"),
        now=held.now,
        because=f"{name_of(session, reader_id)} was reading it already",
    )
    return _open_assignment(session, held)


def _open_assignment(session: Session, held: Held) -> Assignment:
    open_one = select(Assignment).where(Assignment.read_id == held.read.id, Assignment.ended_at.is_(None))
    return session.scalars(open_one).one()


def _keep_why(session: Session, held: Held, reader_id: str, person: Person) -> None:
    of_theirs = select(Declined).where(Declined.read_id == held.read.id, Declined.pathologist_id == reader_id)
    row = session.scalars(of_theirs).one_or_none()
    if row is None:
        row = Declined(read_id=held.read.id, pathologist_id=reader_id)
        session.add(row)
    row.at, row.because = held.now, person.reason.strip()
    # The choice is made from what the database has.
    session.flush()


def _note(session: Session, held: Held, what: str, reader_id: str, cause: Cause) -> None:
    note_changes(session, Subject("case", held.case.id), [(what, None, reader_id)], cause, held.now)
