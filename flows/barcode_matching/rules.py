"""Which ordered slide a scan shows: by agreement of what was read, and never by a guess."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from flows.barcode_matching import identifiers


@dataclass(frozen=True)
class OrderedSlide:
    """A slide that an order named, as far as matching needs it."""

    slide_id: str
    container_identifier: str  # (0040,0512), SPM-2 or SAC-3
    issuer: str
    cancelled: bool  # by the LIMS: a scan of it is matched all the same, and ends as cancelled with it
    scanned: bool  # has a scan that nobody asked to replace, active or cancelled with it


@dataclass(frozen=True)
class Evidence:
    """What was read from the label and around the scan; none of it is trusted alone."""

    codes: tuple[str, ...]
    file_name: str
    scanner_barcode: str | None


@dataclass(frozen=True)
class Matched:
    """The scan shows this slide."""

    slide_id: str
    container_identifier: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class WaitsForOrder:
    """The label is clear, but no order has named its slide yet."""

    container_identifier: str


@dataclass(frozen=True)
class NeedsPerson:
    """A person must look at the label; candidates are shown, none is preferred."""

    reason: str
    candidates: tuple[OrderedSlide, ...]


Outcome: TypeAlias = Matched | WaitsForOrder | NeedsPerson


def named_anywhere(evidence: Evidence, pattern: str) -> tuple[str, ...]:
    """Return every container identifier that the evidence names, the label's first: what to look up before matching."""
    return tuple(dict.fromkeys((*_on_label(evidence, pattern), *_beside_label(evidence, pattern))))


def match(evidence: Evidence, pattern: str, ordered: Sequence[OrderedSlide]) -> Outcome:
    """Return the one ordered slide that everything agrees on, or why a person or an order is needed.

    Parameters
    ----------
    evidence
        What was read.
    pattern
        The site's pattern for its identifiers, with a group ``container``; other codes on the glass are ignored.
    ordered
        The ordered slides that bear an identifier of ``named_anywhere``; others do no harm.
    """
    on_label = _on_label(evidence, pattern)
    others = tuple(name for name in _beside_label(evidence, pattern) if name not in on_label)
    candidates = _bearing((*on_label, *others), ordered)
    if not on_label:
        return NeedsPerson(_why_nothing_was_read(evidence), candidates)
    if len(on_label) > 1:
        return NeedsPerson(f"The label holds {len(on_label)} identifiers: {_listed(on_label)}.", candidates)
    if others:
        return NeedsPerson(f"The label says {on_label[0]}, but {_where(evidence, pattern, others)}.", candidates)
    return _from_orders(on_label[0], candidates, _reasons(evidence, pattern))


def _on_label(evidence: Evidence, pattern: str) -> tuple[str, ...]:
    fitting = (identifiers.whole(pattern, code) for code in evidence.codes)
    return tuple(dict.fromkeys(identifier for identifier in fitting if identifier is not None))


def _beside_label(evidence: Evidence, pattern: str) -> tuple[str, ...]:
    in_name = identifiers.find(pattern, evidence.file_name)
    return tuple(dict.fromkeys((*in_name, *identifiers.find(pattern, evidence.scanner_barcode or ""))))


def _bearing(names: Sequence[str], ordered: Sequence[OrderedSlide]) -> tuple[OrderedSlide, ...]:
    return tuple(
        slide for name in names for slide in ordered if identifiers.normalised(slide.container_identifier) == name
    )


def _from_orders(identifier: str, bearing: tuple[OrderedSlide, ...], reasons: tuple[str, ...]) -> Outcome:
    if not bearing:
        return WaitsForOrder(identifier)
    issuers = tuple(dict.fromkeys(slide.issuer for slide in bearing))
    if len(issuers) > 1:
        return NeedsPerson(f"{len(issuers)} issuers use {identifier}: {_listed(issuers)}.", bearing)
    if len(bearing) > 1:
        return NeedsPerson(f"{len(bearing)} ordered slides bear {identifier}.", bearing)
    slide = bearing[0]
    if slide.scanned:
        return NeedsPerson(f"{identifier} already has a scan, and nobody asked for another.", bearing)
    standing = "cancelled" if slide.cancelled else "open"
    return Matched(slide.slide_id, identifier, (*reasons, f"One {standing} order of {slide.issuer} names it."))


def _reasons(evidence: Evidence, pattern: str) -> tuple[str, ...]:
    said = ["The label's code fits the site's pattern."]
    if identifiers.find(pattern, evidence.file_name):
        said.append("The file name says the same.")
    if identifiers.find(pattern, evidence.scanner_barcode or ""):
        said.append("The scanner read the same.")
    return tuple(said)


def _why_nothing_was_read(evidence: Evidence) -> str:
    if not evidence.codes:
        return "No code could be read on the label."
    if len(evidence.codes) == 1:
        return "The label's only code does not fit the site's pattern."
    return f"None of the label's {len(evidence.codes)} codes fits the site's pattern."


def _where(evidence: Evidence, pattern: str, others: tuple[str, ...]) -> str:
    in_name = [name for name in identifiers.find(pattern, evidence.file_name) if name in others]
    if in_name:
        return f"the file name says {_listed(in_name)}"
    return f"the scanner read {_listed(others)}"


def _listed(values: Sequence[str]) -> str:
    return ", ".join(values)
