"""What a read costs each of those who may get it: their load before it, and what the laboratory weighs against load."""

from datetime import datetime, timedelta
from typing import Final

from models.statements import Frozen, Moment

SMALLEST_RELATIVE_LOAD: Final = "smallest relative load/1"
"""The formula of ``costs``; one that decides otherwise gets another name."""

TERMS: Final = ("load", "other site", "second level", "wait")
"""The parts of a cost, in the order in which ``costs`` returns them."""

_SECOND: Final = timedelta(seconds=1)
_SECONDS_A_DAY: Final = 86_400
_LEAD: Final = 1


class Policy(Frozen):
    """What a laboratory weighs against load, in thousandths of a hundredth of the reader's own week.

    So 5,000 counts like five more points on the desk of somebody who reads a hundred a week, and like two and a
    half for somebody who reads fifty. ``wait_a_day`` is by lane, the most urgent first: each day until somebody's
    next session, so that balance alone does not park a read with whoever is rarely there.
    """

    version: str = SMALLEST_RELATIVE_LOAD
    other_site: int = 5_000
    second_level: int = 10_000
    wait_a_day: tuple[int, int, int] = (240_000, 24_000, 2_400)


class Reader(Frozen):
    """Somebody who may get a read, with all that their cost depends on."""

    pathologist_id: str
    site_id: str
    level: int
    points_a_week: float
    open_points: float
    reads_from: Moment


def costs(policy: Policy, site_id: str, lane: int, at: datetime, reader: Reader) -> tuple[int, int, int, int]:
    """Return what a read of this site and lane, decided at this moment, costs a reader: whole numbers, by ``TERMS``.

    The load is taken before the read is added: afterwards, a large case would look heavier on a part-timer's desk
    and never go there.
    """
    waits_s = max(timedelta(0), reader.reads_from - at) // _SECOND
    return (
        round(100_000 * reader.open_points / reader.points_a_week),
        policy.other_site if reader.site_id != site_id else 0,
        policy.second_level if reader.level > _LEAD else 0,
        policy.wait_a_day[lane] * waits_s // _SECONDS_A_DAY,
    )
