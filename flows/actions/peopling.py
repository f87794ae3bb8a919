"""A person brings people and the rules about them in from files, or has them written out."""

from pathlib import Path
from typing import Final

from flows.actions.absence import move_unopened, off_sick
from flows.actions.desk import Desk, Person
from flows.case_assignment.again import look_again, try_again
from flows.deadlines.recounting import count_anew
from flows.people.pools import lock_pools
from flows.people.roster.bringing import bring_in
from flows.people.roster.folder import write_folder
from flows.people.roster.lines import Roster
from flows.people.roster.preview import Preview, preview_of
from flows.people.roster.sheets import read_folder
from flows.people.roster.standing import standing
from models.database import database_now
from models.errors import RefusedError

_DAYS_COUNT_BY: Final = ("holidays", "sites")
"""What deadlines in working days rest on: with other ones, those of open cases are counted anew."""


def preview_people(desk: Desk, folder: Path) -> Preview:
    """Return everything that is wrong with a folder's files, else what bringing them in changes; nothing is written.

    Raises
    ------
    RefusedError
        It is no folder, or holds none of the files.
    """
    said = read_folder(folder)
    with desk.database.read() as session:
        return preview_of(session, said, database_now(session))


def import_people(desk: Desk, folder: Path, person: Person, seen: Preview | None = None) -> Preview:
    """Bring a folder's files in, all of them or nothing, and return what changed; open reads are looked at again.

    What somebody has not opened whom the files say to be off sick is read by others at once, as after ``absent_now``.

    From then on whoever pathologists.csv names is kept as data, and the settings say nothing of them any more.

    Parameters
    ----------
    seen
        The preview that the person agreed to; refused when it is no longer what would be done.

    Raises
    ------
    RefusedError
        There is something wrong with the files, or what would change is no longer what was seen.
    """
    said = read_folder(folder)
    networks = sorted({one.values["id"] for one in said.rows.get("networks", ()) if one.whole})
    with desk.database.write("people.import") as session:
        lock_pools(session, networks)
        now = database_now(session)
        preview = preview_of(session, said, now)
        if preview.faults:
            raise RefusedError(f"{len(preview.faults)} faults are in these files: 'coverslip people check' names each")
        if seen is not None and seen.changes != preview.changes:
            raise RefusedError("what these files change is no longer what was shown: look again")
        bring_in(session, preview.changes, person.cause("people import"), now)
        if preview.changes:
            try_again(session)
            look_again(session, "people or their hours were brought in", now)
        if any(change.part in _DAYS_COUNT_BY for change in preview.changes):
            count_anew(session)
        ill = off_sick(session, {one.subject.id for one in preview.changes if one.part == "leave"}, now)
    for pathologist_id in ill:
        move_unopened(desk, pathologist_id, person)
    return preview


def export_people(desk: Desk, folder: Path, *, overwrite: bool = False) -> tuple[str, ...]:
    """Write what stands into a folder's files and return their names; as ``write_folder``."""
    return write_folder(roster(desk), folder, overwrite=overwrite)


def roster(desk: Desk) -> Roster:
    """Return all people and the rules about them as they stand."""
    with desk.database.read() as session:
        return standing(session)
