from dataclasses import replace
from datetime import date, time, timedelta
from typing import Any

import pytest

from flows.case_assignment.candidate import Absence, WeeklySession
from flows.case_assignment.eligibility import Eligible, Excluded, eligible
from flows.case_assignment.medium import Medium
from tests.flows.case_assignment.people import MONDAY, OFFICE_HOURS, a_read, somebody

NEVER = timedelta(days=4000)
AWAY = (Absence(date(2026, 11, 20), date(2026, 11, 27)),)


def test_who_leads_and_reads_now_is_eligible() -> None:
    assert eligible(a_read(), somebody(), MONDAY) == Eligible(1, MONDAY)


def test_who_may_read_without_leading_is_eligible_at_the_second_level() -> None:
    assert eligible(a_read(), somebody(levels={"breast": 2}), MONDAY) == Eligible(2, MONDAY)


@pytest.mark.parametrize(
    ("changes", "rule", "sentence"),
    [
        ({"active": False}, "active", "reads no longer for this laboratory"),
        ({"levels": {"skin": 1}}, "competence", "has no valid competence to read breast digitally"),
        ({"pathologist_id": "in-conflict"}, "conflict", "may not have this read: a conflict is recorded"),
        ({"absences": AWAY}, "leave", "is on leave up to and including 2026-11-27"),
        ({"sessions": ()}, "sessions", "has no reading session within the next 7 days"),
    ],
)
def test_each_rule_excludes_with_its_sentence(changes: dict[str, Any], rule: str, sentence: str) -> None:
    read = a_read(conflicts=frozenset({"in-conflict"}))
    assert eligible(read, somebody(**changes), MONDAY) == Excluded(rule, sentence)


def test_the_first_rule_that_speaks_is_the_one_told() -> None:
    read = a_read(conflicts=frozenset({"a"}))
    worst = somebody(active=False, levels={}, absences=AWAY, sessions=())
    told = []
    for mended in ({"active": True}, {"levels": {"breast": 1}}, {"pathologist_id": "b"}, {"absences": ()}):
        verdict = eligible(read, worst, MONDAY)
        assert isinstance(verdict, Excluded)
        told.append(verdict.rule)
        worst = replace(worst, **mended)
    assert told == ["active", "competence", "conflict", "leave"]


LEVELS = {1: "leads", 2: "may read", 3: "trains"}


@pytest.mark.parametrize(
    ("role", "who"),
    [
        ("primary", {"leads", "may read"}),
        ("second", {"leads"}),
        ("trainee", {"trains"}),
        ("opinion", {"leads", "may read"}),
        ("intra-operative", {"leads", "may read"}),
        ("mdt", {"leads", "may read"}),
    ],
)
def test_each_role_wants_its_own_levels(role: str, who: set[str]) -> None:
    verdicts = {
        name: eligible(a_read(role=role), somebody(levels={"breast": one}), MONDAY) for one, name in LEVELS.items()
    }
    assert {name for name, verdict in verdicts.items() if isinstance(verdict, Eligible)} == who
    assert all(verdict.rule == "competence" for verdict in verdicts.values() if isinstance(verdict, Excluded))


@pytest.mark.parametrize(
    ("scope", "who"),
    [
        ("network", {"own", "aids"}),
        ("region", {"own", "aids", "region"}),
        ("national", {"own", "aids", "region", "far", "alone"}),
    ],
)
def test_a_scope_reaches_as_far_as_it_says_and_mutual_aid_adds(scope: str, who: set[str]) -> None:
    read = a_read(scope=scope, network_id="north", region="here", aided_by=frozenset({"aiding"}))
    people = {
        "own": somebody(network_id="north", region="here"),
        "aids": somebody(network_id="aiding", region="there"),
        "region": somebody(network_id="near", region="here"),
        "far": somebody(network_id="south", region="there"),
        "alone": somebody(),
    }
    verdicts = {name: eligible(read, one, MONDAY) for name, one in people.items()}
    assert {name for name, verdict in verdicts.items() if isinstance(verdict, Eligible)} == who
    assert all(verdict.rule == "scope" for verdict in verdicts.values() if isinstance(verdict, Excluded))


