"""A deadline that will be missed is raised before it is, and one that was missed at once."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import delete, event, insert, select, update

from connectors.wiring import Lab
from flows.actions import Desk, Person, call_off, read_named
from flows.actions.deadlines import pause_deadlines, resume_deadlines, set_mdt
from flows.deadlines.lately import usual_of
from flows.deadlines.watch import Watch
from models.database import database_now, utc_now
from models.policy import Target
from models.tables.books import Alert, History
from models.tables.case import Case
from models.tables.deadline import Deadline, DeadlinePause
from models.tables.reading import Assignment, Leave, Read, ReadingSession, Rebalance
from tests.flows.deadlines.kept import due, hl7, holidays, looked, moved, notices, policy_begins, raised
from tests.flows.looking import A, B, alerts, books_balance, says, the_case
from tests.lims_says import reported
from tests.small_lab import ON_BOTH, SmallSlide, order, run_until_calm, scan_arrives

ANN = Person("Ann Example", "waits for the clinic")


def the_reader(lab: Lab) -> str:
    with lab.database.read() as session:
        return session.scalars(select(Assignment.pathologist_id).where(Assignment.ended_at.is_(None))).one()


def goes_on_leave(lab: Lab, who: str, days: int = 30) -> None:
    with lab.database.write("leave") as session:
        today = database_now(session).date()
        row = {"pathologist_id": who, "first_day": today - timedelta(days=1), "last_day": today + timedelta(days=days)}
        session.execute(insert(Leave), row)


def test_a_case_that_has_time_is_not_raised(lab: Lab) -> None:
    says(lab, order("26H1", A))
    assert looked(lab) == 0
    moved(lab, "turnaround", timedelta(hours=23))

    # What is not scanned is believed to take half a day, and to be read in another whole one.
    assert looked(lab) == 1
    assert set(raised(lab)) == {"deadline at risk"}


@ON_BOTH
def test_a_breach_is_raised_before_it_comes_and_says_which_deadline_and_why(lab: Lab) -> None:
    soon = utc_now() + timedelta(hours=5)
    says(lab, order("26H1", A, B, due=hl7(soon)))
    assert [looked(lab), looked(lab)] == [1, 0]

    [sentence] = raised(lab).values()
    assert sentence.startswith("its deadline of ")
    assert "(asked for by the LIMS) will probably be missed: a report is expected by " in sentence
    assert sentence.endswith("and most of the time goes to its reading")
    ordered = due(lab)["ordered"]
    assert ordered.predicted_at is not None
    assert ordered.predicted_at < ordered.due_at
    assert ordered.breached_at is None
    assert due(lab)["turnaround"].predicted_at is None
    books_balance(lab)


@ON_BOTH
def test_what_was_foreseen_ends_when_it_is_reported_or_gets_more_time(lab: Lab) -> None:
    soon = utc_now() + timedelta(hours=5)
    says(lab, order("26H1", A, due=hl7(soon)))
    looked(lab)
    says(
        lab,
        order("26H1", control="XO", due=hl7(soon + timedelta(days=8)), sent_at="20250101130000+0000", control_id="2"),
    )
    assert raised(lab) == {}
    assert due(lab)["ordered"].predicted_at is None

    moved(lab, "ordered", timedelta(hours=1))
    looked(lab)
    assert set(raised(lab)) == {"deadline at risk"}
    says(lab, reported("26H1", "F"))
    assert raised(lab) == {}


def test_a_reader_who_can_not_make_it_is_told_once_and_so_are_people(lab: Lab) -> None:
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    reader = the_reader(lab)
    moved(lab, "turnaround", timedelta(hours=20))
    assert looked(lab) == 0
    goes_on_leave(lab, reader)
    assert [looked(lab), looked(lab)] == [1, 0]

    assert "who reads next on " in raised(lab)["deadline at risk"]
    with lab.database.read() as session:
        # Somebody else could make it: all open reads are looked at.
        assert session.scalars(select(Rebalance.why)).all() == ["a read will be late with whoever has it"]
    assert notices(lab) == [(reader, f"A case of yours: {raised(lab)['deadline at risk']}")]
    with lab.database.write("back") as session:
        session.execute(delete(Leave))
    assert looked(lab) == 1
    assert raised(lab) == {}
    assert due(lab)["turnaround"].predicted_at is None


def test_a_reader_who_has_public_holidays_first_is_foreseen_to_be_late(lab: Lab) -> None:
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    moved(lab, "turnaround", timedelta(hours=20))
    assert looked(lab) == 0
    with lab.database.write("sundays") as session:
        session.execute(delete(ReadingSession).where(ReadingSession.weekday == 6))
    holidays(lab, *(utc_now() + timedelta(days=day) for day in range(3)))
    assert looked(lab) == 1
    assert "who reads next on " in raised(lab)["deadline at risk"]


def test_a_reader_without_sessions_takes_what_reading_usually_takes(lab: Lab) -> None:
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    with lab.database.write("no sessions") as session:
        session.execute(delete(ReadingSession))
    moved(lab, "turnaround", timedelta(hours=20))
    looked(lab)

    assert raised(lab)["deadline at risk"].endswith(
        "most of the time goes to the reading by Dr Rosa Example"
    ) or raised(lab)["deadline at risk"].endswith("most of the time goes to the reading by Dr Tom Example")


@ON_BOTH
def test_a_deadline_that_passes_is_missed_from_then_on(lab: Lab) -> None:
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    moved(lab, "turnaround", timedelta(hours=1))
    goes_on_leave(lab, the_reader(lab))
    looked(lab)
    moved(lab, "turnaround", timedelta(seconds=-1))
    assert [looked(lab), looked(lab)] == [1, 0]

    assert set(raised(lab)) == {"deadline missed"}
    assert raised(lab)["deadline missed"].endswith("(turnaround) has passed, and it is not reported")
    missed = due(lab)["turnaround"]
    assert missed.breached_at == missed.due_at
    assert missed.predicted_at is not None
    assert len(notices(lab)) == 2
    says(lab, reported("26H1", "F", sent_at=hl7(utc_now())))
    assert raised(lab) == {}


def test_the_alert_tells_the_latest_forecast_and_keeps_when_it_was_raised(lab: Lab) -> None:
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    moved(lab, "turnaround", timedelta(hours=5))
    goes_on_leave(lab, the_reader(lab), 5)
    looked(lab)
    before = raised(lab)
    with lab.database.write("longer") as session:
        session.execute(update(Leave).values(last_day=Leave.first_day + timedelta(days=20)))
    looked(lab)

    assert raised(lab) != before
    assert len(notices(lab)) == 1
    with lab.database.read() as session:
        assert len(session.scalars(select(Alert).where(Alert.kind == "deadline at risk")).all()) == 1


@ON_BOTH
def test_nothing_is_missed_while_its_clock_stands_still(lab: Lab) -> None:
    desk = Desk(lab.database, lab.settings, lab.ids)
    policy_begins(lab, turnaround=Target(minutes=0.01))
    says(lab, order("26H1", A))
    pause_deadlines(desk, the_case(lab).id, ANN)
    with lab.database.write("earlier") as session:
        session.execute(update(Deadline).values(due_at=Deadline.starts_at))
    looked(lab)

    assert raised(lab) == {}
    assert due(lab)["turnaround"].breached_at is None
    resume_deadlines(desk, the_case(lab).id, ANN)
    moved(lab, "turnaround", timedelta(seconds=-1))
    looked(lab)
    assert set(raised(lab)) == {"deadline missed"}


@ON_BOTH
def test_a_clock_that_nobody_lets_run_again_is_raised_until_it_does(lab: Lab) -> None:
    says(lab, order("26H1", A))
    desk = Desk(lab.database, lab.settings, lab.ids)
    pause_deadlines(desk, the_case(lab).id, ANN)
    looked(lab)
    assert alerts(lab) == []
    with lab.database.write("a week passes") as session:
        session.execute(update(DeadlinePause).values(began_at=database_now(session) - timedelta(days=7)))
    looked(lab)
    looked(lab)
    with lab.database.read() as session:
        told = session.scalars(select(Alert)).one()
    assert (told.subject_id, told.kind) == (the_case(lab).id, "clock stands still")
    assert "when Ann Example stopped it: 'coverslip deadline resume'" in told.sentence

    resume_deadlines(desk, the_case(lab).id, ANN)
    looked(lab)
    assert "clock stands still" not in alerts(lab)
    books_balance(lab)


@ON_BOTH
def test_a_meeting_that_nobody_said_was_prepared_is_raised_though_the_case_is_reported(lab: Lab) -> None:
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    desk = Desk(lab.database, lab.settings, lab.ids)
    set_mdt(desk, the_case(lab).id, utc_now() + timedelta(days=2), ANN)
    run_until_calm(lab)
    says(lab, reported("26H1", "F"))
    looked(lab)
    assert alerts(lab) == []

    moved(lab, "mdt", timedelta(minutes=-1))
    looked(lab)
    assert alerts(lab) == ["meeting is over"]
    with lab.database.read() as session:
        seen = read_named(session, the_case(lab).id)
    call_off(desk, seen, ANN)
    looked(lab)
    assert alerts(lab) == []
    books_balance(lab)


def test_a_meeting_is_a_deadline_like_others(lab: Lab) -> None:
    desk = Desk(lab.database, lab.settings, lab.ids)
    says(lab, order("26H1", A))
    set_mdt(desk, the_case(lab).id, utc_now() + timedelta(hours=3), ANN)
    assert the_case(lab).due_kind == "mdt"
    looked(lab)
    assert "(MDT)" in raised(lab)["deadline at risk"]

    set_mdt(desk, the_case(lab).id, None, ANN)
    assert the_case(lab).due_kind == "turnaround"
    assert raised(lab) == {}


@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_looks_go_round_so_that_no_case_is_left_out(lab: Lab, most: int) -> None:
    for number in range(4):
        says(lab, order(f"26H{number}", f"26H00000{number}-A1-1", control_id=f"M{number}"))
    moved(lab, "turnaround", timedelta(hours=5))
    watch = Watch(lab, most)

    assert [watch.look() for _ in range(4)] == [min(most, max(0, 4 - most * number)) for number in range(4)]
    with lab.database.write("now") as session:
        session.execute(update(Deadline).values(due_at=database_now(session)))
    assert [watch.look() for _ in range(4)] == [min(most, max(0, 4 - most * number)) for number in range(4)]


@ON_BOTH
def test_what_is_usual_is_what_this_laboratory_did(lab: Lab) -> None:
    for number in range(3):
        slide = f"26H00000{number}-A1-1"
        says(lab, order(f"26H{number}", slide, control_id=f"M{number}"))
        scan_arrives(lab, SmallSlide(codes=(slide,)))
        run_until_calm(lab)
        says(lab, reported(f"26H{number}", "F", control_id=f"R{number}", sent_at=hl7(utc_now())))

    with lab.database.read() as session:
        usual = usual_of(session)
        assert session.scalars(select(Read.closed_at)).all() != [None] * 3
        assert session.scalars(select(History.id)).first() is not None
    counted = {stage: len(spans) for stage, spans in usual.took.items()}
    assert counted == {"archive": 3, "scan": 3, "rescan": 0, "work": 0, "assignment": 3, "reading": 3}


@ON_BOTH
def test_a_look_asks_as_much_of_the_database_however_many_cases_are_open(lab: Lab) -> None:
    asked: list[int] = []
    for more in (40, 400):
        _open_cases(lab, more)
        watch = Watch(lab, most=20)
        assert watch.look() == 20
        statements: list[str] = []
        listener = _listen(lab, statements)
        watch.look()
        event.remove(lab.database.engine, "before_cursor_execute", listener)
        asked.append(len(statements))

    # So many reads, and so many for each of the twenty cases that there is news of.
    assert asked[0] == asked[1]
    assert asked[0] < 20 * 20


def _listen(lab: Lab, statements: list[str]) -> Callable[..., None]:
    def heard(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        statements.append(statement)

    event.listen(lab.database.engine, "before_cursor_execute", heard)
    return heard


def _open_cases(lab: Lab, number: int) -> None:
    """Have so many other cases be open, each due within a day and without anything that could be read."""
    with lab.database.write("many") as session:
        now = database_now(session)
        session.execute(delete(Deadline))
        alike = {"site_id": "site-a", "lane": 2, "cancelled": False, "released": False, "images": "awaiting"}
        alike |= {"reading": "none", "report": "none", "round": 1, "registered_at": now, "orders_changed_at": now}
        alike |= {"completeness_version": 0, "identity_digest": "", "due_kind": "turnaround"}
        rows: list[dict[str, Any]] = [
            {**alike, "id": str(uuid4()), "due_at": now + timedelta(minutes=60 + one)} for one in range(number)
        ]
        session.execute(insert(Case), rows)
        said = {"round": 1, "kind": "turnaround", "source": "a test", "basis": "calendar", "starts_at": now}
        lives = [{**said, "id": str(uuid4()), "case_id": row["id"], "due_at": row["due_at"]} for row in rows]
        session.execute(insert(Deadline), lives)


@ON_BOTH
def test_two_who_look_at_once_tell_a_reader_once(lab: Lab) -> None:
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    goes_on_leave(lab, the_reader(lab))
    moved(lab, "turnaround", timedelta(hours=5))
    lookers = [threading.Thread(target=Watch(lab).look) for _ in range(4)]
    for one in lookers:
        one.start()
    for one in lookers:
        one.join(30)

    assert len(notices(lab)) == 1
    with lab.database.read() as session:
        assert len(session.scalars(select(Alert).where(Alert.kind == "deadline at risk")).all()) == 1
