"""One way of taking HL7 over MLLP, or of writing what came of it, in a process of its own.

A door prints its port and serves until its input ends; who writes prints one JSON line.
"""

import asyncio
import json
import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any

import hl7
import hl7.mllp
from hl7apy.mllp import AbstractHandler, MLLPServer
from pydantic import SecretStr

from connectors.lims.header import read_header
from connectors.lims.listener import MllpListener
from connectors.settings import Settings
from connectors.settings_doors import LimsPeer, Listener
from connectors.settings_site import SiteRules
from connectors.telemetry import Telemetry
from flows.intake.doors import away_door, hl7_door, limits_of, refusal_door
from flows.intake.inbox import InboxWriter
from models.database import Database
from models.migrate import migrate
from models.opaque import OpaqueIds

_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "wal_autocheckpoint=0")
_PLAIN_INSERT = "INSERT INTO message (control_id, payload) VALUES (?, ?)"


def main() -> None:
    """Take, or write, as the arguments say."""
    way, folder = sys.argv[1], Path(sys.argv[2])
    match way:
        case "ours":
            asyncio.run(_ours(folder))
        case "python-hl7":
            asyncio.run(_python_hl7(None))
        case "python-hl7 durable":
            asyncio.run(_python_hl7(_bare(folder / "python-hl7.db")))
        case "hl7apy":
            _hl7apy()
        case _:
            print(json.dumps(_rows(folder)))
            return


async def _ours(folder: Path) -> None:
    """Open our door: each message is in the database, with the step that will apply it, before it is answered."""
    # As in a laboratory, where the worker folds the log back into the file.
    database = Database(f"sqlite:///{folder / 'ours.db'}")
    migrate(database)
    settings = _laboratory(folder)
    listener = settings.listeners[0]
    inbox = InboxWriter(database, OpaqueIds(b"benchmark key of sufficient size"))
    door = MllpListener(
        hl7_door(settings, listener, inbox, Telemetry.off()),
        refusal_door(settings, listener),
        limits_of(listener),
        away_door(settings, listener),
    )
    await door.start("127.0.0.1", 0)
    print(door.port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await door.stop()
    inbox.close()
    database.close()


async def _python_hl7(kept: sqlite3.Connection | None) -> None:
    """Open python-hl7's door as its documentation shows it; each message is committed to ``kept`` before its answer.

    By a thread of its own, so that others are read meanwhile: with the commit in the loop fewer were answered.
    """
    loop, thread = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    if kept is not None:
        kept.execute("CREATE TABLE message (number INTEGER PRIMARY KEY, control_id TEXT, payload TEXT)")

    async def serve(reader: hl7.mllp.HL7StreamReader, writer: hl7.mllp.HL7StreamWriter) -> None:
        while not writer.is_closing():
            try:
                message = await reader.readmessage()
            except asyncio.IncompleteReadError:
                break
            if kept is not None:
                row = (str(message["MSH"][0][10]), str(message))
                await loop.run_in_executor(thread, kept.execute, _PLAIN_INSERT, row)
            writer.writemessage(message.create_ack())
            await writer.drain()
        writer.close()

    server = await hl7.mllp.start_hl7_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


def _bare(path: Path) -> sqlite3.Connection:
    """Open a database by the bare driver, with each statement a transaction unless it is told otherwise."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


class _Acknowledge(AbstractHandler):  # type: ignore[misc] # hl7apy has no types
    def reply(self) -> str:
        header = read_header(self.incoming_message.encode())
        control_id = header.control_id.decode()
        return (
            f"\x0bMSH|^~\\&|COVERSLIP|NET|LIMS|SITEA|20261122||ACK|A{control_id}|P|2.5.1\rMSA|AA|{control_id}\r\x1c\r"
        )


def _hl7apy() -> None:
    """Open hl7apy's door, which closes after each message; nothing is kept and nothing is parsed."""
    server = MLLPServer("127.0.0.1", 0, {"OML^O33^OML_O33": (_Acknowledge,)})
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    server.shutdown()


def _rows(folder: Path) -> dict[str, Any]:
    """Write the rows that came of it into an empty database, as many in a transaction, by the bare driver."""
    source = sqlite3.connect(folder / "ours.db")
    received = source.execute("SELECT received_at FROM inbox ORDER BY rowid").fetchall()
    # What came in together has one time, the transaction's.
    sizes = [len(list(batch)) for _, batch in groupby(received)]
    kept = {name: source.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall() for name in ("inbox", "step")}  # noqa: S608 - names of our own
    source.close()
    database = Database(f"sqlite:///{folder / 'rows.db'}", checkpoints=True)
    migrate(database)
    database.close()
    connection = _bare(folder / "rows.db")
    into = {name: f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})" for name, rows in kept.items()}  # noqa: S608 - as above
    began, used, place = time.perf_counter(), time.process_time(), 0
    for size in sizes:
        connection.execute("BEGIN IMMEDIATE")
        for name, rows in kept.items():
            connection.executemany(into[name], rows[place : place + size])
        connection.execute("COMMIT")
        place += size
    took, cost = time.perf_counter() - began, time.process_time() - used
    connection.close()
    return {"rate": place / took, "cpu": cost / place, "batch": place / len(sizes)}


def _laboratory(folder: Path) -> Settings:
    return Settings(
        home=folder,
        installation_key=SecretStr("0f" * 32),
        sites=(SiteRules(id="site-a", name="Site A", lims="lims"),),
        lims=(LimsPeer(name="lims"),),
        listeners=(Listener(peer="lims", site="site-a", issuer="SITEA"),),
        scanners=(),
        readers=(),
    )


if __name__ == "__main__":
    main()
