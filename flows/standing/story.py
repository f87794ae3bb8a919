"""What happened to a case, in words: people by their names, no word of the tables."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows.cases import ITS_LANE
from flows.deadlines.telling import called
from flows.standing.beside import report_in_words
from flows.standing.timeline import Entry, in_words
from models.case_fold import A_PERSON, THE_POLICY
from models.facets import Images, Lane, Reading, Report
from models.tables.books import History
from models.tables.reading import Pathologist

_SAID: Final[Mapping[tuple[str, str], str]] = {
    ("case", "registered"): "registered",
    ("cancelled", "True"): "cancelled",
    ("cancelled", "False"): "no longer cancelled",
    ("expected set", "closed"): "no more slides are expected than those that are known",
    ("images", Images.AWAITING): "none of its images can be read",
    ("images", Images.INCOMPLETE): "not all of its images can be read",
    ("images", Images.READY): "its images are ready: it can be read",
    ("reading", Reading.UNASSIGNED): "a reader is looked for",
    ("reading", Reading.NONE): "nobody is to read it",
    ("released_how", ITS_LANE): "its urgency lets it be read before the archive has proven all of its images",
    ("released_how", A_PERSON): "a person lets it be read without what is missing",
    ("released_how", THE_POLICY): "the policy lets it be read without what is missing",
    ("released_how", ""): "it is read early no longer: its images are proven, or what is missing is waited for",
    ("clock", "stands still"): "its clock stands still",
    ("clock", "runs"): "its clock runs again",
    ("patient_id", ""): "whose it is, is not known any more",
}
_UNTOLD: Final = frozenset(
    ("named_patient_id", "released", "round_opened_at", "site_id", "stated_points", "study_instance_uid")
)
"""Changes that another line of the same moment tells, or that only machines follow."""
_LANES: Final = {str(int(lane)): lane.name.replace("_", "-").lower() for lane in Lane}
_STAYS: Final = {
    "stays": "stays with the reader, whatever the rules say",
    "may be moved": "may be moved by the rules again",
}
_DONE_BY: Final = ("opened by", "accepted by")
_IS_A_READER: Final = re.compile(r"(^|\s)reader( of |$)")
_OF_A_FACET: Final[Mapping[str, Callable[[History], str]]] = {
    "patient_id": lambda one: "it is known whose it is" if one.before is None else "it is another patient's",
    "lane": lambda one: f"priority: {_LANES.get(one.after or '', one.after)}",
    "report": lambda one: f"report: {report_in_words(one.after or Report.NONE, 1, is_closed=False)}",
    "round": lambda one: f"round {one.after} begins: it is read again",
    "round_closed_at": lambda one: "nobody is to read it any more" if one.after else "it is to be read again",
}


def story_of_case(session: Session, changes: Sequence[History], when: Callable[[datetime], str]) -> tuple[Entry, ...]:
    """Return what happened to a case, the first first; ``when`` says a moment as its readers want it."""
    said = [value for change in changes for value in (change.before, change.after) if value]
    query = select(Pathologist.id, Pathologist.name).where(Pathologist.id.in_(said))
    names: dict[str, str] = dict(session.execute(query).all())
    return tuple(
        Entry(change.at, what, change.cause, change.actor, change.reason)
        for change in changes
        for what in _told(change, names, when)
    )


def _told(change: History, names: Mapping[str, str], when: Callable[[datetime], str]) -> Iterator[str]:
    """Yield what is said of one change: a sentence, or nothing."""
    what, after = change.what, change.after or ""
    if (known := _SAID.get((what, after))) is not None:
        yield known
    elif what in _OF_A_FACET:
        yield _OF_A_FACET[what](change)
    elif what.startswith(("due (", "deadline")):
        yield _deadline(change, when)
    elif _IS_A_READER.search(what):
        yield _reader(change, names)
    elif what in _DONE_BY:
        yield f"{what} {names.get(after, after)}"
    elif what not in _UNTOLD and (what, after) != ("reading", Reading.ASSIGNED):
        yield _otherwise(change)


def _otherwise(change: History) -> str:
    if change.what.startswith("work order "):
        what = change.what.removeprefix("work order ")
        return f"{what} {'asked for' if change.after == 'asked' else change.after}"
    if (change.after or "").startswith("asked for by"):
        return f"{_as_called(change.what)} {change.after}"
    return f"{change.what} was ticked off" if change.after == "acknowledged" else in_words(change)


def _reader(change: History, names: Mapping[str, str]) -> str:
    what, before, after = _as_called(change.what), change.before, change.after
    if after in _STAYS:
        return f"the {what.removesuffix('reader')}read {_STAYS[after]}"
    had, has = (names.get(one, one) if one else None for one in (before, after))
    if has is None:
        return f"{what}: {had} no longer"
    return f"{what}: {has}" if had is None else f"{what}: {has}, no longer {had}"


def _as_called(read: str) -> str:
    return re.sub(r"^mdt\b", "MDT", read)


def _deadline(change: History, when: Callable[[datetime], str]) -> str:
    if change.what == "deadline":
        return f"due first: {called(change.after or '')}, no longer {called(change.before or '')}"
    kind = called(change.what.removeprefix("due (").removesuffix(")"))
    if change.after is None:
        return f"due no longer: {kind}"
    return f"due {when(datetime.fromisoformat(change.after))}: {kind}"
