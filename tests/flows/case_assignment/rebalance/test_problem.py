"""The plan's arrays say of every read and person what the rules of assignment say."""

import random
import uuid
from datetime import date, time, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from connectors.wiring import Lab
from flows.case_assignment.eligibility import Eligible, eligible
from flows.case_assignment.plan.model import NOBODY
from flows.case_assignment.plan.plan import Plan
from flows.case_assignment.rebalance.problem import problem_of
from flows.case_assignment.rebalance.snapshot import snapshot
from flows.case_assignment.wanted import wanted
from models.database import database_now
from models.policy import Policy, Subspecialty
from models.tables.case import Case, Patient, Slide
from models.tables.place import Site
from models.tables.reading import (
    Competence,
    Declined,
    Leave,
    Network,
    NetworkAid,
    Pathologist,
    PolicyVersion,
    Pool,
    Read,
    ReadingConflict,
    ReadingSession,
)
from tests.flows.case_assignment.rebalance.desks import Desk, Given, lay, only

PEOPLE = [f"d{number:02}" for number in range(14)]
SUBSPECIALTIES = ("general", "breast", "skin")


def _in_networks(session: Any, drawn: random.Random) -> None:  # noqa: ANN401 - a session
    for name, region in (("north", "r1"), ("south", "r1"), ("west", "r2")):
        session.execute(insert(Network).values(id=name, name=name, region=region))
        session.execute(insert(Pool).values(id=name))
    session.execute(insert(NetworkAid).values(network_id="north", aiding_id="west"))
    session.execute(update(Site).where(Site.id == "site-a").values(network_id="north"))
    session.execute(update(Site).where(Site.id == "site-b").values(network_id="south"))
    far = {"id": "site-c", "name": "SITE-C", "zone": "Pacific/Auckland", "network_id": "west"}
    session.execute(insert(Site).values(**far))
    for person in PEOPLE[::3]:
        session.execute(update(Pathologist).where(Pathologist.id == person).values(site_id="site-c", pool_id="west"))
    subspecialties = {"general": Subspecialty(), "breast": Subspecialty(scope="region", double=True)}
    subspecialties["skin"] = Subspecialty(scope="national")
    body = Policy(subspecialties=subspecialties).model_dump(mode="json")
    begun = {"version": 1, "digest": "0" * 64, "body": body, "by": "Mia Manager", "because": "a test"}
    session.execute(insert(PolicyVersion).values(**begun, begins_at=database_now(session) - timedelta(days=1)))
    drawn.random()


def _with_odds(session: Any, drawn: random.Random, reads: list[str]) -> None:  # noqa: ANN401 - a session
    """Leave, short weeks, maxima, levels, conflicts and reads that were given back."""
    today = database_now(session).date()
    for person in drawn.sample(PEOPLE, 3):
        days = {"first_day": today, "last_day": today + timedelta(days=drawn.choice((0, 9)))}
        session.execute(insert(Leave).values(pathologist_id=person, **days))
    for person in drawn.sample(PEOPLE, 3):
        of_theirs = ReadingSession.pathologist_id == person
        weekday = (today.weekday() + drawn.randrange(7)) % 7
        session.execute(update(ReadingSession).where(of_theirs, ReadingSession.weekday == weekday).values(ends=time(1)))
        session.execute(ReadingSession.__table__.delete().where(of_theirs, ReadingSession.weekday != weekday))  # type: ignore[attr-defined]
    for person in drawn.sample(PEOPLE, 4):
        session.execute(update(Pathologist).where(Pathologist.id == person).values(max_points=drawn.choice((3.0, 9.0))))
        session.execute(
            update(Competence).where(Competence.pathologist_id == person).values(level=drawn.choice((1, 2, 3)))
        )
    expired = {"valid_from": date(2020, 1, 1), "valid_to": today - timedelta(days=2)}
    session.execute(update(Competence).where(Competence.pathologist_id == PEOPLE[5]).values(**expired))
    session.execute(update(Pathologist).where(Pathologist.id == PEOPLE[6]).values(active=False))
    for read in drawn.sample(reads, 12):
        given_back = {"read_id": read, "pathologist_id": drawn.choice(PEOPLE), "because": "no time"}
        session.execute(insert(Declined).values(**given_back, at=database_now(session)))
    for read in drawn.sample(reads, 12):
        case = session.get_one(Read, read).case_id
        subject = {"subject_kind": "case", "subject_id": case}
        if drawn.random() < 0.5:
            patient = str(uuid.uuid4())
            session.execute(insert(Patient).values(id=patient))
            session.execute(update(Case).where(Case.id == case).values(patient_id=patient))
            subject = {"subject_kind": "patient", "subject_id": patient}
            if drawn.random() < 0.5:
                subject["subject_id"] = str(uuid.uuid4())
                session.execute(insert(Patient).values(id=subject["subject_id"], merged_into_id=patient))
        session.execute(
            insert(ReadingConflict).values(**subject, pathologist_id=drawn.choice(PEOPLE), because="their own")
        )


