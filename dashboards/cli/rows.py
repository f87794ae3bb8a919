"""Where things stand, as lines on a terminal or as JSON."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from dashboards.cli.desk import console, plain, plain_table, short
from dashboards.cli.times import when, zone_of
from dashboards.web.words import age

if TYPE_CHECKING:
    from connectors.settings import Settings
    from flows.standing import Row

_KEYS: Final = ("scan", "slide", "case", "site", "state", "waiting_for")
_WIDE: Final = 100
_WIDER: Final = 120
_COLUMNS: Final = {
    "Scan": 0,
    "Slide": 0,
    "Case": _WIDE,
    "Site": 0,
    "State": 0,
    "Waiting for": _WIDE,
    "For": 0,
    "Since": _WIDER,
}
"""From how wide a terminal on each is shown; a span gives way to the moment when there is room for that."""


def row_as_json(row: "Row") -> dict[str, str | None]:
    """Return one line as machines read it: always these seven keys; the time in UTC."""
    return {**{key: getattr(row, key) for key in _KEYS}, "since": row.since.isoformat()}


def print_rows(rows: "Sequence[Row]", settings: "Settings") -> None:
    """Print a table of what stands where; on a narrow terminal without case, and without what the state says anyway."""
    out, now = console(), datetime.now(UTC)
    instead = "For" if out.width >= _WIDER else "Since"
    shown = [column for column, width in _COLUMNS.items() if out.width >= width and column != instead]
    table = plain_table(*shown)
    for row in rows:
        cells = {
            "Scan": short(row.scan),
            "Slide": row.slide or "",
            "Case": short(row.case),
            "Site": row.site,
            "State": row.state,
            "Waiting for": row.waiting_for or "",
            "For": age(now - row.since),
            "Since": when(row.since, zone_of(settings, row.site), now),
        }
        table.add_row(*(plain(cells[column]) for column in shown))
    out.print(table)