def test_what_is_read_on_glass_needs_a_competence_for_it_and_the_lower_level_of_two_counts() -> None:
    both, glass = Medium(glass=True), Medium(digital=False, glass=True)
    reads_both = somebody(levels={"breast": 1}, glass_levels={"breast": 2})
    found = [eligible(a_read(medium=medium), reads_both, MONDAY) for medium in (Medium(), both, glass)]
    assert found == [Eligible(1, MONDAY), Eligible(2, MONDAY), Eligible(2, MONDAY)]

    for medium, how in ((both, "digitally and on glass"), (glass, "on glass")):
        verdict = eligible(a_read(medium=medium), somebody(), MONDAY)
        assert verdict == Excluded("competence", f"has no valid competence to read breast {how}")


def test_sites_without_a_network_read_for_each_other() -> None:
    for scope in ("network", "region"):
        assert isinstance(eligible(a_read(scope=scope), somebody(site_id="site-b"), MONDAY), Eligible)
        assert isinstance(eligible(a_read(scope=scope), somebody(network_id="north"), MONDAY), Excluded)


def test_a_trainee_reads_at_their_own_site() -> None:
    trains = somebody(levels={"breast": 3}, site_id="site-b")
    verdict = eligible(a_read(role="trainee"), trains, MONDAY)
    assert verdict == Excluded("scope", "works at another site: a trainee reads at their own")


@pytest.mark.parametrize("rule", ["declined", "other read"])
def test_who_gave_it_back_or_has_another_read_of_the_case_does_not_get_it(rule: str) -> None:
    field = {"declined": "declined", "other read": "reads_otherwise"}[rule]
    verdict = eligible(a_read(**{field: frozenset("a")}), somebody(), MONDAY)
    assert isinstance(verdict, Excluded)
    assert verdict.rule == rule


def test_a_maximum_may_be_reached_and_not_passed() -> None:
    reader = somebody(max_points=10.0, open_points=6.0)
    assert isinstance(eligible(a_read(points=4.0), reader, MONDAY), Eligible)
    assert eligible(a_read(points=4.5), reader, MONDAY) == Excluded(
        "maximum", "has 6 of at most 10 points open: 4.5 more would be too many"
    )


def test_without_a_deadline_a_session_within_seven_days_is_enough() -> None:
    mondays = somebody(sessions=(WeeklySession(0, time(9), time(10)),))
    assert eligible(a_read(), mondays, MONDAY) == Eligible(1, MONDAY.replace(day=30, hour=9))
    later = somebody(sessions=mondays.sessions, absences=(Absence(date(2026, 11, 30), date(2026, 11, 30)),))
    assert isinstance(eligible(a_read(), later, MONDAY), Excluded)


def test_who_reads_only_after_the_deadline_is_excluded() -> None:
    thursdays = somebody(sessions=(WeeklySession(3, time(9), time(17)),))
    too_early, in_time = (a_read(due_at=MONDAY.replace(day=day)) for day in (25, 27))
    assert eligible(too_early, thursdays, MONDAY) == Excluded("sessions", "has no reading session before the deadline")
    assert isinstance(eligible(in_time, thursdays, MONDAY), Eligible)


def test_a_deadline_that_has_passed_excludes_nobody() -> None:
    late = a_read(due_at=MONDAY - timedelta(days=3))
    assert isinstance(eligible(late, somebody(), MONDAY), Eligible)
    assert isinstance(eligible(late, somebody(sessions=OFFICE_HOURS[3:4]), MONDAY), Eligible)


def test_who_is_away_for_ever_is_looked_for_no_further_than_a_roster_goes() -> None:
    forever = somebody(absences=(Absence(date(2026, 11, 24), date.max),), sessions=OFFICE_HOURS[1:2])
    assert isinstance(eligible(a_read(due_at=MONDAY + NEVER), forever, MONDAY), Excluded)
