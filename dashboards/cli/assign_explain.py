"""The command ``assign explain``: who has each read of a case, why, who else could, and what would have changed it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from dashboards.cli.assign_actions import CaseName
from dashboards.cli.options import AsJson

if TYPE_CHECKING:
    from rich.table import Table

    from flows.actions import Desk
    from flows.standing.decisions import CaseDecided, Owned, ReadDecided

_Role: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--role", "--read", metavar="ROLE", help="Only reads of this role: primary, second, trainee, opinion …"
    ),
]

_BECAUSE: Final = {
    "late": "can still report it in time, or is less late with it",
    "load": "has less to do for the time they have",
    "other site": "works where the case comes from",
    "other network": "works in the case's own network",
    "second level": "leads in this subspecialty",
    "continuity": "had this patient's last case",
    "wait": "reads sooner",
    "id": "is even with them, and comes first by id",
    "same reader": "read this case before",
}
"""What somebody has for them, by the part of the cost that decided."""

_COLUMNS: Final = {
    "late": "Late",
    "load": "Work",
    "other site": "Site",
    "other network": "Network",
    "second level": "Level",
    "continuity": "Patient",
    "wait": "Wait",
    "move": "Move",
}
_WHO_DECIDED: Final = {
    "coverslip": "Coverslip",
    "lims": "the LIMS",
    "pacs": "the PACS",
    "batch": "Coverslip, of all reads",
}
_When: TypeAlias = Callable[[datetime], str]
_NAMED_AT_MOST: Final = 4
_MILLIONTHS: Final = 1_000_000


def register_explain(group: typer.Typer) -> None:
    """Add this command to those of assignment."""
    group.command(name="explain")(explain_command)


def explain_command(context: typer.Context, case: CaseName, role: _Role = None, as_json: AsJson = False) -> None:
    """Say who has each read of a case and why, who else could have it, and what would have changed it."""
    from dashboards.cli.desk import opened, print_json
    from dashboards.cli.times import zone_of
    from flows.actions import case_named
    from flows.standing.decisions import decisions_of_case
    from models.errors import RefusedError
    from models.tables.case import Case

    with opened(context) as desk:
        with desk.database.read() as session:
            case_id = case_named(session, case)
            found = decisions_of_case(session, case_id, role)
            zone = zone_of(desk.settings, session.get_one(Case, case_id).site_id)
        if not found.reads:
            which = f" {role}" if role else ""
            raise RefusedError(f"case {case_id[:8]} has no{which} read yet: one comes when its images can be read")
        if as_json:
            print_json(_as_json(found))
        else:
            _print(desk, found, zone)


def _as_json(found: "CaseDecided") -> dict[str, Any]:
    reads = [asdict(one) | {"owners": [asdict(owner) for owner in one.owners]} for one in found.reads]
    return {"case": found.case_id, "reads": reads}


def _print(desk: "Desk", found: "CaseDecided", zone: str) -> None:
    from dashboards.cli.desk import console, plain
    from dashboards.cli.times import when
    from models.database import database_now

    with desk.database.read() as session:
        now = database_now(session)
    out = console()
    for number, read in enumerate(found.reads):
        if number:
            out.print()
        for line in _lines(read, found.names, lambda at: when(at, zone, now)):
            out.print(plain(line) if isinstance(line, str) else line, soft_wrap=isinstance(line, str))


def _lines(read: "ReadDecided", names: Mapping[str, str], when: _When) -> "Iterator[str | Table]":
    """Yield what is said of one read: sentences, and the table of costs."""
    yield _headline(read)
    if not read.owners and read.escalated is None:
        yield "  Nobody had it." if read.closed_at else "  Nobody has had it yet: it is being decided."
    if read.escalated is not None:
        yield f"  Nobody has it: {read.escalated['sentence']}."
        yield from _ruled_out(read.escalated, names)
    for number, owner in enumerate(read.owners):
        is_last = number == 0
        yield _who(owner, when)
        yield f"    Why: {_why(owner.explanation, names)}."
        if is_last:
            yield from _record(owner, names)


def _headline(read: "ReadDecided") -> str:
    scope = "" if read.scope == "whole" else f" ({read.scope})"
    asked = f", asked for by {read.asked_by}: {read.because}" if read.asked_by else ""
    over = ", over" if read.closed_at else ""
    role = "MDT" if read.role == "mdt" else read.role.capitalize()
    what = f"{role} read{scope}, round {read.round}{over}"
    return f"{what}: {read.points:g} {'point' if read.points == 1 else 'points'} by {read.weights}{asked}"


def _who(owner: "Owned", when: _When) -> str:
    decided = _WHO_DECIDED.get(owner.decided_by, owner.decided_by)
    by = f"decided by {decided}" + (", to stay" if owner.manual else "")
    if owner.ended_at is not None:
        why = f": {owner.ended_because}" if owner.ended_because else ""
        return f"  {owner.name} had it from {when(owner.started_at)} to {when(owner.ended_at)}{why} ({by})"
    done = "opened" if owner.opened_at else "accepted" if owner.accepted_at else "not opened yet"
    return f"  {owner.name} has it since {when(owner.started_at)}, {done} ({by})"


def _why(record: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Return why somebody got a read, against whom."""
    runner_up = record.get("runner_up")
    if runner_up is None or runner_up["deciding_term"] not in _BECAUSE or record.get("because"):
        return str(record.get("sentence", "no reason was kept"))
    other = names.get(runner_up["pathologist_id"], runner_up["pathologist_id"])
    of = record.get("eligible", 0)
    return f"of {of} who could have it, rather than {other}: {_BECAUSE[runner_up['deciding_term']]}"


