"""The command ``kafka replay``: a stretch of a topic is looked at, shown by kind, and taken into the inbox again."""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from dashboards.cli.consent import Yes, agreed
from dashboards.cli.desk import AsJson, By, Reason, console, expect_site, opened, plain, plain_table, print_json
from dashboards.cli.progress import added_up, progress
from dashboards.cli.times import zone_of
from models.errors import RefusedError

if TYPE_CHECKING:
    from connectors.eventlog.protocol import EventReader
    from connectors.settings import Settings
    from connectors.settings_kafka import Kafka
    from dashboards.cli.moments import Place
    from flows.actions import Desk, Reread, Stretch

_WORDS: Final = {
    "new": ("never came in: is taken in", "taken in"),
    "would change": ("was set aside: is tried again", "tried again"),
    "duplicate": ("is there, and was applied or waits: nothing changes", "nothing changed"),
    "poison": ("can't be read as an event: is kept, and set aside", "kept, and set aside"),
}
"""What taking in a record of each kind would do, and what it did."""
_THE_SAME_AGAIN: Final = "what was taken in stays, and the same command goes on: what is there changes nothing"

_Topic: TypeAlias = Annotated[
    str, typer.Argument(metavar="TOPIC", help="scanner or lims.hl7v2; with the prefix of the settings or without.")
]
_Since: TypeAlias = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="TIME|OFFSET",
        help="The first record: when it was written, as in 2026-03-02T09:30 (without an offset in the site's zone), or "
        "its offset, which counts in each partition.",
    ),
]
_Before: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="TIME|OFFSET",
        help="Up to this and without it, as in 2026-03-02T10:30.",
        show_default="what is there now",
    ),
]
_Site: TypeAlias = Annotated[str | None, typer.Option(metavar="SITE", help="Only what this site's events say.")]


@dataclass(frozen=True)
class _Asked:
    """What was asked for, and what there was when it was looked at."""

    stretch: "Stretch"
    since: "Place"
    before: "Place | None"
    frozen_at: datetime


