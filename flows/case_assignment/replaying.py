"""A decision made again from its record: the same winner, whatever became of the people and the policy since."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from flows.case_assignment.cost import MARGINAL_COST, costs
from flows.case_assignment.explanation import Explanation
from flows.case_assignment.rebalance.cost import PLAN_COST, replay_plan
from models.errors import RejectedError
from models.statements import Moment

_SMALLEST_RELATIVE_LOAD: Final = "smallest relative load/1"
_SECONDS_A_DAY: Final = 86_400
_LEAD: Final = 1


def replay(record: Mapping[str, Any]) -> str | None:
    """Decide again from what a record holds, not from the costs that it states, and return the winner.

    Raises
    ------
    RejectedError
        The record was made by a formula that this version does not know.
    """
    formula = record.get("formula") or record.get("policy", {}).get("version")
    if formula == MARGINAL_COST:
        return _by_marginal_cost(Explanation.model_validate(record, strict=False))
    if formula == PLAN_COST:
        return replay_plan(record)
    if formula == _SMALLEST_RELATIVE_LOAD:
        return _by_relative_load(_OldRecord.model_validate(record))
    raise RejectedError(f"this decision was made by {formula!r}, which this version can't replay")


def _by_marginal_cost(record: Explanation) -> str | None:
    if record.same_reader:
        return record.best[0].pathologist_id
    again = [
        (sum(costs(record.weights, record.read, record.decided_at, one)), one.pathologist_id) for one in record.best
    ]
    return min(again)[1] if again else None


class _Old(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class _OldReader(_Old):
    pathologist_id: str
    site_id: str
    level: int
    points_a_week: float
    open_points: float
    reads_from: Moment


class _OldPolicy(_Old):
    """In thousandths of a hundredth of the reader's own week."""

    other_site: int
    second_level: int
    wait_a_day: tuple[int, int, int]


class _OldRecord(_Old):
    """As much of a record as its formula needs; versions before 0.5 kept such."""

    site_id: str
    lane: int
    decided_at: Moment
    policy: _OldPolicy
    best: tuple[_OldReader, ...]


def _by_relative_load(record: _OldRecord) -> str | None:
    return min(((_old_cost(record, one), one.pathologist_id) for one in record.best), default=(0, None))[1]


def _old_cost(record: _OldRecord, reader: _OldReader) -> int:
    waits_s = max(timedelta(0), reader.reads_from - record.decided_at) // timedelta(seconds=1)
    return (
        round(100_000 * reader.open_points / reader.points_a_week)
        + (record.policy.other_site if reader.site_id != record.site_id else 0)
        + (record.policy.second_level if reader.level > _LEAD else 0)
        + record.policy.wait_a_day[record.lane] * waits_s // _SECONDS_A_DAY
    )
