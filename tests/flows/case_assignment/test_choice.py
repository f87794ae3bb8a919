import json
import random
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.case_assignment.candidate import Absence, Candidate, ReadToAssign, WeeklySession
from flows.case_assignment.choice import Assigner, Choice, Escalated, SmallestMarginalCost
from flows.case_assignment.eligibility import Eligible, eligible
from flows.case_assignment.explanation import Explanation
from flows.case_assignment.replaying import replay
from models.errors import RejectedError
from models.policy import Policy, Weights
from tests.flows.case_assignment.people import MONDAY, OFFICE_HOURS, a_read, somebody

ASSIGNER: Assigner = SmallestMarginalCost()
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
    assert winner_of(a_read(), away, somebody(pathologist_id="here", open_points=8.0)) == "here"
    assert winner_of(a_read(), away, somebody(pathologist_id="here", open_points=9.5)) == "away"


def test_another_network_is_further_away_than_another_site() -> None:
    aided = a_read(network_id="north", aided_by=frozenset({"south"}))
    away = somebody(pathologist_id="away", site_id="site-b", network_id="north", open_points=10.0)
    abroad = somebody(pathologist_id="abroad", site_id="site-c", network_id="south", open_points=2.0)
    assert winner_of(aided, away, abroad) == "away"
    assert winner_of(aided, replace(away, open_points=20.0), abroad) == "abroad"


def test_who_leads_goes_before_who_may_read_until_the_load_says_otherwise() -> None:
    may = somebody(pathologist_id="may", levels={"breast": 2})
    assert winner_of(a_read(), may, somebody(pathologist_id="leads", open_points=5.0)) == "leads"
    assert winner_of(a_read(), may, somebody(pathologist_id="leads", open_points=6.0)) == "may"


def test_a_routine_read_is_not_parked_with_someone_who_is_rarely_there() -> None:
    fridays = somebody(pathologist_id="fridays", points_a_week=20.0, sessions=(OFFICE_HOURS[4],))
    assert winner_of(a_read(), fridays, somebody(pathologist_id="daily", open_points=5.0)) == "daily"


def test_the_more_urgent_a_read_the_more_it_wants_somebody_who_reads_now() -> None:
    now = somebody(pathologist_id="now", open_points=20.0)
    at_noon = somebody(pathologist_id="at noon", sessions=(WeeklySession(0, time(12), time(17)),), open_points=12.0)
    assert winner_of(a_read(lane=INTRA_OPERATIVE), now, at_noon) == "now"
    assert winner_of(a_read(lane=ROUTINE), now, at_noon) == "at noon"


def test_a_read_goes_to_whoever_can_still_report_it_in_time_even_with_more_on_their_desk() -> None:
    tomorrow, next_week = MONDAY + timedelta(hours=20), MONDAY + timedelta(days=8)
    busy = somebody(pathologist_id="busy until tomorrow", open_points=18.0, due=((tomorrow, 18.0),))
    room = somebody(pathologist_id="room until tomorrow", open_points=60.0, due=((next_week, 60.0),))
    assert winner_of(a_read(due_at=tomorrow), busy, room) == "room until tomorrow"
    assert winner_of(a_read(due_at=next_week + timedelta(days=1)), busy, room) == "busy until tomorrow"


def test_an_urgent_flood_is_spread_over_the_time_that_everybody_has_before_the_deadline() -> None:
    due = MONDAY + timedelta(hours=4)
    desks: dict[str, float] = {"full": 0.0, "half": 0.0}
    sessions = {"full": OFFICE_HOURS, "half": (WeeklySession(0, time(12), time(17)),)}
    for number in range(24):
        people = [
            somebody(pathologist_id=one, sessions=sessions[one], open_points=desks[one], due=((due, desks[one]),))
            for one in desks
        ]
        desks[winner_of(a_read(read_id=str(number), points=1.0, lane=URGENT, due_at=due), *people)] += 1.0
    # Four hours of a hundred points in forty; two of a hundred in five.
    assert desks == {"full": 10.0, "half": 14.0}


