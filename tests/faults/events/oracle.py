"""What has to be true at the end: each event has one row and one effect, and nothing of the log is missing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import select

from models.tables.intake import ScannerStanding
from tests.faults.events.feed import Sent
from tests.faults.events.lab import EventLab

FLAT_BYTES: Final = 48 << 20
"""By so much a reader may grow once it is warm: what the client has fetched and what one poll holds."""
_WARM_LOOKS: Final = 10


def breaches(lab: EventLab, sent: Sequence[Sent]) -> list[str]:
    """Return what is wrong, in sentences."""
    return [*_of_log(lab, sent), *_of_positions(lab), *_of_inbox(lab, sent), *_of_effects(lab, sent), *_of_memory(lab)]


def growth(lab: EventLab) -> int:
    """Return by how much the reader that grew most grew in the second half of its looks, in bytes.

    On a busy machine one still imports during the first; whoever keeps what it has read grows in both.
    """
    return max(
        (max(looks) - max(looks[: len(looks) // 2]) for looks in lab.memory.values() if len(looks) > _WARM_LOOKS),
        default=0,
    )


def _of_log(lab: EventLab, sent: Sequence[Sent]) -> Iterator[str]:
    lies = Counter(lab.log())
    wanted = Counter((one.topic, one.value or b"") for one in sent)
    if missing := wanted - lies:
        yield f"the producers lost {missing.total()} records: this run says nothing"


def _of_positions(lab: EventLab) -> Iterator[str]:
    back = lab.rows("SELECT topic, at, was FROM went_back")
    yield from (f"the position of {topic} went back from {was} to {at}" for topic, at, was in back)
    if lab.positions() != lab.ends():
        yield f"the log was read to {lab.positions()}, and goes to {lab.ends()}"
    lost = lab.rows(
        "SELECT kind, sentence FROM alert WHERE kind IN ('records lost', 'topic made anew', 'parts missing')"
    )
    yield from (f"an alert without a cause: {kind}: {sentence}" for kind, sentence in lost)


def _of_inbox(lab: EventLab, sent: Sequence[Sent]) -> Iterator[str]:
    rows = lab.rows("SELECT peer, sha256, state, event_id FROM inbox")
    found = {(peer, sha256): (state, event_id) for peer, sha256, state, event_id in rows}
    wanted = {(one.peer, one.sha256): one for one in sent}
    yield from (f"{_shown(wanted[key])} is missing" for key in wanted.keys() - found.keys())
    yield from (f"nobody sent {key}, {found[key]}" for key in found.keys() - wanted.keys())
    twins: dict[tuple[str, str | None], list[str]] = {}
    for key in wanted.keys() & found.keys():
        one, (state, event_id) = wanted[key], found[key]
        if one.fate == "one of two":
            twins.setdefault((one.peer, one.event_id), []).append(f"{state} as {event_id}")
        elif (state, event_id) != (one.fate, one.event_id):
            yield f"{_shown(one)} is {state} as {event_id}"
    known = Counter((peer, event_id) for peer, _sha256, _state, event_id in rows if event_id)
    yield from (f"{count} rows have the event {key}" for key, count in known.items() if count > 1)
    for (peer, event_id), states in twins.items():
        both = len({one.sha256 for one in sent if (one.peer, one.event_id) == (peer, event_id)})
        if sorted(states) != sorted([f"applied as {event_id}", "set aside as None"][:both]):
            yield f"of the two events {event_id} of {peer}, {states}"


def _of_effects(lab: EventLab, sent: Sequence[Sent]) -> Iterator[str]:
    """Each effect is there once, and none that nobody asked for."""
    wanted = Counter(effect for effect in {one.effect for one in sent if one.effect})
    latest: dict[str, int] = {}
    for kind, scanner, *number in wanted:
        if kind == "status":
            latest[scanner] = max(latest.get(scanner, 0), int(number[0]))
    for what, query, count in (
        ("scans", "SELECT count(*) FROM scan", _count(wanted, "taken")),
        ("files", "SELECT count(*) FROM scan_file", _count(wanted, "taken", "expected")),
        ("slides", "SELECT count(*) FROM slide", _count(wanted, "order")),
        ("cases", 'SELECT count(*) FROM "case"', _count(wanted, "order")),
        ("alerts", "SELECT count(*) FROM alert WHERE kind = 'slide failed'", _count(wanted, "failed")),
        ("orders", "SELECT count(*) FROM fact WHERE kind = 'OrderFact'", _count(wanted, "order")),
    ):
        [(has,)] = lab.rows(query)
        if has != count:
            yield f"there are {has} {what}, not {count}"
    twice = lab.rows("SELECT inbox_id, kind, count(*) FROM fact GROUP BY inbox_id, kind HAVING count(*) > 1")
    yield from (f"message {inbox_id} has {count} facts {kind}" for inbox_id, kind, count in twice)
    stands = {name: said["slides_waiting"] for name, said in _standings(lab)}
    if stands != latest:
        yield f"the scanners said last {latest}, and the books say {stands}"


def _of_memory(lab: EventLab) -> Iterator[str]:
    if growth(lab) > FLAT_BYTES:
        yield f"a reader grew by {growth(lab) >> 20} MiB: {lab.memory}"


def _count(wanted: Counter[tuple[str, ...]], *kinds: str) -> int:
    return sum(effect[0] in kinds for effect in wanted)


def _standings(lab: EventLab) -> list[tuple[str, dict[str, int]]]:
    with lab.database.read() as session:
        return [(row.name, row.said or {}) for row in session.scalars(select(ScannerStanding))]


def _shown(one: Sent) -> str:
    return f"{one.effect or one.fate} {one.event_id} of {one.peer}"
