"""The commands that run processes: ``up`` and what it starts, each of which can be started alone too."""

import fcntl
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from dashboards.cli.home import home_of
from models.errors import RefusedError

if TYPE_CHECKING:
    from connectors.settings import Settings
    from connectors.wiring import Lab
    from dashboards.supervisor import Supervisor
    from flows.engine import Engine
    from models.database import Database

_console = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(up)
    app.command(name="migrate")(migrate_command)
    app.command(hidden=True)(doors)
    app.command(hidden=True)(worker)
    app.command(hidden=True)(intake)
    app.command(hidden=True)(engine)


def up(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object when everything is up.")] = False,
) -> None:
    """Run the whole system on this machine until Ctrl-C: doors, worker, Prefect and the page; Kafka's door if set."""
    from dashboards.doctor.wires import refuse_bad_certificates
    from dashboards.supervisor import Supervisor

    settings = prepare(home_of(context))
    refuse_bad_certificates(settings)
    supervisor = Supervisor(settings, _console.print)
    supervisor.stop_on_signals()
    with only_one(settings.home):
        supervisor.start()
        if as_json:
            print(json.dumps(where(settings, supervisor)), flush=True)
        else:
            _print_lab(settings)
        supervisor.keep()
        _console.print("Ending the processes that were started here …")
        supervisor.end()


def migrate_command(context: typer.Context) -> None:
    """Bring the database to the present shape of its tables."""
    prepare(home_of(context))
    _console.print("The database is up to date.")


def doors(context: typer.Context) -> None:
    """Run the doors alone: MLLP listeners, scanner folders, the page."""
    import asyncio

    from dashboards.doors import run_doors

    settings = _begin(home_of(context))

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run_doors(settings, stop)

    try:
        asyncio.run(serve())
    except OSError as error:
        message = f"a door could not be opened: {os.strerror(error.errno or 0)}"
        raise RefusedError(message) from error


def worker(context: typer.Context) -> None:
    """Run a worker alone: it claims steps until it is told to end."""
    from connectors.wiring import open_lab
    from flows.steps import JOBS

    settings = _begin(home_of(context))
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    with open_lab(settings, "worker", JOBS) as lab:
        run_with_engine(lab, stop)


def intake(context: typer.Context) -> None:
    """Read Kafka alone: what other sites tell comes into the inbox, until it is told to end."""
    from dashboards.intake import run_intake

    settings = _begin(home_of(context))
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    run_intake(settings, stop)


def engine(context: typer.Context) -> None:
    """Run Prefect's server alone, as the settings say."""
    from flows.prefect_server import prefect_environment

    settings = _begin(home_of(context))
    environment = {**os.environ, **prefect_environment(settings)}
    server = ("-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", "--log-level", "warning")
    address = ("--host", "127.0.0.1", "--port", str(settings.engine.port), "--timeout-keep-alive", "5")
    os.execve(  # noqa: S606 - our own interpreter with arguments of our own
        sys.executable, (sys.executable, *server, *address), environment
    )


def run_with_engine(lab: "Lab", stop: threading.Event) -> None:
    """Run a worker, with Prefect when the settings want it."""
    from flows.engine import BareEngine
    from flows.prefect_server import prefect_environment
    from flows.worker import run_worker

    if not lab.settings.engine.enabled:
        run_worker(lab, BareEngine(), stop)
        return
    os.environ.update(prefect_environment(lab.settings))
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    # A synchronous flow call otherwise waits up to a second for its heartbeat thread to end.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        run_worker(lab, prefect_engine(lab.settings), stop)


def prefect_engine(settings: "Settings") -> "Engine":
    """Return the engine with the five flows."""
    from flows.archive_upload.flow import archive_upload
    from flows.barcode_matching.flow import barcode_matching
    from flows.case_assignment.flow import case_assignment
    from flows.case_assignment.rebalance.flow import rebalance
    from flows.engine import PrefectEngine
    from flows.prefect_server import prefect_environment
    from flows.slide_qc.flow import slide_qc

    flows: Mapping[str, Callable[[str], object]] = {
        "slide_qc": slide_qc,
        "barcode_matching": barcode_matching,
        "archive_upload": archive_upload,
        "case_assignment": case_assignment,
        "rebalance": rebalance,
    }
    return PrefectEngine(prefect_environment(settings)["PREFECT_API_URL"], flows)


def prepare(home: Path) -> "Settings":
    """Write the first laboratory if there is none, and bring the database in line with the settings."""
    from connectors.first_lab import write_first_lab
    from connectors.settings import load
    from connectors.wiring import open_archive, open_database
    from models.migrate import migrate

    write_first_lab(home)
    settings = load(home)
    database = open_database(settings, checkpoints=True)
    try:
        migrate(database)
        if _sync(database, settings):
            # Only before the first object: later, a folder that is not an archive is a disk that is not mounted.
            open_archive(settings).prepare()
    finally:
        database.close()
    return settings


def where(settings: "Settings", supervisor: "Supervisor") -> dict[str, object]:
    """Return where everything is, for machines."""
    return {
        "home": str(settings.home),
        "page": f"http://{settings.page.host}:{settings.page.port}",
        "mllp": [
            {"peer": one.peer, "host": one.host, "port": one.port} for one in settings.listeners if not one.at_gateway
        ],
        "scanners": [
            {"name": one.name, "site": one.site, "path": str(settings.resolved(one.path))}
            for one in settings.scanners
            if not one.at_gateway
        ],
        "lims": [{"name": one.name, "host": one.host, "port": one.port} for one in settings.lims],
        "prefect": f"http://127.0.0.1:{settings.engine.port}" if settings.engine.enabled else None,
        "archive": str(settings.resolved(settings.archive_folder)),
        "pids": supervisor.pids(),
    }


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold the right to run this state folder; a second ``up`` is refused with a sentence."""
    with (home / "up.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"Coverslip runs on {home} already: end it first, or give another --home"
            raise RefusedError(message) from error
        yield


def _begin(home: Path) -> "Settings":
    from connectors.settings import load
    from dashboards.supervisor import die_with_parent

    die_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    for talkative in ("httpx", "httpcore", "prefect", "asyncio", "kafka"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    return load(home)


def _sync(database: "Database", settings: "Settings") -> bool:
    """Bring people and places in line; return whether nothing was ever archived."""
    from sqlalchemy import select

    from flows.people.sync import sync_people
    from models.tables.scan import Instance

    with database.write("people") as session:
        sync_people(session, settings)
        return session.scalar(select(Instance.id).limit(1)) is None


def _print_lab(settings: "Settings") -> None:
    from connectors.first_lab import describe

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for what, how in describe(settings):
        table.add_row(what, how)
    _console.print("Coverslip is up.\n")
    _console.print(table)
    _console.print("\nDrop slides into the scanner folder, send orders to the MLLP port. Ctrl-C ends it.")
