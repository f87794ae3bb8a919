"""The look at what is due: a deadline that will be missed is raised before it is, and one that was missed at once.

A look costs so much and no more, however many cases are open: it goes on where the last one ended. It is a read, and a
short write for each case of which there is something new to say; whoever looks beside us finds that said already.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, select, tuple_, update
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import cases, notices
from flows.books import Cause, Subject, clear_alert, raise_alert
from flows.case_assignment.rebalance import looks
from flows.deadlines.clocks import pauses_of
from flows.deadlines.forecast import Forecast, forecast, quickest
from flows.deadlines.forgotten import forgotten, say
from flows.deadlines.keep import AT_RISK, MISSED, deadlines_of, keep
from flows.deadlines.lately import usual_of
from flows.deadlines.outlook import cases_ahead
from flows.deadlines.targets import is_pausable
from flows.deadlines.telling import was_missed, will_be_missed
from flows.deadlines.usual import Usual
from flows.people.policies import policy_in_force
from models.base import table_of
from models.database import database_now
from models.tables.books import Alert
from models.tables.case import Case
from models.tables.deadline import Deadline, DeadlinePause
from models.tables.reading import Assignment, Read

_MOST_A_LOOK: Final = 200
# What is usual changes slowly, and is read from many rows.
_USUAL_FOR: Final = timedelta(minutes=15)
_CAUSE: Final = Cause("the look at deadlines")

_DEADLINE, _ALERT, _PAUSE = table_of(Deadline), table_of(Alert), table_of(DeadlinePause)
_LIVE = (
    select(_DEADLINE.c.id, _DEADLINE.c.case_id, _DEADLINE.c.kind, _DEADLINE.c.due_at, _DEADLINE.c.predicted_at)
    .where(_DEADLINE.c.ended_at.is_(None), _DEADLINE.c.breached_at.is_(None))
    .order_by(_DEADLINE.c.due_at, _DEADLINE.c.id)
    .limit(bindparam("most"))
)
_PASSED = _LIVE.where(_DEADLINE.c.due_at <= bindparam("now"))
_COMING = _LIVE.where(_DEADLINE.c.due_at > bindparam("now"), _DEADLINE.c.due_at <= bindparam("until"))
_COMING_ON = _COMING.where(
    tuple_(_DEADLINE.c.due_at, _DEADLINE.c.id)
    > tuple_(bindparam("after", type_=_DEADLINE.c.due_at.type), bindparam("last"))
)
_SAID = select(_ALERT.c.subject_id, _ALERT.c.sentence).where(
    _ALERT.c.subject_id.in_(bindparam("cases", expanding=True)), _ALERT.c.kind == AT_RISK, _ALERT.c.cleared_at.is_(None)
)
_STANDING = select(_PAUSE.c.case_id).where(
    _PAUSE.c.case_id.in_(bindparam("cases", expanding=True)), _PAUSE.c.ended_at.is_(None)
)
_SAY = (
    update(_ALERT)
    .where(_ALERT.c.subject_id == bindparam("subject"), _ALERT.c.kind == AT_RISK, _ALERT.c.cleared_at.is_(None))
    .values(sentence=bindparam("said"))
)
_READERS = (
    select(Assignment.pathologist_id, Read.id)
    .join(Read, Read.id == Assignment.read_id)
    .where(Read.case_id == bindparam("of_case"), Read.closed_at.is_(None), Assignment.ended_at.is_(None))
    .order_by(Read.id)
)


@dataclass(frozen=True)
class _Outlook:
    """What will probably become of a case, and how soon somebody who does nothing else could read it."""

    zone: str
    seen: Forecast
    quickest: timedelta


class Watch:
    """One process's look at deadlines: so many that have passed and so many that will at a time.

    It keeps only where it goes on, and what is usual.
    """

    def __init__(self, lab: Lab, most: int = _MOST_A_LOOK) -> None:
        self._lab = lab
        self._most = most
        self._last: tuple[datetime, str] | None = None
        self._usual: tuple[datetime, Usual] | None = None

    def look(self) -> int:
        """Raise what was missed, and what will probably be; clear what will not. Return how many cases changed."""
        with self._lab.database.read() as session:
            now = database_now(session)
            passed = dict.fromkeys(row.case_id for row in session.execute(_PASSED, {"now": now, "most": self._most}))
            coming = self._coming(session, now)
            outlooks = self._outlooks(session, {row.case_id for row in coming}, now)
            told = _news(session, coming, outlooks, now)
            lost = forgotten(session, now)
        for case_id in (*passed, *(one for one in told if one not in passed)):
            with self._lab.database.write("deadlines.watch") as session:
                _tell(self._lab, session, case_id, outlooks.get(case_id))
        if lost:
            # Anew, under no lock: whoever looks beside us says the same, and the next look sees what came meanwhile.
            with self._lab.database.write("deadlines.forgotten") as session:
                for one in forgotten(session, now):
                    say(session, one, now)
        return len(passed.keys() | told.keys())

    def _coming(self, session: Session, now: datetime) -> list[Any]:
        """Return the next deadlines that are due soon; after the last comes the first again."""
        hours = policy_in_force(session, now).policy.warn_before_hours
        asked: dict[str, Any] = {"now": now, "until": now + timedelta(hours=hours), "most": self._most}
        rows: list[Any] = []
        if self._last is not None:
            after, last = self._last
            rows = list(session.execute(_COMING_ON, {**asked, "after": after, "last": last}))
        rows = rows or list(session.execute(_COMING, asked))
        self._last = (rows[-1].due_at, rows[-1].id) if len(rows) == self._most else None
        return rows

    def _outlooks(self, session: Session, case_ids: set[str], now: datetime) -> dict[str, _Outlook]:
        if not case_ids:
            return {}
        if self._usual is None or now - self._usual[0] > _USUAL_FOR:
            self._usual = now, usual_of(session)
        usual = self._usual[1]
        return {
            case_id: _Outlook(ahead.zone, forecast(ahead, usual, now), quickest(ahead, usual))
            for case_id, ahead in cases_ahead(session, case_ids, now).items()
        }


def _news(session: Session, coming: list[Any], outlooks: Mapping[str, _Outlook], now: datetime) -> dict[str, None]:
    """Return the cases of whose deadlines something else is to be said than was."""
    asked = {"cases": list(outlooks)}
    said = dict(session.execute(_SAID, asked).all())
    standing = set(session.scalars(_STANDING, asked))
    found: dict[str, None] = {}
    named: set[str] = set()
    for row in coming:
        outlook = outlooks[row.case_id]
        is_late = outlook.seen.is_late(row.due_at)
        if row.case_id in standing:
            continue
        if is_late != (row.predicted_at is not None):
            found[row.case_id] = None
        elif is_late and row.case_id not in named:
            # The alert names the first that will be missed.
            sentence = will_be_missed(row.kind, row.due_at, outlook.seen, outlook.zone, now)
            if said.get(row.case_id) != sentence:
                found[row.case_id] = None
        if is_late:
            named.add(row.case_id)
    return found


def _tell(lab: Lab, session: Session, case_id: str, outlook: _Outlook | None) -> None:
    """Say of a case what was missed and what will be, as it is now that it is locked."""
    case = cases.lock_case(session, case_id)
    # A case of a site that is set no more waits for that; all others go on.
    if case is None or not lab.settings.has_site(case.site_id):
        return
    now = database_now(session)
    _pauses, stands = pauses_of(session, case.id, now)
    if stands:
        # Its clock stands still: what is due moves on.
        keep(session, lab.settings, case, _CAUSE, now)
    policy = policy_in_force(session, now).policy
    live = [row for row in deadlines_of(session, case.id) if row.ended_at is None]
    live = sorted((row for row in live if not (stands and is_pausable(policy, row.kind))), key=lambda row: row.due_at)
    _tell_missed(lab, session, case, [row for row in live if row.due_at <= now and row.breached_at is None], now)
    if outlook is not None:
        _tell_risk(session, case, [row for row in live if row.due_at > now], outlook, now)
    session.flush()


def _tell_missed(lab: Lab, session: Session, case: Case, missed: list[Deadline], now: datetime) -> None:
    if not missed:
        return
    for row in missed:
        row.breached_at = row.due_at
    zone = lab.settings.site(case.site_id).zone
    sentence = was_missed(missed[0].kind, missed[0].due_at, zone, now)
    raise_alert(session, Subject("case", case.id), MISSED, sentence, now)
    _notify(session, case, sentence, now)
    if not any(row.predicted_at and not row.breached_at for row in deadlines_of(session, case.id)):
        clear_alert(session, case.id, AT_RISK, now)


def _tell_risk(session: Session, case: Case, coming: list[Deadline], outlook: _Outlook, now: datetime) -> None:
    late = [row for row in coming if outlook.seen.is_late(row.due_at)]
    is_new = any(row.predicted_at is None for row in late)
    for row in coming:
        row.predicted_at = (row.predicted_at or now) if row in late else None
    if not late:
        clear_alert(session, case.id, AT_RISK, now)
        return
    sentence = will_be_missed(late[0].kind, late[0].due_at, outlook.seen, outlook.zone, now)
    raise_alert(session, Subject("case", case.id), AT_RISK, sentence, now)
    session.execute(_SAY, {"subject": case.id, "said": sentence})
    if is_new:
        _notify(session, case, sentence, now)
        if outlook.seen.is_late_by_its_reader(late[0].due_at, outlook.quickest) and not looks.is_asked_for(session):
            looks.request_rebalance(session, "a read will be late with whoever has it", now, "schedule")


def _notify(session: Session, case: Case, sentence: str, now: datetime) -> None:
    for reader, read_id in session.execute(_READERS, {"of_case": case.id}).all():
        notices.tell(session, reader, case.id, "deadline", f"A case of yours: {sentence}", now, read_id)
