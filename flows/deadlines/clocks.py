"""What the deadlines of a case are counted from, as the database has it: when each clock began, and when it stood."""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows.deadlines.calendar import Calendar, Span
from flows.deadlines.targets import Counted, Round, concerned, counted
from models.base import table_of
from models.facets import Images
from models.policy import Policy
from models.tables.books import History
from models.tables.case import Case, Specimen
from models.tables.deadline import DeadlinePause, Holiday
from models.tables.place import Site

# Tissue is received before its order reaches us, or after it; not years before.
_LONG_BEFORE: Final = timedelta(days=366)

_HISTORY, _HOLIDAY, _PAUSE, _SITE, _SPECIMEN = (
    table_of(one) for one in (History, Holiday, DeadlinePause, Site, Specimen)
)
_PAUSES = (
    select(_PAUSE.c.began_at, _PAUSE.c.ended_at)
    .where(_PAUSE.c.case_id == bindparam("of_case"))
    .order_by(_PAUSE.c.began_at)
)
_HOLIDAYS = (
    select(_HOLIDAY.c.day).join(_SITE, _SITE.c.calendar == _HOLIDAY.c.calendar).where(_SITE.c.id == bindparam("site"))
)
_FIRST_RECEIVED = select(func.min(_SPECIMEN.c.received_at)).where(
    _SPECIMEN.c.case_id == bindparam("of_case"),
    _SPECIMEN.c.cancelled.is_(False),
    _SPECIMEN.c.received_at >= bindparam("since"),
)
_BECAME_READY = (
    select(_HISTORY.c.at)
    .where(_HISTORY.c.subject_id == bindparam("of_case"), _HISTORY.c.what == "images")
    .where(_HISTORY.c.after == Images.READY, _HISTORY.c.at >= bindparam("since"))
    .order_by(_HISTORY.c.id)
    .limit(1)
)


def counted_for(
    session: Session, settings: Settings, case: Case, policy: Policy, pauses: list[Span]
) -> Iterator[Counted]:
    """Yield the deadlines that a policy makes for a case's present round."""
    wanted = concerned(policy, case.lane, case.subspecialty)
    since = {target.since for target in wanted.values()}
    opened_at = case.round_opened_at or case.registered_at
    of = Round(
        lane=case.lane,
        subspecialty=case.subspecialty,
        registered_at=opened_at,
        received_at=_received_at(session, case) if "received" in since else None,
        ready_at=_ready_at(session, case, opened_at) if "ready" in since else None,
    )
    works = any(target.basis == "working" for target in wanted.values())
    holidays: Iterable[date] = session.scalars(_HOLIDAYS, {"site": case.site_id}) if works else ()
    zone = ZoneInfo(settings.site(case.site_id).zone)
    yield from counted(policy, of, Calendar(zone, frozenset(holidays), policy.working_day), pauses)


def pauses_of(session: Session, case_id: str, until: datetime) -> tuple[list[Span], bool]:
    """Return when the clock of a case stood still, and whether it does so yet: then, until the moment given."""
    rows = session.execute(_PAUSES, {"of_case": case_id}).all()
    return [Span(began_at, ended_at or until) for began_at, ended_at in rows], any(
        ended_at is None for _, ended_at in rows
    )


def _received_at(session: Session, case: Case) -> datetime | None:
    """Return when the first specimen of a round came; what came for an earlier round began another clock."""
    since = case.round_opened_at or case.registered_at - _LONG_BEFORE
    found: datetime | None = session.scalar(_FIRST_RECEIVED, {"of_case": case.id, "since": since})
    return found


def _ready_at(session: Session, case: Case, opened_at: datetime) -> datetime | None:
    """Return when a round could be read first: from its beginning on if its images were ready before it."""
    found: datetime | None = session.scalar(_BECAME_READY, {"of_case": case.id, "since": opened_at})
    if found is None and case.images == Images.READY:
        return opened_at
    return found