def replay(
    context: typer.Context,
    topic: _Topic,
    since: _Since,
    before: _Before = None,
    site: _Site = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    at_most: Annotated[int, typer.Option(min=1, metavar="N", help="Refuse when more records would change.")] = 10_000,
    per_second: Annotated[int, typer.Option(min=1, metavar="N", help="Take in no more than these.")] = 500,
    by: By = "",
    reason: Reason = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Read events from Kafka again, after showing what that would do; the intake goes on beside it, undisturbed."""
    from flows import actions

    person = None if dry_run else actions.Person(by, reason)
    with opened(context) as desk:
        named = _topic_named(desk.settings, topic)
        places = _places(desk.settings, since, before, site)
        with _reader(desk.settings) as reader:
            asked = _frozen(reader, actions.Stretch(named, (), site, at_most, per_second), *places)
            if not as_json:
                _announce(asked, zone_of(desk.settings, site))
            found = _preview(desk, reader, asked.stretch)
            if not as_json:
                _show(found, is_done=False)
            if person is None or not found.changes:
                _end(asked, found, None, as_json=as_json)
                return
            agreed(yes=yes or as_json)
            with progress("Taking in") as told, _stop() as stop:
                passed = added_up(told, asked.stretch.size)
                done = actions.reread(desk, reader, asked.stretch, person, passed, stop)
    _end(asked, found, done, as_json=as_json)


def _topic_named(settings: "Settings", topic: str) -> str:
    """Return the topic's whole name."""
    from dashboards.intake import TOPICS

    prefix = _kafka(settings).prefix
    short = topic.removeprefix(prefix) if topic.removeprefix(prefix) in TOPICS else topic
    if short not in TOPICS:
        raise RefusedError(f"the intake reads {' and '.join(TOPICS)} only, so nothing else can be read again")
    return f"{prefix}{short}"


def _kafka(settings: "Settings") -> "Kafka":
    if settings.kafka is None:
        raise RefusedError(f"{settings.home / 'coverslip.toml'} has no [kafka] section, so there is nothing to read")
    if settings.forwards:
        raise RefusedError("this is a gateway: what it takes in is handed on to Kafka, and read elsewhere")
    return settings.kafka


def _places(settings: "Settings", since: str, before: str | None, site: str | None) -> "tuple[Place, Place | None]":
    from dashboards.cli.moments import place_said

    expect_site(settings, site)
    first = place_said(since, "--from", settings, site)
    end = None if before is None else place_said(before, "--to", settings, site)
    match first, end:
        case (int(), int()) | (datetime(), datetime()) if end <= first:  # type: ignore[operator]
            raise RefusedError("--to is not after --from: nothing lies between them")
    return first, end


@contextmanager
def _reader(settings: "Settings") -> "Iterator[EventReader]":
    # The client takes a third of a second to import, so only who needs it waits for it.
    from connectors.eventlog.connection import client_options, greet, sentence
    from connectors.eventlog.kafka_reader import KafkaReader

    kafka = _kafka(settings)
    greet(settings)
    reader = KafkaReader(client_options(settings), say=lambda error: sentence(error, kafka))
    try:
        yield reader
    finally:
        reader.close()


@contextmanager
def _stop() -> Iterator[threading.Event]:
    """Let Ctrl-C end the work between two transactions; a second one ends it at once."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def asked(number: int, _frame: object) -> None:
        signal.signal(number, before[signal.Signals(number)])
        stop.set()

    for number in before:
        signal.signal(number, asked)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _frozen(reader: "EventReader", wanted: "Stretch", since: "Place", before: "Place | None") -> _Asked:
    from flows.actions import Stretch

    extents = tuple(reader.extents(wanted.topic, since, before))
    frozen_at = datetime.now(UTC)
    if not extents:
        raise RefusedError(
            f"the event log has no topic {wanted.topic}: 'coverslip kafka topics apply' makes what is missing"
        )
    stretch = Stretch(wanted.topic, extents, wanted.site, wanted.most, wanted.per_second)
    return _Asked(stretch, since, before, frozen_at)


def _preview(desk: "Desk", reader: "EventReader", stretch: "Stretch") -> "Reread":
    from flows import actions

    with progress("Looking") as told, _stop() as stop:
        found = actions.preview_reread(desk, reader, stretch, added_up(told, stretch.size), stop)
    if found.ended_by:
        raise RefusedError(f"{found.ended_by} before anything was changed")
    return found


def _announce(asked: _Asked, zone: str) -> None:
    from dashboards.cli.moments import place_in_words

    stretch = asked.stretch
    until = "" if asked.before is None else f" to {place_in_words(asked.before, zone)}"
    of_site = f", of which those of {stretch.site} are taken" if stretch.site else ""
    said = f"{stretch.topic} from {place_in_words(asked.since, zone)}{until}: {stretch.size} records in "
    frozen = f"{len(stretch.extents)} partitions, frozen at {place_in_words(asked.frozen_at, zone)}"
    console().print(plain(f"{said}{frozen}{of_site}."), soft_wrap=True)


def _show(found: "Reread", *, is_done: bool) -> None:
    from flows.actions import KINDS

    table = plain_table("Kind", "Records", "What was done" if is_done else "What happens")
    table.columns[1].justify = "right"
    for kind in KINDS:
        table.add_row(kind, str(found.counts.get(kind, 0)), _WORDS[kind][is_done])
    console().print(table)


def _end(asked: _Asked, found: "Reread", done: "Reread | None", *, as_json: bool) -> None:
    """Report; what ended before its end is an error."""
    if as_json:
        print_json(_as_json(asked, found, done))
    elif done is not None:
        _show(done, is_done=True)
    elif not found.changes:
        print("Nothing would change.")
    if done is not None and done.ended_by:
        raise RefusedError(f"{done.ended_by}: {_THE_SAME_AGAIN}")


def _as_json(asked: _Asked, found: "Reread", done: "Reread | None") -> Mapping[str, object]:
    from flows.actions import KINDS

    stretch = asked.stretch
    partitions = [{"partition": one.partition.number, "from": one.first, "to": one.end} for one in stretch.extents]
    return {
        "topic": stretch.topic,
        "site": stretch.site,
        "from": asked.since,
        "to": asked.before,
        "frozen_at": asked.frozen_at,
        "records": stretch.size,
        "partitions": partitions,
        "preview": {kind: found.counts.get(kind, 0) for kind in KINDS},
        "done": None if done is None else {kind: done.counts.get(kind, 0) for kind in KINDS},
        "ended_by": None if done is None else done.ended_by,
    }