def _on_glass(session: Any, drawn: random.Random, reads: list[str]) -> None:  # noqa: ANN401 - a session
    """Some cases on glass, some in part; some people read only on a screen, some only through a microscope."""
    for media in ({"digital": False}, {"glass": False}):
        some = Competence.pathologist_id.in_(drawn.sample(PEOPLE, 4))
        session.execute(update(Competence).where(some).values(**media))
    for case in drawn.sample(sorted({session.get_one(Read, read).case_id for read in reads}), 15):
        for route in drawn.choice((("glass only",), ("scan",), ("glass only", "scan"))):
            name = str(uuid.uuid4())
            slide = {"id": name, "case_id": case, "container_identifier": name, "issuer": "NET"}
            session.execute(insert(Slide).values(**slide, route=route, cancelled=drawn.random() < 0.2, stains=[]))


def _drawn(drawn: random.Random) -> list[Given]:
    given = []
    for _ in range(40):
        case = str(uuid.uuid4())
        due_in = drawn.choice((None, *(timedelta(hours=hours) for hours in (-5, 2, 20, 70, 200))))
        points, name = float(drawn.choice((1, 2, 6))), drawn.choice(SUBSPECIALTIES)
        site = drawn.choice(("site-a", "site-b"))
        first = Given(drawn.choice((None, *PEOPLE)), points, name, due_in, case=case, site=site)
        given.append(first)
        if name == "breast" and first.owner is not None:
            others = [person for person in PEOPLE if person != first.owner]
            given.append(Given(drawn.choice(others), points / 2, name, due_in, case=case, site=site, role="second"))
    return given


@pytest.mark.parametrize("seed", range(6))
def test_the_plan_may_give_a_read_to_exactly_whom_the_rules_allow(lab: Lab, seed: int) -> None:
    drawn = random.Random(seed)
    only(lab, *(Desk(name, 60.0, tuple(drawn.sample(SUBSPECIALTIES, 2))) for name in PEOPLE))
    reads = lay(lab, *_drawn(drawn))
    with lab.database.write("odds") as session:
        _in_networks(session, drawn)
        _with_odds(session, drawn, reads)
        _on_glass(session, drawn, reads)

    with lab.database.read() as session:
        now = database_now(session)
        seen = snapshot(session, lab.settings, now)
        model = problem_of(seen)
        plan = Plan(model, model.preference, model.pinned == NOBODY)
        for t in range(model.reads):
            plan.give(t, int(model.present[t]))
        compared = 0
        for t, one in enumerate(seen.reads):
            read = session.get_one(Read, one.wanted.read_id)
            want = wanted(session, session.get_one(Case, read.case_id), read, seen.in_force.policy)
            for p, person in enumerate(seen.people):
                if person.pathologist_id == one.owner:
                    continue
                verdict = eligible(want, person, now)
                assert bool(plan.may[p, t]) == isinstance(verdict, Eligible), (want, person, verdict)
                compared += isinstance(verdict, Eligible)
    assert compared > 40
