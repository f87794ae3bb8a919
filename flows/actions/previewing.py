"""What applying a message would change: it is applied by the step's own code, looked at, and taken back.

Nothing is guessed and nothing is kept: the facts are folded within a transaction that is always rolled back, as the
step would fold them now, and the rows that this makes are compared with those there are.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from connectors.slides.bounded import Decoder
from connectors.telemetry import Telemetry
from connectors.wiring import Lab, open_archive, open_spool
from flows import ledger
from flows.actions.desk import Desk
from flows.actions.standing_rows import Standing, difference, standing_of
from flows.intake.apply import apply
from flows.intake.inbox import first_step
from flows.ledger import Claim
from models.base import table_of
from models.database import Database, database_now
from models.errors import CoverslipError, RefusedError
from models.tables.books import Alert, Fact, History, InboxMessage, OutboxMessage
from models.tables.step import Step, Worker

Prepare = Callable[[Session], str]
"""Put the message into the inbox as it is to be applied, and return its id; taken back with all the rest."""

_STEP = table_of(Step)
_PENDING: Final = select(OutboxMessage).where(OutboxMessage.state == "pending").order_by(OutboxMessage.id)


@dataclass(frozen=True)
class Change:
    """One thing that would be otherwise: of what, which part, from what to what; texts for people."""

    subject: str
    what: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Preview:
    """What would become of a message now.

    ``problem`` says why it would be set aside, or what is odd about it although it would be applied. ``told`` are the
    messages that would go out, ``alerts`` what people would be asked to look at.
    """

    message_id: str
    peer: str
    message_type: str | None
    applied: bool
    problem: str | None = None
    changes: tuple[Change, ...] = ()
    told: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()

    @property
    def changes_nothing(self) -> bool:
        """Whether everything would be as it is."""
        return not (self.changes or self.told or self.alerts)


def preview(desk: Desk, prepare: Prepare) -> Preview:
    """Return what applying a message would change now; nothing is changed.

    Raises
    ------
    RefusedError
        ``prepare`` refused.
    TransientError
        The database was away.
    """
    with desk.database.write("preview") as session:
        found, after = _tried(desk, session, prepare(session))
        # Here, and before anything is committed: nothing of it happened.
        session.rollback()
    with desk.database.read() as session:
        before = standing_of(session, after.subjects)
    return replace(found, changes=tuple(Change(*one) for one in difference(before, after)))


def preview_replay(desk: Desk, message_id: str) -> Preview:
    """Return what applying a message of the inbox anew would change; as ``preview``."""

    def again(session: Session) -> str:
        if session.get(InboxMessage, message_id) is None:
            raise RefusedError("there is no such message: 'coverslip replay' lists those that were set aside")
        return message_id

    return preview(desk, again)


def _tried(desk: Desk, session: Session, message_id: str) -> tuple[Preview, Standing]:
    """Apply a message and say what came of it, but for what changed; and how what it touched stands after it."""
    message = session.get_one(InboxMessage, message_id)
    tried = Preview(message.id, message.peer, message.message_type, applied=False)
    known = {entity: _newest(session, entity) for entity in (Fact, History, Alert)}
    outbox = {one.id for one in session.scalars(_PENDING)}
    try:
        apply(_lab(desk, session), _claimed(session, message))(session)
        session.flush()
    except CoverslipError as error:
        return replace(tried, problem=str(error)), Standing({}, {})
    new = [*_since(session, Fact, known[Fact]), *_since(session, History, known[History])]
    subjects = {(row.subject_kind, row.subject_id) for row in new} - {("inbox", message_id)}
    pending = session.scalars(_PENDING).all()
    session.refresh(message, ["problem"])
    seen = replace(
        tried,
        applied=True,
        problem=message.problem,
        told=tuple(f"{one.peer}: {one.event_key.split(':')[0]}" for one in pending if one.id not in outbox),
        alerts=tuple(alert.sentence for alert in _since(session, Alert, known[Alert])),
    )
    return seen, standing_of(session, subjects)


def _claimed(session: Session, message: InboxMessage) -> Claim:
    """Claim the step that would apply the message, for a worker that nobody ever sees."""
    now, worker_id = database_now(session), str(uuid.uuid4())
    worker = {"id": worker_id, "host": "preview", "pid": os.getpid(), "engine": ""}
    session.execute(insert(Worker).values(**worker, started_at=now, heartbeat_at=now))
    # A gateway would hand it on; what it says is read all the same.
    new = first_step(message.id, message.peer, now, forward=False)
    generation = ledger.rerun(session, new)
    ours = (_STEP.c.subject_id == message.id, _STEP.c.kind == new.kind, _STEP.c.generation == generation)
    session.execute(update(_STEP).where(*ours).values(state="running", worker_id=worker_id, attempt=1))
    columns = [_STEP.c[one.name] for one in fields(Claim)]
    return Claim(**session.execute(select(*columns).where(*ours)).one()._asdict())


def _lab(desk: Desk, session: Session) -> Lab:
    """Return a laboratory that reads within this transaction, and has no neighbours."""
    return Lab(
        settings=desk.settings,
        database=_WithinThis(session),
        ids=desk.ids,
        spool=open_spool(desk.settings),
        decoder=Decoder(()),
        archive=open_archive(desk.settings),
        senders={},
        telemetry=Telemetry.off(),
    )


class _WithinThis(Database):
    """The database as an open transaction sees it; it can't be written to beside that."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give the open transaction itself."""
        yield self._session


def _newest(session: Session, entity: type[Fact | History | Alert]) -> int:
    return session.scalar(select(entity.id).order_by(entity.id.desc()).limit(1)) or 0


def _since(session: Session, entity: type[Any], newest: int) -> list[Any]:
    return list(session.scalars(select(entity).where(entity.id > newest).order_by(entity.id)))
