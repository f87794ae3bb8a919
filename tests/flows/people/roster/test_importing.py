"""Files become people, all or nothing, with who did it and why; what is not named ends, and nobody is deleted."""

import threading
import time as clock
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from connectors.settings_readers import Hours, Reader
from flows import ledger
from flows.actions.peopling import import_people, preview_people, roster
from flows.case_assignment.giving import AN_ELIGIBLE_PATHOLOGIST
from flows.ledger import NewStep, Wait
from flows.people.called import called, known_reader
from flows.people.policies import policy_in_force
from flows.people.roster.difference import difference
from flows.people.roster.folder import write_folder
from flows.people.roster.lines import (
    AidLine,
    CompetenceLine,
    HolidayLine,
    LeaveLine,
    NetworkLine,
    PersonLine,
    Roster,
    SessionLine,
    SiteLine,
)
from flows.people.sync import sync_people
from models.database import database_now
from models.errors import RefusedError
from models.tables.books import History
from models.tables.case import Case
from models.tables.reading import Assignment, Leave, Pool, Read, Rebalance
from models.tables.step import Step
from tests.flows.people.conftest import ANN, SITES, Office, settings_of
from tests.small_lab import ON_BOTH

NORTH = {
    "networks": "north,The North,ne\nsouth,The South,sw",
    "holidays": "england,2026-12-25,Christmas Day",
    "sites": "site-a,north,england\nsite-b,south,",
}
PEOPLE = "okafor,Dr Ada Okafor,site-a,1,100,,yes,\nlind,Dr Jonas Lind,site-b,0.5,50,30,yes,LIND | JL"
TODAY = datetime.now(UTC).date()
SOON, LATER, AGO = TODAY + timedelta(days=30), TODAY + timedelta(days=60), TODAY - timedelta(days=30)


def history(office: Office, subject: str) -> list[tuple[str, str | None, str | None]]:
    with office.desk.database.read() as session:
        rows = session.scalars(select(History).where(History.subject_id == subject).order_by(History.id)).all()
    assert {(row.actor, row.reason, row.cause) for row in rows} <= {(ANN.name, ANN.reason, "people import")}
    return [(row.what, row.before, row.after) for row in rows]


def has_a_read(office: Office, pathologist_id: str, case_id: str = "case-1") -> None:
    with office.desk.database.write("test") as session:
        now = database_now(session)
        session.add(Case(id=case_id, site_id="site-a", registered_at=now, orders_changed_at=now))
        session.flush()
        session.add(Read(id=case_id, case_id=case_id, round=1, role="primary", points=1.0, created_at=now))
        session.flush()
        given = {"read_id": case_id, "pathologist_id": pathologist_id, "started_at": now, "decided_by": "test"}
        session.execute(insert(Assignment).values(**given, explanation={}))


def test_a_first_import_brings_everything_in_and_says_who_did_it(office: Office) -> None:
    office.brings_in(
        **NORTH,
        network_aid="north,south",
        pathologists=PEOPLE,
        competences="okafor,breast,lead,yes,no,2026-01-01,2026-12-31\nlind,skin,trainee,,,2026-02-01,",
        sessions="okafor,mon-tue,09:00,17:00\nlind,sun,22:00,06:00",
        leave=f"lind,{SOON},{LATER},study",
    )
    stands = roster(office.desk)
    assert stands.networks == (NetworkLine("north", "The North", "ne"), NetworkLine("south", "The South", "sw"))
    assert stands.network_aid == (AidLine("north", "south"),)
    assert stands.sites[:2] == (SiteLine("site-a", "north", "england"), SiteLine("site-b", "south", None))
    assert stands.holidays == (HolidayLine("england", date(2026, 12, 25), "Christmas Day"),)
    assert stands.pathologists == (
        PersonLine("lind", "Dr Jonas Lind", "site-b", 0.5, 50.0, 30.0, active=True, known_as=("LIND", "JL")),
        PersonLine("okafor", "Dr Ada Okafor", "site-a", 1.0, 100.0, None, active=True, known_as=()),
    )
    breast = CompetenceLine(
        *("okafor", "breast", 1), digital=True, glass=False, valid_from=date(2026, 1, 1), valid_to=date(2027, 1, 1)
    )
    assert breast in stands.competences
    assert SessionLine("lind", 6, time(22), time(6)) in stands.sessions
    assert stands.leave == (LeaveLine("lind", SOON, LATER, "study"),)
    assert office.pools() == {"okafor": "north", "lind": "south"}
    assert history(office, "okafor")[0] == ("pathologist", None, "Dr Ada Okafor at site-a, 100 points a week")
    assert history(office, "site-a") == [("network", None, "north"), ("calendar", None, "england")]


