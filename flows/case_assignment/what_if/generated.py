"""Weeks of a made-up network, for a laboratory that has no history of its own yet: from a seed, with nobody real in it.

Sizes follow what is published: a tenth of the cases urgent, few large ones with most of the points, part-time work as
common as in the NHS, two national subspecialties with few readers.
"""

import random
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from flows.case_assignment.candidate import Absence, WeeklySession
from flows.case_assignment.what_if.history import History, Region, Staff, Work
from flows.deadlines.calendar import Calendar
from flows.deadlines.targets import Round

BEGINS: Final = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday; which one makes no difference to the outcome."""

_ZONE: Final = "Europe/London"
_SITES: Final = {"site-a": "north", "site-b": "north", "site-c": "north", "site-d": "south", "site-e": "south"}
_NETWORKS: Final = {"north": Region("east"), "south": Region("east", ("north",))}
#   subspecialty: share of the reads, how many lead in it
_SUBSPECIALTIES: Final = {
    "general": (0.3, 14),
    "gastrointestinal": (0.22, 10),
    "skin": (0.2, 9),
    "breast": (0.12, 7),
    "urology": (0.1, 6),
    "paediatric": (0.03, 3),
    "soft_tissue": (0.03, 3),
}
_POINTS: Final = ((1, 1, 2, 2, 2, 3), (4, 5, 6), (8, 10, 12, 16))
_SIZES: Final = (0.6, 0.28, 0.12)
_FTE: Final = ((1.0, 0.5), (0.8, 0.2), (0.6, 0.2), (0.4, 0.1))
_POINTS_A_SESSION: Final = 10.0
_BUSY: Final = 0.9
"""Of what people could report, so much comes."""
_PEOPLE: Final = 36
_HALF_DAYS: Final = ((time(8, 30), time(12, 30)), (time(13, 30), time(17, 30)))
_URGENT_DAYS: Final = 2.0
_ROUTINE: Final = 2
_SHARE_OF_LANES: Final = (0.0, 0.1, 0.9)
_SECONDS: Final = 0.05
_RETURNING: Final = 0.12
_AWAY: Final = 0.2
_SATURDAY: Final = 5


def generated(days: int, seed: int) -> History:
    """Return some weeks of it; the same seed gives the same weeks."""
    chance = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    ends = BEGINS + timedelta(days=days)
    staff = tuple(_person(chance, number, days) for number in range(_PEOPLE))
    a_day = sum(one.points_a_week for one in staff) / 5 * _BUSY
    work: list[Work] = []
    for day in range(days):
        if (BEGINS + timedelta(days=day)).weekday() < _SATURDAY:
            _one_day(chance, BEGINS + timedelta(days=day), a_day, work)
    calendars = dict.fromkeys(_SITES, Calendar(ZoneInfo(_ZONE)))
    return History(BEGINS, ends, _SITES, _NETWORKS, staff, tuple(work), calendars)


def _person(chance: random.Random, number: int, days: int) -> Staff:
    [fte] = chance.choices([fte for fte, _ in _FTE], [share for _, share in _FTE])
    halves = sorted(chance.sample(range(10), max(2, round(10 * fte))))
    names = list(_SUBSPECIALTIES)
    leads = names[_first_of(number)]
    levels = dict.fromkeys(chance.sample([one for one in names if one != leads], 2), 2) | {leads: 1}
    away: tuple[Absence, ...] = ()
    if chance.random() < _AWAY:
        begins = BEGINS.date() + timedelta(days=chance.randrange(days))
        away = (Absence(begins, begins + timedelta(days=chance.choice((4, 6, 11)))),)
    return Staff(
        pathologist_id=f"reader-{number + 1:02d}",
        name=f"Reader {number + 1}",
        site_id=list(_SITES)[number % len(_SITES)],
        zone=_ZONE,
        points_a_week=_POINTS_A_SESSION * len(halves),
        levels=levels,
        sessions=tuple(WeeklySession(half // 2, *_HALF_DAYS[half % 2]) for half in halves),
        absences=away,
    )


def _first_of(number: int) -> int:
    """Return which subspecialty a person leads in: as many people as the table says, one after the other."""
    total = sum(leads for _share, leads in _SUBSPECIALTIES.values())
    at = number * total // _PEOPLE
    for index, (_share, leads) in enumerate(_SUBSPECIALTIES.values()):
        at -= leads
        if at < 0:
            return index
    return 0


def _one_day(chance: random.Random, day: datetime, points: float, work: list[Work]) -> None:
    names, shares = list(_SUBSPECIALTIES), [share for share, _leads in _SUBSPECIALTIES.values()]
    while points > 0:
        [sizes] = chance.choices(_POINTS, _SIZES)
        [subspecialty] = chance.choices(names, shares)
        [lane] = chance.choices((0, 1, 2), _SHARE_OF_LANES)
        ready = day + timedelta(minutes=chance.randrange(7 * 60, 18 * 60))
        is_known = work and chance.random() < _RETURNING
        one = Work(
            read_id=f"read-{len(work):06d}",
            site_id=chance.choice(list(_SITES)),
            subspecialty=subspecialty,
            points=float(chance.choice(sizes)),
            lane=lane,
            ready_at=ready,
            stated_due_at=ready + timedelta(days=_URGENT_DAYS) if lane < _ROUTINE else None,
            clocks=Round(
                lane, subspecialty, registered_at=ready - timedelta(hours=chance.uniform(24, 60)), ready_at=ready
            ),
            patient=chance.choice(work).patient if is_known else f"patient-{len(work)}",
        )
        work.append(one)
        points -= one.points
        if chance.random() < _SECONDS:
            work.append(_second(one, len(work)))
            points -= work[-1].points


def _second(one: Work, number: int) -> Work:
    return Work(
        read_id=f"read-{number:06d}",
        site_id=one.site_id,
        subspecialty=one.subspecialty,
        points=one.points / 2,
        lane=one.lane,
        ready_at=one.ready_at,
        stated_due_at=one.stated_due_at,
        clocks=one.clocks,
        after=one.read_id,
        patient=one.patient,
    )
