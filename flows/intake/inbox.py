"""The inbox: bytes are committed here, with the step that will apply them, before anybody is told that we have them."""

import asyncio
import hashlib
import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Integer, bindparam, func, literal_column, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from flows import ledger
from flows.intake.storm import QUARANTINED, quarantined_peers
from flows.journey import INTAKE, SENDING
from flows.sending.publish import THE_LOG
from models.base import table_of
from models.database import Database, PlainWrite, database_now, insert_unless_there
from models.errors import TransientError
from models.many_rows import insert_many
from models.opaque import OpaqueIds
from models.tables.books import InboxMessage

_log = logging.getLogger(__name__)

# What one transaction takes at most: enough to share a disk flush among a hundred busy connections.
_MOST_AT_ONCE = 128
# How often, and how long each time, a writer that was given several messages together lets more come along. Reading
# and writing by turns answers more than doing both at once: two threads on two cores fight for one interpreter.
_LOOKS, _LOOK_SECONDS = 20, 0.0001

_INBOX = table_of(InboxMessage)
_STORED_ANSWER = select(_INBOX.c.answer).where(_INBOX.c.id == bindparam("message_id"))
_PRESENT = select(_INBOX.c.id).where(_INBOX.c.id.in_(bindparam("ids", expanding=True)))
_ROW = literal_column("inbox.rowid", Integer)
_LAST_ROW = select(func.max(_ROW)).select_from(_INBOX)
_ROWS_BEHIND = select(_INBOX.c.id).where(bindparam("last") < _ROW)
_INSERT_AND_SAY = postgresql.insert(_INBOX).on_conflict_do_nothing().returning(_INBOX.c.id)
_NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Arrival:
    """Bytes that came in through a door, with the answer that their sender is to get; ``sha256`` where it is known.

    ``otherwise`` is what is kept in its place when another event of the peer had this ``event_id`` before: the record
    as it came, which a person must look at. Without it the bytes are kept under no event id.
    """

    source: Literal["hl7", "scanner", "event"]
    peer: str
    payload: bytes
    answer: bytes | None = None
    message_control_id: str | None = None
    message_type: str | None = None
    event_id: str | None = None
    origin: Mapping[str, Any] | None = None
    otherwise: "Arrival | None" = None
    sha256: str = ""


@dataclass(frozen=True)
class Kept:
    """What the inbox holds for an arrival: the first answer given to the same bytes stays the answer."""

    inbox_id: str
    answer: bytes | None
    is_new: bool


Tell = Callable[[Kept | TransientError], None]
"""Hear what the inbox holds for an arrival by now, or that it could not be kept."""


def keep(
    session: Session,
    ids: OpaqueIds,
    arrival: Arrival,
    now: datetime,
    quarantined: frozenset[str] = _NOBODY,
    *,
    forward: bool = False,
) -> Kept:
    """Put an arrival into the inbox with its ``apply`` step; the same bytes of the same peer change nothing.

    What comes from ``quarantined`` peers waits there without a step. A gateway hands on instead (``forward``).
    """
    row = {**_row(ids, arrival, now, quarantined), "received_at": now}
    inbox_id = row["id"]
    if not insert_unless_there(session, InboxMessage, [row]):
        stored = session.scalar(_STORED_ANSWER, {"message_id": inbox_id})
        return Kept(inbox_id, stored, is_new=False)
    if row["quarantined_at"] is None:
        ledger.add(session, [first_step(inbox_id, arrival.peer, now, forward=forward)])
    return Kept(inbox_id, arrival.answer, is_new=True)


