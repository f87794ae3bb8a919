"""Which places have nobody: what needs the bytes that lie there would wait unseen.

A place is where a spool is. Each worker notes with its heartbeats until when its place is served, in a row of ``slot``
that no step ever takes; whoever keeps house compares it with the places that ready steps name.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, select, text, update
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows.books import Subject, raise_alert
from models.base import table_of
from models.database import database_now, insert_unless_there
from models.tables.books import Alert
from models.tables.step import Slot, Step

UNSERVED: Final = "nobody at a place"

# A worker that is started anew takes less.
_UNSERVED_FOR: Final = timedelta(minutes=5)
# One letter: a place may be called by as many as are left of a slot's name.
_PREFIX: Final = "@"

_SLOT, _STEP, _ALERT = table_of(Slot), table_of(Step), table_of(Alert)
# Written out: SQLite uses the index over ready steps only when it can see these very words.
_WITH_WORK = select(_STEP.c.place).where(text("state = 'ready'"), _STEP.c.place != "").distinct()
_SERVED_UNTIL = select(_SLOT.c.name, _SLOT.c.paused_until).where(_SLOT.c.name.startswith(_PREFIX))
_SERVE = update(_SLOT).where(_SLOT.c.name == bindparam("of"), _SLOT.c.number == 1)
_OPEN = select(_ALERT.c.id, _ALERT.c.subject_id).where(_ALERT.c.kind == UNSERVED, text("cleared_at IS NULL"))
_OVER = update(_ALERT).where(_ALERT.c.id.in_(bindparam("over", expanding=True))).values(cleared_at=bindparam("at"))


def serve(session: Session, place: str, until: datetime) -> None:
    """Note that a worker of a place is alive, and counts as such until then unless it is heard of again."""
    row = {"name": _slot_of(place), "number": 1, "paused_until": until}
    if not insert_unless_there(session, Slot, [row]):
        session.execute(_SERVE.values(paused_until=until), {"of": row["name"]})


def tell_unserved(lab: Lab) -> int:
    """Raise each place that has ready steps and, for five minutes, no worker; clear it when that is over.

    Returns
    -------
    int
        How many places stand so.
    """
    with lab.database.read() as session:
        now = database_now(session)
        places = session.scalars(_WITH_WORK).all()
        served_until = {name: until for name, until in session.execute(_SERVED_UNTIL) if until is not None}
        told = {alert.subject_id: alert.id for alert in session.execute(_OPEN)}
    late: dict[str, tuple[str, datetime]] = {}
    for place in places:
        until = served_until.get(_slot_of(place), now)
        if until < now - _UNSERVED_FOR:
            late[lab.ids.of("place", "", place)] = (place, until)
    never = sorted(place for place in places if _slot_of(place) not in served_until)
    over = [alert_id for subject, alert_id in told.items() if subject not in late]
    if never or over or late.keys() - told.keys():
        with lab.database.write("sweep_places") as session:
            for place in never:
                # Nobody was ever there: its time begins now.
                serve(session, place, now)
            for subject, (place, until) in sorted(late.items()):
                raise_alert(session, Subject("place", subject), UNSERVED, _sentence(place, until), now)
            session.execute(_OVER, {"over": over, "at": now})
    return len(late)


def _sentence(place: str, since: datetime) -> str:
    return (
        f"no worker serves place {place} since {since:%d %b %Y %H:%M} UTC, and what needs the bytes there waits: "
        f"start 'coverslip worker' with its spool and work.place = \"{place}\""
    )


def _slot_of(place: str) -> str:
    return f"{_PREFIX}{place}"
