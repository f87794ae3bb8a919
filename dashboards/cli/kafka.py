"""The commands of Kafka: ``replay``, and ``topics`` for the cluster as the file of topics asks for it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from dashboards.cli import kafka_replay
from dashboards.cli.desk import AsJson, console, plain, plain_table, print_json
from dashboards.cli.home import home_of

# The client takes a third of a second to import, so what needs it is imported when a command runs.
_SHIPPED: Final = Path(__file__).resolve().parents[2] / "infra" / "kafka" / "topics.toml"
_File = Annotated[Path, typer.Option("--file", help="What is asked for.", show_default="infra/kafka/topics.toml")]
_Replication = Annotated[
    int, typer.Option("--replication", min=0, help="How many copies, instead of what the file says; 1 for one broker.")
]
_WORDS: Final = {
    "topic": ("make it", "made"),
    "partitions": ("add them", "added: keys may have moved"),
    "setting": ("set it", "set"),
    "right": ("allow it", "allowed"),
    "kept": ("stays: use Kafka's own tools", "stays: use Kafka's own tools"),
}
"""What is to be done about each kind of difference, and what was."""


def register(app: typer.Typer) -> None:
    """Add this group of commands."""
    topics_group = typer.Typer(help="Topics, their settings and rights.", no_args_is_help=True)
    topics_group.command(name="apply")(apply)
    topics_group.command(name="check")(check)
    group = typer.Typer(help="The events between sites.", no_args_is_help=True)
    group.add_typer(topics_group, name="topics")
    group.command(name="replay")(kafka_replay.replay)
    app.add_typer(group, name="kafka")


def apply(
    context: typer.Context,
    file: _File = _SHIPPED,
    replication: _Replication = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make missing topics, add partitions, change settings, give rights; nothing is ever deleted."""
    _run(context, file, replication, as_json=as_json, change=not dry_run)


def check(
    context: typer.Context, file: _File = _SHIPPED, replication: _Replication = 0, as_json: AsJson = False
) -> None:
    """Say what the cluster has otherwise than the file asks for; 0 when nothing, else 1."""
    if _run(context, file, replication, as_json=as_json, change=False):
        raise typer.Exit(1)


def _run(context: typer.Context, file: Path, replication: int, *, as_json: bool, change: bool) -> int:
    """Compare, change if that is wanted, and print; return how many differences there were."""
    from connectors.eventlog.topics import opened_cluster, read_topics
    from connectors.settings import load

    settings = load(home_of(context))
    wanted = read_topics(file)
    if replication:
        wanted = wanted.replicated(replication)
    with opened_cluster(settings) as cluster:
        comparison = cluster.compare(wanted)
        if change:
            cluster.apply(wanted, comparison.differences)
    rows = [asdict(difference) for difference in comparison.differences]
    if as_json:
        print_json({"has_authorizer": comparison.has_authorizer, "changed": change, "differences": rows})
    else:
        _print(rows, has_authorizer=comparison.has_authorizer, changed=change)
    return len(rows)


def _print(rows: Sequence[dict[str, str]], *, has_authorizer: bool, changed: bool) -> None:
    table = plain_table("Topic or group", "What", "Has", "Wanted", "Done" if changed else "To do")
    for row in rows:
        shown = (plain(row[name]) for name in ("subject", "what", "has", "wanted"))
        table.add_row(*shown, _WORDS[row["kind"]][changed])
    if rows:
        console().print(table)
    else:
        print("Kafka is as the file asks for.")
    if not has_authorizer:
        print("The cluster has no authorizer: everybody may do everything, and no rights were looked at.")
    if (left := sum(row["kind"] != "kept" for row in rows)) and not changed:
        print(f"{left} differences: 'coverslip kafka topics apply' makes them good.")
