from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

import pytest
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows.case_assignment.what_if.figures import recorded
from flows.case_assignment.what_if.from_books import FEWEST, own_history
from flows.case_assignment.what_if.history import History, Region
from flows.case_assignment.what_if.replay import replay
from models.database import database_now
from models.errors import RefusedError
from models.policy import Policy
from models.tables.case import Case, Patient, Specimen
from models.tables.deadline import Deadline, DeadlinePause, Holiday
from models.tables.place import Site
from models.tables.reading import (
    Assignment,
    Competence,
    Leave,
    Network,
    NetworkAid,
    Pathologist,
    Pool,
    Read,
    ReadingConflict,
    ReadingSession,
)
from tests.small_lab import ON_BOTH

DAY = timedelta(days=1)


@pytest.fixture
def books(lab: Lab) -> Iterator[Session]:
    with lab.database.write("a history") as session:
        _people(session)
        yield session


def _people(session: Session) -> None:
    session.add_all(
        (Network(id="north", name="North", region="east"), Network(id="south", name="South", region="east"))
    )
    session.flush()
    session.add(NetworkAid(network_id="south", aiding_id="north"))
    session.get_one(Site, "site-a").network_id = "north"
    session.get_one(Site, "site-a").calendar = "england"
    session.add(Holiday(calendar="england", day=date(2026, 12, 25), name="Christmas Day"))
    session.merge(Pool(id="network"))
    session.flush()
    for name in ("ann", "bob"):
        one = Pathologist(id=f"wi-{name}", name=name, site_id="site-a", pool_id="network", points_a_week=50.0)
        session.add(one)
        session.flush()
        session.add(Competence(pathologist_id=one.id, subspecialty="bone", level=1, valid_from=date(2020, 1, 1)))
        for day in range(7):
            session.add(ReadingSession(pathologist_id=one.id, weekday=day, starts=time(8), ends=time(18)))
    session.add(Leave(pathologist_id="wi-bob", first_day=date(2020, 1, 1), last_day=date(2020, 1, 2)))
    session.flush()


def _case(session: Session, number: int, ready: datetime, **more: object) -> str:
    case_id = f"case-{number:031d}"
    said = {"subspecialty": "bone", "registered_at": ready - DAY, "orders_changed_at": ready, "lane": 2} | more
    session.add(Case(id=case_id, site_id="site-a", **said))
    session.flush()
    return case_id


def _read(session: Session, case_id: str, ready: datetime, role: str = "primary", **more: object) -> str:
    read_id = f"{role[:4]}{case_id[4:]}"
    session.add(Read(id=read_id, case_id=case_id, round=1, role=role, created_at=ready, **({"points": 2.0} | more)))
    session.flush()
    return read_id


def _filled(session: Session, count: int) -> datetime:
    now = database_now(session)
    for number in range(count):
        ready = now - timedelta(hours=number + 1)
        _read(session, _case(session, number, ready), ready)
    return now


def test_too_short_a_history_is_said_with_what_else_to_do(books: Session) -> None:
    _filled(books, FEWEST - 1)
    with pytest.raises(RefusedError, match="hold 19 reads of the last 28 days, too few to learn from: try --gen"):
        own_history(books, 28)


def test_people_networks_and_calendars_are_as_the_books_have_them(books: Session) -> None:
    _filled(books, FEWEST)
    found = own_history(books, 28)
    assert found.networks["south"] == Region("east", ("north",))
    assert found.sites["site-a"] == "north"
    assert found.calendars["site-a"].holidays == {date(2026, 12, 25)}
    ann = next(one for one in found.staff if one.pathologist_id == "wi-ann")
    assert (ann.levels, ann.points_a_week, len(ann.sessions)) == ({"bone": 1}, 50.0, 7)


@ON_BOTH
def test_reads_are_as_they_came_and_as_they_were_reported(books: Session) -> None:
    now = _filled(books, FEWEST)
    ready = now - 3 * DAY
    books.add(Patient(id="p" * 36))
    books.flush()
    case_id = _case(books, 100, ready, patient_id="p" * 36, lane=1)
    books.add(Specimen(id="s" * 36, case_id=case_id, container_identifier="A", issuer="X", received_at=ready - 2 * DAY))
    books.add(ReadingConflict(pathologist_id="wi-bob", subject_kind="patient", subject_id="p" * 36, because="family"))
    books.add(
        Deadline(
            id="d" * 36,
            case_id=case_id,
            round=1,
            kind="ordered",
            source="the order",
            basis="moment",
            starts_at=ready,
            due_at=ready + DAY,
        )
    )
    books.add(DeadlinePause(case_id=case_id, began_at=ready, ended_at=ready + DAY, by="Ann", because="decalcified"))
    first = _read(books, case_id, ready, closed_at=ready + DAY)
    second = _read(books, case_id, ready, role="second", points=1.0)
    for reader, began in (("wi-bob", ready), ("wi-ann", ready + DAY / 2)):
        ended = ready + DAY / 2 if reader == "wi-bob" else ready + DAY
        given = {"started_at": began, "ended_at": ended, "decided_by": "coverslip", "explanation": {}}
        books.add(Assignment(read_id=first, pathologist_id=reader, **given))
        books.flush()
    work = {one.read_id: one for one in own_history(books, 28).work}
    one = work[first]
    assert (one.reader, one.reported_at, one.lane, one.conflicts) == ("wi-ann", ready + DAY, 1, frozenset({"wi-bob"}))
    assert one.stated_due_at == ready + DAY
    assert one.clocks is not None
    assert one.clocks.received_at == ready - 2 * DAY
    assert [(pause.starts, pause.ends) for pause in one.pauses] == [(ready, ready + DAY)]
    assert (work[second].after, work[second].points, work[second].reported_at) == (first, 1.0, None)


def test_what_was_over_before_and_what_was_cancelled_is_left_out(books: Session) -> None:
    now = _filled(books, FEWEST)
    old = _read(books, _case(books, 200, now - 60 * DAY), now - 60 * DAY, closed_at=now - 50 * DAY)
    still_open = _read(books, _case(books, 201, now - 60 * DAY), now - 60 * DAY)
    gone = _read(books, _case(books, 202, now - DAY, cancelled=True), now - DAY)
    found = own_history(books, 28)
    ids = {one.read_id for one in found.work}
    assert still_open in ids
    assert not ids & {old, gone}
    assert next(one for one in found.work if one.read_id == still_open).ready_at == found.begins


def test_a_laboratorys_own_weeks_are_replayed(books: Session) -> None:
    _filled(books, FEWEST)
    found = own_history(books, 28)
    assert isinstance(found, History)
    assert recorded(found, Policy()).waiting == FEWEST
    readers = {one.owner for one in replay(found, Policy()).readings}
    assert {found.staff[owner].pathologist_id for owner in readers} == {"wi-ann", "wi-bob"}
