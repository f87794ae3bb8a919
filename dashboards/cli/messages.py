"""Messages that nobody has answered, as lines on a terminal or as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from dashboards.cli.desk import console, plain, plain_table, print_json, short
from dashboards.web.words import age

if TYPE_CHECKING:
    from flows.standing.messages import Unanswered

_COLUMNS: Final = ("Message", "To", "What", "About", "For", "Tried", "State", "Because")
_ONLY_WHEN_WIDE: Final = ("What", "Tried", "Because")
_WIDE: Final = 100
"""From so many columns on, a terminal has room for everything; else the state says why, too."""


def print_unanswered(messages: "Sequence[Unanswered]", *, as_json: bool) -> None:
    """Print what waits for an answer: to whom, since when, how often it was tried, and what happens next."""
    if as_json:
        print_json([asdict(one) for one in messages])
        return
    if not messages:
        print("Every message that went out was answered: one that is not appears here, with what becomes of it.")
        return
    now, out = datetime.now(UTC), console()
    is_wide = out.width >= _WIDE
    shown = [column for column in _COLUMNS if is_wide or column not in _ONLY_WHEN_WIDE]
    table = plain_table(*shown)
    for one in messages:
        about = f"{one.about} {short(one.about_id)}"
        tried = "not yet" if not one.tries else "once" if one.tries == 1 else f"{one.tries} times"
        soon = f" in {age(one.next_try_at - now)}" if one.next_try_at and one.next_try_at > now else ""
        state = f"{one.state}{soon}"
        why = f"{state}: {one.problem}" if one.problem and not is_wide else state
        cells = (one.message_control_id, one.peer, one.what, about, age(now - one.since), tried, why, one.problem)
        row = dict(zip(_COLUMNS, cells, strict=True))
        table.add_row(*(plain(row[column]) for column in shown))
    out.print(table)
    if any(one.state == "refused" for one in messages):
        print("What was refused is sent again by: coverslip rerun SCAN|CASE --from send --by YOU --reason WHY")
