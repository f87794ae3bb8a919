"""What bringing a folder in would change, and what people should know before they agree to it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from flows.people.pools import pool_of
from flows.people.roster.difference import Change, difference
from flows.people.roster.lines import Roster
from flows.people.roster.outcome import Today, outcome
from flows.people.roster.sheets import Fault, Folder
from flows.people.roster.stated import Stated, stated_of
from models.tables.place import Site
from models.tables.reading import Assignment, Read

_MOST_NAMED = 5
_LIKENESS = 0.75
"""Of 0 to 1: from here on two names of subspecialties look like one with a slip."""


@dataclass(frozen=True)
class Preview:
    """What is wrong with a folder; without any fault, what it changes, and sentences about what follows."""

    faults: tuple[Fault, ...]
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()


def preview_of(session: Session, folder: Folder, now: datetime) -> Preview:
    """Return what bringing a folder in would change at this moment; nothing is written."""
    stated = stated_of(session, folder)
    if stated.faults:
        return Preview(tuple(stated.faults))
    lines = {part: stated.lines(part) for part in stated.parts}
    then = outcome(stated.now, lines, _today(session, stated, now))
    return Preview((), difference(stated.now, then), tuple(_notes(session, stated.now, then)))


def _today(session: Session, stated: Stated, now: datetime) -> Today:
    zones = {site: ZoneInfo(zone) for site, zone in session.execute(select(Site.id, Site.zone))}
    days = {site: now.astimezone(zone).date() for site, zone in zones.items()}
    people = (*stated.now.pathologists, *stated.lines("pathologists"))
    earliest = min(days.values(), default=now.date())
    return Today({one.id: days[one.site_id] for one in people}, earliest)


def _notes(session: Session, now: Roster, then: Roster) -> Iterator[str]:
    """Yield what follows for open reads, and who is active and would never be given one."""
    before = {one.id: one for one in now.pathologists}
    was, will = ({site.id: pool_of(site.network_id) for site in roster.sites} for roster in (now, then))
    open_reads = _open_reads(session)
    for one in then.pathologists:
        held, known = open_reads.get(one.id, 0), before.get(one.id)
        if known is None or not held:
            continue
        reads = f"{held} open read{'' if held == 1 else 's'}"
        if known.active and not one.active:
            yield f"{one.id} becomes inactive and still has {reads}, which others get unless they are begun"
        elif was[known.site_id] != will[one.site_id]:
            yield f"{one.id} changes network and keeps {reads}"
    active = {one.id for one in then.pathologists if one.active}
    yield from _without(active, {one.pathologist_id for one in then.competences}, "competence")
    yield from _without(active, {one.pathologist_id for one in then.sessions}, "session")
    yield from _slips(now, then)


def _slips(now: Roster, then: Roster) -> Iterator[str]:
    """Yield the new subspecialties that are nearly one that more people read: any name is allowed."""
    known = {one.subspecialty for one in now.competences}
    readers = Counter(one.subspecialty for one in then.competences)
    for name in sorted(set(readers) - known):
        others = [one for one in (*known, *readers) if one != name and (one in known or readers[one] > readers[name])]
        for near in get_close_matches(name, others, 1, _LIKENESS):
            yield f"the subspecialty '{name}' is new, and nearly '{near}': if that is a slip, correct competences.csv"


def _without(active: set[str], have: set[str], what: str) -> Iterator[str]:
    bare = sorted(active - have)
    if bare:
        more = f" and {len(bare) - _MOST_NAMED} more" if len(bare) > _MOST_NAMED else ""
        yield f"active without any {what}, so that they are given nothing: {', '.join(bare[:_MOST_NAMED])}{more}"


def _open_reads(session: Session) -> dict[str, int]:
    rows: Sequence[tuple[str, int]] = [
        (person, count)
        for person, count in session.execute(
            select(Assignment.pathologist_id, func.count())
            .join(Read, Read.id == Assignment.read_id)
            .where(Assignment.ended_at.is_(None), Read.closed_at.is_(None))
            .group_by(Assignment.pathologist_id)
        )
    ]
    return dict(rows)