def test_the_same_files_again_change_nothing_and_write_nothing(office: Office) -> None:
    office.brings_in(**NORTH, pathologists=PEOPLE)
    told = len(history(office, "okafor"))
    assert office.brings_in(**NORTH, pathologists=PEOPLE).changes == ()
    assert len(history(office, "okafor")) == told


def test_somebody_who_is_not_named_becomes_inactive_and_may_come_back(office: Office) -> None:
    office.brings_in(**NORTH, pathologists=PEOPLE)
    has_a_read(office, "lind")
    preview = office.brings_in(pathologists=PEOPLE.splitlines()[0])
    assert [(one.how, one.subject.id) for one in preview.changes] == [("ended", "lind")]
    assert "lind becomes inactive and still has 1 open read, which others get unless they are begun" in preview.notes
    assert [(one.id, one.active) for one in roster(office.desk).pathologists] == [("lind", False), ("okafor", True)]
    office.brings_in(pathologists=PEOPLE)
    assert all(one.active for one in roster(office.desk).pathologists)
    assert history(office, "lind")[-2:] == [("active", "yes", "no"), ("active", "no", "yes")]


@ON_BOTH
def test_a_part_without_a_file_stays_as_it_is(office: Office) -> None:
    office.brings_in(**NORTH, pathologists=PEOPLE, sessions="okafor,mon,09:00,17:00")
    before = roster(office.desk)
    office.brings_in(leave=f"okafor,{SOON},{LATER},")
    after = roster(office.desk)
    assert [one.part for one in difference(before, after)] == ["leave"]


@ON_BOTH
def test_a_competence_that_is_not_named_ends_today_and_one_that_has_not_begun_goes(office: Office) -> None:
    said = f"okafor,skin,lead,,,{AGO},\nokafor,gi,lead,,,{SOON},\nokafor,breast,may read,,,{AGO},"
    office.brings_in(pathologists=PEOPLE, competences=said)
    preview = office.brings_in(competences=f"okafor,breast,lead,,,{SOON},\nokafor,skin,lead,,no,{AGO},")
    kept = {(one.subspecialty, one.level, one.valid_from): one.valid_to for one in roster(office.desk).competences}
    ended = kept.pop(("breast", 2, AGO))
    assert ended is not None
    assert abs(ended - TODAY) <= timedelta(days=1)
    assert kept == {("skin", 1, AGO): None, ("breast", 1, SOON): None}
    assert sorted(one.how for one in preview.changes) == ["added", "changed", "ended", "ended"]


def test_a_competence_that_is_said_to_have_begun_earlier_takes_the_place_of_the_old_one(office: Office) -> None:
    office.brings_in(pathologists=PEOPLE, competences=f"okafor,skin,may read,,,{AGO},")
    office.brings_in(competences=f"okafor,skin,lead,,,{AGO - timedelta(days=9)},")
    assert [(one.level, one.valid_to) for one in roster(office.desk).competences] == [(1, None)]


@ON_BOTH
def test_leave_that_has_begun_is_ended_by_its_last_day_and_never_by_leaving_it_out(office: Office) -> None:
    office.brings_in(pathologists=PEOPLE)
    with office.desk.database.write("test") as session:
        off_sick = {"pathologist_id": "okafor", "first_day": AGO, "last_day": SOON, "kind": "sick"}
        session.execute(insert(Leave).values(**off_sick))
    office.brings_in(leave=f"lind,{SOON},{LATER},\nokafor,{TODAY},{SOON},leave")
    assert LeaveLine("okafor", AGO, SOON, "sick") in roster(office.desk).leave
    back = TODAY - timedelta(days=2)
    office.brings_in(leave=f"okafor,{AGO},{back},sick")
    assert roster(office.desk).leave == (
        LeaveLine("okafor", AGO, back, "sick"),
        *([LeaveLine("okafor", TODAY, SOON, "leave")]),
    )


