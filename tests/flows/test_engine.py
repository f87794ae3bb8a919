"""A shift runs exactly once, whatever Prefect's server does."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from flows.engine import PrefectEngine, current_shift
from flows.journey import STAGES

STAGE = next(stage for stage in STAGES if stage.flow)
WELL = "Prefect runs and shows the flows"


class RefusedByServerError(Exception):
    """What a flow call raises when the server answers 503."""


class FlowsOf:
    """A flow whose calls are refused as often as told, before or after it ran its shift."""

    def __init__(self, refusals: int = 0, *, after: bool = False) -> None:
        self.refusals, self.after, self.calls, self.completed = refusals, after, 0, 0

    def __call__(self, _first: str) -> int:
        self.calls += 1
        ended = current_shift() if self.after or self.calls > self.refusals else 0
        if self.calls <= self.refusals:
            raise RefusedByServerError
        self.completed += 1
        return ended


class AskingFlows:
    """A flow that takes its time to start and to end; it counts how many do so at once."""

    def __init__(self) -> None:
        self.asking = self.most_asking = 0
        self.both_work = threading.Barrier(2, timeout=10)

    def __call__(self, _first: str) -> int:
        self._ask()
        ended = current_shift()
        self._ask()
        return ended

    def _ask(self) -> None:
        self.asking += 1
        self.most_asking = max(self.most_asking, self.asking)
        time.sleep(0.05)
        self.asking -= 1

    def work(self) -> int:
        """Return once both shifts are at work."""
        self.both_work.wait()
        return 1


class Shift:
    """Counts how often it was run."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.runs = error, 0

    def __call__(self) -> int:
        self.runs += 1
        if self.error:
            raise self.error
        return 1


@contextmanager
def healthy_server() -> Iterator[str]:
    """Serve a health check that is always well."""

    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def engine_with() -> Iterator[Callable[[Callable[[str], int]], PrefectEngine]]:
    """An engine whose server answers probes."""
    with healthy_server() as url:
        yield lambda flows: PrefectEngine(url, {STAGE.name: flows})


Engines = Callable[[Callable[[str], int]], PrefectEngine]


def test_a_shift_is_run_in_a_flow(engine_with: Engines) -> None:
    flows, shift = FlowsOf(), Shift()
    engine = engine_with(flows)
    engine.run(STAGE, "id", shift)
    assert (flows.completed, shift.runs) == (1, 1)
    assert engine.standing == WELL


def test_a_refused_flow_run_is_asked_for_again_at_once(engine_with: Engines) -> None:
    flows, shift = FlowsOf(refusals=1), Shift()
    engine = engine_with(flows)
    engine.run(STAGE, "id", shift)
    assert (flows.calls, flows.completed, shift.runs) == (2, 1, 1)
    assert engine.standing == WELL


def test_refused_again_the_shift_runs_bare_and_the_server_is_not_called_away(engine_with: Engines) -> None:
    flows, shift = FlowsOf(refusals=2), Shift()
    engine = engine_with(flows)
    engine.run(STAGE, "id", shift)
    assert (flows.completed, shift.runs) == (0, 1)
    assert engine.standing == WELL
    engine.run(STAGE, "id", shift)
    assert (flows.completed, shift.runs) == (1, 2)


def test_a_server_that_answers_probes_and_nothing_else_is_away(engine_with: Engines) -> None:
    flows, shift = FlowsOf(refusals=100), Shift()
    engine = engine_with(flows)
    for _ in range(10):
        engine.run(STAGE, "id", shift)
    assert shift.runs == 10
    assert flows.calls < 10
    assert "away" in engine.standing


def test_a_shift_whose_end_could_not_be_told_is_not_run_again(engine_with: Engines) -> None:
    flows, shift = FlowsOf(refusals=1, after=True), Shift()
    engine_with(flows).run(STAGE, "id", shift)
    assert (flows.calls, shift.runs) == (1, 1)


def test_an_error_of_the_shift_itself_is_not_swallowed(engine_with: Engines) -> None:
    shift = Shift(KeyError("ours"))
    with pytest.raises(KeyError):
        engine_with(FlowsOf()).run(STAGE, "id", shift)
    assert shift.runs == 1


def test_flow_runs_start_and_end_one_at_a_time_while_their_shifts_run_side_by_side(engine_with: Engines) -> None:
    flows = AskingFlows()
    engine = engine_with(flows)
    stages = [threading.Thread(target=engine.run, args=(STAGE, name, flows.work)) for name in ("one", "two")]
    for stage in stages:
        stage.start()
    for stage in stages:
        stage.join()
    assert not flows.both_work.broken
    assert flows.most_asking == 1


def test_a_server_is_seen_while_nothing_is_to_be_run(engine_with: Engines) -> None:
    engine = engine_with(FlowsOf())
    assert "away" in engine.standing
    assert engine.look() == WELL
    assert engine.standing == WELL


def test_without_a_server_shifts_run_bare() -> None:
    flows, shift = FlowsOf(), Shift()
    engine = PrefectEngine("http://127.0.0.1:9", {STAGE.name: flows})
    engine.run(STAGE, "id", shift)
    assert (flows.calls, shift.runs) == (0, 1)
    assert "away" in engine.standing
