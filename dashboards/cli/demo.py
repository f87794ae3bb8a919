"""The command ``demo``: a whole laboratory for a few minutes, with invented patients and slides."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from dashboards.cli.home import home_of
from models.errors import RefusedError

if TYPE_CHECKING:
    from connectors.settings import Settings
    from dashboards.demo import Demo
    from dashboards.demo_report import Report
    from dashboards.demo_screen import Screen
    from dashboards.supervisor import Supervisor

_LOG_COLUMNS = 140
_INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C ended


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(demo)
    app.command(hidden=True)(simulate)


def demo(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object at the end; progress on stderr.")] = False,
    seconds: Annotated[float, typer.Option(help="Give up after so long and say what is missing.", min=10)] = 170.0,
    by_kafka: Annotated[
        bool, typer.Option("--kafka", help="Let everything come by way of a gateway and a real Apache Kafka.")
    ] = False,
) -> None:
    """Run a small laboratory with simulated scanners and LIMS: three sites, twelve cases, forty slides.

    It begins in a new folder below var (or in --home, if nothing is there yet) and touches no other.
    At a terminal it stays up until Ctrl-C; elsewhere it ends by itself, with 0 if everything ended where it should.
    """
    from dashboards.demo_screen import LiveScreen, PlainScreen

    stop = _stop_when_asked()
    is_watched = sys.stdin.isatty() and sys.stdout.isatty() and not as_json
    console = Console(stderr=as_json, width=None if is_watched else _LOG_COLUMNS)
    screen = LiveScreen(console, seconds) if is_watched else PlainScreen(console)
    home = _fresh_home(context)
    _expect_converter(home)
    with _running(home, screen, stop, seconds, by_kafka=by_kafka) as run:
        report = _watched_to_its_end(run, screen, stop)
        if report is None:
            raise typer.Exit(_INTERRUPTED)
        if as_json:
            print(json.dumps(report.as_json(), indent=2), flush=True)
        else:
            report.print(console)
        if is_watched:
            console.print("Everything stays up: try the commands above in another terminal. Ctrl-C ends it.")
            run.stay()
    raise typer.Exit(1 if report.faults else 0)


def simulate(context: typer.Context) -> None:
    """Play the neighbours of a demonstration's laboratory: scanners and LIMS."""
    from connectors.settings import load
    from dashboards.supervisor import die_with_parent
    from flows.simulate.neighbours import play

    die_with_parent()
    # Whoever watches waits for Coverslip, not for slides that are yet to be drawn.
    os.nice(5)
    play(load(home_of(context)), _stop_when_asked())


def _expect_converter(home: Path) -> None:
    """Refuse at once where no slide could get anywhere, which would be seen after minutes only."""
    from dashboards.doctor.examination import converter

    for finding in converter(home):
        raise RefusedError(f"{finding.what} is {finding.line}")


@contextmanager
def _running(
    home: Path, screen: "Screen", stop: threading.Event, seconds: float, *, by_kafka: bool
) -> "Iterator[Demo]":
    """Write the laboratory, run it with its neighbours, and end at last exactly what was started."""
    from dashboards.cli.processes import only_one, prepare
    from dashboards.demo import Demo
    from dashboards.supervisor import Supervisor
    from flows.simulate.laboratory import free_ports, write_laboratory

    with ExitStack() as stack:
        stack.callback(screen.close)
        if by_kafka:
            _expect_kafka(screen)
        began = time.monotonic()
        screen.say(f"Writing a laboratory with three sites to {home}")
        write_laboratory(home, free_ports(), by_kafka=by_kafka)
        settings = prepare(home)
        stack.enter_context(only_one(home))
        gateway = stack.enter_context(_gateway(settings, screen, stop)) if by_kafka else None
        run = Demo(settings, Supervisor(settings, screen.tell, stop=stop), screen, began, seconds, gateway)
        try:
            yield run
        finally:
            screen.close()
            screen.tell("Ending the processes that were started here …")
            run.end()


def _expect_kafka(screen: "Screen") -> None:
    """Fetch Kafka, if it was not before: that is no part of the demonstration's time."""
    try:
        from dashboards.demo_kafka import expect_kafka
    except ModuleNotFoundError as error:
        # What starts Kafka is not in the wheel.
        message = "a Kafka of its own starts from a checkout of Coverslip only: there 'make demo KAFKA=1' does it"
        raise RefusedError(message) from error
    screen.say("Looking for Apache Kafka, which Maven fetches the first time")
    expect_kafka()


@contextmanager
def _gateway(settings: "Settings", screen: "Screen", stop: threading.Event) -> "Iterator[Supervisor]":
    """Run Kafka; yield the gateway that is to have the doors."""
    from dashboards.cli.processes import prepare
    from dashboards.demo_kafka import running_kafka
    from dashboards.supervisor import Supervisor
    from flows.simulate.laboratory import gateway_folder

    screen.say("Starting Apache Kafka")
    with running_kafka(settings):
        yield Supervisor(prepare(gateway_folder(settings.home)), screen.tell, stop=stop)


def _watched_to_its_end(run: "Demo", screen: "Screen", stop: threading.Event) -> "Report | None":
    """Return how it ended, or nothing when somebody asked for the end before."""
    from dashboards.demo_report import Report

    screen.say("Starting the MLLP doors, the scanner folders, the worker, Prefect and the page")
    if not stop.is_set():
        run.begin()
    run.watch()
    screen.say("Auditing the books")
    if stop.is_set():
        screen.close()
        screen.tell("Stopped before the end, as asked.")
        return None
    audited = run.audited()
    screen.close()
    faults = (*run.faults(), *audited.breaches)
    return Report(run.settings, run.seen(), run.seconds, audited.sentence, faults, _program(run.settings.home))


def _fresh_home(context: typer.Context) -> Path:
    """Return a state folder that nobody uses: the one that was named, else one named by the time."""
    if context.find_root().params.get("home"):
        return home_of(context)
    return home_of(context) / f"demo-{datetime.now().astimezone():%Y%m%d-%H%M%S}"


def _program(home: Path) -> str:
    """Return how this command is typed here, for this state folder."""
    ours = Path(sys.prefix) / "bin" / "coverslip"
    found = shutil.which("coverslip")
    here = Path.cwd()
    name = "coverslip" if found and Path(found).resolve() == ours.resolve() else _short(ours, here)
    return f"{name} --home {_short(home, here)}"


def _short(path: Path, here: Path) -> str:
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _stop_when_asked() -> threading.Event:
    """Return what SIGINT and SIGTERM set, instead of ending this process where it stands."""
    stop = threading.Event()

    def asked(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, asked)
    signal.signal(signal.SIGTERM, asked)
    return stop
