"""What a conformance test is: steps, and after each what was expected by which clause, and what was seen."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from connectors.lims.simulated_dpow import Person, Wanted, What
from dashboards.conformance.books import Books, Kept
from dashboards.conformance.neighbour import Exchange, Neighbour, Seen

DPOW: Final = "IHE PaLM DPOW (2026 draft)"
ORL: Final = f"{DPOW}: every OML^O21 is answered by ORL^O22"
ECHO: Final = "HL7 2.5.1, 2.15.8.2: MSA-2 is the MSH-10 of the message that is answered"
CODES: Final = "HL7 2.5.1, table 0008: AA, AE or AR in the original mode"
ERRORS: Final = f"{DPOW}: ORL^O22 has ERR when it says AE or AR"
DURABLE: Final = "Coverslip: AA says that the bytes are stored, and whether they could be applied shows in the books"


@dataclass(frozen=True)
class Check:
    """One thing that was expected by a clause or a sentence of the profile, and what was seen."""

    expected: str
    clause: str
    seen: str
    passed: bool


@dataclass(frozen=True)
class Bench:
    """What a test may use: both neighbours, the books, the folder of the scanner, and numbers of its own."""

    pawm: Neighbour
    ima: Neighbour
    books: Books
    scans: Path
    case: str
    act: Callable[..., str]
    """Run a command of Coverslip as a person would; what it printed."""

    def wanted(self, what: What, asset: str = "", **more: Any) -> Wanted:  # noqa: ANN401 - the fields of a message
        """Return a message about this test's own case and patient; an asset is named by what follows its case."""
        patient = Person(record_number=f"MR-{self.case}", nhs_number="")
        named = {"asset": f"{self.case}{asset}" if asset else ""}
        if parent := more.pop("parent", ""):
            named["parent"] = f"{self.case}{parent}"
        return Wanted(**{"what": what, "case": self.case, "patient": patient, **named, **more})


@dataclass(frozen=True)
class ConformanceTest:
    """One conformance test."""

    id: str
    transaction: str
    what: str
    play: Callable[[Bench], Iterator[Check]]


@dataclass(frozen=True)
class Outcome:
    """What came of a test."""

    test: ConformanceTest
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether all was as expected; a test that checked nothing did not pass."""
        return bool(self.checks) and all(one.passed for one in self.checks)


def same(expected: str, wanted: object, seen: object, clause: str) -> Check:
    """Expect a value."""
    return Check(f"{expected}: {_shown(wanted)}", clause, _shown(seen), wanted == seen)


def true(expected: str, seen: object, clause: str, *, passed: bool) -> Check:
    """Expect what can't be said as one value."""
    return Check(expected, clause, _shown(seen), passed)


def answered(exchange: Exchange, code: str = "AA") -> Iterator[Check]:
    """Expect an answer on the wire: its type, its code, exactly our MSH-10, ERR with a refusal and only then."""
    name, answer = exchange.sent.called, exchange.answer
    said = "^".join(answer.said("MSH-9").split("^")[:2])
    yield same(f"{name}: the answer's MSH-9", "ORL^O22", said or answer.problem, ORL)
    yield same(f"{name}: MSA-1", code, answer.said("MSA-1"), CODES)
    yield same(f"{name}: MSA-2", exchange.sent.control_id, answer.said("MSA-2"), ECHO)
    has_error = any(one[0] == "ERR" for one in answer.segments)
    yield same(f"{name}: ERR is there", code in {"AE", "AR"}, has_error, ERRORS)


def applied(bench: Bench, *exchanges: Exchange) -> Iterator[Check]:
    """Expect messages to be answered AA and applied."""
    for one in exchanges:
        yield from answered(one)
        kept = bench.books.kept(one.sent.control_id)
        yield same(f"{one.sent.called}: in the inbox", "applied", kept.state + _because(kept), DURABLE)


def set_aside(bench: Bench, exchange: Exchange, because: str, clause: str) -> Iterator[Check]:
    """Expect a message to be answered AA, since it is kept, and to be set aside with a reason that holds such words."""
    yield from answered(exchange)
    kept = bench.books.kept(exchange.sent.control_id)
    yield same(f"{exchange.sent.called}: in the inbox", "set aside", kept.state, clause)
    yield true(
        f"{exchange.sent.called}: the reason names {because}", kept.problem, clause, passed=because in kept.problem
    )


def noted(bench: Bench, exchange: Exchange, words: str, clause: str) -> Iterator[Check]:
    """Expect a message to be applied, with a remark that holds such words."""
    yield from applied(bench, exchange)
    kept = bench.books.kept(exchange.sent.control_id)
    yield true(f"{exchange.sent.called}: a remark names {words}", kept.problem, clause, passed=words in kept.problem)


def assets(case: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Return a case's assets of one kind that are not cancelled, by identifier without the case's own number."""
    number = case.get("accession_number", "")
    return {
        one["container_identifier"].removeprefix(number): one
        for one in case.get("assets", ())
        if one["kind"] == kind and not one["cancelled"]
    }


def says(name: str, value: object) -> Callable[[dict[str, Any]], bool]:
    """Return whether a case says this."""
    return lambda case: case.get(name) == value


def heard(seen: Iterable[Seen]) -> Seen:
    """Return the last message that a neighbour heard; one that says nothing when there is none."""
    return next(iter(reversed(list(seen))), Seen("not heard"))


def _because(kept: Kept) -> str:
    return f" ({kept.problem})" if kept.problem and kept.state != "applied" else ""


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value or "nothing"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(str(one) for one in value) or "none"
    return str(value)
