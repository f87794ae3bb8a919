"""The worker: a thread for each stage, a heartbeat, and the sweeper, in one process."""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from contextvars import copy_context

from sqlalchemy import insert, update

from connectors.telemetry import Figure
from connectors.wiring import Lab
from flows.case_assignment.rebalance.watching import see_to_looks
from flows.deadlines.recounting import notice_policy
from flows.deadlines.watch import Watch
from flows.engine import Engine
from flows.journey import STAGES, Stage
from flows.people.sync import event_slots
from flows.shift import Shift, Stir
from flows.standing.counts import figures
from flows.step import StepFunction
from flows.steps import STEPS
from flows.sweep import sweep, tidy
from flows.sweep_places import serve, tell_unserved
from models.database import database_now
from models.errors import TransientError
from models.tables.step import Worker

_log = logging.getLogger(__name__)

_IDLE_SECONDS = 0.15
# A busy neighbour stirs many times a second: looking each time would cost more than the work.
_STIRRED_SECONDS = 0.04
_SWEEP_SECONDS = 0.5
# A worker counts as dead after the settings' grace: one late beat or two are no death.
_BEATS_A_GRACE = 5
_TIDY_SECONDS = 10.0
_LOOK_SECONDS = 30.0
# Prefect's own rate is about two calm runs a second: a busy stage pauses before each so that slides gather.
_PAUSE_AFTER_FAULT_SECONDS = 2.0


def run_worker(lab: Lab, engine: Engine, stop: threading.Event, functions: Mapping[str, StepFunction] = STEPS) -> None:
    """Work until ``stop`` is set; then end cleanly: nothing new is claimed, what runs is finished."""
    worker_id = str(uuid.uuid4())
    _begin(lab, worker_id)
    lab.telemetry.observe(lambda: _figures(lab))
    stir = Stir()
    shifts = [Shift(lab, stage, functions, worker_id, child_slots(lab, stage), stop, stir) for stage in STAGES]
    # Each in a copy of our context: a thread starts with an empty one, and Prefect's settings are kept there.
    threads = [
        threading.Thread(target=copy_context().run, args=(_run_stage, shift, engine), name=shift.stage.name)
        for shift in shifts
    ]
    for thread in threads:
        thread.start()
    _keep_house(lab, engine, worker_id, stop, stir)
    for thread in threads:
        thread.join()
    for shift in shifts:
        shift.close()
    with lab.database.write("worker.end") as session:
        ended = update(Worker).where(Worker.id == worker_id)
        session.execute(ended.values(ended_at=database_now(session)))


def child_slots(lab: Lab, stage: Stage) -> int:
    """Return how many steps of a stage run side by side."""
    work = lab.settings.work
    slots = {
        "slide_qc": work.slide_qc,
        "barcode_matching": work.barcode_matching,
        "archive_upload": work.archive_upload,
        "sending": max(1, len(lab.settings.lims) + event_slots(lab.settings)),
    }
    return slots.get(stage.name, 1)


def _figures(lab: Lab) -> list[Figure]:
    """Read what metrics are collected from; while the database is away there is nothing to tell."""
    try:
        with lab.database.read() as session:
            return list(figures(session, lab.settings.work.heartbeat_grace))
    except TransientError:
        return []


def _begin(lab: Lab, worker_id: str) -> None:
    with lab.database.write("worker.begin") as session:
        now = database_now(session)
        values = {"id": worker_id, "host": socket.gethostname(), "pid": os.getpid(), "engine": ""}
        session.execute(insert(Worker).values(**values, started_at=now, heartbeat_at=now))


def _run_stage(shift: Shift, engine: Engine) -> None:
    """Run shift after shift; whatever goes wrong in one, the stage goes on."""
    while not shift.stop.is_set():
        try:
            first = shift.has_work()
            if first is None:
                shift.stir.wait(_IDLE_SECONDS)
                shift.stop.wait(_STIRRED_SECONDS)
                continue
            engine.run(shift.stage, first, shift.run)
        except TransientError:
            shift.stop.wait(_PAUSE_AFTER_FAULT_SECONDS)
        except Exception:  # noqa: BLE001 - one broad net at the loop: a stage never ends
            _log.exception("a shift of %s ended by a fault of ours; the next one begins", shift.stage.name)
            shift.stop.wait(_PAUSE_AFTER_FAULT_SECONDS)


def _keep_house(lab: Lab, engine: Engine, worker_id: str, stop: threading.Event, stir: Stir) -> None:
    """Beat, sweep and tidy until the end."""
    beat_seconds = lab.settings.work.heartbeat_grace.total_seconds() / _BEATS_A_GRACE
    beat_at = tidy_at = look_at = 0.0
    watch = Watch(lab)
    while not stop.wait(_SWEEP_SECONDS):
        now = time.monotonic()
        try:
            if now >= beat_at:
                _beat(lab, engine, worker_id)
                beat_at = now + beat_seconds
            if sweep(lab):
                stir.stir()
            # A gateway's spool holds the work of others, which its books know nothing of.
            if now >= tidy_at and not lab.settings.forwards:
                tidy(lab)
                tell_unserved(lab)
                notice_policy(lab)
                see_to_looks(lab)
                tidy_at = now + _TIDY_SECONDS
            if now >= look_at and not lab.settings.forwards:
                look_at = now + _LOOK_SECONDS
                watch.look()
        except TransientError:
            continue
        except Exception:  # noqa: BLE001 - as above
            _log.exception("housekeeping failed by a fault of ours; it goes on")


def _beat(lab: Lab, engine: Engine, worker_id: str) -> None:
    standing = engine.look()
    with lab.database.write("worker.beat") as session:
        now = database_now(session)
        session.execute(update(Worker).where(Worker.id == worker_id).values(heartbeat_at=now, engine=standing))
        serve(session, lab.spool.place, now + lab.settings.work.heartbeat_grace)
