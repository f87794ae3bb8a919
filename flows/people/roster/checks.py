"""What is wrong with the rows of a folder's files beside each other, and beside what is known.

Each check looks at every row, those too of which some cell can't be read: people hear of everything at once.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from flows.people.pools import THE_POOL
from flows.people.roster.cells import DAYS
from flows.people.roster.sheets import SHEETS, Fault, Said, Sheet
from flows.people.roster.standing import KEYS
from flows.people.roster.subjects import Subjects

_Faults = Iterator[tuple[int, str, str]]
"""Row, column and sentence of each fault in one file."""


@dataclass(frozen=True)
class Known:
    """What may be named, by what it is; ``None``: a file can't be read, so nothing is called unknown."""

    named: Mapping[str, Collection[str] | None]
    kept_in_settings: Collection[str]
    """Those whose competences and sessions the settings say."""
    subjects: Subjects


def faults_of(rows: Mapping[str, Sequence[Said]], known: Known) -> Iterator[Fault]:
    """Yield everything that is wrong with rows that could be read, file by file."""
    for sheet in SHEETS:
        said = rows.get(sheet.part, ())
        for check in (_unknown, _twice, *_CHECKS.get(sheet.part, ())):
            for row, column, sentence in check(sheet, said, known):
                yield Fault(sheet.file, row, column, sentence)


def _unknown(sheet: Sheet, rows: Sequence[Said], known: Known) -> _Faults:
    for column in sheet.columns:
        what = _NAMES.get((sheet.part, column.field))
        names = known.named[what] if what else None
        if what is None or names is None:
            continue
        for said in rows:
            name = said.values.get(column.field)
            if name is not None and name not in names:
                yield said.row, column.name, f"names the {what} '{name}', which is not known: {_WHERE[what]}"


def _twice(sheet: Sheet, rows: Sequence[Said], known: Known) -> _Faults:
    first: dict[tuple[Any, ...], int] = {}
    for said in rows:
        again = {first[key]: key for key in _keys(sheet.part, said, known) if key in first}
        for row, key in again.items():
            if sheet.part == "sessions":
                on = f"{DAYS[key[1]]} at {key[2]:%H:%M}"
                yield said.row, "days", f"says a session on {on}, as row {row} does: leave one out"
            else:
                yield said.row, sheet.columns[0].name, f"says the same as row {row}: leave one out"
        for key in _keys(sheet.part, said, known):
            first.setdefault(key, said.row)


def _keys(part: str, said: Said, known: Known) -> list[tuple[Any, ...]]:
    """Return what there can be only one of, as far as the row says it."""
    values = dict(said.values)
    if part == "conflicts" and {"case", "patient"} <= values.keys():
        subject = known.subjects.of(values["case"], values["patient"])
        values["subject_id"] = None if isinstance(subject, str) else subject.id
    each = [values | {"weekday": day} for day in values.get("weekdays", ())] if part == "sessions" else [values]
    keys = [tuple(one.get(name) for name in KEYS[part]) for one in each]
    return [key for key in keys if None not in key]


def _reserved(_sheet: Sheet, rows: Sequence[Said], _known: Known) -> _Faults:
    for said in rows:
        if said.values.get("id") == THE_POOL:
            yield said.row, "id", f"can't be '{THE_POOL}', which is what sites without a network share: choose another"


def _itself(_sheet: Sheet, rows: Sequence[Said], _known: Known) -> _Faults:
    for said in rows:
        network = said.values.get("network_id")
        if network is not None and network == said.values.get("aiding_id"):
            yield said.row, "aiding", "is the network itself, which needs no agreement: leave the row out"


def _called_alike(_sheet: Sheet, rows: Sequence[Said], _known: Known) -> _Faults:
    """Yield each name of an active person that an active one of a row above has: a message could mean either."""
    first: dict[str, Said] = {}
    for said in rows:
        if said.values.get("active") is False or not {"id", "known_as"} <= said.values.keys():
            continue
        names = said.values["known_as"]
        for name in names or (said.values["id"],):
            other = first.setdefault(name.casefold(), said)
            if other.values["id"] != said.values["id"]:
                sentence = f"is what row {other.row} is known as too: a message could mean either"
                yield said.row, "known_as" if names else "id", sentence


