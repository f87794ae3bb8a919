"""What scanners and gateways tell in a run: mixed, doubled, out of order, and some of it not to be acted on.

All of it follows from the seed, and is written by hand: nothing here shares code with what reads it.
"""

import base64
import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

SITES: Final = ("site-a", "site-b", "site-c")
SCANNERS: Final = {f"scanner-{site[-1]}{n}": site for site in SITES for n in (1, 2)}
LIMS: Final = {f"lims-{site[-1]}": site for site in SITES}

_BASE: Final = datetime(2026, 1, 1, tzinfo=UTC)
_NEAR, _FAR = 300, 2_000
"""How many records a record may come too late, and a copy of it after it."""
_DOUBLED: Final = 0.08

Fate = Literal["applied", "set aside", "one of two"]


@dataclass(frozen=True)
class Sent:
    """One record that is sent, and what has to become of it.

    ``payload`` is what the inbox has to hold, under the name ``peer``; ``effect`` names what it changes, once.
    """

    topic: str
    key: bytes
    value: bytes | None
    peer: str
    payload: bytes
    fate: Fate
    effect: tuple[str, ...] = ()
    event_id: str | None = None

    @property
    def sha256(self) -> str:
        """The digest of what the inbox has to hold."""
        return hashlib.sha256(self.payload).hexdigest()


def feed(seed: int, count: int, prefix: str) -> list[Sent]:
    """Return so many records in the order of sending, doubles among them."""
    chance = random.Random(seed)
    fresh = int(count * (1 - _DOUBLED))
    made = [one for number in range(fresh) for one in _some(chance, number, prefix)][:fresh]
    placed = [(number + chance.uniform(0, _NEAR), one) for number, one in enumerate(made)]
    placed += [(at + chance.uniform(0, _FAR), one) for at, one in chance.choices(placed, k=count - fresh)]
    return [one for _at, one in sorted(placed, key=lambda pair: pair[0])]


def _some(chance: random.Random, number: int, prefix: str) -> Iterator[Sent]:
    [kind] = chance.choices(list(_KINDS), [weight for weight, _make in _KINDS.values()])
    yield from _KINDS[kind][1](chance, number, prefix)


def _status(chance: random.Random, number: int, prefix: str) -> Iterator[Sent]:
    scanner = chance.choice(list(SCANNERS))
    data = {"state": chance.choice(["idle", "scanning", "paused"]), "stated_at": _at(number), "slides_waiting": number}
    told = _scanner_event(scanner, "scanner.status", number, data, prefix)
    yield replace(told, effect=("status", scanner, str(number)))


def _twins(chance: random.Random, number: int, prefix: str) -> Iterator[Sent]:
    """Two events that share an id: whichever comes first counts, the other one is a person's."""
    scanner = chance.choice(list(SCANNERS))
    for detail in ("one", "other"):
        # Older than all others, so that nothing else tells which of the two counted.
        data = {"state": "idle", "stated_at": _at(number - 10_000_000), "detail": detail}
        yield replace(_scanner_event(scanner, "scanner.status", number, data, prefix), fate="one of two")


def _failed(chance: random.Random, number: int, prefix: str) -> Iterator[Sent]:
    scanner = chance.choice(list(SCANNERS))
    data = {"failed_at": _at(number), "reason": "no tissue found", "rack": f"rack {number}", "slot": "7"}
    told = _scanner_event(scanner, "scanner.slide-failed", number, data, prefix)
    yield replace(told, effect=("failed", scanner, str(number)))


def _scanned(chance: random.Random, number: int, prefix: str) -> Iterator[Sent]:
    scanner = chance.choice(list(SCANNERS))
    data: dict[str, Any] = {"root": scanner, "path": f"run/{number}.svs", "scanned_at": _at(number)}
    if chance.random() < 0.5:
        digest = hashlib.sha256(f"slide {number}".encode()).hexdigest()
        file_id = f"{number:08x}-0000-4000-8000-{number:012x}"
        taken = {"file_id": file_id, "sha256": digest, "bytes": 1_000 + number, "modified_ns": number}
        data["taken"] = taken | {"place": "gateway"}
        effect: tuple[str, ...] = ("taken", scanner, data["path"], digest)
    else:
        effect = ("expected", scanner, data["path"])
    yield replace(_scanner_event(scanner, "scanner.slide-scanned", number, data, prefix), effect=effect)


def _order(chance: random.Random, number: int, prefix: str) -> Iterator[Sent]:
    peer = chance.choice(list(LIMS))
    payload = _order_message(number)
    data = {"received_at": _at(number), "sha256": hashlib.sha256(payload).hexdigest(), "bytes": len(payload)}
    data["payload"] = base64.b64encode(payload).decode()
    source = f"/{LIMS[peer]}/lims/{peer}"
    value = _event("lims.hl7v2", source, number, data)
    key = f"{LIMS[peer]}/{peer}".encode()
    yield Sent(f"{prefix}lims.hl7v2", key, value, peer, payload, "applied", ("order", peer, str(number)), f"e{number}")


