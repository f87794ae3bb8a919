"""A person ticks off an alert that nothing else clears: what it told of has happened, and somebody has seen to it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows import late_slides
from flows.actions.desk import Acted, Desk, Person
from flows.actions.reads_named import pathologist_called
from flows.allocation import DOUBTFUL_READER
from flows.books import Subject, note_changes
from flows.intake.parts import PARTS_MISSING, PARTS_UNFIT, give_up
from flows.intake.positions import MADE_ANEW, RECORDS_LOST
from flows.intake.scanned import SLIDE_FAILED
from flows.intake.updates import OTHER_PATIENT
from flows.late_slides import LATE_SLIDE, PROOF_FAILED
from flows.work_orders import REFUSED
from models.database import database_now
from models.errors import RefusedError
from models.tables.books import Alert
from models.tables.case import Slide

# The others stand for something that is still so, and go when it is over.
_BY_A_PERSON: Final = (
    *(MADE_ANEW, RECORDS_LOST, PARTS_MISSING, PARTS_UNFIT, SLIDE_FAILED),
    *(DOUBTFUL_READER, OTHER_PATIENT, REFUSED, LATE_SLIDE, PROOF_FAILED),
)


_OF_A_SLIDE: Final = (LATE_SLIDE, PROOF_FAILED)


@dataclass(frozen=True)
class Acknowledgeable:
    """An open alert that a person may tick off, the number that it is called by, and the slide that it is about."""

    number: int
    kind: str
    sentence: str
    raised_at: datetime
    slide: str | None = None


def acknowledgeable_alerts(session: Session) -> list[Acknowledgeable]:
    """Return the open alerts that only a person ends, the oldest first."""
    found = (
        select(Alert, Slide.container_identifier)
        .outerjoin(Slide, Slide.id == Alert.subject_id)
        .where(Alert.cleared_at.is_(None), Alert.kind.in_(_BY_A_PERSON))
        .order_by(Alert.raised_at, Alert.id)
    )
    return [
        Acknowledgeable(one.id, one.kind, one.sentence, one.raised_at, slide) for one, slide in session.execute(found)
    ]


def acknowledge(desk: Desk, number: int, person: Person) -> Acted:
    """Tick off an alert; if the same happens again, it is raised again.

    Of a message whose parts did not all come, those that did are let go: it has to be sent, or read, again. What a
    reader was told of a slide they have seen with it.

    Raises
    ------
    RefusedError
        There is no such alert, it is no longer open, or it ends by itself when what it tells of is over.
    """
    cause = person.cause("acknowledge")
    with desk.database.write("people.acknowledge") as session:
        alert = session.get(Alert, number, with_for_update=True)
        _refuse(alert, number)
        assert alert is not None  # noqa: S101 - or it was refused
        now = database_now(session)
        alert.cleared_at = now
        subject = Subject(alert.subject_kind, alert.subject_id)
        note_changes(session, subject, [(f"alert {number}", alert.kind, "acknowledged")], cause, now)
        follows = ["if it happens again, it is raised again"]
        if alert.kind in _OF_A_SLIDE and (reader := pathologist_called(session, person.name)) is not None:
            # What others were told they have to see for themselves.
            late_slides.see(session, reader, alert.subject_id, alert.raised_at, now)
        if alert.kind == PARTS_MISSING:
            count = give_up(session, desk.ids, alert.subject_id, now)
            note_changes(session, subject, [("parts", count, 0)], cause, now)
            follows = [f"the {count} parts that are here are let go: have the message sent again if it still counts"]
    return Acted(f"alert {number} ({alert.kind}) is acknowledged", tuple(follows))


def _refuse(alert: Alert | None, number: int) -> None:
    if alert is None:
        raise RefusedError(f"there is no alert {number}: 'coverslip acknowledge' lists those that can be ticked off")
    if alert.cleared_at is not None:
        raise RefusedError(f"alert {number} is over since {alert.cleared_at:%d %b %Y %H:%M:%S} UTC")
    if alert.kind not in _BY_A_PERSON:
        raise RefusedError(f"alert {number} ({alert.kind}) ends by itself when what it tells of is no longer so")