@ON_BOTH
def test_a_holiday_that_has_passed_stays_and_one_to_come_goes(office: Office) -> None:
    office.brings_in(holidays=f"england,{AGO},past\nengland,{SOON},to come")
    office.brings_in(holidays=f"england,{LATER},another")
    assert [one.name for one in roster(office.desk).holidays] == ["past", "another"]


def test_who_changes_network_changes_pool_and_keeps_their_open_cases(office: Office) -> None:
    office.brings_in(**NORTH, pathologists=PEOPLE)
    has_a_read(office, "okafor")
    preview = office.brings_in(sites="site-a,south,")
    assert "okafor changes network and keeps 1 open read" in preview.notes
    assert office.pools() == {"okafor": "south", "lind": "south"}
    with office.desk.database.read() as session:
        assert session.scalars(select(Assignment.pathologist_id).where(Assignment.ended_at.is_(None))).all() == [
            "okafor"
        ]
    office.brings_in(sites="site-a,,")
    assert office.pools()["okafor"] == "network"


def test_a_new_network_has_a_pool_before_anybody_is_in_it(office: Office) -> None:
    office.brings_in(**NORTH)
    with office.desk.database.read() as session:
        assert set(session.scalars(select(Pool.id))) >= {"north", "south", "network"}


def test_a_network_that_nothing_names_any_more_goes(office: Office) -> None:
    office.brings_in(**NORTH, pathologists=PEOPLE)
    office.brings_in(networks="north,The North,ne", sites="site-b,north,")
    assert [one.id for one in roster(office.desk).networks] == ["north"]
    assert office.pools() == {"okafor": "north", "lind": "north"}


def reader(reader_id: str) -> Reader:
    hours = Hours(days=("mon",), starts=time(9), ends=time(17))
    return Reader(id=reader_id, name=f"Dr {reader_id.title()}", site="site-a", leads=("skin",), hours=(hours,))


def test_whoever_was_imported_is_left_alone_by_the_settings(
    tmp_path: Path, database_url: str, office_at: Callable[..., Office]
) -> None:
    office = office_at(database_url, reader("rosa"), reader("tom"))
    office.brings_in(
        pathologists="rosa,Dr Rosa New,site-b,1,70,,yes,\nokafor,Dr Okafor,site-a,1,100,,yes,",
        competences="rosa,gi,lead,,,2026-01-01,",
    )
    with office.desk.database.write("test") as session:
        sync_people(session, settings_of(tmp_path, database_url, reader("rosa"), reader("tom"), reader("new")))
    people = {one.id: (one.site_id, one.points_a_week, one.active) for one in roster(office.desk).pathologists}
    assert people == {
        "rosa": ("site-b", 70.0, True),
        "okafor": ("site-a", 100.0, True),
        "tom": ("site-a", 100.0, False),
        "new": ("site-a", 100.0, True),
    }
    assert {one.subspecialty for one in roster(office.desk).competences if one.pathologist_id == "rosa"} >= {"gi"}


def test_competences_of_those_whom_the_settings_keep_are_the_settings_own(
    tmp_path: Path, office_at: Callable[..., Office]
) -> None:
    office = office_at(f"sqlite:///{tmp_path / 'coverslip.db'}", reader("rosa"))
    before = roster(office.desk)
    assert office.sentences(sessions="rosa,tue,09:00,17:00") == [
        "is kept in the settings: put pathologists.csv beside this file, with them in it"
    ]
    office.brings_in(sessions="", competences="")
    assert roster(office.desk) == before


def test_what_the_lims_calls_somebody_is_known_for_imported_people_too(office: Office) -> None:
    office.brings_in(pathologists=f"{PEOPLE}\nold,Dr Old,site-a,,,,no,JL")
    with office.desk.database.read() as session:
        assert [known_reader(session, name) for name in ("jl", " Lind", "OKAFOR", "nobody")] == [
            "lind",
            "lind",
            "okafor",
            None,
        ]
        assert (called(session, "lind"), called(session, "okafor")) == ("LIND", "okafor")


