"""What becomes of reads while people act on them, as short values."""

from collections.abc import Sequence

from sqlalchemy import select

from connectors.wiring import Lab
from flows.actions import Person, Seen, read_named
from flows.books import Cause
from flows.case_assignment import giving
from flows.case_assignment.rebalance.applying import DECIDED_BY
from flows.cases import lock_case
from models.database import database_now
from models.tables.books import Alert, History
from models.tables.reading import Assignment, Notice, Read
from tests.flows.actions.life import ONE, case_of, ordered, scanned
from tests.small_lab import SmallSlide, message_arrives, order, run_until_calm, scan_arrives

ROSA, TOM = Person("Dr Rosa Example", "my own reason"), Person("Dr Tom Example", "my own reason")
MANAGER = Person("Ann Manager", "the surgeon asked for it")
OTHER = {"rosa": "tom", "tom": "rosa"}
PERSONS = {"rosa": ROSA, "tom": TOM}


def assigned(lab: Lab) -> tuple[Seen, str, str]:
    """Have one case that somebody was given; return its read, who has it, and who has not."""
    ordered(lab)
    scanned(lab, ONE)
    seen = the_read(lab)
    assert seen.pathologist_id is not None
    return seen, seen.pathologist_id, OTHER[seen.pathologist_id]


def cases_assigned(lab: Lab, number: int, *, first: int = 0, **said: str) -> list[Seen]:
    """Have so many cases that somebody was given, numbered from the first, in the order in which they came."""
    accessions = [f"26C{one:04}" for one in range(first, first + number)]
    for accession in accessions:
        names = {"control_id": accession, "patient": f"P{accession}"}
        message_arrives(lab, order(accession, f"{accession}-A1-1", **names, **said))
    for accession in accessions:
        scan_arrives(lab, SmallSlide(codes=(f"{accession}-A1-1",)))
    run_until_calm(lab)
    return [the_read(lab, accession) for accession in accessions]


def the_read(lab: Lab, case: str | None = None, *, role: str | None = None) -> Seen:
    """Return a case's read as it is now; of the only case, if none is named."""
    with lab.database.read() as session:
        return read_named(session, case or case_of(lab).id, role=role)


def the_batch_moves(lab: Lab, seen: Seen, to: str) -> bool:
    """Move a read as a look at all of them does, if nobody has touched it since it was seen; return whether it did."""
    with lab.database.write("test") as session:
        case, read = lock_case(session, seen.case_id), session.get_one(Read, seen.read_id)
        assert case is not None
        open_one = select(Assignment).where(Assignment.read_id == read.id, Assignment.ended_at.is_(None))
        given = session.scalars(open_one.execution_options(populate_existing=True)).one()
        if given.id != seen.assignment_id or given.opened_at or given.accepted_at or given.manual:
            return False
        now, cause, why = database_now(session), Cause("look"), {"sentence": "the loads are more even so"}
        giving.give(
            *(session, lab.settings, case, read, to), decided_by=DECIDED_BY, explanation=why, cause=cause, now=now
        )
    return True


def owners(lab: Lab, read_id: str | None = None) -> list[tuple[str, str, bool, bool]]:
    """Return who has or had a read: whom, who decided it, whether by hand, and whether they have it still."""
    with lab.database.read() as session:
        rows = session.scalars(select(Assignment).order_by(Assignment.id))
        return [
            (row.pathologist_id, row.decided_by, row.manual, row.ended_at is None)
            for row in rows
            if read_id in (None, row.read_id)
        ]


def assignment(lab: Lab, seen: Seen) -> Assignment:
    """Return the open assignment of a read."""
    with lab.database.read() as session:
        open_one = select(Assignment).where(Assignment.read_id == seen.read_id, Assignment.ended_at.is_(None))
        return session.scalars(open_one).one()


def notices(lab: Lab, whose: str) -> list[str]:
    """Return the kinds of what somebody was told, in order."""
    with lab.database.read() as session:
        return list(session.scalars(select(Notice.kind).where(Notice.pathologist_id == whose).order_by(Notice.id)))


def done_by(lab: Lab, name: str) -> Sequence[tuple[str, str | None, str | None]]:
    """Return what history says that a person did."""
    with lab.database.read() as session:
        rows = session.execute(
            select(History.what, History.before, History.after).where(History.actor == name).order_by(History.id)
        )
        return [(what, before, after) for what, before, after in rows]


def raised(lab: Lab) -> list[str]:
    """Return the kinds of the open alerts."""
    with lab.database.read() as session:
        return sorted(session.scalars(select(Alert.kind).where(Alert.cleared_at.is_(None))))
