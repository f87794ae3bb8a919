"""What ``show`` says of a message that came in."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from dashboards.cli.desk import console, plain, plain_table
from dashboards.cli.times import when

if TYPE_CHECKING:
    from flows.standing.received import Received

_OF_A_CHANGE: Final = ("at", "what", "before", "after", "cause", "actor", "reason")


def print_message(seen: "Received", zone: str) -> None:
    """Print where a message stands, what it spoke of and what people did with it."""
    head = (
        ("Message", seen.id),
        ("From", seen.peer),
        ("Type", seen.message_type),
        ("MSH-10", seen.message_control_id),
        ("Size", f"{seen.bytes} bytes"),
        ("Came in", when(seen.received_at, zone, exactly=True)),
        ("Stands at", seen.state),
        ("Problem", seen.problem),
        ("In its place", seen.replaced_by),
        *(("Stands for", one) for one in seen.stands_for),
        *((kind.capitalize(), subject_id) for kind, subject_id in seen.subjects),
    )
    table = plain_table("what", "how", header=False)
    for what, how in head:
        if how:
            table.add_row(what, plain(how))
    out = console()
    out.print(table)
    if seen.differs:
        edited = plain_table("Edited", "From", "To")
        for one in seen.differs:
            edited.add_row(*map(plain, (one.place, one.before or "nothing", one.after or "nothing")))
        out.print()
        out.print(edited)
    for change in seen.changes:
        who = f", {change.actor}: {change.reason}" if change.actor else ""
        said = f"{when(change.at, zone, exactly=True)}  {change.what} {change.after or ''} ({change.cause}{who})"
        out.print(plain(said), soft_wrap=True)


def message_as_json(seen: "Received") -> dict[str, Any]:
    """Return all of it as machines read it."""
    changes = [{name: getattr(one, name) for name in _OF_A_CHANGE} for one in seen.changes]
    said = {name: value for name, value in vars(seen).items() if name not in {"changes", "differs"}}
    return {**said, "differs": [asdict(one) for one in seen.differs], "changes": changes}