def keep_all(session: Session, ids: OpaqueIds, arrivals: Iterable[Arrival], now: datetime) -> frozenset[str]:
    """Put many arrivals into the inbox at once, as ``keep`` does with one; return the ids of the rows that are new."""
    quarantined = quarantined_peers(session)
    rows: dict[str, dict[str, Any]] = {}
    otherwise: dict[str, Arrival] = {}
    for arrival in arrivals:
        row = _row(ids, arrival, now, quarantined)
        rows.setdefault(row["id"], row)
        otherwise.setdefault(row["id"], arrival.otherwise or arrival)
    new = _insert(session, list(rows.values()), now)
    passed_over = [inbox_id for inbox_id in rows if inbox_id not in new]
    if passed_over:
        present = set(session.scalars(_PRESENT, {"ids": passed_over}))
        # Neither new nor there: another event had the id. Both are kept, and a person is told of this one.
        twins = [otherwise[inbox_id] for inbox_id in passed_over if inbox_id not in present]
        nameless = [_row(ids, one, now, quarantined) | {"event_id": None} for one in twins]
        added = {row["id"]: row for row in nameless}
        new |= _insert(session, list(added.values()), now)
        rows |= added
    # One in quarantine gets its step when it is let out.
    ready = [row["id"] for row in rows.values() if row["id"] in new and row["quarantined_at"] is None]
    if ready:
        ledger.add_for_each(session, _apply_step(ready[0], now), ready)
    return frozenset(new)


def row_id(ids: OpaqueIds, peer: str, sha256: str) -> str:
    """Return the id of the row that holds bytes of this peer with this hash."""
    return ids.of("inbox", peer, sha256)


def _row(ids: OpaqueIds, arrival: Arrival, now: datetime, quarantined: frozenset[str]) -> dict[str, Any]:
    digest = arrival.sha256 or hashlib.sha256(arrival.payload).hexdigest()
    waits = arrival.peer in quarantined
    return {
        "id": row_id(ids, arrival.peer, digest),
        "source": arrival.source,
        "peer": arrival.peer,
        "sha256": digest,
        "payload": arrival.payload,
        "answer": arrival.answer,
        # PostgreSQL's text has no room for NUL, and a number is looked up, not sent back: the answer has its own bytes.
        "message_control_id": (arrival.message_control_id or "").replace("\0", "\N{REPLACEMENT CHARACTER}")[:200]
        or None,
        "message_type": (arrival.message_type or "")[:64] or None,
        "event_id": arrival.event_id,
        "origin": arrival.origin,
        "state": "set aside" if waits else "kept",
        "problem": QUARANTINED if waits else None,
        "quarantined_at": now if waits else None,
    }


def _insert(session: Session, rows: Sequence[Mapping[str, Any]], now: datetime) -> set[str]:
    """Insert rows, passing over those that some unique constraint refuses; return the ids of those that are new."""
    if not rows:
        return set()
    if session.get_bind().dialect.name == "sqlite":
        # Nobody else writes meanwhile, so what lies behind the last row is ours: half the price of RETURNING.
        last = session.scalar(_LAST_ROW) or 0
        insert_many(session, _INBOX, {"received_at": now}, rows)
        return set(session.scalars(_ROWS_BEHIND, {"last": last}))
    return set(session.scalars(_INSERT_AND_SAY, [{**row, "received_at": now} for row in rows]))


def first_step(inbox_id: str, peer: str, now: datetime, *, forward: bool) -> ledger.NewStep:
    """Return what is done with a message of the inbox: it is applied here, or handed on by a gateway, in its order."""
    if not forward:
        return _apply_step(inbox_id, now)
    order_key = f"{THE_LOG}:{peer}"
    return ledger.NewStep("forward", SENDING, "inbox", inbox_id, rank_at=now, slot=THE_LOG, order_key=order_key)


def _apply_step(inbox_id: str, now: datetime) -> ledger.NewStep:
    return ledger.NewStep(kind="apply", stage=INTAKE, subject_kind="inbox", subject_id=inbox_id, rank_at=now)


class _Waiting(NamedTuple):
    arrival: Arrival
    loop: asyncio.AbstractEventLoop
    tell: Tell


