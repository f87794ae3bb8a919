"""The database goes away or hangs while a LIMS sends: nothing is promised, nothing is lost, and all goes on."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import make_url, select

from connectors.lims.framing import frame
from connectors.lims.listener import MllpListener
from connectors.settings_doors import Listener
from connectors.wiring import Lab
from dashboards.web.health import readiness
from flows.intake.doors import away_door, hl7_door, limits_of, refusal_door
from flows.intake.inbox import InboxWriter
from models.tables.books import InboxMessage
from tests.connectors.lims.doors import answer_from, connected
from tests.connectors.lims.orders import PID, orc, slide, text
from tests.small_lab import small_lab

pytestmark = pytest.mark.postgres

_READ_BYTES = 65_536


class Cable:
    """Carries connections to a server until it is pulled (they end) or held (nothing moves)."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self._flows, self._plugged = threading.Event(), True
        self._flows.set()
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def pull(self) -> None:
        self._plugged = False
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def plug(self) -> None:
        self._plugged = True

    def hold(self) -> None:
        self._flows.clear()

    def let_go(self) -> None:
        self._flows.set()

    def close(self) -> None:
        self.pull()
        self.let_go()
        self._door.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for end in (*self._ends, self._door):
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._door.accept()
                if not self._plugged:
                    here.close()
                    continue
                there = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [here, there]
                for a, b in ((here, there), (there, here)):
                    self._threads.append(threading.Thread(target=self._carry, args=(a, b), daemon=True))
                    self._threads[-1].start()

    def _carry(self, a: socket.socket, b: socket.socket) -> None:
        with suppress(OSError):
            while data := a.recv(_READ_BYTES):
                self._flows.wait()
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)


@pytest.fixture
def cable(unmade_postgres_database: str) -> Iterator[Cable]:
    made = Cable(int(make_url(unmade_postgres_database).port or 5432))
    yield made
    made.close()


@pytest.fixture
def lab(tmp_path: Path, unmade_postgres_database: str, cable: Cable) -> Iterator[Lab]:
    """A laboratory whose database is at the other end of the cable."""
    url = make_url(unmade_postgres_database).set(port=cable.port).render_as_string(hide_password=False)
    opened = small_lab(tmp_path, url)
    yield opened
    cable.plug()
    cable.let_go()
    opened.database.close()


def order(number: int) -> bytes:
    return text("OML^O33^OML_O33", PID, slide("26H1-A1-1"), orc(), control_id=f"M{number}").encode()


async def ask(port: int, number: int) -> str:
    """Send an order on a connection of its own; return MSA-1, empty when the door closed instead."""
    async with connected(port) as (reader, writer):
        with suppress(ConnectionError):
            writer.write(frame(order(number)))
            answer = await answer_from(reader)
            return answer.split(b"MSA|")[1][:2].decode() if answer else ""
    return ""


async def open_door(lab: Lab, listener: Listener, inbox: InboxWriter) -> MllpListener:
    limits = replace(limits_of(listener), keep_seconds=1.0, pause_seconds=0.2)
    door = MllpListener(
        hl7_door(lab.settings, listener, inbox, lab.telemetry),
        refusal_door(lab.settings, listener),
        limits,
        away_door(lab.settings, listener),
    )
    await door.start("127.0.0.1", 0)
    return door


def kept(lab: Lab) -> list[str | None]:
    with lab.database.read() as session:
        return list(session.scalars(select(InboxMessage.message_control_id).order_by(InboxMessage.message_control_id)))


@pytest.mark.parametrize(("chosen", "heard"), [("close", ""), ("AE", "AE")])
@pytest.mark.parametrize("hangs", [False, True], ids=["gone", "hangs"])
def test_a_message_that_finds_no_database_is_kept_by_its_sender_and_then_by_us_once(
    lab: Lab,
    cable: Cable,
    hangs: bool,  # noqa: FBT001
    chosen: str,
    heard: str,
) -> None:
    listener = Listener(**{**lab.settings.listeners[0].model_dump(), "when_the_store_is_away": chosen})

    async def talk() -> tuple[list[str], list[bool]]:
        inbox = InboxWriter(lab.database, lab.ids)
        door = await open_door(lab, listener, inbox)
        said, ready = [await ask(door.port, 1)], []
        (cable.hold if hangs else cable.pull)()
        said.append(await ask(door.port, 2))
        if not hangs:
            ready.append((await asyncio.to_thread(readiness, lab.database, lab.settings))[0])
        (cable.let_go if hangs else cable.plug)()
        async with asyncio.timeout(20):
            while (answer := await ask(door.port, 2)) != "AA":
                assert answer == heard
                await asyncio.sleep(0.1)
        said.append(await ask(door.port, 3))
        ready.append((await asyncio.to_thread(readiness, lab.database, lab.settings))[0])
        await door.stop()
        await asyncio.to_thread(inbox.close)
        return said, ready

    said, ready = asyncio.run(talk())
    assert said == ["AA", heard, "AA"]
    assert ready == ([True] if hangs else [False, True])
    assert kept(lab) == ["M1", "M2", "M3"]
