"""How long a look at all open reads takes, and what it moves: snapshot, plan and each move in a transaction.

``python -m tests.benchmarks.rebalance`` fills the desks of a laboratory on SQLite (``--url`` names another database,
empty) and has four looks made: at desks as they were filled, when three people fall ill, when far more comes than
usual, and when all of it is shared out anew by lot.
"""

import argparse
import random
import time
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table
from sqlalchemy import select, update

from connectors.wiring import Lab
from flows.case_assignment.rebalance.looks import request_rebalance
from flows.case_assignment.rebalance.problem import problem_of
from flows.case_assignment.rebalance.snapshot import snapshot
from models.database import database_now
from models.tables.case import Case
from models.tables.reading import Assignment, Read, Rebalance
from tests.flows.case_assignment.rebalance.desks import Given, busy, falls_ill, lay, look
from tests.small_lab import small_lab

_COLUMNS = ("look", "reads", "moved", "held back", "J before", "J after", "snapshot and model, CPU s", "all, CPU s")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reads", type=int, default=2000)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--url", default=None)
    given = parser.parse_args()
    table = Table(*_COLUMNS)
    with TemporaryDirectory() as folder:
        lab = small_lab(Path(folder), given.url or f"sqlite:///{folder}/coverslip.db")
        busy(lab, people=given.people, reads=given.reads)
        table.add_row("as filled", *_measured(lab))
        for person in ("d000", "d001", "d002"):
            falls_ill(lab, person)
        _ask(lab, "three people are away", "absence")
        table.add_row("three are ill", *_measured(lab))
        lay(lab, *(Given(f"d{n % 20 + 3:03}", 4, "general", timedelta(hours=20), 1) for n in range(given.reads // 10)))
        _ask(lab, "far more came", "flood")
        table.add_row("a flood of urgent reads", *_measured(lab))
        _by_lot(lab)
        table.add_row("shared out by lot", *_measured(lab))
        lab.database.close()
    Console(width=140).print(table)


def _ask(lab: Lab, why: str, occasion: str) -> None:
    with lab.database.write("ask") as session:
        request_rebalance(session, why, database_now(session), occasion)  # type: ignore[arg-type]


def _by_lot(lab: Lab) -> None:
    """Give each read to anybody of those who have one of its subspecialty, long ago."""
    drawn = random.Random(5)
    with lab.database.write("by_lot") as session:
        long_ago = database_now(session) - timedelta(days=2)
        given = session.execute(
            select(Assignment.id, Assignment.pathologist_id, Case.subspecialty)
            .join(Read, Read.id == Assignment.read_id)
            .join(Case, Case.id == Read.case_id)
            .where(Assignment.ended_at.is_(None))
        ).all()
        readers: dict[str | None, list[str]] = {}
        for one in given:
            readers.setdefault(one.subspecialty, []).append(one.pathologist_id)
        for one in given:
            moved = {"pathologist_id": drawn.choice(readers[one.subspecialty]), "started_at": long_ago}
            session.execute(update(Assignment).where(Assignment.id == one.id).values(**moved))


def _measured(lab: Lab) -> tuple[str, ...]:
    began = time.process_time()
    with lab.database.read() as session:
        problem_of(snapshot(session, lab.settings, database_now(session)))
    seen = time.process_time() - began
    began = time.process_time()
    done: Rebalance = look(lab)
    took = time.process_time() - began
    costs = (f"{done.outcome[name]['total']:.0f}" for name in ("before", "after"))
    counts = (str(done.reads), str(done.moved), str(done.held_back))
    return (*counts, *costs, f"{seen:.2f}", f"{took:.2f}")


if __name__ == "__main__":
    main()
