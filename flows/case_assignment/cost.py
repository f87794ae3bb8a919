"""What a read costs each of those who may get it: by how much the objective rises, their load taken before the read."""

from datetime import datetime
from typing import Final

from models.policy import Weights
from models.statements import Frozen, Moment

MARGINAL_COST: Final = "marginal cost/1"
"""The formula of ``costs``; one that decides otherwise gets another name."""

TERMS: Final = ("late", "load", "other site", "other network", "second level", "continuity", "wait")
"""The parts of a cost, in the order in which ``costs`` returns them."""

MILLIONTHS: Final = 1_000_000
"""Costs are whole millionths of a point: sums of them are the same on every machine."""

_SECONDS_A_DAY: Final = 86_400.0
_LEAD: Final = 1
# Somebody whose window holds no session at all is still compared with others by what lies on their desk.
_LEAST_CAPACITY: Final = 1.0


class Weighed(Frozen):
    """All of a read that its cost depends on; ``continued_by`` had the patient's last other case and may have this."""

    site_id: str
    network_id: str | None
    points: float
    lane: int
    continued_by: str | None


class Reader(Frozen):
    """Somebody who may get a read, with all that their cost depends on.

    ``carry`` is what they have reported in the fairness window, ``capacity`` what they can in it; ``room`` is what they
    can still report before the end of each deadline class from the read's own on, beyond what falls due by then.
    """

    pathologist_id: str
    site_id: str
    network_id: str | None
    level: int
    capacity: float
    carry: float
    open_points: float
    room: tuple[float, ...]
    reads_from: Moment


def costs(weights: Weights, read: Weighed, at: datetime, reader: Reader) -> tuple[int, ...]:
    """Return what a read, decided at this moment, costs a reader: whole millionths of a point, by ``TERMS``.

    With w points more, the balance rises by ``balance * w * 2 * r`` for the relative load r before the read, but for
    what is the same for all. With the load after it, a large case would look heavier on a part-timer's desk and never
    go there.
    """
    w = read.points
    relative_load = (reader.carry + reader.open_points) / max(_LEAST_CAPACITY, reader.capacity)
    other_network = reader.network_id != read.network_id
    other_site = reader.site_id != read.site_id and not other_network
    missed = read.continued_by is not None and reader.pathologist_id != read.continued_by
    waits_days = max(0.0, (reader.reads_from - at).total_seconds()) / _SECONDS_A_DAY
    return tuple(
        round(MILLIONTHS * cost)
        for cost in (
            weights.late * sum(max(0.0, w - room) for room in reader.room),
            weights.balance * w * 2.0 * relative_load,
            weights.other_site * w if other_site else 0.0,
            weights.other_network * w if other_network else 0.0,
            weights.second_level * w if reader.level > _LEAD else 0.0,
            weights.continuity if missed else 0.0,
            weights.wait_a_day[read.lane] * w * waits_days,
        )
    )
