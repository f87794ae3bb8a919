"""What each page asks the books."""

import threading
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows.intake.consumers import intake_state, reads_events
from flows.standing import (
    case_page,
    change_mark,
    counts_by_stage_and_site,
    engine_state,
    gateway_state,
    list_cases,
    open_alerts,
    silent_peers,
    timeline,
    waits,
)
from flows.standing.assets import work_of_case
from flows.standing.cases import count_cases
from flows.standing.counts import Count
from flows.standing.messages import A_WHILE, unanswered, unanswered_by_peer
from flows.standing.rows import Row, moving_rows, row_of_scan, rows_at
from flows.standing.rule import AT_REST, STATES, State

_MOST_ROWS: Final = 500
_MOST_CASES: Final = 200
_MOST_MESSAGES: Final = 10
_CASE_STATES: Final = ("awaiting slides", "incomplete", "being assigned", "assigned", "reported", "cancelled")
_ALWAYS_SHOWN: Final = (
    State.ARRIVING,
    State.RECEIVED,
    State.CHECKING,
    State.MATCHING,
    State.WAITING_FOR_LIMS,
    State.WAITING_FOR_PERSON,
    State.CONVERTING,
    State.STORING,
    State.PROVING,
    State.ARCHIVED,
    State.ASSIGNED,
    State.SET_ASIDE,
)
"""Columns of the table whatever there is; the others come when something stands there."""
_NOT_MOVING: Final = AT_REST | {State.WAITING_FOR_SCAN}


@dataclass(frozen=True)
class _Figures:
    """What the front page counts, as of one mark of the books."""

    mark: str
    grid: dict[str, dict[str, Count]]
    states: tuple[State, ...]
    totals: dict[str, Count]
    cases: dict[str, dict[str, int]]


class Front:
    """The front page's question; counting is done once for each state of the books, however many look."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._known: _Figures | None = None

    def ask(self, session: Session) -> dict[str, Any]:
        """Return everything that the front page shows."""
        figures = self._figures(session)
        totals = figures.totals
        moving = [count for state, count in totals.items() if state not in _NOT_MOVING]
        return {
            "figures": figures,
            "case_states": _CASE_STATES,
            "engine": engine_state(session, self._settings.work.heartbeat_grace),
            "gateway": gateway_state(session, self._settings) if self._settings.forwards else None,
            "intake": intake_state(session) if reads_events(self._settings) else None,
            "alerts": open_alerts(session),
            "silent": silent_peers(session),
            "unanswered_by_peer": unanswered_by_peer(session),
            "unanswered": unanswered(session, most=_MOST_MESSAGES, after=A_WHILE),
            "waits": waits(session),
            "moving": sum(count.count for count in moving),
            "oldest": min((count.oldest for count in moving if count.oldest), default=None),
            "stands": {state: totals[state].count if state in totals else 0 for state in STATES},
        }

    def _figures(self, session: Session) -> _Figures:
        with self._lock:
            mark = change_mark(session)
            if self._known is None or self._known.mark != mark:
                self._known = _count(session, mark)
            return self._known


def slides(session: Session, state: str, site: str) -> dict[str, Any] | None:
    """Return what moves, or what stands at one state; ``None`` for a state that there is not."""
    if state and state not in STATES:
        return None
    if state:
        rows = rows_at(session, State(state), site or None, _MOST_ROWS + 1)
    else:
        found = (row for row in moving_rows(session) if site in ("", row.site))
        rows = sorted((row for row in found if row.state not in AT_REST), key=lambda row: row.since)
    return {
        "rows": rows[:_MOST_ROWS],
        "more": len(rows) > _MOST_ROWS,
        "most": _MOST_ROWS,
        "state": state,
        "site": site,
        "states": [one for one in STATES if one not in (State.GLASS_ONLY, State.IMAGED_ELSEWHERE)],
    }


def cases(session: Session, site: str) -> dict[str, Any]:
    """Return the cases of one site, or of all."""
    lines = list_cases(session, site=site or None, most=_MOST_CASES + 1)
    return {"lines": lines[:_MOST_CASES], "more": len(lines) > _MOST_CASES, "most": _MOST_CASES, "site": site}


def case(session: Session, case_id: str) -> dict[str, Any] | None:
    """Return one case."""
    found = case_page(session, case_id)
    return None if found is None else {"case": found, "line": found.line, "work": work_of_case(session, case_id)}


def scan(session: Session, scan_id: str) -> dict[str, Any] | None:
    """Return one scan's story, with what a person may do about it."""
    story = timeline(session, scan_id)
    if story is None:
        return None
    return {"story": story, "row": story.row, "shows_label": _is_to_be_matched(story.row)}


def shows_label(session: Session, scan_id: str) -> bool:
    """Return whether a scan's label may be seen: it names a patient's slide, so only while somebody has to match it."""
    row = row_of_scan(session, scan_id)
    return row is not None and _is_to_be_matched(row)


def _is_to_be_matched(row: Row) -> bool:
    return row.slide is None and row.state == State.WAITING_FOR_PERSON


def _count(session: Session, mark: str) -> _Figures:
    grid: dict[str, dict[str, Count]] = defaultdict(dict)
    totals: dict[str, Count] = {}
    for count in counts_by_stage_and_site(session):
        grid[count.site][count.state] = count
        known = totals.get(count.state)
        number = count.count + (known.count if known else 0)
        totals[count.state] = Count("", count.state, number, _earlier(known.oldest if known else None, count.oldest))
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for (site, state), number in count_cases(session).items():
        found[site][state] = number
    shown = tuple(state for state in STATES if state in _ALWAYS_SHOWN or state in totals)
    return _Figures(mark, dict(grid), shown, totals, dict(found))


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    known = [at for at in (one, other) if at is not None]
    return min(known, default=None)