def _record(owner: "Owned", names: Mapping[str, str]) -> "Iterator[str | Table]":
    """Yield what the record of the present decision holds beside its reason."""
    record = owner.explanation
    if record.get("runner_up"):
        other = names.get(record["runner_up"]["pathologist_id"], record["runner_up"]["pathologist_id"])
        flips = str(record["runner_up"]["would_flip"]).removeprefix("they ")
        yield f"    What would have changed it: {other} {flips}."
    if record.get("best") and "formula" in record:
        yield "    What it would cost each of the best, in points; the least gets the read:"
        yield _costs(record["best"], names)
    yield from _ruled_out(record, names)
    if "formula" in record:
        policy = f"of version {owner.policy_version}" if owner.policy_version is not None else "that ships"
        agrees = "the same" if owner.replayed == owner.pathologist_id else "somebody else: report this as a fault"
        yield f"    By the policy {policy}, weights {record['weight_model']}, formula {record['formula']}."
        yield f"    Decided again from this record, the winner is {agrees}."


def _costs(best: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> "Table":
    from dashboards.cli.desk import plain, plain_table

    used = [
        name for name in _COLUMNS if any(term["cost"] for one in best for term in one["terms"] if term["name"] == name)
    ]
    table = plain_table("", "", "In all", *(_COLUMNS[name] for name in used), "On desk")
    for one in best:
        cost = {term["name"]: term["cost"] / _MILLIONTHS for term in one["terms"]}
        cells = [
            f"{sum(cost.values()):.2f}",
            *(f"{cost.get(name, 0.0):.2f}" for name in used),
            f"{one['open_points']:g}",
        ]
        name = names.get(one["pathologist_id"], one["pathologist_id"])
        table.add_row("     ", plain(name), *cells)
    return table


def _ruled_out(record: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    """Yield why the others may not have it, the same reason once."""
    for one in record.get("ruled_out", ()):
        people = one.get("people") or (one["pathologist_id"],)
        shown = [names.get(person, person) for person in people[:_NAMED_AT_MOST]]
        more = f" and {len(people) - _NAMED_AT_MOST} more" if len(people) > _NAMED_AT_MOST else ""
        yield f"    Not {', '.join(shown)}{more}: {one['sentence']}."
