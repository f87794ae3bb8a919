"""Into which parts the specimens of a case are divided among primary reads: a rule over values."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

WHOLE: Final = "whole"
"""The scope of a read of the whole case."""


@dataclass(frozen=True)
class Tissue:
    """A specimen that stands: its subspecialty, and whether a final result of the round covers it."""

    id: str
    subspecialty: str
    reported: bool = False


@dataclass(frozen=True)
class Part:
    """What one primary read covers; without named specimens it is all of the case, whatever comes to it.

    ``was`` is the scope that an open read which somebody has went by so far.
    """

    scope: str
    subspecialty: str
    specimens: frozenset[str] | None = None
    was: str | None = None


def parts_of(
    tissues: Sequence[Tissue],
    held: Sequence[Part],
    own: str,
    *,
    split: bool,
    spoken_for: Collection[str] = (),
    known: Collection[str] = (),
) -> tuple[Part, ...]:
    """Return the parts that a round's primary reads are to have: each specimen that is not reported is in one of them.

    Parameters
    ----------
    held
        The open parts that somebody has: they keep their specimens, and take in new ones of their subspecialty. One of
        which nothing stands any more is not among what is returned.
    own
        The case's own subspecialty, whose specimens come first.
    split
        Whether specimens of other subspecialties have readers of their own.
    spoken_for
        Scopes that no other part may go by: those of reads that are credited.
    known
        Scopes that reads of the round ever went by: a whole case that becomes a part takes none of them.
    """
    everything = next((part for part in held if part.specimens is None), None)
    if everything is not None:
        return (everything,)
    kept, left = _kept(tissues, held, split=split)
    if not kept and not split:
        return (Part(_free(WHOLE, spoken_for), own),)
    natural = _numbered({tissue.subspecialty for tissue in tissues}, own)
    groups: dict[str, frozenset[str]] = {}
    for tissue in left:
        groups[tissue.subspecialty] = groups.get(tissue.subspecialty, frozenset()) | {tissue.id}
    if not kept and len(natural) <= 1:
        return _undivided(tissues, groups, own, _free(WHOLE, spoken_for))
    named = _held_on(kept, natural, {*spoken_for, *known}, several=len(kept) + len(groups) > 1)
    taken = {*spoken_for, *(part.scope for part in named)}
    for subspecialty, specimens in sorted(groups.items(), key=lambda one: natural[one[0]]):
        scope = _free(natural[subspecialty], taken)
        taken.add(scope)
        named.append(Part(scope, subspecialty, specimens))
    return tuple(sorted(named, key=_place))


def _undivided(
    tissues: Sequence[Tissue], groups: Mapping[str, frozenset[str]], own: str, scope: str
) -> tuple[Part, ...]:
    """Return the one part of a case whose specimens are all of one subspecialty, if any of them is to be read."""
    if not tissues:
        return (Part(scope, own),)
    return tuple(Part(scope, subspecialty, specimens) for subspecialty, specimens in groups.items())


def _kept(tissues: Sequence[Tissue], held: Sequence[Part], *, split: bool) -> tuple[list[Part], list[Tissue]]:
    """Return what is held with what joins it, and the specimens that nobody has yet."""
    standing = frozenset(tissue.id for tissue in tissues)
    kept = [replace(part, specimens=(part.specimens or frozenset()) & standing) for part in held]
    kept = sorted((part for part in kept if part.specimens), key=_place)
    left: list[Tissue] = []
    covered = frozenset(one for part in kept for one in part.specimens or ())
    for tissue in tissues:
        if tissue.reported or tissue.id in covered:
            continue
        joins = (at for at, part in enumerate(kept) if not split or part.subspecialty == tissue.subspecialty)
        at = next(joins, None)
        if at is None:
            left.append(tissue)
        else:
            kept[at] = replace(kept[at], specimens=(kept[at].specimens or frozenset()) | {tissue.id})
    return kept, left


def _held_on(kept: Sequence[Part], natural: Mapping[str, str], known: Collection[str], *, several: bool) -> list[Part]:
    """Return what is held by its scopes: one that somebody has keeps its own, unless it is no longer the whole case."""
    taken = {*known, *(part.scope for part in kept)}
    return [
        replace(part, scope=_free(natural.get(part.subspecialty, "part 1"), taken))
        if several and part.scope == WHOLE
        else part
        for part in kept
    ]


def _numbered(subspecialties: Iterable[str], own: str) -> dict[str, str]:
    """Return the scope of each subspecialty's part, the case's own first: the same in every round."""
    ordered = sorted(subspecialties, key=lambda one: (one != own, one))
    return {one: f"part {number}" for number, one in enumerate(ordered, start=1)}


def _free(scope: str, taken: Collection[str]) -> str:
    """Return this scope, or the first part that is not taken."""
    if scope not in taken:
        return scope
    return next(name for number in count(1) if (name := f"part {number}") not in taken)


def _place(part: Part) -> tuple[int, str]:
    """Parts in the order of their numbers, the whole case first."""
    return (len(part.scope) if part.scope != WHOLE else 0, part.scope)
