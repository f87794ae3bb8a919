"""One run of Coverslip's orchestration in a process of its own: prints one JSON line."""

import argparse
import json
import os
import resource
import sys
import threading
import time
from contextvars import copy_context
from dataclasses import asdict
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import func, select, text

from connectors.wiring import Lab
from flows.engine import BareEngine, Engine
from flows.prefect_server import prefect_environment
from flows.steps import STEPS
from flows.worker import run_worker
from models.facets import OPEN_STEP_STATES
from models.tables.books import Fact
from models.tables.scan import Scan
from models.tables.step import Step
from tests.benchmarks.empty_lab import SLIDES_A_CASE, empty_lab, order, scan, send_nothing
from tests.benchmarks.recording import recording, replay_by_driver, replay_by_sqlalchemy


def main() -> None:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slides", type=int, required=True)
    parser.add_argument("--calm", type=int, default=0, help="slides that come one at a time")
    parser.add_argument("--prefect-port", type=int, default=None)
    parser.add_argument("--record", action="store_true")
    wanted = parser.parse_args()
    with TemporaryDirectory() as home:
        lab = empty_lab(Path(home), wanted.prefect_port)
        measured = _calm(lab, wanted.calm) if wanted.calm else _burst(lab, wanted.slides, record=wanted.record)
    print(json.dumps(measured))


def _burst(lab: Lab, slides: int, *, record: bool) -> dict[str, Any]:
    """Let all slides wait at the start, and time until nothing is left to do."""
    order(lab, 0, slides)
    for number in range(slides):
        scan(lab, number)
    home = lab.settings.home
    _fold_log(lab)
    before = home / "before.db"
    before.write_bytes((home / "coverslip.db").read_bytes())
    size = before.stat().st_size
    if not record:
        took, cpu = _work(lab, slides)
        _fold_log(lab)
        grown = (home / "coverslip.db").stat().st_size - size
        return {"slides": slides, "seconds": took, "cpu": cpu, "bytes_a_slide": grown / slides, **_counts(lab)}
    with recording(lab.database) as made:
        took, cpu = _work(lab, slides)
    alone = {
        "by_driver": asdict(replay_by_driver(made, before, home)),
        "by_sqlalchemy": asdict(replay_by_sqlalchemy(made, before, home)),
    }
    counted = {"transactions": len(made.transactions) / slides, "statements": made.statements / slides}
    return {"slides": slides, "seconds": took, "cpu": cpu, **counted, **alone}


def _calm(lab: Lab, slides: int) -> dict[str, float]:
    """Let slides come one at a time, and time each from its event to its last step."""
    order(lab, 0, slides)
    stop = threading.Event()
    worker = _worker(lab, stop)
    taken = []
    time.sleep(2.0)
    for number in range(slides):
        began = time.perf_counter()
        scan_id = scan(lab, number)
        while not _is_proven(lab, scan_id):
            time.sleep(0.01)
        taken.append(time.perf_counter() - began)
        time.sleep(0.3)
    stop.set()
    worker.join()
    return {"slides": slides, "p50_s": quantiles(taken, n=20)[9], "p95_s": quantiles(taken, n=20)[18]}


def _work(lab: Lab, slides: int) -> tuple[float, float]:
    """Run a worker until every slide is archived, every case assigned and every message answered."""
    stop = threading.Event()
    began, cpu = time.perf_counter(), _cpu()
    worker = _worker(lab, stop)
    while not _is_over(lab, slides):
        time.sleep(0.05)
    took = time.perf_counter() - began, _cpu() - cpu
    stop.set()
    worker.join()
    return took


def _worker(lab: Lab, stop: threading.Event) -> threading.Thread:
    engine = _engine(lab)
    # In a copy of our context, where Prefect's settings are: a thread starts with an empty one.
    steps = {**STEPS, "send": send_nothing}
    worker = threading.Thread(target=copy_context().run, args=(run_worker, lab, engine, stop, steps))
    worker.start()
    return worker


def _engine(lab: Lab) -> Engine:
    if not lab.settings.engine.enabled:
        return BareEngine()
    from dashboards.cli.processes import prefect_engine  # noqa: PLC0415 - takes seconds, and only here

    return prefect_engine(lab.settings)


def _is_over(lab: Lab, slides: int) -> bool:
    with lab.database.read() as session:
        # Cheap first: the last thing to happen is that nothing is open any more but waits.
        moving = select(Step.id).where(Step.state.in_(("ready", "running"))).limit(1)
        if session.scalar(moving) is not None:
            return False
        proven = session.scalar(select(func.count()).select_from(Scan).where(Scan.storage == "proven"))
        still_open = session.scalar(select(Step.id).where(Step.state.in_(OPEN_STEP_STATES)).limit(1))
    return proven == slides and still_open is None


def _is_proven(lab: Lab, scan_id: str) -> bool:
    with lab.database.read() as session:
        return session.scalar(select(Scan.storage).where(Scan.id == scan_id)) == "proven"


def _counts(lab: Lab) -> dict[str, float]:
    with lab.database.read() as session:
        steps = session.scalar(select(func.count()).select_from(Step)) or 0
        facts = session.scalar(select(func.count()).select_from(Fact)) or 0
    return {"steps": steps, "facts": facts, "slides_a_case": SLIDES_A_CASE}


def _fold_log(lab: Lab) -> None:
    with lab.database.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        connection.exec_driver_sql("BEGIN")


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    if "--prefect-port" in sys.argv:
        port = int(sys.argv[sys.argv.index("--prefect-port") + 1])
        from tests.benchmarks.empty_lab import settings_of

        os.environ.update(prefect_environment(settings_of(Path(os.environ["PREFECT_BENCHMARK_HOME"]), port)))
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            main()
    else:
        main()