def test_one_giant_case_goes_to_whoever_it_makes_late_least() -> None:
    due = MONDAY + timedelta(hours=24)
    part_time = somebody(pathologist_id="part", points_a_week=50.0)
    full_time = somebody(pathologist_id="full", points_a_week=100.0, open_points=8.0)
    assert winner_of(a_read(points=400.0, due_at=due), part_time, full_time) == "full"


def test_whoever_comes_back_from_leave_is_not_flooded() -> None:
    away = (Absence(date(2026, 10, 1), date(2026, 11, 22)),)
    desks = dict.fromkeys(("back", "here"), 0.0)
    for number in range(100):
        back = somebody(pathologist_id="back", absences=away, open_points=desks["back"])
        here = somebody(pathologist_id="here", carry=380.0, open_points=desks["here"])
        desks[winner_of(a_read(read_id=str(number), points=1.0), back, here)] += 1.0
    assert desks["back"] < 45.0


def test_who_has_reported_more_of_what_they_can_gets_less() -> None:
    tired = somebody(pathologist_id="a", carry=300.0)
    assert winner_of(a_read(), tired, somebody(pathologist_id="b", carry=280.0)) == "b"
    # Somebody who began last week has had a week's time for it.
    begun = somebody(pathologist_id="b", carry=100.0, since=date(2026, 11, 16))
    assert winner_of(a_read(), tired, begun) == "a"


def test_a_patient_s_second_case_of_a_day_goes_to_whoever_has_the_first() -> None:
    has_the_first = somebody(pathologist_id="z", open_points=16.0)
    assert winner_of(a_read(patients_reader="z"), has_the_first, somebody()) == "z"
    assert winner_of(a_read(), has_the_first, somebody()) == "a"
    # As long as they may have it at all.
    assert winner_of(a_read(patients_reader="z", conflicts=frozenset("z")), has_the_first, somebody()) == "a"


def test_a_later_round_goes_to_whoever_read_the_case_before_unless_they_may_not() -> None:
    before = somebody(pathologist_id="z", open_points=80.0)
    chosen = ASSIGNER.choose(a_read(before="z"), (before, somebody()), MONDAY)
    assert isinstance(chosen, Choice)
    told = chosen.explanation
    assert (chosen.pathologist_id, told.sentence) == ("z", "read this case before, and may still read it")
    assert told.runner_up is not None
    assert (told.runner_up.pathologist_id, told.runner_up.deciding_term) == ("a", "same reader")
    on_leave = replace(before, absences=(Absence(date(2026, 11, 23), date(2026, 11, 24)),))
    assert winner_of(a_read(before="z"), on_leave, somebody()) == "a"


SECOND = a_read(read_id="read-2", role="second", points=2.0)


def test_the_only_one_who_could_read_it_second_does_not_get_the_first_read_when_another_may() -> None:
    leads, reads = somebody(pathologist_id="leads"), somebody(pathologist_id="reads", levels={"breast": 2})
    assert winner_of(a_read(counterpart=SECOND), leads, replace(reads, open_points=50.0)) == "reads"
    chosen = ASSIGNER.choose(a_read(counterpart=SECOND), (leads, reads), MONDAY)
    assert [(one.rule, one.people) for one in chosen.explanation.ruled_out] == [("reserved", ("leads",))]
    # With two who lead, either may.
    assert winner_of(a_read(counterpart=SECOND), leads, replace(leads, pathologist_id="other"), reads) == "leads"


def test_where_only_one_may_read_a_case_at_all_they_get_the_first_read_and_the_second_is_escalated() -> None:
    alone = somebody()
    assert winner_of(a_read(counterpart=SECOND), alone) == "a"
    second = replace(SECOND, counterpart=a_read())
    escalated = ASSIGNER.choose(second, (alone,), MONDAY)
    assert isinstance(escalated, Escalated)
    assert [one.rule for one in escalated.explanation.ruled_out] == ["reserved"]


