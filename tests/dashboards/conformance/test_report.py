"""The report says in one line a test what was expected and what was seen, and never more than was checked."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from dashboards.conformance.checks import Bench, Check, ConformanceTest, Outcome, same, true
from dashboards.conformance.report import Report, lines_of
from dashboards.conformance.run import TESTS, chosen
from dashboards.conformance.wrong import WRONG
from models.errors import RefusedError


def nothing(_bench: Bench) -> Iterator[Check]:
    """Check nothing at all."""
    yield from ()


TEST = ConformanceTest("T99", "LAB-199", "coffee is served", nothing)
GOOD, BAD = same("MSA-1", "AA", "AA", "table 0008"), same("slides", ["-A1-1"], [], "LAB-100")


def report(*outcomes: Outcome) -> Report:
    return Report("this Coverslip", datetime(2026, 11, 22, tzinfo=UTC), 1.0, outcomes)


def test_a_test_that_checked_nothing_has_not_passed_nor_has_a_run_without_tests() -> None:
    assert not Outcome(TEST, ()).passed
    assert not report().passed
    assert report(Outcome(TEST, (GOOD,))).passed
    assert not report(Outcome(TEST, (GOOD,)), Outcome(TEST, (GOOD, BAD))).passed


def test_what_was_not_as_expected_stands_below_its_test_with_its_clause() -> None:
    first, *below = lines_of(Outcome(TEST, (GOOD, BAD)))
    assert first.split() == ["T99", "LAB-199", "FAIL", "coffee", "is", "served:", "1", "of", "2", "as", "expected"]
    assert [line.split(maxsplit=1) for line in below] == [
        ["expected", "slides: -A1-1"], ["seen", "none"], ["by", "LAB-100"]
    ]  # fmt: skip
    assert len(list(lines_of(Outcome(TEST, (GOOD,))))) == 1


def test_a_value_of_another_kind_is_not_the_same() -> None:
    assert not same("slides", 1, "1", "").passed
    assert not true("it is so", "", "", passed=False).passed


def test_machines_get_every_check_with_its_clause() -> None:
    (test,) = report(Outcome(TEST, (GOOD, BAD))).as_json()["tests"]
    assert test["clauses"] == ["table 0008", "LAB-100"]
    assert [check["passed"] for check in test["checks"]] == [True, False]


def test_the_profile_s_own_list_is_there_and_every_test_has_its_own_name() -> None:
    names = [test.id for test in TESTS]
    assert len(names) == len(set(names))
    assert {f"T{number:02}" for number in range(1, 10)} <= set(names)
    assert {"LAB-100", "LAB-101", "LAB-102/3", "LAB-103", "LAB-104"} <= {test.transaction for test in TESTS}


def test_a_fault_names_only_tests_that_there_are() -> None:
    assert {one for wrong in WRONG.values() for one in wrong.reddens} <= {test.id for test in TESTS}


def test_tests_are_chosen_by_name_and_an_unknown_name_is_refused() -> None:
    assert [test.id for test in chosen(["t07", "N12"])] == ["T07", "N12"]
    assert chosen([]) == TESTS
    with pytest.raises(RefusedError, match="there is no test T77"):
        chosen(["T77"])
