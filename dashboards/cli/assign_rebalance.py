"""The commands by which people see what a look at all open reads would move, ask for one, and see the last ones."""

from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from dashboards.cli.options import AsJson, By, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.orm import Session

    from flows.case_assignment.rebalance.step import Preview
    from models.tables.reading import Rebalance

_DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Only show what would move, and why.")]
_By: TypeAlias = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who you are; kept with what is changed.")
]
_Because: TypeAlias = Annotated[
    str | None,
    typer.Option("--reason", "--because", "--why", metavar="TEXT", help="Why; kept with what is changed."),
]
_Most: TypeAlias = Annotated[int, typer.Option("--most", min=1, max=1_000, help="How many to show.")]

_NOBODY: Final = "nobody"


def register_rebalance(group: typer.Typer) -> None:
    """Add these commands to those of assignment."""
    group.command(name="rebalance")(rebalance_command)
    group.command(name="rebalances")(rebalances_command)
    group.command(name="cut-off")(cut_off_command)


def rebalance_command(
    context: typer.Context,
    dry_run: _DryRun = False,
    by: _By = None,
    because: _Because = None,
    as_json: AsJson = False,
) -> None:
    """Have all open reads looked at now, and those moved that lie better elsewhere; or only show which.

    A read that somebody opened, accepted or was given by a person never moves.
    """
    from dashboards.cli.desk import opened, print_json
    from flows.actions import Person, ask_for_look
    from flows.case_assignment.rebalance.step import preview

    with opened(context) as desk:
        with desk.database.read() as session:
            found = preview(session, desk.settings, desk.ids, "schedule")
            moves = _moves(session, found)
        if not dry_run:
            ask_for_look(desk, Person(by or "", because or ""))
        if as_json:
            print_json({"moves": moves, "asked_for": not dry_run, **_counts(found)})
            return
        _print_moves(moves)
        print(_summary(found))
        if not dry_run:
            print("Asked for: a worker looks within seconds. 'coverslip assign rebalances' says what came of it.")


def rebalances_command(context: typer.Context, most: _Most = 10, as_json: AsJson = False) -> None:
    """Show the last looks at all open reads: why, how many moved, and what that saved."""
    from dashboards.cli.desk import opened, print_json
    from dashboards.cli.times import zone_of
    from flows.case_assignment.rebalance.looks import last_looks

    with opened(context) as desk:
        with desk.database.read() as session:
            looks = last_looks(session, most)
        if as_json:
            print_json([_as_values(look) for look in looks])
        elif looks:
            _print_looks(looks, zone_of(desk.settings))
        else:
            print("Nobody has looked at all open reads yet: a worker does, every hour by the usual policy.")


def cut_off_command(
    context: typer.Context,
    site: Annotated[str, typer.Argument(metavar="SITE", help="The site's id in the settings.")],
    by: By,
    because: Reason,
    over: Annotated[bool, typer.Option("--over", help="It is back: its readers count again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say that the readers of a site can't open images: what they have not opened goes to others, until it is over."""
    from dashboards.cli.desk import opened, print_json
    from flows.actions import Person, site_back, site_cut_off

    with opened(context) as desk:
        (site_back if over else site_cut_off)(desk, site, Person(by, because))
    if as_json:
        print_json({"site": site, "cut_off": not over})
    elif over:
        print(f"Site {site} is back: its readers count again. What was moved stays where it is.")
    else:
        print(f"Site {site} is cut off: a worker moves what its readers have not opened, the most urgent first.")


def _moves(session: "Session", found: "Preview") -> list[dict[str, Any]]:
    """Return what would move as people know it."""
    from sqlalchemy import select

    from models.tables.case import Identifier

    called = {one.pathologist_id: one.name for one in found.seen.people}
    cases = [move.case_id for move in found.proposal.moves]
    numbers: Mapping[str, str] = {
        row.subject_id: row.value
        for row in session.execute(
            select(Identifier.subject_id, Identifier.value).where(
                Identifier.subject_id.in_(cases), Identifier.kind == "accession"
            )
        )
    }
    return [
        {
            "case": move.case_id,
            "accession_number": numbers.get(move.case_id),
            "read": move.role,
            "from": called.get(move.from_id, move.from_id) if move.from_id else _NOBODY,
            "to": called[move.to_id],
            "why": move.because,
            "saves": None if move.has_to_go else round(move.gain, 2),
        }
        for move in found.proposal.moves
    ]


def _print_moves(moves: "Sequence[Mapping[str, Any]]") -> None:
    from dashboards.cli.desk import console, plain, plain_table, short

    if not moves:
        return
    table = plain_table("Case", "Accession", "Read", "From", "To", "Why", "Saves")
    for move in moves:
        saves = "" if move["saves"] is None else f"{move['saves']:.1f} points"
        words = (move["accession_number"], move["read"], move["from"], move["to"], move["why"], saves)
        table.add_row(*map(plain, (short(move["case"]), *words)))
    console().print(table)


def _counts(found: "Preview") -> dict[str, Any]:
    proposal = found.proposal
    return {
        "reads": proposal.reads,
        "quiet": proposal.quiet,
        "held_back": proposal.held_back,
        "before": round(proposal.before.total, 3),
        "after": round(proposal.after.total, 3),
    }


def _summary(found: "Preview") -> str:
    proposal, hours = found.proposal, found.seen.in_force.policy.batch.quiet_hours
    said = [f"{len(proposal.moves) or 'None'} of {proposal.reads} unopened reads would move now."]
    if proposal.quiet:
        said.append(f"{proposal.quiet} stay: they came or moved less than {hours:g} hours ago.")
    if proposal.held_back:
        said.append(f"{proposal.held_back} more would be worth it, but only so many move at a time.")
    if proposal.moves:
        said.append(f"The plan costs {proposal.before.total:.1f} points now and {proposal.after.total:.1f} then.")
    return " ".join(said)


def _print_looks(looks: "Sequence[Rebalance]", zone: str) -> None:
    from dashboards.cli.desk import console, plain, plain_table
    from dashboards.cli.times import when

    table = plain_table("At", "Why", "Reads", "Moved", "Held back", "Cost before", "After")
    for look in looks:
        values = _as_values(look)
        costs = ["" if values[name] is None else f"{values[name]:.1f}" for name in ("before", "after")]
        is_over = values["state"] == "over"
        # What was only asked for has counted nothing yet.
        counts = [str(count) if is_over else "" for count in (look.reads, look.moved, look.held_back)]
        state = "" if is_over else f" ({values['state']})"
        table.add_row(*map(plain, (when(look.at, zone), f"{look.why}{state}", *counts, *costs)))
    console().print(table)


def _as_values(look: "Rebalance") -> dict[str, Any]:
    told = look.outcome
    return {
        "at": look.at,
        "why": look.why,
        "state": told["state"],
        "reads": look.reads,
        "moved": look.moved,
        "held_back": look.held_back,
        "policy_version": look.policy_version,
        "before": told.get("before", {}).get("total"),
        "after": told.get("after", {}).get("total"),
    }