def test_a_second_read_that_is_decided_first_leaves_the_only_first_reader_alone() -> None:
    only_first = somebody(pathologist_id="first", open_points=0.0)
    second = replace(SECOND, counterpart=a_read(conflicts=frozenset({"lead"})))
    assert winner_of(second, only_first, somebody(pathologist_id="lead", open_points=50.0)) == "lead"


def test_all_even_readers_get_even_reads_in_the_order_of_their_ids() -> None:
    desks = dict.fromkeys("cab", 0.0)
    order = []
    for number in range(9):
        people = [somebody(pathologist_id=one, open_points=points) for one, points in desks.items()]
        order.append(winner_of(a_read(read_id=str(number)), *people))
        desks[order[-1]] += 4.0
    assert order == list("abcabcabc")


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
    assert [(one.rule, one.people) for one in told.ruled_out] == [("leave", ("a",)), ("competence", ("b", "c"))]
    assert told.sentence == (
        "nobody may have this primary read of breast now (competence 2, leave 1): wait for the end of a leave, or end "
        "it; give somebody else the competence; or give it to somebody by hand"
    )
    assert replay(told.model_dump(mode="json")) is None


def test_nobody_passes_their_maximum_and_that_is_told_when_all_are_there() -> None:
    full = somebody(pathologist_id="full", max_points=40.0, open_points=37.0)
    assert winner_of(a_read(points=3.0), full) == "full"
    escalated = ASSIGNER.choose(a_read(points=4.0), (full, replace(full, pathologist_id="too")), MONDAY)
    assert isinstance(escalated, Escalated)
    assert "(maximum 2): have open reads reported, or raise somebody's maximum" in escalated.explanation.sentence
    (out,) = escalated.explanation.ruled_out
    assert out.sentence == "has 37 of at most 40 points open: 4 more would be too many"


def test_with_everyone_on_leave_a_read_is_escalated() -> None:
    away = (Absence(date(2026, 11, 20), date(2026, 11, 27)),)
    everyone = [somebody(pathologist_id=one, absences=away) for one in "abc"]
    escalated = ASSIGNER.choose(a_read(), everyone, MONDAY)
    assert isinstance(escalated, Escalated)
    assert [(one.rule, one.people) for one in escalated.explanation.ruled_out] == [("leave", ("a", "b", "c"))]


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
    assert [one.cost for one in told.best] == sorted(one.cost for one in told.best)
    assert [term.name for term in told.best[0].terms if term.cost] == ["load"]
    assert told.runner_up is not None
    assert (told.runner_up.pathologist_id, told.runner_up.deciding_term) == ("p1", "load")
    assert (
        told.runner_up.would_flip
        == "they would have got it, had the winner had more than 4.0 points more on their desk"
    )
    assert told.sentence == (
        "the smallest cost of 7 who may have this primary read of breast now: 0.73 against 1.02, by load"
    )
    assert [(one.people, one.rule) for one in told.ruled_out] == [(("p7",), "active")]
    assert (told.formula, told.weight_model, told.policy_version) == ("marginal cost/1", "weights/1", None)


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
    chosen = ASSIGNER.choose(a_read(), (somebody(),), MONDAY)
    with pytest.raises(RejectedError, match="marginal cost/9"):
        replay(chosen.explanation.model_dump(mode="json") | {"formula": "marginal cost/9"})


def test_a_replay_trusts_the_inputs_and_not_the_costs_or_the_winner_that_the_record_states() -> None:
    chosen = ASSIGNER.choose(a_read(), (somebody(), somebody(pathologist_id="b", open_points=1.0)), MONDAY)
    record = chosen.explanation.model_dump(mode="json")
    record["winner"] = "b"
    record["best"][1]["terms"] = []
    assert replay(record) == "a"
    record["best"][0]["open_points"] = 50.0
    assert replay(record) == "b"


