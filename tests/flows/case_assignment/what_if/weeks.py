"""Small weeks to replay: two people at two sites of one network, who read on weekday mornings."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

from flows.case_assignment.candidate import Absence, WeeklySession
from flows.case_assignment.what_if.history import History, Region, Staff, Work

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
MORNINGS = tuple(WeeklySession(day, time(8), time(12)) for day in range(5))


def person(name: str, site: str = "here", away: Sequence[Absence] = (), **more: object) -> Staff:
    """Return somebody who leads in general pathology and reports ten points each morning."""
    said = {"points_a_week": 50.0, "levels": {"general": 1}, "sessions": MORNINGS, "zone": "Europe/London"} | more
    return Staff(pathologist_id=name, name=name.title(), site_id=site, absences=tuple(away), **said)  # type: ignore[arg-type]


def work(number: int, hours: float = 9, points: float = 2.0, **more: object) -> Work:
    """Return a read that is ready so many hours after Monday begins."""
    said = {"site_id": "here", "subspecialty": "general", "lane": 2} | more
    return Work(f"read-{number:03d}", points=points, ready_at=MONDAY + timedelta(hours=hours), **said)  # type: ignore[arg-type]


def weeks(staff: Sequence[Staff], reads: Sequence[Work], days: int = 14) -> History:
    """Return two weeks of them."""
    return History(
        begins=MONDAY,
        ends=MONDAY + timedelta(days=days),
        sites={"here": "north", "there": "north", "far": "south"},
        networks={"north": Region("east"), "south": Region("east")},
        staff=tuple(staff),
        work=tuple(reads),
    )
