"""The inbox: bytes are committed here, with the step that will apply them, before anybody is told that we have them."""

import asyncio
import hashlib
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from flows import ledger
from flows.journey import INTAKE
from models.base import table_of
from models.database import Database, database_now, insert_unless_there
from models.errors import TransientError
from models.opaque import OpaqueIds
from models.tables.books import InboxMessage

# What one transaction takes at most: enough to share a disk flush among a hundred busy connections.
_MOST_AT_ONCE = 128

_INBOX = table_of(InboxMessage)
_STORED_ANSWER = select(_INBOX.c.answer).where(_INBOX.c.id == bindparam("message_id"))


@dataclass(frozen=True)
class Arrival:
    """Bytes that came in through a door, with the answer that their sender is to get."""

    source: Literal["hl7", "scanner"]
    peer: str
    payload: bytes
    answer: bytes | None = None
    message_control_id: str | None = None
    message_type: str | None = None


@dataclass(frozen=True)
class Kept:
    """What the inbox holds for an arrival: the first answer given to the same bytes stays the answer."""

    inbox_id: str
    answer: bytes | None
    is_new: bool


def keep(session: Session, ids: OpaqueIds, arrival: Arrival, now: datetime) -> Kept:
    """Put an arrival into the inbox with its ``apply`` step; the same bytes of the same peer change nothing."""
    digest = hashlib.sha256(arrival.payload).hexdigest()
    inbox_id = ids.of("inbox", arrival.peer, digest)
    row = {
        "id": inbox_id,
        "source": arrival.source,
        "peer": arrival.peer,
        "sha256": digest,
        "payload": arrival.payload,
        "answer": arrival.answer,
        "message_control_id": (arrival.message_control_id or "")[:200] or None,
        "message_type": (arrival.message_type or "")[:64] or None,
        "received_at": now,
    }
    if not insert_unless_there(session, InboxMessage, [row]):
        stored = session.scalar(_STORED_ANSWER, {"message_id": inbox_id})
        return Kept(inbox_id, stored, is_new=False)
    step = ledger.NewStep(kind="apply", stage=INTAKE, subject_kind="inbox", subject_id=inbox_id, rank_at=now)
    ledger.add(session, [step])
    return Kept(inbox_id, arrival.answer, is_new=True)


@dataclass(frozen=True)
class _Pending:
    arrival: Arrival
    loop: asyncio.AbstractEventLoop
    kept: "asyncio.Future[Kept]"


class InboxWriter:
    """The one writer of a process that takes messages from sockets: many arrivals share one commit."""

    def __init__(self, database: Database, ids: OpaqueIds) -> None:
        self._database = database
        self._ids = ids
        self._pending: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._at_the_door = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)
        self._thread.start()

    async def keep(self, arrival: Arrival) -> Kept:
        """Return once the arrival is durable.

        Raises
        ------
        TransientError
            The store is unavailable: the sender must get no answer, so that it keeps its copy.
        """
        loop = asyncio.get_running_loop()
        pending = _Pending(arrival, loop, loop.create_future())
        with self._at_the_door:
            if self._closed:
                raise TransientError("the inbox is closing: send the message again")
            self._pending.put(pending)
        return await pending.kept

    def close(self) -> None:
        """Write what is pending, then end; what comes later is refused."""
        with self._at_the_door:
            self._closed = True
            self._pending.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            first = self._pending.get()
            if first is None:
                return
            batch = [first]
            while len(batch) < _MOST_AT_ONCE and not self._pending.empty():
                another = self._pending.get()
                if another is None:
                    self._write(batch)
                    return
                batch.append(another)
            self._write(batch)

    def _write(self, batch: list[_Pending]) -> None:
        try:
            with self._database.write("inbox") as session:
                now = database_now(session)
                kept = [keep(session, self._ids, pending.arrival, now) for pending in batch]
        except Exception as error:  # noqa: BLE001 - whatever it was, each sender must hear "not stored"
            cause = error if isinstance(error, TransientError) else TransientError("the inbox could not be written")
            for pending in batch:
                _tell(pending, _refuse, cause)
            return
        for pending, one in zip(batch, kept, strict=True):
            _tell(pending, _resolve, one)


def _tell(pending: _Pending, how: "Callable[[asyncio.Future[Kept], Any], None]", what: object) -> None:
    # A loop that has ended meanwhile has nobody to be told; the others still wait for their word.
    with suppress(RuntimeError):
        pending.loop.call_soon_threadsafe(how, pending.kept, what)


def _resolve(future: "asyncio.Future[Kept]", kept: Kept) -> None:
    if not future.done():
        future.set_result(kept)


def _refuse(future: "asyncio.Future[Kept]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
