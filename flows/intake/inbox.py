"""The inbox: bytes are committed here, with the step that will apply them, before anybody is told that we have them."""

import asyncio
import hashlib
import queue
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Integer, bindparam, func, literal_column, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from flows import ledger
from flows.intake.storm import QUARANTINED, quarantined_peers
from flows.journey import INTAKE, SENDING
from flows.sending.publish import THE_LOG
from models.base import table_of
from models.database import Database, database_now, insert_unless_there
from models.errors import TransientError
from models.many_rows import insert_many
from models.opaque import OpaqueIds
from models.tables.books import InboxMessage

# What one transaction takes at most: enough to share a disk flush among a hundred busy connections.
_MOST_AT_ONCE = 128
# Far less than a commit takes, and enough for those who are being read now to come along.
_GATHER_SECONDS = 0.0001

_INBOX = table_of(InboxMessage)
_STORED_ANSWER = select(_INBOX.c.answer).where(_INBOX.c.id == bindparam("message_id"))
_STORED = select(_INBOX.c.id, _INBOX.c.answer, _INBOX.c.received_at).where(
    _INBOX.c.id.in_(bindparam("ids", expanding=True))
)
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


@dataclass(frozen=True)
class _Pending:
    arrival: Arrival
    loop: asyncio.AbstractEventLoop
    kept: "asyncio.Future[Kept]"


class InboxWriter:
    """The one writer of a process that takes messages from sockets: many arrivals share one commit."""

    def __init__(self, database: Database, ids: OpaqueIds, *, forward: bool = False) -> None:
        self._database = database
        self._ids = ids
        self._forward = forward
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
            time.sleep(_GATHER_SECONDS)
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
                arrivals = [pending.arrival for pending in batch]
                kept = _keep_each(session, self._ids, arrivals, database_now(session), forward=self._forward)
        except Exception as error:  # noqa: BLE001 - whatever it was, each sender must hear "not stored"
            cause = error if isinstance(error, TransientError) else TransientError("the inbox could not be written")
            _tell(batch, [cause] * len(batch))
            return
        _tell(batch, kept)


def _keep_each(
    session: Session, ids: OpaqueIds, arrivals: Sequence[Arrival], now: datetime, *, forward: bool
) -> list[Kept]:
    """Do with each what ``keep`` does with one, in as many statements as for one."""
    quarantined = quarantined_peers(session)
    rows = [_row(ids, arrival, now, quarantined) for arrival in arrivals]
    different = {row["id"]: row for row in reversed(rows)}
    first = list(reversed(different.values()))
    if insert_many(session, _INBOX, {"received_at": now}, first) == len(first):
        new, answers = set(different), {row["id"]: row["answer"] for row in first}
    else:
        stored = session.execute(_STORED, {"ids": list(different)}).all()
        # What is not new has the time of an earlier transaction.
        new = {row.id for row in stored if row.received_at == now}
        answers = {row.id: row.answer for row in stored}
    ready = [(row["id"], row["peer"]) for row in first if row["id"] in new and row["quarantined_at"] is None]
    if forward:
        ledger.add(session, [first_step(inbox_id, peer, now, forward=True) for inbox_id, peer in ready])
    elif ready:
        ledger.add_for_each(session, _apply_step(ready[0][0], now), [inbox_id for inbox_id, _ in ready])
    named = set(new)
    kept = []
    for row in rows:
        kept.append(Kept(row["id"], answers[row["id"]], is_new=row["id"] in named))
        named.discard(row["id"])
    return kept


def _tell(batch: Sequence[_Pending], said: Sequence[Kept | TransientError]) -> None:
    """Tell every sender, waking each loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Kept], Kept | TransientError]]] = {}
    for pending, one in zip(batch, said, strict=True):
        by_loop.setdefault(pending.loop, []).append((pending.kept, one))
    for loop, told in by_loop.items():
        # A loop that has ended meanwhile has nobody to be told; the others still wait for their word.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_end_waits, told)


def _end_waits(told: "Sequence[tuple[asyncio.Future[Kept], Kept | TransientError]]") -> None:
    for future, one in told:
        if future.done():
            continue
        if isinstance(one, TransientError):
            future.set_exception(one)
        else:
            future.set_result(one)
