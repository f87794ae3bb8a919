import json
import random
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.case_assignment.candidate import Absence, Candidate, ReadToAssign, WeeklySession
from flows.case_assignment.choice import Assigner, Choice, Escalated, SmallestRelativeLoad
from flows.case_assignment.cost import Policy
from flows.case_assignment.eligibility import Eligible, eligible
from flows.case_assignment.explanation import Explanation, replay
from models.errors import RejectedError
from tests.flows.case_assignment.people import MONDAY, OFFICE_HOURS, a_read, somebody

ASSIGNER: Assigner = SmallestRelativeLoad()
INTRA_OPERATIVE, URGENT, ROUTINE = 0, 1, 2


def winner_of(read: ReadToAssign, *candidates: Candidate) -> str:
    chosen = ASSIGNER.choose(read, candidates, MONDAY)
    assert isinstance(chosen, Choice)
    return chosen.pathologist_id


def test_the_smaller_load_for_ones_own_week_wins_not_the_shorter_list() -> None:
    full_time = somebody(pathologist_id="full", points_a_week=100.0, open_points=20.0)
    part_time = somebody(pathologist_id="part", points_a_week=40.0, open_points=12.0)
    assert winner_of(a_read(), full_time, part_time) == "full"


def test_a_large_case_still_goes_to_a_part_timer_whose_desk_is_emptier() -> None:
    full_time = somebody(pathologist_id="full", points_a_week=100.0, open_points=11.0)
    part_time = somebody(pathologist_id="part", points_a_week=40.0, open_points=4.0)
    assert winner_of(a_read(points=16.0), full_time, part_time) == "part"


def test_over_many_reads_part_timers_get_their_share_of_large_cases() -> None:
    weeks = {"full-1": 100.0, "full-2": 100.0, "part": 50.0}
    desks = dict.fromkeys(weeks, 0.0)
    large = dict.fromkeys(weeks, 0.0)
    random_points = random.Random(7)
    for number in range(600):
        weight = random_points.choice((1.0, 2.0, 5.0, 16.0))
        people = [somebody(pathologist_id=one, points_a_week=weeks[one], open_points=desks[one]) for one in weeks]
        winner = winner_of(a_read(read_id=str(number), points=weight), *people)
        desks[winner] += weight
        large[winner] += weight if weight > 10 else 0
    assert desks["part"] / sum(desks.values()) == pytest.approx(0.2, abs=0.02)
    assert large["part"] / sum(large.values()) == pytest.approx(0.2, abs=0.06)


def test_an_even_load_stays_at_the_site_and_a_clear_difference_goes_elsewhere() -> None:
    away = somebody(pathologist_id="away", site_id="site-b", open_points=6.0)
    assert winner_of(a_read(), away, somebody(pathologist_id="here", open_points=10.0)) == "here"
    assert winner_of(a_read(), away, somebody(pathologist_id="here", open_points=12.0)) == "away"


def test_who_leads_goes_before_who_may_read_until_the_load_says_otherwise() -> None:
    may = somebody(pathologist_id="may", levels={"breast": 2})
    assert winner_of(a_read(), may, somebody(pathologist_id="leads", open_points=9.0)) == "leads"
    assert winner_of(a_read(), may, somebody(pathologist_id="leads", open_points=11.0)) == "may"


def test_a_routine_read_is_not_parked_with_someone_who_is_rarely_there() -> None:
    fridays = somebody(pathologist_id="fridays", points_a_week=20.0, sessions=(OFFICE_HOURS[4],))
    assert winner_of(a_read(), fridays, somebody(pathologist_id="daily", open_points=5.0)) == "daily"


def test_the_more_urgent_a_read_the_more_it_wants_somebody_who_reads_now() -> None:
    now = somebody(pathologist_id="now", open_points=30.0)
    at_noon = somebody(pathologist_id="at noon", sessions=(WeeklySession(0, time(12), time(17)),), open_points=20.0)
    assert winner_of(a_read(lane=INTRA_OPERATIVE), now, at_noon) == "now"
    assert winner_of(a_read(lane=ROUTINE), now, at_noon) == "at noon"


def test_even_candidates_are_told_apart_by_id() -> None:
    assert winner_of(a_read(), somebody(pathologist_id="b"), somebody(pathologist_id="a")) == "a"


def test_when_nobody_may_read_it_the_read_is_escalated_with_what_kept_each_one_from_it() -> None:
    people = (
        somebody(pathologist_id="c", levels={"skin": 1}),
        somebody(pathologist_id="a", absences=(Absence(date(2026, 11, 23), date(2026, 11, 23)),)),
        somebody(pathologist_id="b", levels={"gi": 2}),
    )
    escalated = ASSIGNER.choose(a_read(), people, MONDAY)
    assert isinstance(escalated, Escalated)
    told = escalated.explanation
    assert [(one.pathologist_id, one.rule) for one in told.ruled_out] == [
        ("a", "leave"),
        ("b", "competence"),
        ("c", "competence"),
    ]
    assert told.sentence == (
        "nobody may get this read of breast now (competence 2, leave 1): "
        "change who may read it or when they read, or assign it by hand"
    )
    assert replay(told) is None


def test_a_laboratory_without_people_escalates() -> None:
    escalated = ASSIGNER.choose(a_read(), (), MONDAY)
    assert isinstance(escalated, Escalated)
    assert "nobody is known" in escalated.explanation.sentence


