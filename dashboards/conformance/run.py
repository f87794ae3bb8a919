"""The whole run: one Coverslip, two simulated neighbours, every test once."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dashboards.conformance.bad_answers import BAD_ANSWERS
from dashboards.conformance.bad_input import BAD_INPUT
from dashboards.conformance.books import Books
from dashboards.conformance.checks import Bench, Check, ConformanceTest, Outcome
from dashboards.conformance.images import IMAGES
from dashboards.conformance.laboratory import SCANS, laboratory
from dashboards.conformance.neighbour import Neighbour
from dashboards.conformance.report import Report
from dashboards.conformance.transactions import REGISTRATION
from dashboards.conformance.work import SEQUENCE, WORK
from dashboards.conformance.wrong import WRONG, Relay, Wrong
from models.errors import CoverslipError, RefusedError

TESTS: Final = (*REGISTRATION, *WORK, *IMAGES, *SEQUENCE, *BAD_INPUT, *BAD_ANSWERS)

_PATIENCE_SECONDS: Final = 30.0
# What does not happen in this time does not happen: the run has to fail, and nobody wants to wait for it.
_PATIENCE_WITH_WRONG_SECONDS: Final = 1.5
_COMMAND_SECONDS: Final = 60


def conform(home: Path, tests: Sequence[ConformanceTest], tell: Callable[[Outcome], None], against: str = "") -> Report:
    """Run tests in a state folder that is not there yet, and tell each outcome as it comes.

    ``against`` names what is wrong with the Coverslip of this run; nothing, where it is empty.
    """
    began_at, began = datetime.now(UTC), time.monotonic()
    patience = _PATIENCE_WITH_WRONG_SECONDS if against else _PATIENCE_SECONDS
    outcomes = []
    with Stand(home, patience, relayed=bool(against)) as stand:
        stand.be_wrong(WRONG[against] if against else None, patience)
        for test in tests:
            outcome = stand.play(test)
            tell(outcome)
            outcomes.append(outcome)
    return Report(against or "this Coverslip", began_at, time.monotonic() - began, tuple(outcomes))


def chosen(names: Sequence[str]) -> tuple[ConformanceTest, ...]:
    """Return the tests of these names, all for no name; refuse a name that there is not."""
    known = {test.id: test for test in TESTS}
    if unknown := [name for name in names if name.upper() not in known]:
        raise RefusedError(f"there is no test {', '.join(unknown)}; there are: {', '.join(known)}")
    return tuple(known[name.upper()] for name in names) or TESTS


@dataclass
class Stand:
    """Coverslip with both neighbours, all as real processes, as long as the block; ``relayed`` lets it be wrong."""

    home: Path
    patience: float = _PATIENCE_SECONDS
    relayed: bool = False
    _relays: list[Relay] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            settings, ports = stack.enter_context(laboratory(self.home))
            from_pawm = self._relay(stack, 0, ports.from_pawm, inwards=True)
            from_ima = self._relay(stack, 0, ports.from_ima, inwards=True)
            self._pawm = stack.enter_context(
                Neighbour("pawm", from_pawm, 0 if self.relayed else ports.to_pawm, self.home, self.patience)
            )
            self._relay(stack, ports.to_pawm, self._pawm.port, inwards=False)
            self._ima = stack.enter_context(Neighbour("ima", from_ima, ports.to_ima, self.home, self.patience))
            self._books = Books(settings, self.patience)
            stack.callback(self._books.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def be_wrong(self, wrong: Wrong | None, patience: float) -> None:
        """From now on have this be wrong, or nothing, and wait so many seconds for what is expected."""
        for relay in self._relays:
            relay.wrong = wrong
        for patient in (self._pawm, self._ima, self._books):
            patient.patience = patience

    def play(self, test: ConformanceTest, numbered: str = "26") -> Outcome:
        """Return what came of a test, whose case is named by these letters and the test; a case is never used twice."""
        checks: list[Check] = []
        bench = Bench(self._pawm, self._ima, self._books, self.home / SCANS, f"{numbered}{test.id}", self._act)
        try:
            checks.extend(test.play(bench))
        except CoverslipError as error:
            checks.append(Check("the test can go on", "the run itself", str(error), passed=False))
        return Outcome(test, tuple(checks))

    def _relay(self, stack: ExitStack, listen: int, to: int, *, inwards: bool) -> int:
        """Return the port by which to reach ``to``: a relay's, or that very port when there are none."""
        if not self.relayed:
            return to
        relay = stack.enter_context(Relay(listen, to, inwards=inwards))
        self._relays.append(relay)
        return relay.port

    def _act(self, *words: str) -> str:
        """Run a command as a person would; return what it printed, or what it complained of."""
        command = (sys.executable, "-m", "dashboards.cli.main", "--home", str(self.home), *words)
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False)
        return done.stdout if done.returncode == 0 else done.stderr
