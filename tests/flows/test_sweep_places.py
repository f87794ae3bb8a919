"""What needs bytes at a place where nobody works does not wait unseen."""

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from connectors.wiring import Lab
from flows import ledger
from flows.engine import BareEngine
from flows.ledger import NewStep
from flows.standing import open_alerts
from flows.sweep_places import UNSERVED, serve, tell_unserved
from flows.worker import run_worker
from models.database import database_now
from models.tables.step import Slot, Step
from tests.flows.intake.eventing import sentences, until
from tests.flows.looking import LONG_AGO
from tests.small_lab import ON_BOTH

GRACE = timedelta(seconds=15)
ROOT = Path(__file__).resolve().parents[2]
TELLING = (
    "import sys; from pathlib import Path; from flows.sweep_places import tell_unserved; "
    "from tests.small_lab import small_lab; tell_unserved(small_lab(Path(sys.argv[1]), sys.argv[2]))"
)


def waits_at(lab: Lab, place: str, subject: str = "11111111-1111-8111-8111-111111111111") -> None:
    with lab.database.write("waits") as session:
        step = NewStep("slide_qc", "slide_qc", "scan", subject, database_now(session), place=place)
        ledger.add(session, [step])


def time_passes(lab: Lab) -> None:
    with lab.database.write("time passes") as session:
        session.execute(update(Slot).where(Slot.name.startswith("@")).values(paused_until=LONG_AGO))


def test_a_place_where_nobody_ever_was_is_raised_after_a_while_and_once(lab: Lab) -> None:
    waits_at(lab, "far-away")
    assert tell_unserved(lab) == 0
    assert sentences(lab, UNSERVED) == []
    time_passes(lab)
    assert [tell_unserved(lab), tell_unserved(lab)] == [1, 1]

    [sentence] = sentences(lab, UNSERVED)
    assert sentence == (
        "no worker serves place far-away since 01 Jan 2001 00:00 UTC, and what needs the bytes there waits: start "
        "'coverslip worker' with its spool and work.place = \"far-away\""
    )
    with lab.database.read() as session:
        assert [one.kind for one in open_alerts(session)] == [UNSERVED]


@ON_BOTH
def test_it_is_over_when_a_worker_of_the_place_is_alive_or_nothing_waits_there(lab: Lab) -> None:
    for end in ("served", "nothing waits"):
        waits_at(lab, "far-away", f"22222222-2222-8222-8222-{len(end):012}")
        tell_unserved(lab)
        time_passes(lab)
        assert tell_unserved(lab) == 1
        with lab.database.write("end") as session:
            if end == "served":
                serve(session, "far-away", database_now(session) + GRACE)
            else:
                session.execute(update(Step).values(state="done"))
        assert tell_unserved(lab) == 0
        assert sentences(lab, UNSERVED) == []


@ON_BOTH
def test_a_place_with_a_worker_and_work_that_needs_no_bytes_are_not_spoken_of(lab: Lab) -> None:
    waits_at(lab, "local")
    waits_at(lab, "", "33333333-3333-8333-8333-333333333333")
    with lab.database.write("alive") as session:
        serve(session, "local", database_now(session) + GRACE)

    assert tell_unserved(lab) == 0
    with lab.database.read() as session:
        assert session.scalars(select(Slot.name).where(Slot.name.startswith("@"))).all() == ["@local"]


def test_a_worker_says_with_its_heartbeats_that_its_place_is_served(lab: Lab) -> None:
    stop = threading.Event()
    worker = threading.Thread(target=run_worker, args=(lab, BareEngine(), stop))
    worker.start()
    try:
        until(lambda: _served(lab), "the worker did not say where it works")
    finally:
        stop.set()
        worker.join(20)
    assert not worker.is_alive()


def _served(lab: Lab) -> bool:
    with lab.database.read() as session:
        now = database_now(session)
        found = session.scalar(select(Slot.paused_until).where(Slot.name == "@local"))
    return found is not None and found > now


@pytest.mark.faults
@ON_BOTH
@pytest.mark.parametrize("failpoint", ["sweep_places.before_commit", "sweep_places.after_commit"])
def test_whoever_is_killed_while_telling_leaves_it_to_the_next_and_it_is_told_once(
    lab: Lab, database_url: str, tmp_path: Path, failpoint: str
) -> None:
    waits_at(lab, "far-away")
    tell_unserved(lab)
    time_passes(lab)
    command = [sys.executable, "-c", TELLING, str(tmp_path), database_url]
    environment = os.environ | {"COVERSLIP_FAILPOINT": failpoint}
    killed = subprocess.run(command, cwd=ROOT, env=environment, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(sentences(lab, UNSERVED)) == ("after" in failpoint)

    assert tell_unserved(lab) == 1
    assert len(sentences(lab, UNSERVED)) == 1
