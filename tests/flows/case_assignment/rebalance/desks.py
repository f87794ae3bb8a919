"""A laboratory whose desks are full: people, cases and reads that were given, in the books as they would lie there.

Everybody reads at every hour, unless a test says otherwise: what is shown here must not depend on the hour it runs at.
"""

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import insert, select

from connectors.wiring import Lab
from flows import ledger
from flows.case_assignment.rebalance.looks import EVERYBODY, NEXT_LOOK
from flows.journey import REBALANCE, STAGES
from flows.ledger import Wait
from models.database import database_now
from models.policy import Batch, Policy
from models.tables.case import Case
from models.tables.reading import (
    Assignment,
    Competence,
    Leave,
    Notice,
    Pathologist,
    PolicyVersion,
    Read,
    ReadingSession,
    Rebalance,
)
from models.tables.step import Step
from tests.small_lab import run_until_calm

ONLY_LOOKS: Final = [stage for stage in STAGES if stage.name == REBALANCE]
LONG_AGO: Final = timedelta(days=2)
_SUBSPECIALTIES: Final = ("general", "breast", "skin")


@dataclass(frozen=True)
class Desk:
    """One person as a test wants them."""

    id: str
    points_a_week: float = 100.0
    subspecialties: tuple[str, ...] = _SUBSPECIALTIES
    site: str = "site-a"
    level: int = 1
    max_points: float | None = None


@dataclass(frozen=True)
class Given:
    """A read and who has it; without anybody it is being assigned."""

    owner: str | None = None
    points: float = 4.0
    subspecialty: str = "general"
    due_in: timedelta | None = timedelta(days=8)
    lane: int = 2
    since: timedelta = LONG_AGO
    role: str = "primary"
    case: str | None = None
    site: str = "site-a"
    opened: bool = False
    manual: bool = False
    accepted: bool = False


def only(lab: Lab, *desks: Desk) -> None:
    """Have these people and nobody else read for the laboratory."""
    with lab.database.write("desks") as session:
        for person in session.scalars(select(Pathologist)).all():
            person.active = False
        for desk in desks:
            row: dict[str, Any] = {"id": desk.id, "name": f"Dr {desk.id.title()}", "site_id": desk.site}
            row |= {
                "pool_id": "network",
                "points_a_week": desk.points_a_week,
                "max_points": desk.max_points,
                "source": "import",
            }
            session.execute(insert(Pathologist).values(**row, active=True))
            for name in desk.subspecialties:
                competence = {"pathologist_id": desk.id, "subspecialty": name, "level": desk.level, "digital": True}
                session.execute(insert(Competence).values(**competence, valid_from=date(2020, 1, 1)))
            for weekday in range(7):
                hours = {"pathologist_id": desk.id, "weekday": weekday, "starts": time(0), "ends": time(0)}
                session.execute(insert(ReadingSession).values(**hours))


def lay(lab: Lab, *reads: Given) -> list[str]:
    """Put reads on desks, each with a case of its own unless it names one; return their ids."""
    with lab.database.write("desks") as session:
        now = database_now(session)
        return [_lay(session, one, now) for one in reads]


def _lay(session: Any, one: Given, now: datetime) -> str:  # noqa: ANN401 - a session
    case_id = one.case or str(uuid.uuid4())
    began = now - one.since
    if session.get(Case, case_id) is None:
        row = {"id": case_id, "site_id": one.site, "subspecialty": one.subspecialty, "lane": one.lane}
        row |= {"due_at": None if one.due_in is None else now + one.due_in, "images": "ready", "registered_at": began}
        row |= {"orders_changed_at": began, "expected_closed_at": began}
        session.execute(insert(Case).values(**row, reading="assigned" if one.owner else "unassigned"))
    read_id = str(uuid.uuid4())
    read = {"id": read_id, "case_id": case_id, "round": 1, "role": one.role, "points": one.points}
    session.execute(insert(Read).values(**read, created_at=began))
    if one.owner is None:
        step = ledger.NewStep("case_assignment", "case_assignment", "read", read_id, rank_at=now)
        wait = Wait("an eligible pathologist", read_id, now + timedelta(minutes=15), "tried again")
        ledger.add(session, [replace(step, wait=wait)])
        return read_id
    given = {"read_id": read_id, "pathologist_id": one.owner, "started_at": began, "decided_by": "coverslip"}
    given |= {"opened_at": began if one.opened else None, "accepted_at": began if one.accepted else None}
    session.execute(insert(Assignment).values(**given, manual=one.manual, explanation={"sentence": "laid"}))
    return read_id


