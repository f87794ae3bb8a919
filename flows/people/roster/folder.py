"""A roster written into a folder, so that bringing it in again changes nothing."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import time
from pathlib import Path
from typing import Any

from flows.people.roster.lines import ConflictLine, Roster, SessionLine
from flows.people.roster.sheets import FILES, SHEETS, written
from models.errors import RefusedError


def write_folder(roster: Roster, folder: Path, *, overwrite: bool = False) -> tuple[str, ...]:
    """Write every part into its file and return the files' names; the folder is made when it is not there.

    Raises
    ------
    RefusedError
        Files of these names are there, and are not to be written over; or the folder can't be written to.
    """
    present = [name for name in FILES if (folder / name).exists()]
    if present and not overwrite:
        raise RefusedError(f"that folder holds {', '.join(present)}: give an empty one, or say --overwrite")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for sheet in SHEETS:
            text = written(sheet, _rows(sheet.part, roster))
            (folder / sheet.file).write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise RefusedError(f"that folder can't be written to ({error.strerror}): give another one") from error
    return FILES


def _rows(part: str, roster: Roster) -> Iterator[Mapping[str, Any]]:
    if part == "sessions":
        yield from _hours(roster.sessions)
        return
    for line in getattr(roster, part):
        if part == "conflicts":
            yield _conflict(line)
        elif part != "competences" or line.valid_to is None or line.valid_from < line.valid_to:
            yield asdict(line)


def _hours(sessions: tuple[SessionLine, ...]) -> Iterator[Mapping[str, Any]]:
    """Yield the same hours of several days as one row."""
    days: dict[tuple[str, time, time], list[int]] = defaultdict(list)
    for one in sessions:
        days[one.pathologist_id, one.starts, one.ends].append(one.weekday)
    for (pathologist_id, starts, ends), weekdays in days.items():
        yield {"pathologist_id": pathologist_id, "weekdays": weekdays, "starts": starts, "ends": ends}


def _conflict(line: ConflictLine) -> Mapping[str, Any]:
    named = {"case": "", "patient": "", line.subject_kind: line.subject_id}
    return {"pathologist_id": line.pathologist_id, "because": line.because, **named}
