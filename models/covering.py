"""Which specimens a final report must cover, and which of them a part of one covers."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from models.case_containers import BlockState, Container, Containers, SlideState, SpecimenState, with_stubs
from models.statements import ReportPart


def to_be_covered(known: Containers) -> frozenset[str]:
    """Return every specimen that stands, registered or named by a block that stands.

    Where the laboratory registers none, what its slides were cut from stands in for them.
    """
    return frozenset(name for (_, name), one in _specimens(known).items() if not one.cancelled)


def with_specimens(part: ReportPart, known: Containers, accession_number: str) -> ReportPart:
    """Return the part with the specimens whose own order it answers; none where it is the whole case's.

    The first of its numbers that some specimens have and others do not decides; the accession number is the case's,
    whoever carries it.
    """
    if part.specimens or len(_specimens(known)) <= 1:
        return part
    every = to_be_covered(known)
    for number in part.order_numbers:
        theirs = frozenset(_of_order(known, number)) if number != accession_number else frozenset[str]()
        if theirs and not every <= theirs:
            return part.model_copy(update={"specimens": tuple(sorted(theirs))})
    return part


def concerned(known: Containers, came: Iterable[Container]) -> frozenset[str]:
    """Return the specimens that containers are, or are of; none where that can't be told of all of them."""
    roots = frozenset(name for _, name in specimens_of(known, came))
    return roots if roots <= to_be_covered(known) else frozenset()


def specimens_of(known: Containers, keys: Iterable[Container]) -> frozenset[Container]:
    """Return what containers were cut from in the end, or they themselves where nobody says."""
    return frozenset(_roots(known, keys))


def _specimens(known: Containers) -> Mapping[Container, SpecimenState | BlockState]:
    # What was only ever named by something cancelled can't be reported, and must not hold the case open.
    standing = replace(
        known,
        blocks={key: block for key, block in known.blocks.items() if not block.cancelled},
        slides={key: slide for key, slide in known.slides.items() if not slide.cancelled},
    )
    full = with_stubs(standing)
    return full.specimens or full.blocks


def _of_order(known: Containers, number: str) -> Iterator[str]:
    """Yield the specimens of which an order is: their own, or one of a block or slide below them.

    A slide of which nobody says what it was cut from stands for itself: its result must not end what else there is.
    """
    numbered = (known.specimens, known.blocks, known.slides)
    theirs = [key for each in numbered for key, one in each.items() if number in one.order_numbers]
    yield from (name for _, name in _roots(known, theirs))


def _roots(known: Containers, keys: Iterable[Container]) -> Iterator[Container]:
    """Yield what containers were cut from in the end, or they themselves; some more than once."""
    below: dict[Container, BlockState | SlideState] = {**known.slides, **known.blocks}
    to_see = list(keys)
    seen: set[Container] = set()
    while to_see:
        key = to_see.pop()
        above = below[key].parents if key in below and key not in known.specimens else ()
        if not above:
            yield key
        to_see += [(key[0], parent) for parent in above if (key[0], parent) not in seen]
        seen.add(key)
