"""Another pathologist's opinion of a case: asked for, given, or no longer wanted."""

from sqlalchemy.orm import Session

from flows import cases, notices, reads
from flows.actions.desk import Acted, Desk, Person
from flows.actions.reads_given import objection_to
from flows.actions.reads_held import Held, expect_owner, hold, hold_any, name_of
from flows.actions.reads_named import Seen, pathologist_called, seen_now
from flows.alerts import READER_ABSENT
from flows.books import clear_alert
from flows.people.pools import hold_pools
from flows.reads.asked import ASKED
from flows.reads.rows import drop, rows_of_case
from models.database import database_now
from models.errors import RefusedError
from models.facets import Images


def ask_opinion(
    desk: Desk,
    case_id: str,
    person: Person,
    *,
    of_pathologist: str | None = None,
    of_subspecialty: str | None = None,
    insist: bool = False,
) -> Acted:
    """Ask what somebody else thinks of a case; the reason is the question.

    It is asked of whoever is named, or of whoever is found: of the case's own subspecialty, or of the one named.

    Raises
    ------
    RefusedError
        There is no such case, it is not to be read any more, or nothing of it can be yet; the same was asked already;
        whoever is named asks it, has a read of it, reads no longer, or may not have it by the rules and nobody insists.
    """
    with desk.database.write("people.ask_opinion") as session:
        case = cases.lock_case(session, case_id)
        if case is None:
            raise RefusedError(f"there is no case {case_id}: 'coverslip list' shows those there are")
        now, cause = database_now(session), person.cause("ask opinion")
        asker, question = person.name.strip(), person.reason.strip()
        if of_pathologist is not None and of_pathologist == pathologist_called(session, asker):
            raise RefusedError(f"{name_of(session, of_pathologist)} asks this: ask somebody else")
        if of_pathologist is not None:
            # The rules are asked of everybody's desk, and nothing is written before that is locked.
            hold_pools(session)
        of_whom = {"of_pathologist": of_pathologist, "of_subspecialty": of_subspecialty}
        read = reads.ask_opinion(session, desk.settings, case, asker, question, cause=cause, now=now, **of_whom)
        if of_pathologist is None:
            when = "" if case.images == Images.READY else " as soon as the case can be read"
            follows = [f"somebody who may give it is looked for{when}"]
        else:
            held = Held(case, read, seen_now(session, read), None, now)
            follows = [*_objections(session, desk, held, of_pathologist, insist=insist)]
            follows.append(f"{name_of(session, of_pathologist)} has it, and is told")
        return Acted(f"asked for an opinion ({read.scope})", tuple(follows), case=case.id)


def answer(desk: Desk, seen: Seen, reader_id: str, person: Person) -> Acted:
    """Say that an opinion was given, or a case prepared for its meeting; the reason is kept as the answer.

    Raises
    ------
    RefusedError
        Somebody was first, it is with somebody else, or nobody asked for it.
    """
    with desk.database.write("people.answer") as session:
        held = hold(session, desk.settings, seen, also_marked=False)
        if held.read.role not in ASKED and held.seen.pathologist_id != reader_id:
            raise RefusedError(
                f"nobody asked {name_of(session, reader_id)} about case {held.case.id}: only who was answers"
            )
        expect_owner(session, desk.settings, held, reader_id)
        reads.close_asked(session, held.case, held.read, cause=person.cause("answer"), now=held.now)
        clear_alert(session, held.read.id, READER_ABSENT, held.now)
        told = _tell_readers(session, held, f"{name_of(session, reader_id)} has given {held.read.scope}")
        return Acted(f"{held.read.scope} is given", told, case=held.case.id)


def call_off(desk: Desk, seen: Seen, person: Person) -> Acted:
    """Say that an opinion, or what is prepared for a meeting, is no longer wanted; whoever has it is told.

    Raises
    ------
    RefusedError
        It is over, or nobody asked for it: a case's other reads end with its report.
    """
    with desk.database.write("people.call_off") as session:
        held = hold_any(session, seen)
        if held.read.role not in ASKED:
            raise RefusedError(f"the {held.read.role} read was not asked for: the case's report ends it")
        row = next(one for one in rows_of_case(session, held.case) if one.read.id == held.read.id)
        because = f"{person.name.strip()} no longer wants it"
        drop(session, held.case, row, because=because, cause=person.cause("call off"), now=held.now)
        clear_alert(session, held.read.id, READER_ABSENT, held.now)
        had = held.seen.pathologist_id
        follows = (f"{name_of(session, had)} is told",) if had is not None else ()
        return Acted(f"{held.read.scope} is no longer wanted", follows, case=held.case.id)


def _objections(session: Session, desk: Desk, held: Held, pathologist_id: str, *, insist: bool) -> list[str]:
    objection = objection_to(session, desk, held, pathologist_id, has_it=True)
    if objection is None:
        return []
    who = name_of(session, pathologist_id)
    if not insist:
        raise RefusedError(f"{who} {objection}: ask somebody else, or say with --insist that it is to be so")
    return [f"the rules object: {who} {objection}"]


def _tell_readers(session: Session, held: Held, sentence: str) -> tuple[str, ...]:
    """Tell whoever reports the case."""
    whom = sorted(reads.primary_owners(session, held.case))
    for one in whom:
        about = f"{sentence} of case {held.case.id}"
        notices.tell(session, one, held.case.id, "asked", about, held.now, held.read.id)
    return tuple(f"{name_of(session, one)} is told" for one in whom)
