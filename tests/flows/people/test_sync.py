import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from connectors.first_lab import write_first_lab
from connectors.lims.profile import Profile
from connectors.settings import Settings, Work, load
from connectors.settings_doors import LimsPeer
from connectors.settings_readers import Hours, Reader
from connectors.settings_site import SiteRules
from flows.case_assignment.candidate import Absence, Candidate, ReadToAssign, WeeklySession
from flows.case_assignment.choice import Choice, SmallestMarginalCost
from flows.people.candidates import load_candidates
from flows.people.sync import sync_people
from models.base import Base
from models.database import Database, database_now
from models.errors import TransientError
from models.tables.case import Case
from models.tables.reading import Assignment, Competence, Leave, Pathologist, Read, ReadingSession
from models.tables.step import Slot, Step
from tests.migrated import migrated
from tests.small_lab import ON_BOTH

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
WEEKDAYS = Hours(days=("mon", "tue", "wed", "thu", "fri"), starts=time(9), ends=time(17))
ONE = Reader(id="one", name="Dr One Example", site="site-a", leads=("breast",), may_read=("skin",), hours=(WEEKDAYS,))
TWO = Reader(id="two", name="Dr Two Example", site="site-b", points_a_week=50.0, leads=("skin",))
SITES = (
    SiteRules(id="site-a", name="Site A", zone="Europe/London", lims="lims"),
    SiteRules(id="site-b", name="Site B", zone="Pacific/Auckland", lims="lims"),
)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = migrated(database_url)
    yield opened
    opened.close()


def laboratory(*readers: Reader, **changes: Any) -> Settings:  # noqa: ANN401 - any field of the settings
    """Return settings of two sites and these readers, changed as said."""
    said: dict[str, Any] = {
        "home": Path("unused"),
        "installation_key": "5" * 64,
        "sites": SITES,
        "lims": (LimsPeer(name="lims"),),
        "listeners": (),
        "scanners": (),
        "readers": readers or (ONE, TWO),
    }
    return Settings(**(said | changes))


def sync(database: Database, settings: Settings) -> None:
    with database.write("test") as session:
        sync_people(session, settings)


def candidates(database: Database, now: datetime | None = None) -> dict[str, Candidate]:
    with database.write("test") as session:
        return {one.pathologist_id: one for one in load_candidates(session, now or database_now(session))}


def everything(database: Database) -> dict[str, list[Any]]:
    with database.read() as session:
        return {table.name: sorted(map(repr, session.execute(select(table)))) for table in Base.metadata.sorted_tables}


def open_read(database: Database, read_id: str, points: float, owner: str | None = None) -> None:
    """Register a case with one read, owned by somebody when they are named."""
    case_id = f"case of {read_id}"
    with database.write("test") as session:
        session.add(Case(id=case_id, site_id="site-a", registered_at=NOW, orders_changed_at=NOW))
        session.flush()
        session.add(Read(id=read_id, case_id=case_id, round=1, role="primary", points=points, created_at=NOW))
        session.flush()
        if owner is not None:
            assign(session, read_id, owner)


def assign(session: Session, read_id: str, owner: str) -> None:
    row = {"read_id": read_id, "pathologist_id": owner, "started_at": NOW, "decided_by": "test", "explanation": {}}
    session.execute(insert(Assignment).values(**row))


@ON_BOTH
def test_the_people_of_the_settings_become_candidates(database: Database) -> None:
    sync(database, laboratory())
    people = candidates(database)
    assert list(people) == ["one", "two"]
    assert people["one"] == Candidate(
        pathologist_id="one",
        name="Dr One Example",
        site_id="site-a",
        zone="Europe/London",
        points_a_week=100.0,
        levels={"breast": 1, "skin": 2},
        glass_levels={"breast": 1, "skin": 2},
        sessions=tuple(WeeklySession(weekday, time(9), time(17)) for weekday in range(5)),
        since=people["one"].since,
    )
    two = people["two"]
    assert (two.zone, two.points_a_week, two.levels, two.sessions) == ("Pacific/Auckland", 50.0, {"skin": 1}, ())


@ON_BOTH
def test_doing_it_again_changes_nothing(database: Database) -> None:
    sync(database, laboratory())
    before = everything(database)
    sync(database, laboratory())
    assert everything(database) == before


@ON_BOTH
def test_what_the_settings_change_is_changed(database: Database) -> None:
    sync(database, laboratory())
    evenings = Hours(days=("mon", "sun"), starts=time(9), ends=time(20))
    moved = ONE.model_copy(
        update={"name": "Dr One Newname", "site": "site-b", "hours": (evenings,), "points_a_week": 80.0}
    )
    sync(database, laboratory(moved, TWO))
    one = candidates(database)["one"]
    assert (one.name, one.site_id, one.zone, one.points_a_week) == (
        "Dr One Newname",
        "site-b",
        "Pacific/Auckland",
        80.0,
    )
    assert one.sessions == (WeeklySession(0, time(9), time(20)), WeeklySession(6, time(9), time(20)))