def test_the_explanation_says_who_won_against_whom_by_what_and_what_would_flip_it() -> None:
    people = [somebody(pathologist_id=f"p{n}", open_points=10.0 + 4 * n) for n in range(7)]
    people.append(somebody(pathologist_id="p7", active=False))
    chosen = ASSIGNER.choose(a_read(), people, MONDAY)
    assert isinstance(chosen, Choice)
    told = chosen.explanation
    assert (told.winner, told.eligible, len(told.best)) == ("p0", 7, 5)
    assert [one.cost for one in told.best] == [10_000, 14_000, 18_000, 22_000, 26_000]
    assert told.best[0].terms[0].name == "load"
    assert told.runner_up is not None
    assert (told.runner_up.pathologist_id, told.runner_up.deciding_term) == ("p1", "load")
    assert (
        told.runner_up.would_flip
        == "they would have got it, had the winner had more than 4.0 points more on their desk"
    )
    assert told.sentence == "the smallest cost of 7 who may get this read of breast now: 10.0 against 14.0, by load"
    assert [(one.pathologist_id, one.rule) for one in told.ruled_out] == [("p7", "active")]
    assert (told.policy.version, told.weights) == ("smallest relative load/1", "weights/1")


def test_what_would_flip_a_decision_does_flip_it() -> None:
    one, other = somebody(points_a_week=60.0, open_points=3.0), somebody(pathologist_id="b", open_points=9.0)
    assert winner_of(a_read(), one, other) == "a"
    assert winner_of(a_read(), replace(one, open_points=3.0 + 2.3), other) == "a"
    assert winner_of(a_read(), replace(one, open_points=3.0 + 2.5), other) == "b"
    chosen = ASSIGNER.choose(a_read(), (one, other), MONDAY)
    assert isinstance(chosen, Choice)
    assert chosen.explanation.runner_up is not None
    assert "more than 2.4 points" in chosen.explanation.runner_up.would_flip


@pytest.mark.parametrize(
    ("runner_up", "term"),
    [
        (somebody(pathologist_id="z", site_id="site-b"), "other site"),
        (somebody(pathologist_id="z", levels={"breast": 2}, site_id="site-b"), "second level"),
        (somebody(pathologist_id="z", sessions=(WeeklySession(1, time(9), time(17)),)), "wait"),
        (somebody(pathologist_id="z"), "id"),
    ],
)
def test_the_deciding_term_is_what_the_runner_up_lost_most_by(runner_up: Candidate, term: str) -> None:
    chosen = ASSIGNER.choose(a_read(), (runner_up, somebody()), MONDAY)
    assert isinstance(chosen, Choice)
    assert chosen.explanation.runner_up is not None
    assert chosen.explanation.runner_up.deciding_term == term


def test_a_record_of_another_formula_is_not_replayed_by_this_one() -> None:
    other = SmallestRelativeLoad(Policy(version="marginal cost/9")).choose(a_read(), (somebody(),), MONDAY)
    with pytest.raises(RejectedError, match="marginal cost/9"):
        replay(other.explanation)


def test_a_replay_trusts_the_inputs_and_not_the_costs_or_the_winner_that_the_record_states() -> None:
    chosen = ASSIGNER.choose(a_read(), (somebody(), somebody(pathologist_id="b", open_points=1.0)), MONDAY)
    record = chosen.explanation.model_dump(mode="json")
    record["winner"] = "b"
    record["best"][1]["terms"] = []
    assert replay(Explanation.model_validate(record)) == "a"


zones = st.sampled_from(("Europe/London", "Pacific/Auckland", "America/St_Johns", "Asia/Kathmandu"))
sessions = st.builds(WeeklySession, st.integers(0, 6), st.times(), st.times())
days = st.dates(date(2026, 3, 20), date(2026, 4, 10))
absences = st.tuples(days, st.integers(0, 5)).map(lambda one: Absence(one[0], one[0] + timedelta(days=one[1])))
candidates = st.builds(
    Candidate,
    pathologist_id=st.text("abcdef", min_size=1, max_size=3),
    name=st.just("Dr N. Nobody"),
    site_id=st.sampled_from(("site-a", "site-b")),
    zone=zones,
    points_a_week=st.floats(1, 200),
    levels=st.dictionaries(st.sampled_from(("breast", "skin", "general")), st.integers(1, 2)),
    sessions=st.lists(sessions, max_size=3).map(tuple),
    absences=st.lists(absences, max_size=2).map(tuple),
    open_points=st.floats(0, 500),
    active=st.booleans(),
)
instants = st.datetimes(datetime(2026, 3, 25), datetime(2026, 4, 5), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
reads = st.builds(
    a_read,
    subspecialty=st.sampled_from(("breast", "skin", None)),
    lane=st.integers(0, 2),
    due_at=st.none() | instants,
    conflicts=st.frozensets(st.text("abcdef", min_size=1, max_size=1)),
)


@given(reads, st.lists(candidates, max_size=8, unique_by=lambda one: one.pathologist_id), instants, st.randoms())
def test_any_decision_keeps_the_promises_of_an_assigner(
    read: ReadToAssign, people: list[Candidate], now: datetime, chance: random.Random
) -> None:
    chosen = ASSIGNER.choose(read, people, now)
    may = {one.pathologist_id for one in people if isinstance(eligible(read, one, now), Eligible)}
    told = chosen.explanation
    # Nobody who is excluded; escalated only when everybody is.
    assert chosen.pathologist_id in may if isinstance(chosen, Choice) else not may
    assert {one.pathologist_id for one in told.ruled_out} == {one.pathologist_id for one in people} - may
    # The same whatever the order.
    assert ASSIGNER.choose(read, chance.sample(people, len(people)), now) == chosen
    # The record survives JSON and gives the same winner.
    kept = Explanation.model_validate(json.loads(json.dumps(told.model_dump(mode="json"), allow_nan=False)))
    assert kept == told
    assert replay(kept) == told.winner