def test_what_was_agreed_to_is_what_is_done(office: Office) -> None:
    folder = office.files(pathologists=PEOPLE)
    seen = preview_people(office.desk, folder)
    (folder / "pathologists.csv").write_text((folder / "pathologists.csv").read_text() + "kim,Dr Kim,site-a,,,,,\n")
    with pytest.raises(RefusedError, match="no longer what was shown"):
        import_people(office.desk, folder, ANN, seen)
    assert roster(office.desk).pathologists == ()


@ON_BOTH
def test_two_who_import_at_once_take_turns(office: Office, tmp_path: Path) -> None:
    problems: list[BaseException] = []
    folders = []
    for number in range(4):
        folder = tmp_path / f"in-{number}"
        write_folder(Roster(networks=(NetworkLine(f"n{number}", "N", "r"),)), folder)
        for other in ("network_aid", "sites", "pathologists", "competences", "sessions", "leave", "conflicts"):
            (folder / f"{other}.csv").unlink()
        folders.append(folder)

    def bring(folder: Path) -> None:
        try:
            import_people(office.desk, folder, ANN)
        except Exception as error:  # noqa: BLE001 - told to the test
            problems.append(error)

    threads = [threading.Thread(target=bring, args=(folder,)) for folder in folders]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert problems == []
    assert len(roster(office.desk).networks) == 1


def test_an_id_longer_than_the_books_have_room_for_is_brought_in_too(office: Office) -> None:
    office.brings_in(pathologists=f"{'a' * 63},Dr A,site-a,,,,,")
    assert [one.id for one in roster(office.desk).pathologists] == ["a" * 63]


@ON_BOTH
def test_two_hundred_people_with_competences_take_no_minutes(office: Office) -> None:
    people = "\n".join(f"p{n},Dr Number {n},{SITES[n % 3]},1,100,,yes,L{n}" for n in range(200))
    subspecialties = ("breast", "skin", "gi", "renal", "neuro")
    competences = "\n".join(f"p{n},{what},lead,,,2026-01-01," for n in range(200) for what in subspecialties)
    sessions = "\n".join(f"p{n},mon-fri,09:00,17:00" for n in range(200))
    started = clock.monotonic()
    preview = office.brings_in(**NORTH, pathologists=people, competences=competences, sessions=sessions)
    assert len(preview.changes) == 2 + 1 + 2 + 200 + 1_000 + 1_000
    # Measured at about one second; a machine that is busy otherwise takes longer.
    assert clock.monotonic() - started < 20


def test_the_policy_in_force_is_the_shipped_one_while_none_was_set(office: Office) -> None:
    with office.desk.database.read() as session:
        assert policy_in_force(session, datetime.now(UTC)).version is None


def looks(office: Office) -> list[str]:
    with office.desk.database.read() as session:
        return list(session.scalars(select(Rebalance.why).order_by(Rebalance.id)))


@ON_BOTH
def test_open_reads_are_looked_at_again_when_people_changed_and_only_then(office: Office) -> None:
    office.brings_in(pathologists=PEOPLE)
    assert looks(office) == ["people or their hours were brought in"]
    office.brings_in(pathologists=PEOPLE)
    assert len(looks(office)) == 1


def test_a_read_that_nobody_could_have_is_decided_again_once_somebody_is_brought_in(office: Office) -> None:
    with office.desk.database.write("test") as session:
        now = database_now(session)
        wait = Wait(AN_ELIGIBLE_PATHOLOGIST, "case-1", now + timedelta(hours=1), "tried again")
        ledger.hold_key(session, wait.waiting_for, wait.key)
        new = NewStep("case_assignment", "case_assignment", "read", "case-1", rank_at=now, wait=wait)
        ledger.add(session, [new])
    office.brings_in(pathologists=PEOPLE)
    with office.desk.database.read() as session:
        assert session.scalars(select(Step.state)).all() == ["ready"]
