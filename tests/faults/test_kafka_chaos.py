"""Events by a real Apache Kafka, from producers that are not ours, while everything is killed and frozen at random.

``COVERSLIP_CHAOS_SEED`` repeats what befell a run and what was sent, ``COVERSLIP_CHAOS_EVENTS`` sets how much.
"""

import os
import random
import secrets
import time
from pathlib import Path
from typing import Final

import pytest

from infra.kafka.broker import Broker
from tests.faults.events.chaos import Chaos
from tests.faults.events.feed import feed
from tests.faults.events.lab import PREFIX, READERS, WORKERS, EventLab, event_lab
from tests.faults.events.oracle import breaches, growth
from tests.faults.events.producers import Feeding

SEED: Final = int(os.environ.get("COVERSLIP_CHAOS_SEED") or secrets.randbelow(1 << 32))
_ASKED: Final = int(os.environ.get("COVERSLIP_CHAOS_EVENTS") or 0)
EVENTS: Final = _ASKED or 20_000
_FEED_S: Final = 90.0
_STILL_S: Final = float(os.environ.get("COVERSLIP_CHAOS_STILL_SECONDS") or 120)
"""A busy machine may take its time; so long without one more that is applied is an end."""
_KEPT: Final = "SELECT count(*) FROM inbox WHERE state = 'kept'"
_HELD_UP: Final = (
    "SELECT inbox.peer, step.state, step.waiting_for, step.attempt, step.lost, count(*) FROM inbox LEFT JOIN step"
    " ON step.subject_id = inbox.id WHERE inbox.state = 'kept' GROUP BY 1, 2, 3, 4, 5"
)


# PostgreSQL ends each step in a transaction of its own: the same number would take three times as long.
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("database_url", "events"),
    [
        pytest.param("sqlite", EVENTS, marks=pytest.mark.long),
        pytest.param("postgresql", _ASKED or EVENTS // 5, marks=[pytest.mark.faults, pytest.mark.postgres]),
    ],
    indirect=["database_url"],
)
def test_each_event_has_one_effect_whoever_is_killed_and_frozen(
    own_kafka_broker: Broker, database_url: str, events: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = feed(SEED, events, PREFIX)
    begun = time.monotonic()
    with event_lab(tmp_path / "lab", own_kafka_broker, database_url) as lab:
        chaos = Chaos(lab, random.Random(SEED))
        feeding = _begin(lab, Feeding(own_kafka_broker.bootstrap, sent, EVENTS / _FEED_S), console=0.3)
        try:
            while not (feeding.is_over() and chaos.is_enough()):
                chaos.pause(0.5, 3)
                chaos.strike()
            feeding.end()
        finally:
            feeding.kill()
        left = (
            f"{sum(lab.ends().values()) - sum(lab.positions().values())} to read and {lab.rows(_KEPT)[0][0]} to apply"
        )
        drained = _drain(lab, chaos)
        ended = lab.stop()
        found = breaches(lab, sent)
        sizes = f"{events} events, {feeding.by_console} by the console producer, {sum(lab.ends().values())} records"
        times = f"{left} when all was sent, {drained:.0f} s later all done, {time.monotonic() - begun:.0f} s in all"
        report = f"seed {SEED}: {sizes}; {dict(chaos.done)}; {times}; {growth(lab) / (1 << 20):.1f} MiB of growth"
        with capsys.disabled():
            print(f"\n{report}")  # noqa: T201 - what a run was is told, however it went
    assert (SEED, found) == (SEED, [])
    assert feeding.undelivered == 0
    assert set(ended.values()) == {0}


@pytest.mark.faults
def test_a_reader_and_the_broker_are_killed_and_nothing_is_missing(own_kafka_broker: Broker, tmp_path: Path) -> None:
    sent = feed(SEED, 1_000, PREFIX)
    with event_lab(tmp_path / "lab", own_kafka_broker) as lab:
        chaos = Chaos(lab, random.Random(SEED))
        feeding = _begin(lab, Feeding(own_kafka_broker.bootstrap, sent, 1_000), console=0)
        try:
            lab.wait_for(lambda: lab.positions() != {}, "nothing is read")
            chaos.kill(READERS[-1])
            chaos.kill_the_broker()
            feeding.end()
        finally:
            feeding.kill()
        _drain(lab, chaos)
        ended = lab.stop()
        assert (SEED, breaches(lab, sent)) == (SEED, [])
    assert feeding.undelivered == 0
    assert set(ended.values()) == {0}


def _begin(lab: EventLab, feeding: Feeding, console: float) -> Feeding:
    for name in (*READERS, *WORKERS):
        lab.start(name)
    return feeding.start(console)


def _drain(lab: EventLab, chaos: Chaos) -> float:
    """Wait until the log is read to its end and all of it was applied or set aside; return how many seconds it took."""
    begun = moved = time.monotonic()
    before = None
    while (now := (lab.positions(), lab.rows(_KEPT))) != (lab.ends(), [(0,)]):
        chaos.pause(0.5, 0.5)
        moved, before = (moved if now == before else time.monotonic()), now
        left = f"{lab.positions()} of {lab.ends()} read, to apply: {lab.rows(_HELD_UP)}"
        said = "\n".join(f"--- {name}\n{lab.said(name)}" for name in lab.running)
        assert time.monotonic() < moved + _STILL_S, f"seed {SEED}: {left}\n{said}"
    return time.monotonic() - begun
