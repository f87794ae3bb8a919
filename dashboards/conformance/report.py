"""What a conformance run found, for people and for machines: one line a test, and below it what was not as expected."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from dashboards.conformance.checks import Outcome


@dataclass(frozen=True)
class Report:
    """One run: against what, when it began, how long it took, and what came of each test."""

    against: str
    began_at: datetime
    seconds: float
    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> bool:
        """Whether every test passed; a run without tests did not."""
        return bool(self.outcomes) and all(one.passed for one in self.outcomes)

    def lines(self) -> Iterator[str]:
        """Yield the report as people read it."""
        for one in self.outcomes:
            yield from lines_of(one)
        yield summary(self.outcomes, self.seconds)

    def as_json(self) -> dict[str, Any]:
        """Return the report as machines read it, with every check and its clause."""
        return {
            "profile": "IHE PaLM DPOW, draft for public comment 2026",
            "actor": "Digital Asset Workflow Manager",
            "against": self.against,
            "began_at": self.began_at.isoformat(),
            "seconds": round(self.seconds, 1),
            "passed": self.passed,
            "tests": [_test_as_json(one) for one in self.outcomes],
        }


def lines_of(outcome: Outcome) -> Iterator[str]:
    """Yield one line of test, transaction, verdict and what was expected; then each thing that was seen otherwise."""
    test, checks = outcome.test, outcome.checks
    good = sum(one.passed for one in checks)
    verdict = "pass" if outcome.passed else "FAIL"
    yield f"{test.id}  {test.transaction:<11}{verdict}  {test.what}: {good} of {len(checks)} as expected"
    for one in checks:
        if not one.passed:
            yield f"         expected  {one.expected}"
            yield f"         seen      {one.seen}"
            yield f"         by        {one.clause}"


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """Return the last line."""
    passed, checks = sum(one.passed for one in outcomes), sum(len(one.checks) for one in outcomes)
    return f"{passed} of {len(outcomes)} tests passed ({checks} checks) in {seconds:.0f} s"


def _test_as_json(outcome: Outcome) -> dict[str, Any]:
    test, checks = outcome.test, outcome.checks
    return {
        "id": test.id,
        "transaction": test.transaction,
        "expected": test.what,
        "passed": outcome.passed,
        "clauses": list(dict.fromkeys(one.clause for one in checks)),
        "checks": [asdict(one) for one in checks],
    }
