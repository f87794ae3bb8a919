"""A bare Prefect flow with four empty tasks, once a slide, in a process of its own: prints one JSON line."""

import json
import os
import resource
import sys
import time

SLIDES = int(sys.argv[1])
PORT = sys.argv[2]
os.environ.update(
    {
        "PREFECT_API_URL": f"http://127.0.0.1:{PORT}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "ERROR",
    }
)

from prefect import flow, task  # noqa: E402 - reads the environment when it is imported
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings  # noqa: E402


@task
def slide_qc(slide: str) -> str:
    """Do nothing."""
    return slide


@task
def barcode_matching(slide: str) -> str:
    """Do nothing."""
    return slide


@task
def archive_upload(slide: str) -> str:
    """Do nothing."""
    return slide


@task
def case_assignment(slide: str) -> str:
    """Do nothing."""
    return slide


@flow
def journey(slide: str) -> None:
    """Take one slide through four tasks."""
    case_assignment(archive_upload(barcode_matching(slide_qc(slide))))


def main() -> None:
    """Run the flow for each slide, one after the other: clients side by side gain nothing."""
    # Without its heartbeat thread, whose end a synchronous flow waits for: the peer at its best.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        journey("warm-up")
        began, cpu = time.perf_counter(), _cpu()
        for number in range(SLIDES):
            journey(f"slide-{number}")
    measured = {"slides": SLIDES, "seconds": time.perf_counter() - began, "cpu": _cpu() - cpu}
    print(json.dumps(measured))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


main()
