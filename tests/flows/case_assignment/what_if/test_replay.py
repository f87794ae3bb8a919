from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.case_assignment.candidate import Absence
from flows.case_assignment.what_if.figures import Figures, figures_of, recorded
from flows.case_assignment.what_if.generated import generated
from flows.case_assignment.what_if.replay import Replayed, replay
from models.errors import RefusedError
from models.policy import Policy
from tests.flows.case_assignment.what_if.weeks import MONDAY, person, weeks, work

POLICY = Policy()


def readers(replayed: Replayed) -> dict[str, str | None]:
    staff = replayed.history.staff
    return {one.work.read_id: staff[one.owner].pathologist_id if one.owner >= 0 else None for one in replayed.readings}


def test_a_read_is_reported_in_the_next_session_at_the_readers_pace() -> None:
    [one] = replay(weeks([person("ann")], [work(1, hours=13, points=5)]), POLICY).readings
    assert one.reported_at == MONDAY + timedelta(days=1, hours=10)  # ten points take four hours from eight o'clock on


def test_a_read_that_takes_two_mornings_is_reported_on_the_second() -> None:
    [one] = replay(weeks([person("ann")], [work(1, hours=7, points=15)]), POLICY).readings
    assert one.reported_at == MONDAY + timedelta(days=1, hours=10)


def test_what_is_urgent_is_read_first_but_nothing_that_was_begun_is_put_away() -> None:
    reads = [work(1, hours=7, points=8), work(2, hours=7, points=8), work(3, hours=8.6, points=2, lane=1)]
    done = {one.work.read_id: one.reported_at for one in replay(weeks([person("ann")], reads), POLICY).readings}
    assert sorted(done, key=lambda name: (done[name] is None, done[name])) == ["read-001", "read-003", "read-002"]


def test_a_second_read_goes_to_another_lead() -> None:
    staff = [person("ann"), person("bob"), person("cal", levels={"general": 2})]
    reads = [work(1), work(2, points=1.0, after="read-001")]
    who = readers(replay(weeks(staff, reads), POLICY))
    assert who["read-002"] in {"ann", "bob"} - {who["read-001"]}


def test_a_patient_comes_back_to_the_same_reader() -> None:
    staff = [person("ann"), person("bob")]
    reads = [work(1, patient="p"), work(2, hours=34, patient="p"), work(3, hours=34)]
    who = readers(replay(weeks(staff, reads), POLICY))
    assert who["read-001"] == who["read-002"] != who["read-003"]


def test_who_may_not_have_a_read_never_gets_it() -> None:
    staff = [person("ann"), person("far", site="far"), person("skin", levels={"skin": 1})]
    who = readers(replay(weeks(staff, [work(1), work(2, conflicts=frozenset({"ann"}))]), POLICY))
    assert who == {"read-001": "ann", "read-002": None}


def test_a_subspecialty_of_the_whole_country_is_read_anywhere() -> None:
    reads = [work(1, subspecialty="bone")]
    staff = [person("far", site="far", levels={"bone": 1})]
    assert readers(replay(weeks(staff, reads), POLICY)) == {"read-001": None}
    national = Policy.model_validate({"subspecialties": {"bone": {"scope": "national"}}})
    assert readers(replay(weeks(staff, reads), national)) == {"read-001": "far"}


def test_the_unopened_reads_of_somebody_who_goes_on_leave_are_moved_by_the_batch() -> None:
    away = Absence(date(2026, 1, 6), date(2026, 1, 30))
    reads = [work(number, hours=11.4, points=4, stated_due_at=MONDAY + timedelta(days=4)) for number in range(4)]
    replayed = replay(weeks([person("ann", away=[away]), person("bob")], reads), POLICY)
    assert all(one.reported_at is not None for one in replayed.readings)


def test_a_deadline_that_nobody_can_keep_does_not_leave_a_read_with_nobody() -> None:
    saturday = 5 * 24 + 9
    reads = [work(1, hours=saturday, stated_due_at=MONDAY + timedelta(hours=saturday + 2))]
    replayed = replay(weeks([person("ann")], reads), POLICY)
    assert readers(replayed) == {"read-001": "ann"}
    assert figures_of(replayed).late == 1.0


def test_the_same_weeks_come_to_the_same_outcome_in_whatever_order_they_are_written() -> None:
    history = generated(3, 5)
    shuffled = replace(history, work=tuple(reversed(history.work)))
    assert figures_of(replay(history, POLICY)) == figures_of(replay(shuffled, POLICY))


def test_an_absence_is_felt() -> None:
    history = generated(3, 3)
    today = figures_of(replay(history, POLICY))
    fewer = history
    for name in [one.pathologist_id for one in history.staff][::2]:
        fewer = fewer.without(name)
    changed = figures_of(replay(fewer, POLICY))
    before, after = today.turnaround(0.5), changed.turnaround(0.5)
    assert before is not None
    assert after is not None
    assert after > before
    assert len(changed.loads) == 18


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(0.5, 12), st.integers(0, 2)), max_size=30))
@settings(max_examples=25, deadline=None)
def test_every_read_is_reported_once_and_nobody_reports_more_than_they_can(
    said: list[tuple[float, float, int]],
) -> None:
    reads = [work(number, hours, points, lane=lane) for number, (hours, points, lane) in enumerate(said)]
    replayed = replay(weeks([person("ann"), person("bob", site="there")], reads), POLICY)
    assert [one.work.read_id for one in replayed.readings] == [one.read_id for one in reads]
    for one in replayed.readings:
        assert one.reported_at is not None
        assert one.reported_at >= one.work.ready_at
    assert all(load.relative <= 1 + 1e-9 for load in figures_of(replayed).loads)


def test_figures_of_the_weeks_as_they_were_come_from_what_was_recorded() -> None:
    at = MONDAY + timedelta(days=1, hours=9)
    reads = [
        work(1, points=10, reported_at=at, reader="ann", stated_due_at=at + timedelta(hours=1)),
        work(2, points=30, reported_at=at + timedelta(days=2), reader="bob", stated_due_at=at),
        work(3, points=10),
    ]
    found = recorded(weeks([person("ann"), person("bob", site="there")], reads), POLICY)
    assert found.waiting == 1
    assert found.turnarounds == (1.0, 3.0)
    assert found.late == 0.75
    assert found.other_site == 0.75
    assert found.other_network == 0.0
    assert found.moved is None
    assert [load.relative for load in found.loads] == [0.1, 0.3]
    assert found.spread == pytest.approx(0.5)
    assert found.gini == pytest.approx(0.25)


def test_nothing_to_replay_has_no_figures() -> None:
    empty = figures_of(replay(weeks([person("ann")], []), POLICY))
    assert empty == Figures(0, 0, (), None, None, None, None, None, None, empty.loads)
    assert empty.turnaround(0.5) is None


def test_people_are_named_without_doubt() -> None:
    history = weeks([person("ann"), person("anna")], [])
    assert history.without("ann").staff[0].absences != ()
    with pytest.raises(RefusedError, match=r"^'An' may be any of ann, anna: give the id$"):
        history.without("An")
    with pytest.raises(RefusedError, match=r"^nobody is called 'zoe': there are ann, anna$"):
        history.without("zoe")


def test_more_people_need_an_id_of_their_own_and_a_site() -> None:
    history = weeks([person("ann")], [])
    assert len(history.with_staff([person("bob")]).staff) == 2
    with pytest.raises(RefusedError, match="ann reads here already"):
        history.with_staff([person("ann")])
    with pytest.raises(RefusedError, match="bob works at moon, which is no site: there are far, here, there"):
        history.with_staff([person("bob", site="moon")])