class InboxWriter:
    """The one writer of a process that takes messages from sockets: what comes during a commit shares the next one."""

    def __init__(self, database: Database, ids: OpaqueIds, *, forward: bool = False) -> None:
        self._database = database
        self._ids = ids
        self._forward = forward
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._at_the_door = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)
        self._thread.start()

    def keep(self, arrival: Arrival, tell: Tell) -> None:
        """Have an arrival kept and ``tell`` called in this loop, once it is durable or can't be.

        After a ``TransientError`` the sender must get no answer, so that it keeps its copy.
        """
        loop = asyncio.get_running_loop()
        with self._at_the_door:
            if not self._closed:
                self._waiting.put(_Waiting(arrival, loop, tell))
                return
        loop.call_soon(tell, TransientError("the inbox is closing: send the message again"))

    def close(self) -> None:
        """Write what is pending, then end; what comes later is refused."""
        with self._at_the_door:
            self._closed = True
            self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        several = False
        while True:
            taken = [self._waiting.get()]
            if several:
                self._let_more_come()
            while len(taken) < _MOST_AT_ONCE and not self._waiting.empty():
                taken.append(self._waiting.get())
            batch = [one for one in taken if one is not None]
            if batch:
                self._write(batch)
            if len(batch) < len(taken):
                return
            several = len(batch) > 1

    def _let_more_come(self) -> None:
        """Wait as long as each look finds more than the one before."""
        seen = -1
        for _ in range(_LOOKS):
            found = self._waiting.qsize()
            if found == seen or found >= _MOST_AT_ONCE:
                return
            seen = found
            time.sleep(_LOOK_SECONDS)

    def _write(self, batch: Sequence[_Waiting]) -> None:
        arrivals = [one.arrival for one in batch]
        said: Sequence[Kept | TransientError]
        try:
            with self._database.write_plainly("inbox") as plain:
                said = _keep_each(plain, self._ids, arrivals, database_now(plain), forward=self._forward)
        except Exception as error:  # noqa: BLE001 - whatever it was, each sender must hear "not stored"
            cause = error if isinstance(error, TransientError) else TransientError("the inbox could not be written")
            said = [cause] * len(batch)
        _tell(batch, said)


def _keep_each(
    plain: PlainWrite, ids: OpaqueIds, arrivals: Sequence[Arrival], now: datetime, *, forward: bool
) -> list[Kept]:
    """Do with each what ``keep`` does with one, in as many statements as for one."""
    quarantined = quarantined_peers(plain)
    rows = [_row(ids, arrival, now, quarantined) for arrival in arrivals]
    kept, ready = [], defaultdict(list)
    for row, is_new in zip(rows, _are_new(plain, rows, now), strict=True):
        inbox_id, answer = row["id"], row["answer"]
        if not is_new:
            [answer] = plain.scalars(_STORED_ANSWER, {"message_id": inbox_id})
        elif row["quarantined_at"] is None:
            ready[row["peer"] if forward else ""].append(inbox_id)
        kept.append(Kept(inbox_id, answer, is_new=is_new))
    for peer, inbox_ids in ready.items():
        ledger.add_for_each(plain, first_step(inbox_ids[0], peer, now, forward=forward), inbox_ids)
    return kept


def _are_new(plain: PlainWrite, rows: Sequence[Mapping[str, Any]], now: datetime) -> list[bool]:
    """Insert rows; tell of each whether it was new."""
    if insert_many(plain, _INBOX, {"received_at": now}, rows) == len(rows):
        return [True] * len(rows)
    # Not all of them: which ones is told of one row at a time.
    plain.start_again()
    return [insert_many(plain, _INBOX, {"received_at": now}, [row]) > 0 for row in rows]


def _tell(batch: Sequence[_Waiting], said: Sequence[Kept | TransientError]) -> None:
    """Tell every sender, waking each loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Tell, Kept | TransientError]]] = {}
    for one, word in zip(batch, said, strict=True):
        by_loop.setdefault(one.loop, []).append((one.tell, word))
    for loop, words in by_loop.items():
        # A loop that has ended meanwhile has nobody to be told; the others still wait for their word.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_tell_each, words)


def _tell_each(words: Sequence[tuple[Tell, Kept | TransientError]]) -> None:
    for tell, word in words:
        try:
            tell(word)
        except Exception:  # noqa: BLE001 - by whatever one sender's word failed, the others wait for theirs
            _log.exception("a sender could not be told what became of its message")
