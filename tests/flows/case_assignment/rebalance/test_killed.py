"""A look that is killed at any of its commits is gone on with: each read moves once, and one row tells of it."""

import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import select, update

from connectors.wiring import Lab
from flows.case_assignment.rebalance.looks import request_rebalance
from flows.case_assignment.rebalance.watching import see_to_looks
from models.database import database_now
from models.tables.reading import Assignment, Rebalance
from models.tables.step import Step, Worker
from tests.flows.case_assignment.rebalance.desks import (
    ONLY_LOOKS,
    Desk,
    Given,
    falls_ill,
    lay,
    look,
    only,
    owners,
    step_state,
)
from tests.small_lab import ON_BOTH, run_until_calm

ROOT: Final = Path(__file__).resolve().parents[4]
_OPENED: Final = "import sys; from pathlib import Path; from tests.small_lab import *; "
LOOKING: Final = (
    _OPENED + "from tests.flows.case_assignment.rebalance.desks import ONLY_LOOKS; "
    "run_until_calm(small_lab(Path(sys.argv[1]), sys.argv[2]), ONLY_LOOKS)"
)
SEEING_TO_IT: Final = (
    _OPENED + "from flows.case_assignment.rebalance.watching import see_to_looks; "
    "see_to_looks(small_lab(Path(sys.argv[1]), sys.argv[2]))"
)
COMMITS: Final = [
    f"rebalance.{verb}.{when}_commit" for verb in ("claim", "begin", "move", "end") for when in ("before", "after")
]


def _killed(tmp_path: Path, database_url: str, program: str, failpoint: str) -> int:
    command = [sys.executable, "-c", program, str(tmp_path), database_url]
    environment = os.environ | {"COVERSLIP_FAILPOINT": failpoint}
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=120, check=False).returncode


def _is_dead(lab: Lab) -> None:
    """Have the worker that was killed silent for long."""
    with lab.database.write("dead") as session:
        session.execute(update(Worker).values(heartbeat_at=database_now(session) - timedelta(minutes=10)))


@pytest.mark.faults
@ON_BOTH
@pytest.mark.parametrize("failpoint", [*COMMITS, "rebalance.move.after_commit:3"])
def test_whoever_is_killed_at_a_look_leaves_it_to_the_next_and_each_read_moves_once(
    lab: Lab, database_url: str, tmp_path: Path, failpoint: str
) -> None:
    only(lab, Desk("ann"), Desk("bob"), Desk("cleo"))
    reads = lay(lab, *(Given("ann", points=3) for _ in range(6)), Given(None))
    assert look(lab).moved == 1
    falls_ill(lab, "ann")
    with lab.database.write("asked") as session:
        request_rebalance(session, "ann is away", database_now(session))

    assert _killed(tmp_path, database_url, LOOKING, failpoint) == -signal.SIGKILL
    _is_dead(lab)
    run_until_calm(lab, ONLY_LOOKS)

    assert "ann" not in owners(lab).values()
    with lab.database.read() as session:
        last = session.scalars(select(Rebalance).order_by(Rebalance.id.desc())).first()
        given = session.scalars(select(Assignment.read_id).where(Assignment.decided_by == "batch")).all()
        states = [row.outcome["state"] for row in session.scalars(select(Rebalance))]
    assert Counter(given) == Counter(reads)
    assert last is not None
    assert (last.why, last.moved) == ("ann is away", 6)
    assert (states, step_state(lab)) == (["over", "over"], "waiting")


@pytest.mark.faults
@ON_BOTH
@pytest.mark.parametrize("failpoint", ["sweep_looks.before_commit", "sweep_looks.after_commit"])
def test_whoever_is_killed_while_seeing_to_looks_leaves_one_step(
    lab: Lab, database_url: str, tmp_path: Path, failpoint: str
) -> None:
    assert _killed(tmp_path, database_url, SEEING_TO_IT, failpoint) == -signal.SIGKILL

    see_to_looks(lab)

    with lab.database.read() as session:
        assert session.scalars(select(Step.state).where(Step.kind == "rebalance")).all() == ["waiting"]