def test_a_record_of_the_first_formula_still_gives_its_winner() -> None:
    reader = {
        "site_id": "site-a",
        "level": 1,
        "points_a_week": 100.0,
        "reads_from": "2026-11-23T10:00:00Z",
        "terms": [{"name": "load", "cost": 0}],
    }
    record = {
        "read_id": "read-1",
        "site_id": "site-a",
        "lane": 2,
        "decided_at": "2026-11-23T10:00:00Z",
        "policy": {
            "version": "smallest relative load/1",
            "other_site": 5_000,
            "second_level": 10_000,
            "wait_a_day": [240_000, 24_000, 2_400],
        },
        "best": [
            reader | {"pathologist_id": "away", "open_points": 2.0, "site_id": "site-b"},
            reader | {"pathologist_id": "here", "open_points": 6.0},
        ],
        "winner": "here",
    }
    assert replay(record) == "here"
    record["best"] = []
    assert replay(record) is None


def test_another_policy_decides_otherwise_and_its_version_is_kept() -> None:
    away, here = somebody(pathologist_id="away", site_id="site-b", open_points=2.0), somebody(open_points=10.0)
    far = SmallestMarginalCost(Policy(weights=Weights(other_site=3.0)), 7)
    chosen = far.choose(a_read(), (away, here), MONDAY)
    assert isinstance(chosen, Choice)
    assert (chosen.pathologist_id, chosen.explanation.policy_version) == ("a", 7)
    assert winner_of(a_read(), away, here) == "away"


@pytest.mark.parametrize("points", [float("nan"), float("inf"), -1.0])
def test_points_that_are_no_weight_are_refused(points: float) -> None:
    with pytest.raises(RejectedError, match="points"):
        a_read(points=points)


zones = st.sampled_from(("Europe/London", "Pacific/Auckland", "America/St_Johns", "Asia/Kathmandu"))
sessions = st.builds(WeeklySession, st.integers(0, 6), st.times(), st.times())
days = st.dates(date(2026, 3, 20), date(2026, 4, 10))
absences = st.tuples(days, st.integers(0, 5)).map(lambda one: Absence(one[0], one[0] + timedelta(days=one[1])))
instants = st.datetimes(datetime(2026, 3, 25), datetime(2026, 4, 5), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
candidates = st.builds(
    Candidate,
    pathologist_id=st.text("abcdef", min_size=1, max_size=3),
    name=st.just("Dr N. Nobody"),
    site_id=st.sampled_from(("site-a", "site-b")),
    zone=zones,
    points_a_week=st.floats(1, 200),
    levels=st.dictionaries(st.sampled_from(("breast", "skin", "general")), st.integers(1, 3)),
    sessions=st.lists(sessions, max_size=3).map(tuple),
    absences=st.lists(absences, max_size=2).map(tuple),
    open_points=st.floats(0, 500),
    active=st.booleans(),
    network_id=st.none() | st.sampled_from(("north", "south")),
    max_points=st.none() | st.floats(0, 500),
    carry=st.floats(0, 500),
    due=st.lists(st.tuples(instants, st.floats(0, 99)), max_size=2).map(tuple),
    since=st.none() | days,
)
reads = st.builds(
    a_read,
    subspecialty=st.sampled_from(("breast", "skin", "general")),
    role=st.sampled_from(("primary", "second", "trainee", "opinion")),
    scope=st.sampled_from(("network", "region", "national")),
    before=st.none() | st.sampled_from("abc"),
    patients_reader=st.none() | st.sampled_from("abc"),
    points=st.floats(0, 400),
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
    assert {person for one in told.ruled_out for person in one.people} == {one.pathologist_id for one in people} - may
    # The same whatever the order.
    assert ASSIGNER.choose(read, chance.sample(people, len(people)), now) == chosen
    # The record survives JSON and gives the same winner.
    kept = Explanation.model_validate(json.loads(json.dumps(told.model_dump(mode="json"), allow_nan=False)))
    assert kept == told
    assert replay(kept.model_dump(mode="json")) == told.winner
