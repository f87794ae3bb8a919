"""The step forward, of gateways: what a door took in goes to the event log as it came, to be applied elsewhere.

The bytes of an event follow from the row of the inbox alone, so every try sends the same under the same id.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError
from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import ledger
from flows.alerts import keeps_failing
from flows.books import Subject, raise_alert
from flows.ledger import Claim
from flows.sending.events import Leaving, leaving, write
from flows.sending.silence import SILENT_SINCE, pause_after, put_off
from flows.step import THE_EVENT_LOG, End
from models.base import table_of
from models.database import database_now
from models.errors import RefusedError, RejectedError, TransientError
from models.events.envelope import Event, build, event_id, source_of
from models.events.kinds import Hl7Part, Hl7Received, SlideScanned, TakenFile
from models.events.parts import MOST_PAYLOAD_BYTES, split
from models.tables.books import InboxMessage
from models.tables.scan import ScanFile

_INBOX, _FILE = table_of(InboxMessage), table_of(ScanFile)
_CAME = select(
    *(_INBOX.c.id, _INBOX.c.source, _INBOX.c.peer, _INBOX.c.sha256, _INBOX.c.payload, _INBOX.c.received_at),
    SILENT_SINCE.scalar_subquery().label("silent_since"),
).where(_INBOX.c.id == bindparam("message_id"))
_TAKEN = select(
    *(_FILE.c.id, _FILE.c.site_id, _FILE.c.root, _FILE.c.relative_path),
    *(_FILE.c.sha256, _FILE.c.bytes, _FILE.c.modified_ns, _FILE.c.place),
).where(_FILE.c.id == bindparam("file_id"))
_APPLIED = update(_INBOX).where(_INBOX.c.id == bindparam("message_id")).values(state="applied", problem=None)
_NAME_SCAN = update(_FILE).where(_FILE.c.id == bindparam("file_id")).values(scan_id=bindparam("known_as"))


@dataclass(frozen=True)
class _Came:
    """What a door kept, and since when the log was silent before this try."""

    id: str
    source: str
    peer: str
    sha256: str
    payload: bytes
    received_at: datetime
    silent_since: datetime | None


@dataclass(frozen=True)
class _HandedOn:
    """What leaves, in order; and for a scan its file, with the id that its scan has in the whole network."""

    records: Sequence[Leaving]
    file_id: str | None = None
    scan_id: str | None = None


def forward(lab: Lab, claimed: Claim) -> End:
    """Hand on one message or scan; while the log is away everything waits, in its order."""
    with lab.database.read() as session:
        row = session.execute(_CAME, {"message_id": claimed.subject_id, "slot_name": claimed.slot}).one()
        came = _Came(**row._asdict())
        handed = _scan(lab, session, came) if came.source == "scanner" else _message(lab, came)
    try:
        for record in handed.records:
            write(lab, record)
    except TransientError as error:
        because = str(error)
        return lambda session: put_off(session, claimed, because, THE_EVENT_LOG)
    except RejectedError as error:
        why = str(error)
        return lambda session: _stuck(session, claimed, why)
    return lambda session: _end(session, claimed, came, handed)


def _message(lab: Lab, came: _Came) -> _HandedOn:
    """Return a LIMS's message as one event, or as the parts of one that is too large."""
    source = source_of(_site_of(lab, came.peer), "lims", came.peer)
    whole = Hl7Received(received_at=came.received_at, sha256=came.sha256, bytes=len(came.payload), payload=came.payload)
    events: Sequence[tuple[Hl7Received | Hl7Part, str]] = [(whole, came.sha256)]
    if len(came.payload) > MOST_PAYLOAD_BYTES:
        events = [(part, f"{came.sha256}:{part.number}:{part.count}") for part in split(whole)]
    records = []
    for data, business_key in events:
        event = Event(event_id(lab.ids, source, type(data), business_key), source, came.received_at, data)
        records.append(leaving(lab.settings, came.id, data, came.peer, build(event)))
    return _HandedOn(records)


def _scan(lab: Lab, session: Session, came: _Came) -> _HandedOn:
    """Return what a scanner's folder told: the file is ours already, and lies in this place."""
    file = session.execute(_TAKEN, {"file_id": json.loads(came.payload)["file_id"]}).one()
    source = source_of(file.site_id, "scanners", file.root)
    try:
        taken = TakenFile(
            file_id=file.id, sha256=file.sha256, bytes=file.bytes, modified_ns=file.modified_ns, place=file.place
        )
        data = SlideScanned(root=file.root, path=file.relative_path, taken=taken)
    except ValidationError:
        message = f"file {file.id} can't be told of as an event: look at its name, place and size in the books"
        raise RejectedError(message) from None
    event = Event(event_id(lab.ids, source, SlideScanned, file.id), source, came.received_at, data)
    record = leaving(lab.settings, came.id, data, f"{file.site_id}/{file.root}", build(event))
    return _HandedOn((record,), file.id, lab.ids.scan(file.site_id, (file.sha256,)))


def _site_of(lab: Lab, peer: str) -> str:
    for listener in lab.settings.listeners:
        if listener.peer == peer:
            return listener.site
    message = f"no listener of the settings is named {peer} any more: put it back, then replay its messages"
    raise RefusedError(message)


def _end(session: Session, claimed: Claim, came: _Came, handed: _HandedOn) -> None:
    if came.silent_since is not None:
        ledger.open_slot(session, claimed.slot)
    session.execute(_APPLIED, {"message_id": came.id})
    if handed.file_id is not None:
        session.execute(_NAME_SCAN, {"file_id": handed.file_id, "known_as": handed.scan_id})
    ledger.finish(session, claimed)


def _stuck(session: Session, claimed: Claim, why: str) -> None:
    """Keep trying what the log does not take, its stream behind it: the topic is to be put right, not the message."""
    if claimed.tries == 0:
        subject = Subject(claimed.subject_kind, claimed.subject_id)
        raise_alert(session, subject, keeps_failing(claimed.kind), why, database_now(session))
    ledger.give_back(session, claimed, retry_after=pause_after(claimed), problem=why, waiting_for=THE_EVENT_LOG)
