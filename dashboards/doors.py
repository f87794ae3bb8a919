"""The doors: MLLP listeners, scanner folders and the web page, in one process."""

import asyncio
import logging
import threading
from pathlib import Path

import uvicorn

from connectors.lims.listener import MllpListener
from connectors.scanners.folder import FolderWatcher
from connectors.scanners.watched import WatchedFolder
from connectors.settings import Settings
from connectors.settings_doors import ScannerFolder
from connectors.telemetry import Telemetry
from connectors.wiring import door_tls, open_database, open_ids, open_spool
from dashboards.web.app import create_app
from flows.intake.doors import away_door, hl7_door, limits_of, refusal_door, scanner_door
from flows.intake.inbox import InboxWriter
from models.database import Database

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_PAUSE_AFTER_FAULT_SECONDS = 5.0


async def run_doors(settings: Settings, stop: asyncio.Event) -> None:
    """Keep every door of the settings open until ``stop`` is set.

    Raises
    ------
    OSError
        A port is taken.
    RefusedError
        A listener's certificate can't be used.
    """
    database = open_database(settings)
    inbox = InboxWriter(database, open_ids(settings), forward=settings.forwards)
    telemetry = Telemetry.of(settings, "doors")
    closing = threading.Event()
    watchers = [
        threading.Thread(target=_watch, args=(_watcher(settings, database, scanner), closing), daemon=True)
        for scanner in settings.scanners
        if not scanner.at_gateway
    ]
    listeners = []
    try:
        for listener in settings.listeners:
            if listener.at_gateway:
                continue
            door = MllpListener(
                hl7_door(settings, listener, inbox, telemetry),
                refusal_door(settings, listener),
                limits_of(listener),
                away_door(settings, listener),
            )
            await door.start(listener.host, listener.port, door_tls(settings, listener))
            listeners.append(door)
        for watcher in watchers:
            watcher.start()
        await _serve_page(settings, stop)
    finally:
        closing.set()
        for door in listeners:
            await door.stop()
        for watcher in watchers:
            if watcher.ident is not None:
                await asyncio.to_thread(watcher.join, _PAUSE_AFTER_FAULT_SECONDS)
        inbox.close()
        telemetry.shutdown()
        database.close()


def _watcher(settings: Settings, database: Database, scanner: ScannerFolder) -> FolderWatcher:
    folder = WatchedFolder(
        name=scanner.name,
        site_id=scanner.site,
        path=settings.resolved(scanner.path),
        stable_for=scanner.stable_for,
        patience=scanner.patience,
        done_suffix=scanner.done_suffix,
    )
    folder.path.mkdir(parents=True, exist_ok=True)
    received = scanner_door(open_ids(settings), forward=settings.forwards)
    return FolderWatcher(database, open_spool(settings), folder, received)


def _watch(watcher: FolderWatcher, closing: threading.Event) -> None:
    """Look again and again; trouble with a folder is said once per change of it."""
    said = None
    while not closing.is_set():
        try:
            problem = watcher.look().problem
            if problem != said:
                _log.warning("scanner folder %s: %s", watcher.folder.name, problem or "all is well again")
                said = problem
            closing.wait(_LOOK_SECONDS)
        except Exception:  # noqa: BLE001 - one broad net at the loop: a folder is never given up
            _log.exception("looking at scanner folder %s failed by a fault of ours; it goes on", watcher.folder.name)
            closing.wait(_PAUSE_AFTER_FAULT_SECONDS)
    watcher.close()


async def _serve_page(settings: Settings, stop: asyncio.Event) -> None:
    """Serve the page until stopped; uvicorn's own signal handlers stay out of it."""
    app = create_app(open_database(settings), settings, Path(settings.home) / "pictures")
    config = uvicorn.Config(
        app,
        host=settings.page.host,
        port=settings.page.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())  # noqa: SLF001 - serve() would take our signals
    await asyncio.wait([serving, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    app.state.watch.close()
    server.should_exit = True
    await serving
