"""What changes of a case after somebody could look at it: its reader is told, and a person ticks it off by name.

The caller holds the case's row in its write transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args

from sqlalchemy import bindparam, exists, select, update
from sqlalchemy.orm import Session

from flows import notices
from flows.books import Subject, clear_alerts, raise_alert
from flows.completeness import READABLE, ExpectedSlide, SlideStanding, standing_of
from flows.expected import expected_slides
from models.base import table_of
from models.facets import Images, Outcome, Storage
from models.scan_fold import EditionRaised, MatchWithdrawn
from models.tables.books import Fact
from models.tables.case import Case, Slide
from models.tables.reading import Assignment, Notice, Read

LATE_SLIDE: Final = "late slide"
"""The alert about a slide that came, or went, after its case could be read."""
PROOF_FAILED: Final = "proof failed"
"""The alert about a slide that was read before its archive copy was proven, and never was."""

_What = Literal["ordered", "added", "came", "gone", "failed"]
_SAID: Final[dict[_What, str]] = {
    "ordered": "was ordered after its case could be read, and is still to come: wait for it, or report without it",
    "added": "was added after its case could be read: look at it",
    "came": "was missing, and can be read now: look at it",
    "gone": "can't be read any more as it was: it was withdrawn, its images are gone, or it is to be scanned again",
    "failed": "was read before the archive had proven its image, and the proof failed: what was seen may not be kept",
}
_KIND: Final[dict[_What, notices.NoticeKind]] = {
    "ordered": "late slide",
    "added": "late slide",
    "came": "late slide",
    "gone": "withdrawn",
    "failed": "proof failed",
}
_PROVEN: Final = "was read before the archive had proven its images: all that can be read of it are proven now"
_MISSING: Final = tuple(one for one in get_args(SlideStanding) if one not in READABLE)

_SLIDE, _READ, _ASSIGNMENT, _FACT = table_of(Slide), table_of(Read), table_of(Assignment), table_of(Fact)
_READABLE_SINCE = (
    update(_SLIDE)
    .where(_SLIDE.c.id.in_(bindparam("slides", expanding=True)))
    .values(readable_at=bindparam("since", type_=_SLIDE.c.readable_at.type))
)
_NAMES = select(_SLIDE.c.id, _SLIDE.c.container_identifier).where(_SLIDE.c.id.in_(bindparam("slides", expanding=True)))
_OWNERS = (
    select(_ASSIGNMENT.c.pathologist_id, _READ.c.id)
    .join(_READ, _READ.c.id == _ASSIGNMENT.c.read_id)
    .where(_READ.c.case_id == bindparam("of_case"), _READ.c.closed_at.is_(None), _ASSIGNMENT.c.ended_at.is_(None))
    .order_by(_READ.c.id.desc())
)
_WHO_READ_IT = (
    select(_ASSIGNMENT.c.pathologist_id, _READ.c.id, _READ.c.round)
    .join(_READ, _READ.c.id == _ASSIGNMENT.c.read_id)
    .where(_READ.c.case_id == bindparam("of_case"), _READ.c.role == "primary")
    .order_by(_READ.c.round.desc(), _ASSIGNMENT.c.id.desc())
)
_NOTICE, _LATER = table_of(Notice), table_of(Notice).alias("later")
_TOLD_BEFORE_PROOF = (
    select(_NOTICE.c.pathologist_id, _NOTICE.c.read_id)
    .where(_NOTICE.c.case_id == bindparam("of_case"), _NOTICE.c.kind == "before proof")
    .where(
        ~exists().where(
            *(_LATER.c.read_id == _NOTICE.c.read_id, _LATER.c.pathologist_id == _NOTICE.c.pathologist_id),
            *(_LATER.c.id > _NOTICE.c.id, _LATER.c.kind.in_(("proven", "proof failed"))),
        )
    )
    .distinct()
    .order_by(_NOTICE.c.read_id, _NOTICE.c.pathologist_id)
)
_EDITIONS = (
    select(_FACT.c.subject_id, _FACT.c.kind)
    .where(_FACT.c.subject_id.in_(bindparam("scans", expanding=True)))
    .where(_FACT.c.kind.in_((EditionRaised.__name__, MatchWithdrawn.__name__)))
    .order_by(_FACT.c.id)
)


@dataclass(frozen=True)
class News:
    """Which slides can be read that could not, and which can't any more, both as they stand now."""

    came: tuple[ExpectedSlide, ...] = ()
    went: tuple[ExpectedSlide, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.came or self.went)


@dataclass(frozen=True)
class Readers:
    """Who hears of a case's slides: each person, with a read of theirs."""

    reads: Mapping[str, str]
    listen: bool
    """Whether the case could be read, or is with somebody, or was reported: else nothing of it is late."""


def note_readable(session: Session, expected: Sequence[ExpectedSlide], now: datetime) -> News:
    """Keep since when each slide can be read, and return what has changed."""
    slides = [one for one in expected if one.being_made is None]
    came = tuple(one for one in slides if one.readable_at is None and standing_of(one) in READABLE)
    went = tuple(one for one in slides if one.readable_at is not None and standing_of(one) not in READABLE)
    for some, since in ((came, now), (went, None)):
        if some:
            session.execute(_READABLE_SINCE, {"slides": [one.slide_id for one in some], "since": since})
    return News(came, went)


def readers_of(session: Session, case: Case, *, is_ordered: bool) -> Readers:
    """Return who is to hear of late slides of a case, before it is judged anew; ``is_ordered`` says one is new."""
    owners = dict(session.execute(_OWNERS, {"of_case": case.id}).all())
    if owners:
        return Readers(owners, listen=True)
    last = _last_readers(session, case.id)
    was_read = bool(last) and (is_ordered or case.round_closed_at is not None)
    return Readers(last, listen=case.images == Images.READY or was_read)