def _kept_in_settings(_sheet: Sheet, rows: Sequence[Said], known: Known) -> _Faults:
    for said in rows:
        if said.values.get("pathologist_id") in known.kept_in_settings:
            sentence = "is kept in the settings: put pathologists.csv beside this file, with them in it"
            yield said.row, "pathologist", sentence


def _no_competence(_sheet: Sheet, rows: Sequence[Said], _known: Known) -> _Faults:
    for said in rows:
        if said.values.get("digital") is False and said.values.get("glass") is False:
            yield said.row, "digital", "is no and so is glass, so it is no competence: make one of them yes"


def _competence_dates(_sheet: Sheet, rows: Sequence[Said], _known: Known) -> _Faults:
    spans: dict[tuple[Any, ...], list[_Span]] = defaultdict(list)
    for said in rows:
        begins, ends = said.values.get("valid_from"), said.values.get("valid_to")
        who = (said.values.get("pathologist_id"), said.values.get("subspecialty"))
        if begins is None or "valid_to" not in said.values:
            continue
        if ends is not None and ends <= begins:
            yield said.row, "to", "is before the day in from: a competence can't end before it begins"
        elif None not in who:
            spans[who].append((begins, ends or date.max, said.row))
    for row, other in _within(spans):
        yield row, "from", f"is within the time of row {other}, which says the same subspecialty: end that one before"


def _leave_dates(_sheet: Sheet, rows: Sequence[Said], _known: Known) -> _Faults:
    spans: dict[tuple[Any, ...], list[_Span]] = defaultdict(list)
    for said in rows:
        begins, last = said.values.get("first_day"), said.values.get("last_day")
        who = (said.values.get("pathologist_id"), said.values.get("kind"))
        if begins is None or last is None:
            continue
        if last < begins:
            yield said.row, "last_day", "is before first_day: leave can't end before it begins"
        elif None not in who:
            spans[who].append((begins, last + timedelta(days=1), said.row))
    for row, other in _within(spans):
        yield row, "first_day", f"is within the leave of row {other}: make one of both"


_Span = tuple[date, date, int]
"""First day, the day after the last one, and the row."""


def _within(spans: Mapping[tuple[Any, ...], list[_Span]]) -> Iterator[tuple[int, int]]:
    """Yield the row of each span that begins within another of the same key, which began before it, and the other's."""
    for same in spans.values():
        longest = (date.min, date.min, 0)
        for span in sorted(same, key=lambda one: (one[0], one[2])):
            if longest[0] < span[0] < longest[1]:
                yield span[2], longest[2]
            longest = max(longest, span, key=lambda one: one[1])


def _subject(_sheet: Sheet, rows: Sequence[Said], known: Known) -> _Faults:
    """Say what is wrong with the case or patient of a conflict; no sentence repeats what is written there."""
    for said in rows:
        if {"case", "patient"} <= said.values.keys():
            found = known.subjects.of(said.values["case"], said.values["patient"])
            if isinstance(found, str):
                yield said.row, "patient" if said.values["patient"] else "case", found


_Check = Callable[[Sheet, Sequence[Said], Known], _Faults]
_CHECKS: Final[Mapping[str, tuple[_Check, ...]]] = {
    "networks": (_reserved,),
    "network_aid": (_itself,),
    "pathologists": (_called_alike,),
    "competences": (_kept_in_settings, _no_competence, _competence_dates),
    "sessions": (_kept_in_settings,),
    "leave": (_leave_dates,),
    "conflicts": (_subject,),
}

_NAMES: Final[Mapping[tuple[str, str], str]] = {
    ("network_aid", "network_id"): "network",
    ("network_aid", "aiding_id"): "network",
    ("sites", "id"): "site",
    ("sites", "network_id"): "network",
    ("sites", "calendar"): "calendar",
    ("pathologists", "site_id"): "site",
    ("competences", "pathologist_id"): "pathologist",
    ("sessions", "pathologist_id"): "pathologist",
    ("leave", "pathologist_id"): "pathologist",
    ("conflicts", "pathologist_id"): "pathologist",
}
"""What a field names, by part and field."""
_WHERE: Final = {
    "network": "networks are named in networks.csv",
    "calendar": "the days of each calendar are in holidays.csv",
    "site": "sites are named in the settings",
    "pathologist": "people are named in pathologists.csv",
}
