"""Where things stand, as lines on a terminal or as JSON."""

from collections.abc import Sequence
from typing import Final

from dashboards.cli.desk import console, plain, plain_table, short
from dashboards.web.words import age
from flows.standing import Row
from models.database import utc_now

_KEYS: Final = ("scan", "slide", "case", "site", "state", "waiting_for")
_COLUMNS: Final = ("Scan", "Slide", "Case", "Site", "State", "Waiting for", "For")
_ONLY_WHEN_WIDE: Final = ("Case", "Waiting for")
_WIDE: Final = 100
"""From so many columns on, a terminal has room for everything."""


def row_as_json(row: Row) -> dict[str, str | None]:
    """Return one line as machines read it: always these seven keys; the time in UTC."""
    return {**{key: getattr(row, key) for key in _KEYS}, "since": row.since.isoformat()}


def print_rows(rows: Sequence[Row]) -> None:
    """Print a table of what stands where; on a narrow terminal without case, and without what the state says anyway."""
    out, now = console(), utc_now()
    shown = [column for column in _COLUMNS if out.width >= _WIDE or column not in _ONLY_WHEN_WIDE]
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
        }
        table.add_row(*(plain(cells[column]) for column in shown))
    out.print(table)
