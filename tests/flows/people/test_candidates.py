"""Whom a decision thinks of, and what it knows of their desks."""

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from uuid import NAMESPACE_OID, uuid5

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from flows.case_assignment.candidate import Candidate
from flows.case_assignment.eligibility import Eligible, Excluded, eligible
from flows.people.candidates import load_candidates, pools_of
from flows.people.pools import keep_pools, lock_pools
from models.database import Database
from models.tables.case import Case
from models.tables.deadline import Holiday
from models.tables.place import Site
from models.tables.reading import (
    Assignment,
    Competence,
    Credit,
    Leave,
    Network,
    NetworkAid,
    Pathologist,
    Pool,
    Read,
    ReadingSession,
)
from tests.flows.case_assignment.people import a_read
from tests.migrated import migrated
from tests.small_lab import ON_BOTH

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Three networks of one site each, the first two in one region, and a site without a network."""
    opened = migrated(database_url)
    with opened.write("test") as session:
        for network, region in (("north", "uplands"), ("middle", "uplands"), ("south", "lowlands")):
            session.add(Network(id=network, name=network, region=region))
        session.add(Pool(id="network"))
        session.add_all(Pool(id=one) for one in ("north", "middle", "south"))
        session.flush()
        session.add(NetworkAid(network_id="north", aiding_id="south"))
        for site in ("north", "middle", "south", None):
            name = site or "alone"
            session.add(Site(id=name, name=name, zone="Europe/London", network_id=site))
        session.flush()
        for site in ("alone", "middle", "north", "south"):
            pool = "network" if site == "alone" else site
            session.add(Pathologist(id=site, name=f"Dr {site}", site_id=site, pool_id=pool, points_a_week=50.0))
        session.flush()
        for person in ("alone", "middle", "north", "south"):
            since = date(2026, 1, 5)
            session.add(Competence(pathologist_id=person, subspecialty="breast", level=1, valid_from=since))
            session.add(ReadingSession(pathologist_id=person, weekday=0, starts=time(9), ends=time(17)))
    yield opened
    opened.close()


def candidates(session: Session, **which: object) -> dict[str, Candidate]:
    return {one.pathologist_id: one for one in load_candidates(session, NOW, **which)}  # type: ignore[arg-type] # as the test says


def an_id(*what: object) -> str:
    return str(uuid5(NAMESPACE_OID, repr(what)))


def given(session: Session, person: str, *points: float, due_at: datetime | None = None, closed: bool = False) -> None:
    """Have somebody have reads of these points, each of a case of its own."""
    for number, one in enumerate(points):
        name = an_id(person, due_at, closed, number)
        session.add(Case(id=name, site_id="north", registered_at=NOW, orders_changed_at=NOW, due_at=due_at))
        session.flush()
        read = Read(id=name, case_id=name, round=1, role="primary", points=one, created_at=NOW)
        read.closed_at = NOW if closed else None
        session.add(read)
        session.flush()
        assignment = Assignment(read_id=name, pathologist_id=person, decided_by="test", explanation={})
        assignment.started_at, assignment.ended_at = NOW, NOW if closed else None
        session.add(assignment)
        session.flush()


def credited(session: Session, person: str, points: float, at: datetime) -> None:
    name = an_id(person, at)
    session.add(Case(id=name, site_id="north", registered_at=NOW, orders_changed_at=NOW))
    session.flush()
    session.add(Read(id=name, case_id=name, round=1, role="primary", points=points, created_at=at, closed_at=at))
    session.flush()
    values = {"forecast": points, "points": points, "weights": "weights/1", "credited_at": at}
    session.add(Credit(read_id=name, pathologist_id=person, site_id="north", subspecialty="breast", lane=2, **values))
    session.flush()


@ON_BOTH
def test_a_candidate_carries_their_network_their_maximum_and_what_they_have_and_have_done(database: Database) -> None:
    due = NOW + timedelta(days=2)
    with database.write("test") as session:
        session.execute(update(Pathologist).where(Pathologist.id == "north").values(fte=0.5, max_points=30.0))
        given(session, "north", 4.0, 2.0, due_at=due)
        given(session, "north", 1.0)
        given(session, "north", 16.0, closed=True)
        credited(session, "north", 8.0, NOW - timedelta(days=3))
        credited(session, "north", 32.0, NOW - timedelta(days=29))
        session.add(Leave(pathologist_id="north", first_day=date(2026, 11, 2), last_day=date(2026, 11, 3)))
        session.flush()
        north = candidates(session)["north"]
    assert (north.network_id, north.region, north.fte, north.max_points) == ("north", "uplands", 0.5, 30.0)
    assert (north.open_points, north.due, north.carry) == (7.0, ((due, 2.0), (due, 4.0)), 8.0)
    assert north.since == date(2026, 1, 5)
    # Leave that is over lowers what they could have reported in the fairness window.
    assert [one.last_day.day for one in north.absences] == [3]


@ON_BOTH
def test_a_candidate_has_the_public_holidays_of_their_own_site(database: Database) -> None:
    with database.write("test") as session:
        session.execute(update(Site).where(Site.id == "north").values(calendar="uplands"))
        for calendar, day in (("uplands", 25), ("lowlands", 26)):
            session.add(Holiday(calendar=calendar, day=date(2026, 12, day), name="a holiday"))
        session.flush()
        found = candidates(session)
    assert (found["north"].holidays, found["south"].holidays) == ((date(2026, 12, 25),), ())


@ON_BOTH
def test_points_that_are_no_weight_lie_on_no_desk(database: Database) -> None:
    with database.write("test") as session:
        given(session, "north", -50.0, 4.0, 1e9)
        if not database.is_sqlite:
            # SQLite has no such number: there the books refuse it.
            given(session, "north", float("nan"), due_at=NOW)
        credited(session, "north", -50.0, NOW - timedelta(days=1))
        north = candidates(session)["north"]
    assert (north.open_points, north.carry) == (4.0, 0.0)


@ON_BOTH
def test_whom_nobody_asks_for_is_named_without_hours_and_load(database: Database) -> None:
    with database.write("test") as session:
        given(session, "north", 4.0)
        found = candidates(session, subspecialty="breast", among=lambda one: one.pathologist_id == "south")
    assert (found["south"].sessions != (), found["north"].sessions, found["north"].open_points) == (True, (), 0.0)
    assert found["north"].levels == {"breast": 1}


@ON_BOTH
def test_a_scope_locks_the_pools_whose_people_may_be_thought_of(database: Database) -> None:
    north = a_read(network_id="north", region="uplands", aided_by=frozenset({"south"}), scope="network")
    with database.read() as session:
        assert pools_of(session, north) == ("north", "south")
        assert pools_of(session, a_read(network_id="north", region="uplands", scope="region")) == ("middle", "north")
        assert pools_of(session, a_read(network_id="north", region="uplands", scope="national")) is None
        assert pools_of(session, a_read()) == ("network",)


@ON_BOTH
def test_who_decides_in_one_pool_waits_for_nobody_in_another_and_for_everybody_in_their_own(
    database: Database,
) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite writes take turns anyway")
    waited: list[str] = []

    def decide(*pools: str) -> None:
        with database.write("test") as session:
            load_candidates(session, NOW, pools=pools)
            waited.append(pools[0])

    threads = [threading.Thread(target=decide, args=pools, daemon=True) for pools in (("south",), ("middle", "north"))]
    with database.write("test") as session:
        load_candidates(session, NOW, pools=("north",))
        for thread in threads:
            thread.start()
        threads[0].join(20)
        assert waited == ["south"]
    threads[1].join(20)
    assert waited == ["south", "middle"]


@ON_BOTH
def test_who_changes_network_is_in_its_pool_from_then_on_and_keeps_what_is_on_their_desk(database: Database) -> None:
    with database.write("test") as session:
        given(session, "north", 4.0)
        lock_pools(session)
        session.execute(update(Pathologist).where(Pathologist.id == "north").values(site_id="south"))
        keep_pools(session)
    wanted = {name: a_read(scope="network", network_id=name) for name in ("north", "south")}
    with database.write("test") as session:
        moved = candidates(session, pools=("south",))["north"]
        assert (moved.network_id, moved.open_points) == ("south", 4.0)
        assert session.get_one(Pathologist, "north").pool_id == "south"
    assert isinstance(eligible(wanted["south"], moved, NOW), Eligible)
    assert isinstance(eligible(wanted["north"], moved, NOW), Excluded)