@ON_BOTH
def test_a_site_that_moves_its_clocks_is_followed_and_one_that_is_gone_stays(database: Database) -> None:
    sync(database, laboratory())
    sync(database, laboratory(ONE, sites=(SITES[0].model_copy(update={"zone": "Europe/Dublin"}),)))
    people = candidates(database)
    assert people["one"].zone == "Europe/Dublin"
    assert (people["two"].zone, people["two"].active) == ("Pacific/Auckland", False)


@ON_BOTH
def test_a_reader_who_is_no_longer_named_is_inactive_with_their_history_and_may_come_back(database: Database) -> None:
    sync(database, laboratory())
    open_read(database, "read-1", 4.0, "two")
    sync(database, laboratory(ONE))
    assert {one: person.active for one, person in candidates(database).items()} == {"one": True, "two": False}
    assert candidates(database)["two"].open_points == 4.0
    sync(database, laboratory())
    assert candidates(database)["two"].active


@ON_BOTH
def test_whoever_leads_in_what_they_also_may_read_leads(database: Database) -> None:
    sync(database, laboratory(ONE.model_copy(update={"leads": ("skin",), "may_read": ("skin", "gi")})))
    assert candidates(database)["one"].levels == {"skin": 1, "gi": 2}


def competences(database: Database, pathologist_id: str) -> list[tuple[str, int, date, date | None]]:
    with database.read() as session:
        rows = session.scalars(
            select(Competence).where(Competence.pathologist_id == pathologist_id).order_by(Competence.id)
        )
        return [(row.subspecialty, row.level, row.valid_from, row.valid_to) for row in rows]


def since_long_ago(database: Database) -> None:
    with database.write("test") as session:
        session.execute(update(Competence).values(valid_from=date(2020, 1, 1)))


@ON_BOTH
def test_a_competence_that_is_taken_away_ends_today_and_is_kept(database: Database) -> None:
    sync(database, laboratory())
    since_long_ago(database)
    sync(database, laboratory(ONE.model_copy(update={"may_read": ()}), TWO))
    assert candidates(database)["one"].levels == {"breast": 1}
    assert candidates(database, datetime(2025, 6, 1, tzinfo=UTC))["one"].levels == {"breast": 1, "skin": 2}


@ON_BOTH
def test_a_new_level_begins_on_the_day_on_which_the_old_one_ends(database: Database) -> None:
    sync(database, laboratory())
    since_long_ago(database)
    sync(database, laboratory(ONE.model_copy(update={"leads": ("breast", "skin"), "may_read": ()}), TWO))
    rows = competences(database, "one")
    ended, begun = (row for row in rows if row[0] == "skin")
    assert (ended[1], begun[1]) == (2, 1)
    assert ended[3] == begun[2]
    assert candidates(database)["one"].levels == {"breast": 1, "skin": 1}


@ON_BOTH
def test_a_mind_changed_thrice_in_a_day_leaves_what_was_said_last(database: Database) -> None:
    leads = ONE.model_copy(update={"leads": ("breast", "skin"), "may_read": ()})
    neither = ONE.model_copy(update={"may_read": ()})
    for reader in (ONE, leads, neither, leads, ONE):
        sync(database, laboratory(reader, TWO))
    assert candidates(database)["one"].levels == {"breast": 1, "skin": 2}
    sync(database, laboratory(neither, TWO))
    assert candidates(database)["one"].levels == {"breast": 1}


@ON_BOTH
def test_competences_count_on_days_of_the_readers_own_site_and_only_digital_ones(database: Database) -> None:
    sync(database, laboratory())
    with database.write("test") as session:
        begins = {"pathologist_id": "two", "level": 2, "valid_from": date(2026, 11, 24)}
        session.execute(insert(Competence).values(subspecialty="renal", digital=True, valid_to=None, **begins))
        session.execute(insert(Competence).values(subspecialty="neuro", digital=False, valid_to=None, **begins))
    # It is 24 November in Auckland from 11:00 UTC on the day before.
    assert "renal" not in candidates(database, NOW + timedelta(minutes=59))["two"].levels
    assert set(candidates(database, NOW + timedelta(minutes=60))["two"].levels) >= {"renal"}
    assert "neuro" not in candidates(database, NOW + timedelta(days=9))["two"].levels


@ON_BOTH
def test_leave_that_may_still_matter_is_known(database: Database) -> None:
    sync(database, laboratory())
    with database.write("test") as session:
        for first, last in (
            (date(2026, 10, 1), date(2026, 10, 20)),
            (date(2026, 11, 22), date(2026, 11, 23)),
            (date(2026, 11, 30), date(2026, 11, 30)),
        ):
            days = {"first_day": first, "last_day": last}
            session.execute(insert(Leave).values(pathologist_id="one", **days))
    sync(database, laboratory())
    assert candidates(database, NOW)["one"].absences == (
        Absence(date(2026, 11, 22), date(2026, 11, 23)),
        Absence(date(2026, 11, 30), date(2026, 11, 30)),
    )