def busy(lab: Lab, *, people: int = 30, reads: int = 300, seed: int = 1) -> list[str]:
    """Have a laboratory of some size in which every read went to whoever had least to do; return the reads."""
    drawn = random.Random(seed)
    desks = [
        Desk(
            f"d{number:03}",
            drawn.choice((40.0, 60.0, 100.0, 100.0)),
            tuple(drawn.sample(_SUBSPECIALTIES, drawn.choice((1, 2, 3)))),
            drawn.choice(("site-a", "site-b")),
        )
        for number in range(people)
    ]
    only(lab, *desks)
    loads = dict.fromkeys((desk.id for desk in desks), 0.0)
    given = []
    for _ in range(reads):
        subspecialty, points = drawn.choice(_SUBSPECIALTIES), float(drawn.choice((1, 2, 2, 3, 4, 6, 10)))
        may = [desk for desk in desks if subspecialty in desk.subspecialties]
        least = min(may, key=lambda desk: (loads[desk.id] / desk.points_a_week, desk.id))
        loads[least.id] += points
        given.append(Given(least.id, points, subspecialty, timedelta(days=drawn.randint(5, 9)), site=least.site))
    return lay(lab, *given)


def by_policy(lab: Lab, **batch: Any) -> None:  # noqa: ANN401 - any field of the policy's batch
    """Have looks made by these rules."""
    with lab.database.write("desks") as session:
        body = Policy(batch=Batch(**batch)).model_dump(mode="json")
        begun = {"version": 1, "digest": "0" * 64, "body": body, "by": "Mia Manager", "because": "a test"}
        long_ago = database_now(session) - LONG_AGO
        session.execute(insert(PolicyVersion).values(**begun, begins_at=long_ago))


def look(lab: Lab) -> Rebalance:
    """Have the step for looks begin now, and return what came of it."""
    with lab.database.write("desks") as session:
        if not ledger.wake(session, NEXT_LOOK, EVERYBODY):
            subject = lab.ids.of("laboratory", "", REBALANCE)
            ledger.add(
                session, [ledger.NewStep(REBALANCE, REBALANCE, "laboratory", subject, rank_at=database_now(session))]
            )
    run_until_calm(lab, ONLY_LOOKS)
    return last_look(lab)


def last_look(lab: Lab) -> Rebalance:
    with lab.database.read() as session:
        return session.scalars(select(Rebalance).order_by(Rebalance.id.desc()).limit(1)).one()


def owners(lab: Lab) -> Mapping[str, str]:
    """Return who has each read that somebody has."""
    with lab.database.read() as session:
        rows = session.execute(
            select(Assignment.read_id, Assignment.pathologist_id).where(Assignment.ended_at.is_(None))
        )
        return {row.read_id: row.pathologist_id for row in rows}


def told(lab: Lab, read_id: str) -> list[tuple[str, str]]:
    """Return whom notices about a read told what."""
    with lab.database.read() as session:
        rows = select(Notice.pathologist_id, Notice.kind).where(Notice.read_id == read_id).order_by(Notice.id)
        return [(row.pathologist_id, row.kind) for row in session.execute(rows)]


def falls_ill(lab: Lab, person: str) -> None:
    with lab.database.write("desks") as session:
        today = database_now(session).date()
        session.execute(
            insert(Leave).values(
                pathologist_id=person, first_day=today, last_day=today + timedelta(days=3), kind="sick"
            )
        )


def step_state(lab: Lab) -> str:
    with lab.database.read() as session:
        return session.scalars(select(Step.state).where(Step.kind == REBALANCE).order_by(Step.id.desc()).limit(1)).one()
