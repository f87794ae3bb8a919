"""A case's report, and its rounds of reading: a final report ends one, what comes later opens the next.

Every function takes the state before something was said and returns the state after it; the caller gives them what was
said in its order of telling.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from models.facets import Report
from models.statements import ReportPart

_ENDED: Final = "ended"
_REOPENS: Final = (Report.SUPPLEMENTARY, Report.CORRECTED, Report.CANCELLED)
# In one message: what opens a round goes before what closes it.
_ORDER: Final = (Report.CANCELLED, Report.CORRECTED, Report.SUPPLEMENTARY, Report.PRELIMINARY, Report.FINAL)


@dataclass(frozen=True)
class Round:
    """The present round: its number, what the report says, and when it was opened and closed.

    The first is open from the first order on, and has no other moment of its own.
    ``covered`` are the specimens that a final result of this round covers; ``covers_all`` says that one covers the
    whole case, ``by`` whether that was a report or only the word that nobody works on the case any more, and ``past``
    the same of each round before. What a new round is not about stays covered.
    """

    number: int = 1
    report: str = Report.NONE
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    covered: frozenset[str] = frozenset()
    covers_all: bool = False
    by: str = ""
    past: tuple[str, ...] = ()

    @property
    def is_closed(self) -> bool:
        """Whether nobody is to read the case any more."""
        return self.closed_at is not None

    @property
    def may_end(self) -> bool:
        """Whether something was said that ends it as soon as every specimen is covered."""
        return bool(self.by) and not self.is_closed


def reported(before: Round, parts: Iterable[ReportPart]) -> Round:
    """Return the round after a report of these parts."""
    for part in sorted(parts, key=lambda part: _ORDER.index(Report(part.status))):
        before = _part(before, part)
    return before


def ended(before: Round) -> Round:
    """Return the round after it was said that nobody will work on the case any more."""
    return before if before.is_closed else replace(before, covers_all=True, by=before.by or _ENDED)


def came_late(before: Round, concerned: frozenset[str] = frozenset()) -> Round:
    """Return the round after a slide or specimen was ordered that the case did not have.

    ``concerned`` are the specimens that it is, or is of; with none it may be of any.
    """
    if before.is_closed:
        return _next(before, concerned)
    # A report that was there before its first order said nothing about what was ordered only now.
    covered = before.covered - concerned
    return replace(before, covers_all=False, covered=covered, by=Report.FINAL if covered else "")


def settled(before: Round, specimens: frozenset[str], at: datetime) -> Round:
    """Return the round, closed if every one of these specimens is covered by now: they are those that count.

    Where there is none, nothing tells what else was to be reported: only what covers the whole case ends it.
    """
    covered = bool(specimens) and specimens <= before.covered
    if not before.may_end or not (before.covers_all or covered):
        return before
    report = before.report if before.by == _ENDED else Report.FINAL
    return replace(before, closed_at=at, report=report, covered=specimens)


def _part(before: Round, part: ReportPart) -> Round:
    status = Report(part.status)
    if status in _REOPENS:
        return _reopened(before, status, part)
    if before.is_closed:
        # Said once more, or an older draft: final it stays.
        return before
    if status == Report.PRELIMINARY:
        return replace(before, report=Report.PRELIMINARY)
    covered = before.covered | frozenset(part.specimens)
    covers_all = before.covers_all or not part.specimens
    return replace(before, report=_so_far(before, part), covered=covered, covers_all=covers_all, by=Report.FINAL)


def _so_far(before: Round, part: ReportPart) -> str:
    """Return what the report is after a final result, which may cover a part of the case only."""
    if not part.specimens:
        return Report.FINAL
    return Report.PRELIMINARY if before.report == Report.NONE else before.report


def _reopened(before: Round, status: Report, part: ReportPart) -> Round:
    """A correction or an addition after the final report is another round; before it, only a word about the report."""
    if before.is_closed:
        return replace(_next(before, before.covered & frozenset(part.specimens)), report=status)
    if status != Report.CANCELLED and not before.past:
        return replace(before, report=status)
    covered = before.covered - frozenset(part.specimens) if part.specimens else frozenset[str]()
    report = before.report if part.specimens and status == Report.CANCELLED else status
    return replace(before, report=report, covered=covered, covers_all=False, by=Report.FINAL if covered else "")


def _next(before: Round, concerned: frozenset[str]) -> Round:
    """Return the round after a closed one; it is about what is concerned, else about all."""
    covered = before.covered - concerned if concerned else frozenset[str]()
    return Round(before.number + 1, before.report, covered=covered, past=(*before.past, before.by))