@ON_BOTH
def test_a_load_is_what_is_open_on_a_desk_and_neither_ended_nor_reported(database: Database) -> None:
    sync(database, laboratory())
    for read_id, points in (("kept", 4.0), ("kept too", 1.5), ("moved", 8.0), ("reported", 16.0)):
        open_read(database, read_id, points, "one")
    open_read(database, "nobody's", 32.0)
    with database.write("test") as session:
        session.execute(update(Assignment).where(Assignment.read_id == "moved").values(ended_at=NOW))
        session.execute(update(Read).where(Read.id == "reported").values(closed_at=NOW))
        session.flush()
        assign(session, "moved", "two")
    assert {one: person.open_points for one, person in candidates(database).items()} == {"one": 5.5, "two": 8.0}


@ON_BOTH
def test_who_decides_next_sees_what_was_decided_before(database: Database) -> None:
    sync(database, laboratory())
    open_read(database, "read-1", 4.0)
    seen: list[float] = []

    def decide_next() -> None:
        with database.write("next") as session:
            seen.extend(one.open_points for one in load_candidates(session, NOW) if one.pathologist_id == "one")

    next_one = threading.Thread(target=decide_next)
    with database.write("first") as session:
        load_candidates(session, NOW)
        next_one.start()
        next_one.join(0.3)
        assert next_one.is_alive()
        assign(session, "read-1", "one")
    next_one.join(20)
    assert seen == [4.0]


@ON_BOTH
def test_a_preview_waits_for_nobody(database: Database) -> None:
    sync(database, laboratory())
    with database.write("deciding") as deciding:
        load_candidates(deciding, NOW)
        with database.read() as session:
            assert len(load_candidates(session, NOW, lock_pool=False)) == 2


@ON_BOTH
def test_nobody_is_assigned_before_the_settings_were_brought_in(database: Database) -> None:
    with database.write("test") as session, pytest.raises(TransientError, match="not in the database yet"):
        load_candidates(session, NOW)


@ON_BOTH
def test_processes_that_start_together_bring_the_same_people_in_once(database: Database) -> None:
    problems: list[BaseException] = []

    def start() -> None:
        try:
            sync(database, laboratory())
        except Exception as error:  # noqa: BLE001 - told to the test
            problems.append(error)

    starting = [threading.Thread(target=start) for _ in range(4)]
    for one in starting:
        one.start()
    for one in starting:
        one.join(20)
    assert problems == []
    with database.read() as session:
        assert len(session.scalars(select(Pathologist)).all()) == 2
        assert len(session.scalars(select(ReadingSession)).all()) == 5


def slots(database: Database) -> list[tuple[str, int]]:
    with database.read() as session:
        return sorted((name, number) for name, number in session.execute(select(Slot.name, Slot.number)))


def uploads(number: int) -> Settings:
    return laboratory(work=Work(archive_upload=number))


@ON_BOTH
def test_each_lims_takes_one_message_at_a_time_and_the_archive_as_many_as_set(database: Database) -> None:
    sync(database, uploads(3))
    assert slots(database) == [("archive", 1), ("archive", 2), ("archive", 3), ("lims:lims", 1)]


@ON_BOTH
def test_a_surplus_slot_goes_once_no_step_holds_it(database: Database) -> None:
    sync(database, uploads(3))
    with database.write("test") as session:
        step = Step(
            kind="store", stage="archive_upload", subject_kind="scan", subject_id="s", rank_at=NOW, created_at=NOW
        )
        session.add(step)
        session.flush()
        session.execute(update(Slot).where(Slot.name == "archive", Slot.number == 2).values(step_id=step.id))
    sync(database, uploads(1))
    assert slots(database) == [("archive", 1), ("archive", 2), ("lims:lims", 1)]
    with database.write("test") as session:
        session.execute(update(Slot).values(step_id=None))
    sync(database, uploads(1))
    assert slots(database) == [("archive", 1), ("lims:lims", 1)]


@ON_BOTH
def test_the_slot_of_a_lims_that_is_no_longer_named_stays_with_its_messages(database: Database) -> None:
    sync(database, laboratory(lims=(LimsPeer(name="lims"), LimsPeer(name="old"))))
    sync(database, laboratory())
    assert ("lims:old", 1) in slots(database)


@ON_BOTH
def test_in_a_first_laboratory_any_case_finds_a_reader_even_on_a_sunday_night(
    database: Database, tmp_path: Path
) -> None:
    write_first_lab(tmp_path)
    sync(database, load(tmp_path))
    # Competences begin with the day on which the laboratory was written.
    sunday = datetime.now(UTC).replace(hour=3) + timedelta(days=1)
    sunday += timedelta(days=6 - sunday.weekday())
    people = tuple(candidates(database, sunday).values())
    for subspecialty in {*Profile().subspecialties.values(), "general"}:
        read = ReadToAssign("read", "case", "site-a", subspecialty, 1.0, 0, sunday + timedelta(minutes=20))
        chosen = SmallestMarginalCost().choose(read, people, sunday)
        assert isinstance(chosen, Choice), subspecialty
        assert chosen.explanation.best[0].reads_from == sunday
