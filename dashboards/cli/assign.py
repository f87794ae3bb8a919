"""The commands of assignment: a stated problem solved, as a whole or one case at a time."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from dashboards.cli.assign_actions import register_actions
from dashboards.cli.assign_asked import register_asked
from dashboards.cli.assign_explain import register_explain
from dashboards.cli.assign_fairness import register_fairness
from dashboards.cli.assign_lists import register_lists
from dashboards.cli.assign_rebalance import register_rebalance
from dashboards.cli.assign_what_if import register_what_if
from models.errors import RefusedError, RejectedError

_Instance: TypeAlias = Annotated[
    Path, typer.Argument(metavar="INSTANCE", help="The JSON document; - for what comes in.")
]
_Out: TypeAlias = Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the answer goes, as CSV.")]
_Online: TypeAlias = Annotated[
    bool, typer.Option("--online", help="One case at a time as they become ready, without looking ahead.")
]
_KeepAssigned: TypeAlias = Annotated[
    bool, typer.Option("--keep-assigned", help="With --online: assigned cases stay where they are, at whatever cost.")
]
_Sweeps: TypeAlias = Annotated[
    int, typer.Option(min=0, help="How long to search on: with 2,000 cases each takes about a third of a second.")
]


def register(app: typer.Typer) -> None:
    """Add this group of commands."""
    group = typer.Typer(help="Who reads which case, why, and what if.", no_args_is_help=True)
    group.command(name="solve")(solve_command)
    register_actions(group)
    register_asked(group)
    register_explain(group)
    register_fairness(group)
    register_lists(group)
    register_rebalance(group)
    register_what_if(group)
    app.add_typer(group, name="assign")


def solve_command(
    instance: _Instance, out: _Out, online: _Online = False, keep_assigned: _KeepAssigned = False, sweeps: _Sweeps = 1
) -> None:
    """Assign the reads of an instance: nobody gets one that they may not have, and loads are even.

    The last line on stderr says how long that took; with --online, the processor time of one decision.
    """
    started = time.perf_counter()
    say = _Progress()
    say.step("Reading the instance …")
    # numpy takes a tenth of a second to import: not for who asks for help.
    from flows.case_assignment.plan.answer import as_csv
    from flows.case_assignment.plan.instance import read_instance
    from flows.case_assignment.plan.model import NOBODY, model_of
    from flows.case_assignment.plan.objective import objective
    from flows.case_assignment.plan.online import assign_one_by_one
    from flows.case_assignment.plan.solve import solve

    model = model_of(read_instance(_contents(instance)))
    say.step(f"Assigning {model.reads} reads to {model.people} people …")
    if online:
        owner, took_ms = assign_one_by_one(model, keep_assigned=keep_assigned)
        took = {"p50_ms": _percentile(took_ms, 50), "p99_ms": _percentile(took_ms, 99)}
    else:
        owner = solve(model, sweeps)
        took = {"seconds": round(time.perf_counter() - started, 3)}
    _write(out, as_csv(model, owner))
    say.step("")
    escalated = int((owner == NOBODY).sum())
    cost = objective(model, owner)
    say.sentence(
        f"{model.reads - escalated} reads assigned, {escalated} escalated because nobody may have them. J is "
        f"{cost.total:.1f} points: late {cost.late:.1f}, balance {cost.balance:.1f}, preferences {cost.preference:.1f}."
    )
    say.sentence(json.dumps(took))


class _Progress:
    """What a person sees meanwhile: one line, drawn over; nothing where stderr is no terminal."""

    def step(self, text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def sentence(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _contents(instance: Path) -> bytes:
    if str(instance) == "-":
        return sys.stdin.buffer.read()
    try:
        return instance.read_bytes()
    except OSError as error:
        raise RejectedError(f"the instance can't be read ({error.strerror}): give the JSON document's file") from error


def _write(out: Path, answer: str) -> None:
    try:
        out.write_text(answer, encoding="utf-8", newline="")
    except OSError as error:
        raise RefusedError(f"the answer can't be written ({error.strerror}): give another file for --out") from error


def _percentile(values: list[float], percent: int) -> float:
    """Return the smallest value that so many per cent do not exceed; zero of none."""
    ordered = sorted(values)
    return round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 4) if ordered else 0.0
