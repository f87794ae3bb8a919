"""Coverslips that do one thing wrong each, by a relay on the wire: a run against one of them has to fail.

A test that no fault can make fail shows nothing.
"""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TypeAlias

from connectors.lims import dpow
from connectors.lims.simulated_dpow import TRANSACTIONS, Fields, said, segments_of
from connectors.lims.simulated_peer import SimulatedLine
from connectors.lims.simulator import SimulatedLims

Change: TypeAlias = Callable[[list[Fields]], list[Fields] | None]
"""What becomes of a message on its way; ``None`` when it gets lost and is answered all the same."""


def _as_it_is(segments: list[Fields]) -> list[Fields]:
    return segments


@dataclass(frozen=True)
class Wrong:
    """What is wrong: with what Coverslip hears, with how it answers, with what it tells; ``reddens`` must fail."""

    what: str
    reddens: tuple[str, ...]
    hears: Change = _as_it_is
    answers: Change = _as_it_is
    tells: Change = _as_it_is


class Relay:
    """Passes messages from one port to another, and their answers back; what is wrong with it can change."""

    def __init__(self, listen: int, to: int, *, inwards: bool) -> None:
        self.wrong: Wrong | None = None
        self._line = SimulatedLine(("127.0.0.1", to))
        self._inwards = inwards
        self._one_at_a_time = threading.Lock()
        self._door = SimulatedLims(port=listen, answer=self._passed_on)

    @property
    def port(self) -> int:
        """Where it listens, from the start on."""
        return self._door.port

    def __enter__(self) -> Self:
        self._door.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._door.stop()
        self._line.hang_up()

    def _passed_on(self, raw: bytes) -> bytes:
        wrong = self.wrong or Wrong("nothing", ())
        changed = (wrong.hears if self._inwards else wrong.tells)(segments_of(raw))
        if changed is None:
            return _yes(segments_of(raw))
        with self._one_at_a_time, suppress(OSError):
            # What nobody changed is passed on byte for byte, whatever it is encoded in.
            answer = self._line.exchange(raw if changed == segments_of(raw) else _bytes(changed))
            if not self._inwards:
                return answer
            answered = wrong.answers(segments_of(answer))
            return answer if answered == segments_of(answer) else _bytes(answered or [])
        return b""


def _bytes(segments: Iterable[Fields]) -> bytes:
    lines = ("MSH|" + "|".join(one[2:]) if one[0] == "MSH" else "|".join(one) for one in segments)
    return "".join(f"{line}\r" for line in lines).encode()


def _yes(asked: list[Fields]) -> bytes:
    """Return an ORL^O22 that takes everything."""
    back = ("COVERSLIP", "NET", "LIMS", "SITE-A", said(asked, "MSH-7"), "", "ORL^O22^ORL_O22")
    header = ["MSH", "|", "^~\\&", *back, f"Y{said(asked, 'MSH-10')}"[:20], "P", "2.5.1"]
    return _bytes([header, ["MSA", "AA", said(asked, "MSH-10")]])


def _lost(place: str, value: str) -> Change:
    """Lose the messages that say this."""
    return lambda segments: None if said(segments, place, 1) == value else segments


def _instead(place: str, other: str | Callable[[str], str]) -> Change:
    """Say something else in a field, in every segment of its name."""
    name, _, number = place.partition("-")

    def changed(segments: list[Fields]) -> list[Fields]:
        copies = [list(one) for one in segments]
        for one in copies:
            if one[0] == name and len(one) > int(number):
                before = one[int(number)]
                one[int(number)] = other(before) if callable(other) else other
        return copies

    return changed


def _without(name: str) -> Change:
    """Leave out the segments of a name."""
    return lambda segments: [one for one in segments if one[0] != name]


def _never_the_same() -> Change:
    """Let no message be another's copy: each has a remark of its own."""
    count = 0

    def changed(segments: list[Fields]) -> list[Fields]:
        nonlocal count
        count += 1
        return [*segments, ["NTE", "9", "", f"number {count}"]]

    return changed


WRONG: Final = {
    "yes-man": Wrong("takes everything and keeps nothing", (), hears=lambda _segments: None),
    "no-err": Wrong("refuses without ERR", ("N12", "N15"), answers=_without("ERR")),
    "always-aa": Wrong("says AA to everything", ("N12", "N14", "N15"), answers=_instead("MSA-1", "AA")),
    "plain-ack": Wrong("answers ACK for ORL", ("T01", "T08"), answers=_instead("MSH-9", "ACK^O21^ACK")),
    "short-msa": Wrong("shortens MSA-2", ("T01", "N06"), answers=_instead("MSA-2", lambda number: number[:-1])),
    "no-change": Wrong("forgets what changes", ("T01", "T04", "N09"), hears=_lost("ORC-1", "XO")),
    "no-cancel": Wrong("forgets what is cancelled", ("T01", "T03", "N08"), hears=_lost("ORC-1", "CA")),
    "no-block": Wrong("forgets blocks", ("T02", "N05"), hears=_lost("MSH-21", TRANSACTIONS["block"])),
    "no-parent": Wrong("does not see SPM-3", ("T02", "T03", "N05"), hears=_instead("SPM-3", "")),
    "no-stain": Wrong("does not see stains", ("T03", "T04", "N09"), hears=_without("OBX")),
    "no-route": Wrong("does not see SAC-48", ("T03", "T07"), hears=_instead("SAC-48", "WSI")),
    "no-time": Wrong("does not see SPM-18", ("T01", "N17"), hears=_instead("SPM-18", "")),
    "one-time": Wrong("takes SPM-18 for the receipt of all", ("N17",), hears=_instead("SPM-18", "20261122084512+0000")),
    "no-report": Wrong("does not see ORC-25", ("T05",), hears=_instead("ORC-25", "")),
    "only-y": Wrong("takes every N for Y", ("T08",), hears=_instead("SPM-20", lambda said: said and "Y")),
    "no-images": Wrong("forgets images", ("T07", "T08", "N10"), hears=_lost("MSH-21", dpow.IMAGE_NOTIFICATION)),
    "no-obr-32": Wrong("does not see OBR-32", ("N16",), hears=_instead("OBR-32", "")),
    "twice": Wrong("takes a copy for another message", ("N06",), hears=_never_the_same()),
    "no-work": Wrong("forgets what was fulfilled", ("T06",), hears=_lost("MSH-21", dpow.ACCEPT_WORK_ORDER)),
    "no-spm": Wrong("orders work without SPM", ("T06",), tells=_without("SPM")),
    "mute": Wrong("tells nobody anything", ("T05", "T06"), tells=lambda _segments: None),
    "untaken": Wrong("never takes images back", ("T10",), tells=_lost("SPM-20", "N")),
    "restless": Wrong("sends other bytes the second time", ("N18",), tells=_never_the_same()),
    "mistold": Wrong("tells of another case", ("T05", "T07"), tells=_instead("ORC-38", "26OTHER")),
}
"""By name; each but the first names tests that it makes fail, and the first makes all of them fail."""