def _poison(chance: random.Random, number: int, prefix: str) -> Iterator[Sent]:
    """Something that can't be read, under the name of a scanner or of nobody."""
    scanner = chance.choice(list(SCANNERS))
    value = chance.choice(_POISONS)(number, f"/{SCANNERS[scanner]}/scanners/{scanner}")
    is_named = chance.random() < 0.5
    key = f"{SCANNERS[scanner]}/{scanner}" if is_named else "nobody"
    topic = f"{prefix}{chance.choice(['scanner', 'lims.hl7v2'])}"
    yield Sent(topic, key.encode(), value, scanner if is_named else topic, value or b"", "set aside")


def _unknown_site(_chance: random.Random, number: int, prefix: str) -> Iterator[Sent]:
    """A good event from a site that is in no settings: a storm of them, since all are of one scanner."""
    data = {"state": "idle", "stated_at": _at(number)}
    value = _event("scanner.status", "/site-x/scanners/scanner-x", number, data)
    yield Sent(f"{prefix}scanner", b"site-x/scanner-x", value, "scanner-x", value, "set aside", (), f"e{number}")


_KINDS: Final[Mapping[str, tuple[int, Callable[[random.Random, int, str], Iterator[Sent]]]]] = {
    "status": (45, _status),
    "failed": (8, _failed),
    "scanned": (20, _scanned),
    "order": (20, _order),
    "poison": (4, _poison),
    "twins": (1, _twins),
    "unknown site": (2, _unknown_site),
}
"""Out of a hundred, how many are what."""

_POISONS: Final[tuple[Callable[[int, str], bytes | None], ...]] = (
    lambda _number, _source: None,
    lambda number, _source: b"\x00\xff not JSON %d" % number,
    lambda number, _source: b"[%d]" % number,
    lambda number, source: _event("scanner.lunch", source, number, {}),
    lambda number, source: _event("scanner.status", source, number, {"state": "idle", "stated_at": _at(number)}, 2),
    lambda number, source: _event("scanner.status", source, number, {"state": "x" * 70_000, "stated_at": _at(number)}),
    lambda number, source: _event("scanner.slide-scanned", source, number, {"root": "scanner-a1", "path": "../up"}),
    lambda number, source: _event("scanner.status", source, number, {"state": "idle", "stated_at": "yesterday"}),
    lambda number, source: _event("scanner.status", source, number, {"state": "idle", "stated_at": _at(number)})[:-9],
)


def _scanner_event(scanner: str, kind: str, number: int, data: Mapping[str, Any], prefix: str) -> Sent:
    value = _event(kind, f"/{SCANNERS[scanner]}/scanners/{scanner}", number, data)
    key = f"{SCANNERS[scanner]}/{scanner}".encode()
    return Sent(f"{prefix}scanner", key, value, scanner, value, "applied", event_id=f"e{number}")


def _event(kind: str, source: str, number: int, data: Mapping[str, Any], version: int = 1) -> bytes:
    said = {"specversion": "1.0", "type": kind, "source": source, "id": f"e{number}", "time": _at(number)}
    said |= {"datacontenttype": "application/json", "dataschema": f"urn:coverslip:event:{kind}:{version}"}
    return json.dumps(said | {"data": data}).encode()


def _at(number: int) -> str:
    return (_BASE + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _order_message(number: int) -> bytes:
    accession, slide = f"26B{number:06d}", f"26B{number:06d}-A1-1"
    sent = (_BASE + timedelta(seconds=number)).strftime("%Y%m%d%H%M%S+0000")
    tissue = "119376003^Tissue specimen^SCT"
    lines = (
        f"MSH|^~\\&|LIMS|SITE|COVERSLIP|NET|{sent}||OML^O33^OML_O33|B{number}|P|2.5.1",
        f"PID|1||B{number}^^^SITE^MR||Example^Ben{number}^^^^^L||19700101|F",
        f"SPM|1|{accession}-A||{tissue}||||76752008^Breast structure^SCT{'|' * 19}CONTAINER",
        f"ORC|NW|P{number}^LIMS|{accession}^LIMS",
        f"OBR|1|P{number}^LIMS|{accession}^LIMS|BREAST^Breast histology^L",
        f"SPM|2|{slide}|{accession}-A|{tissue}{'|' * 23}GLASS",
        f"SAC|||{slide}",
        f"ORC|NW|P{number}^LIMS|{accession}^LIMS",
        f"OBR|1|P{number}^LIMS|{accession}^LIMS|SLIDE^Slide^L",
    )
    return "".join(f"{line}\r" for line in lines).encode()
