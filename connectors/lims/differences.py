"""What differs between two messages, place by place: for who corrected one, and for who looks at it later."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from connectors.lims.message import Message, Segment

# Lines are paired by likeness only up to so many; that is quadratic.
_MOST_COMPARED: Final = 2_000


@dataclass(frozen=True, slots=True)
class Difference:
    """One place that differs: ``PID-3.1``, ``SPM[2]``; ``None`` where there was, or is, nothing."""

    place: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class _Line:
    segment: Segment
    place: str


def differences(before: bytes, after: bytes) -> tuple[Difference, ...]:
    """Return every place that differs, in order; segments are compared with those that stand for them."""
    old, new = _lines(before), _lines(after)
    start = _alike(old, new)
    end = _alike(old[start:][::-1], new[start:][::-1])
    return tuple(_between(old[start : len(old) - end], new[start : len(new) - end]))


def _lines(raw: bytes) -> list[_Line]:
    seen: Counter[str] = Counter()
    lines = []
    for segment in Message(raw).segments:
        name = segment.name or "line"
        seen[name] += 1
        lines.append(_Line(segment, name if seen[name] == 1 else f"{name}[{seen[name]}]"))
    return lines


def _alike(old: Sequence[_Line], new: Sequence[_Line]) -> int:
    """Return how many lines are the same at the beginning."""
    pairs = zip(old, new, strict=False)
    return next(
        (number for number, (one, other) in enumerate(pairs) if one.segment.line != other.segment.line),
        min(len(old), len(new)),
    )


def _between(old: Sequence[_Line], new: Sequence[_Line]) -> Iterator[Difference]:
    if max(len(old), len(new)) > _MOST_COMPARED:
        yield from _paired(old, new)
        return
    was, now = ([one.segment.line for one in lines] for lines in (old, new))
    for kind, a, b, c, d in SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
        if kind != "equal":
            yield from _paired(old[a:b], new[c:d])


def _paired(old: Sequence[_Line], new: Sequence[_Line]) -> Iterator[Difference]:
    """Yield what differs between lines that stand for each other: those of one name, in order."""
    left = list(new)
    for one in old:
        other = next((line for line in left if line.segment.name == one.segment.name), None)
        if other is None:
            yield Difference(one.place, one.segment.line, None)
            continue
        left.remove(other)
        yield from _fields(one, other)
    yield from (Difference(one.place, None, one.segment.line) for one in left)


def _fields(old: _Line, new: _Line) -> Iterator[Difference]:
    if not old.segment.name:
        yield Difference(old.place, old.segment.line, new.segment.line)
        return
    marks = (old.segment.notation.delimiters, new.segment.notation.delimiters)
    most = max(one.segment.line.count(mark.field) for one, mark in zip((old, new), marks, strict=True)) + 2
    for number in range(1, most):
        was, now = old.segment.raw(number), new.segment.raw(number)
        if was == now:
            continue
        repeated = marks[0].repetition in was or marks[1].repetition in now
        if repeated or marks[0] != marks[1] or (old.segment.name == "MSH" and number <= 2):  # noqa: PLR2004 - the delimiters
            yield Difference(f"{old.place}-{number}", was or None, now or None)
        else:
            yield from _components(
                f"{old.place}-{number}", was.split(marks[0].component), now.split(marks[0].component)
            )


def _components(place: str, old: list[str], new: list[str]) -> Iterator[Difference]:
    most = max(len(old), len(new))
    for number in range(most):
        was, now = (parts[number] if number < len(parts) else "" for parts in (old, new))
        if was != now:
            yield Difference(f"{place}.{number + 1}" if most > 1 else place, was or None, now or None)
