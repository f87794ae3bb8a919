"""What the files of a folder say about what is known: every line of them, and everything that is wrong with them."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from flows.people.roster.checks import Known, faults_of
from flows.people.roster.lines import IMPORT, Roster
from flows.people.roster.sheets import SHEETS, Fault, Folder, Said
from flows.people.roster.standing import line_of, standing
from flows.people.roster.subjects import Subjects, subjects_named


@dataclass
class Stated:
    """The lines of each part whose file is there, what stands beside them, and all faults in the order of the files."""

    now: Roster
    parts: dict[str, list[Any]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def lines(self, part: str) -> list[Any]:
        """Return a part's lines as the file says them, or as they stand while there is no file."""
        return self.parts.get(part, list(getattr(self.now, part)))


def stated_of(session: Session, folder: Folder) -> Stated:
    """Return what a folder says, compared with what is known here; nothing is written."""
    stated = Stated(standing(session))
    subjects = subjects_named(session, folder.rows.get("conflicts", ()))
    known = _known(stated.now, folder, subjects)
    faults = {*folder.faults, *faults_of(folder.rows, known), *_left_behind(stated.now, folder, known)}
    order = {sheet.file: number for number, sheet in enumerate(SHEETS)}
    stated.faults = sorted(faults, key=lambda fault: (order.get(fault.file, -1), fault))
    if not stated.faults:
        stated.parts = {part: list(_lines(part, rows, subjects)) for part, rows in folder.rows.items()}
    return stated


def _known(now: Roster, folder: Folder, subjects: Subjects) -> Known:
    def named(part: str, column: str = "id") -> Collection[str] | None:
        if part in folder.named:
            return folder.named[part]
        return {getattr(line, column) for line in getattr(now, part)}

    people = named("pathologists")
    in_settings = [one.id for one in now.pathologists if one.source != IMPORT]
    return Known(
        named={
            "network": named("networks"),
            "calendar": named("holidays", "calendar"),
            "site": {site.id for site in now.sites},
            # Whoever is no longer named stays known: inactive.
            "pathologist": None if people is None else {*people, *(one.id for one in now.pathologists)},
        },
        kept_in_settings=() if "pathologists" in folder.rows else in_settings,
        subjects=subjects,
    )


def _lines(part: str, rows: Iterable[Said], subjects: Subjects) -> Iterator[Any]:
    for said in rows:
        values = dict(said.values)
        if part == "sessions":
            for weekday in values.pop("weekdays"):
                yield line_of(part, values | {"weekday": weekday})
        elif part == "conflicts":
            subject = subjects.of(values.pop("case"), values.pop("patient"))
            if not isinstance(subject, str):
                yield line_of(part, values | {"subject_kind": subject.kind, "subject_id": subject.id})
        else:
            yield line_of(part, values)


def _left_behind(now: Roster, folder: Folder, known: Known) -> Iterator[Fault]:
    """Yield what stands, is said by no file of the folder, and names what a file no longer does."""
    in_file = folder.named.get("sites", set())
    sites = [one for one in now.sites if in_file is not None and one.id not in in_file]
    aids = now.network_aid if "network_aid" not in folder.rows else ()
    named = [("networks", "network", one.network_id, f"site {one.id}", "sites.csv") for one in sites]
    named += [("holidays", "calendar", one.calendar, f"site {one.id}", "sites.csv") for one in sites]
    for one in aids:
        both = (one.network_id, one.aiding_id)
        named += [("networks", "network", name, "an agreement of mutual aid", "network_aid.csv") for name in both]
    for part, what, name, by_whom, file in named:
        names = known.named[what]
        if part in folder.rows and name is not None and names is not None and name not in names:
            sentence = f"no longer names '{name}', which {by_whom} does: name it, or say otherwise in {file}"
            yield Fault(f"{part}.csv", 0, "", sentence)
