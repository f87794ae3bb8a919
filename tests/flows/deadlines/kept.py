"""What tests of deadlines do and look at."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, select, update

from connectors.wiring import Lab
from flows.books import Cause
from flows.cases import lock_case
from flows.deadlines.keep import keep
from flows.deadlines.watch import Watch
from models.database import database_now
from models.policy import Policy, Target
from models.tables.books import Alert
from models.tables.case import Case
from models.tables.deadline import Deadline, Holiday
from models.tables.place import Site
from models.tables.reading import Notice, PolicyVersion


def policy_begins(lab: Lab, version: int = 1, /, **targets: Target) -> None:
    """Have a policy with these targets be in force from long ago on."""
    body = Policy(targets=targets).model_dump(mode="json")
    row = {"version": version, "digest": "0" * 64, "body": body, "begins_at": datetime(2001, 1, 1, tzinfo=UTC)}
    with lab.database.write("policy") as session:
        session.execute(insert(PolicyVersion), row | {"by": "Ann", "because": "a test"})


def holidays(lab: Lab, *days: datetime) -> None:
    """Have all sites keep a calendar with these days."""
    with lab.database.write("holidays") as session:
        session.execute(update(Site).values(calendar="england"))
        rows = [{"calendar": "england", "day": day.date(), "name": "a day off"} for day in days]
        session.execute(insert(Holiday), rows)


def kept(lab: Lab) -> None:
    """Have the deadlines of the one case brought in line."""
    with lab.database.write("kept") as session:
        case = lock_case(session, session.scalars(select(Case.id)).one())
        assert case is not None
        keep(session, lab.settings, case, Cause("a test"), database_now(session))


def due(lab: Lab) -> dict[str, Deadline]:
    """Return the deadlines that live, by kind."""
    with lab.database.read() as session:
        return {one.kind: one for one in session.scalars(select(Deadline).where(Deadline.ended_at.is_(None)))}


def ended(lab: Lab) -> list[tuple[int, str, bool]]:
    """Return the deadlines that are over: of which round, which kind, and whether they were missed."""
    with lab.database.read() as session:
        rows = session.scalars(select(Deadline).where(Deadline.ended_at.is_not(None)).order_by(Deadline.round))
        return [(row.round, row.kind, row.breached_at is not None) for row in rows]


def raised(lab: Lab) -> dict[str, str]:
    """Return the sentences of the open alerts about deadlines, by kind."""
    with lab.database.read() as session:
        open_ones = select(Alert).where(Alert.cleared_at.is_(None), Alert.kind.startswith("deadline"))
        return {one.kind: one.sentence for one in session.scalars(open_ones)}


def notices(lab: Lab) -> list[tuple[str, str]]:
    with lab.database.read() as session:
        rows = session.scalars(select(Notice).where(Notice.kind == "deadline").order_by(Notice.id))
        return [(row.pathologist_id, row.sentence) for row in rows]


def moved(lab: Lab, kind: str, until: timedelta) -> None:
    """Have a deadline be so far away, as if its clock had begun earlier or later."""
    with lab.database.write("moved") as session:
        now = database_now(session)
        session.execute(update(Deadline).where(Deadline.kind == kind).values(due_at=now + until))


def looked(lab: Lab) -> int:
    return Watch(lab).look()


def hl7(at: datetime) -> str:
    """Return a time as HL7 writes it."""
    return f"{at.astimezone(UTC):%Y%m%d%H%M%S}+0000"