def _last_readers(session: Session, case_id: str) -> dict[str, str]:
    """Return who had each primary read last, in the last round in which anybody had one."""
    by_read: dict[str, str] = {}
    rows = session.execute(_WHO_READ_IT, {"of_case": case_id}).all()
    for reader, read_id, number in rows:
        if number == rows[0].round:
            by_read.setdefault(read_id, reader)
    return {reader: read_id for read_id, reader in by_read.items()}


def tell(session: Session, case: Case, readers: Readers, news: News, ordered: Collection[str], now: datetime) -> None:
    """Tell the readers of each slide that was ordered, came or went, and have a person tick it off."""
    what = _what_of(session, news, ordered)
    names = dict(session.execute(_NAMES, {"slides": list(what)}).all()) if what else {}
    for slide_id, said in sorted(what.items()):
        # What was said of it before is no longer how it stands: whoever ticks it off has to know of this.
        clear_alerts(session, slide_id, (LATE_SLIDE, PROOF_FAILED), now)
        kind = PROOF_FAILED if said == "failed" else LATE_SLIDE
        raise_alert(session, Subject("slide", slide_id), kind, f"a slide {_SAID[said]}", now)
        for reader, read_id in sorted(readers.reads.items()):
            sentence = f"{_of_slide(names.get(slide_id, slide_id))}{_SAID[said]}"
            notices.tell(session, reader, case.id, _KIND[said], sentence, now, read_id)


def see(session: Session, reader: str, slide_id: str, told_at: datetime, now: datetime) -> int:
    """Mark as seen what a reader was told of a slide, up to the news of that moment; return how many notices."""
    slide = session.get(Slide, slide_id)
    if slide is None:
        # What a cancel alone had made is gone once its order names another.
        return 0
    said_of_it = (
        *(_NOTICE.c.pathologist_id == reader, _NOTICE.c.case_id == slide.case_id),
        _NOTICE.c.sentence.startswith(_of_slide(slide.container_identifier), autoescape=True),
        _NOTICE.c.kind.in_(sorted(set(_KIND.values()))),
        _NOTICE.c.made_at <= told_at,
        _NOTICE.c.seen_at.is_(None),
    )
    return len(session.scalars(update(_NOTICE).where(*said_of_it).values(seen_at=now).returning(_NOTICE.c.id)).all())


def tell_what_lacks(session: Session, case: Case, reader: str, read_id: str, now: datetime) -> None:
    """Tell whoever is given a case which of its slides are missing, and which are read before they are proven."""
    if case.released_how is None and case.images == Images.READY:
        return
    standings = {one.slide_id: (one, standing_of(one)) for one in expected_slides(session, case)}
    names = dict(session.execute(_NAMES, {"slides": list(standings)}).all())
    is_read = case.images == Images.READY
    lacks: tuple[tuple[notices.NoticeKind, str, tuple[SlideStanding, ...]], ...] = (
        ("incomplete", f"{'is read without' if is_read else 'waits for'} slides that are still missing", _MISSING),
        ("before proof", "is read before the archive has proven slides", ("not proven yet",)),
    )
    for kind, said, its_standings in lacks:
        them = sorted(
            names.get(slide_id, f"a {one.being_made}")
            for slide_id, (one, where) in standings.items()
            if where in its_standings
        )
        if them:
            notices.tell(session, reader, case.id, kind, f"{said}: {', '.join(them)}", now, read_id)


def tell_proven(session: Session, case: Case, now: datetime) -> bool:
    """Tell whoever was given a case before all of it was proven that it is now, once; return whether anybody was."""
    told = session.execute(_TOLD_BEFORE_PROOF, {"of_case": case.id}).all()
    for reader, read_id in told:
        notices.tell(session, reader, case.id, "proven", _PROVEN, now, read_id)
    return bool(told)


def _of_slide(name: str) -> str:
    """Return how all that readers are told of a slide begins."""
    return f"slide {name} "


def _what_of(session: Session, news: News, ordered: Collection[str]) -> dict[str, _What]:
    """Return what is to be said of which slide: what is only corrected comes back as it was, and is no news."""
    corrected = _corrected(session, [scan.scan_id for one in (*news.came, *news.went) for scan in one.scans])
    what: dict[str, _What] = dict.fromkeys(ordered, "ordered")
    for one in news.came:
        if one.slide_id in what:
            what[one.slide_id] = "added"
        elif not _is_by(one, corrected):
            what[one.slide_id] = "came"
    for one in news.went:
        if any((scan.outcome, scan.storage) == (Outcome.SET_ASIDE, Storage.STORED) for scan in one.scans):
            what[one.slide_id] = "failed"
        elif not _is_by(one, corrected):
            what[one.slide_id] = "gone"
    return what


def _corrected(session: Session, scan_ids: Sequence[str]) -> set[str]:
    """Return the scans whose present edition corrects only whom its objects name."""
    latest = dict(session.execute(_EDITIONS, {"scans": scan_ids}).all()) if scan_ids else {}
    return {scan_id for scan_id, kind in latest.items() if kind == EditionRaised.__name__}


def _is_by(slide: ExpectedSlide, corrected: Collection[str]) -> bool:
    active = [scan.scan_id for scan in slide.scans if scan.outcome == Outcome.ACTIVE]
    return bool(active) and all(scan_id in corrected for scan_id in active)
