"""What scanners tell: a scan is registered with its file, a failure is raised, and how a scanner stands is kept.

Scanners tell by our own watchers, which take the file themselves, or by the event log: then a gateway's spool holds the
bytes already, or the watcher of the folder that is named will take them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import Executable, bindparam, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from connectors.settings_doors import ScannerFolder
from connectors.telemetry import traceparent_of
from connectors.wiring import Lab
from flows.books import Cause, Subject, clear_alert, raise_alert
from flows.changes import change_scan
from flows.intake.sightings import note_sighting
from models.base import table_of
from models.database import database_now, insert_unless_there
from models.errors import RejectedError
from models.events.envelope import Event
from models.events.kinds import ScannerStatus, SlideFailed, SlideScanned, TakenFile
from models.facets import FileState
from models.scan_fold import ScanReceived
from models.tables.intake import ScannerStanding
from models.tables.place import Site
from models.tables.scan import Scan, ScanFile

SLIDE_FAILED: Final = "slide failed"
SCANNER_IN_NEED: Final = "scanner in need"
CLOCK_AHEAD: Final = timedelta(minutes=5)
"""A sender's clock may run ahead by so much; beyond it, our own time of receipt counts."""
_IN_NEED: Final = ("needs a person", "error")

_SCAN, _SCAN_FILE, _STANDING = table_of(Scan), table_of(ScanFile), table_of(ScannerStanding)
_NAME_SCAN = update(_SCAN_FILE).where(_SCAN_FILE.c.id == bindparam("file_id")).values(scan_id=bindparam("registered"))
_THE_SCAN = select(Scan).where(Scan.id == bindparam("registered"))
# The site's row is the lock, as it is for its watchers: two may hand in the same bytes at the same moment.
_LOCK_SITE = select(Site.id).where(Site.id == bindparam("site")).with_for_update(key_share=True)
_STATE = select(_SCAN_FILE.c.state).where(_SCAN_FILE.c.id == bindparam("file_id"))
_SITE_HAS = select(
    exists().where(
        _SCAN_FILE.c.site_id == bindparam("site"),
        _SCAN_FILE.c.sha256 == bindparam("digest"),
        _SCAN_FILE.c.state == FileState.TAKEN,
        _SCAN_FILE.c.id != bindparam("file_id"),
    )
)
_OF_PATH = (_SCAN_FILE.c.root == bindparam("of_root"), _SCAN_FILE.c.relative_path == bindparam("of_path"))
_NOT_TAKEN = _SCAN_FILE.c.state.in_((FileState.ARRIVING, FileState.REFUSED))
_TAKE_OVER = (
    update(_SCAN_FILE)
    .where(
        *_OF_PATH,
        _SCAN_FILE.c.bytes == bindparam("of_bytes"),
        _SCAN_FILE.c.modified_ns == bindparam("of_modified_ns"),
        _NOT_TAKEN,
    )
    .values(
        id=bindparam("new_id"),
        state=bindparam("to"),
        sha256=bindparam("digest"),
        place=bindparam("at_place"),
        problem=None,
        taken_at=bindparam("at"),
    )
)
_IS_KNOWN = select(exists().where(*_OF_PATH, _SCAN_FILE.c.state != FileState.REFUSED))
_EXPECT_AGAIN = (
    update(_SCAN_FILE)
    .where(*_OF_PATH, _SCAN_FILE.c.bytes == 0, _SCAN_FILE.c.modified_ns == 0, _NOT_TAKEN)
    .values(state=FileState.ARRIVING, problem=None, changed_at=bindparam("at"))
)
_FILES_OF_PATH = (
    select(_SCAN_FILE.c.modified_ns, _SCAN_FILE.c.first_seen_at, _SCAN.c.scanned_at)
    .outerjoin(_SCAN, _SCAN.c.id == _SCAN_FILE.c.scan_id)
    .where(
        _SCAN_FILE.c.site_id == bindparam("site"),
        _SCAN_FILE.c.root.in_(bindparam("roots", expanding=True)),
        _SCAN_FILE.c.relative_path == bindparam("of_path"),
        _SCAN_FILE.c.state != FileState.REFUSED,
    )
)


@dataclass(frozen=True)
class Received:
    """A file that is ours, in the spool of some place: which folder it is of, and when it came."""

    site_id: str
    root: str
    file_id: str
    sha256: str
    received_at: datetime
    scanned_at: datetime | None = None


def register_scan(lab: Lab, session: Session, file: Received, cause: Cause) -> None:
    """Register a scan with its file, unless it is there; its first two steps follow, side by side."""
    scan_id = lab.ids.scan(file.site_id, (file.sha256,))
    row = {
        "id": scan_id,
        "site_id": file.site_id,
        "scanner": file.root,
        "received_at": file.received_at,
        "scanned_at": file.scanned_at,
        "traceparent": traceparent_of(scan_id),
        "edition": 1,
        "quality": "pending",
        "quality_by_person": False,
        "identity": "pending",
        "storage": "received",
        "outcome": "active",
        "purpose": "primary",
    }
    if insert_unless_there(session, Scan, [row]):
        session.execute(_NAME_SCAN, {"file_id": file.file_id, "registered": scan_id})
        scan = session.scalars(_THE_SCAN, {"registered": scan_id}).one()
        received = ScanReceived(site_id=file.site_id, scanner=file.root, digests=(file.sha256,))
        change_scan(session, lab.settings, scan, [received], cause)


def scanner_tells(lab: Lab, session: Session, event: Event, received_at: datetime, cause: Cause) -> None:
    """Act on what a scanner told by the event log.

    Raises
    ------
    RejectedError
        It names a site or a folder that is not in the settings, or is no event of a scanner's.
    """
    site, name = event.origin.site, event.origin.name
    if site not in {one.id for one in lab.settings.sites}:
        raise RejectedError(f"The event comes from site {site}, which is not in the settings: add it, then replay.")
    match event.data:
        case SlideScanned() as scanned:
            _scanned(lab, session, event, scanned, received_at, cause)
        case SlideFailed() as failed:
            _failed(lab, session, event, failed, cause)
        case ScannerStatus() as status:
            _stands(lab, session, (str(site), str(name)), status, received_at)
        case _:
            raise RejectedError(f"An event {event.type} is none that is acted on here.")


def _scanned(
    lab: Lab, session: Session, event: Event, scanned: SlideScanned, received_at: datetime, cause: Cause
) -> None:
    folder = next(
        (one for one in lab.settings.scanners if (one.name, one.site) == (scanned.root, event.origin.site)), None
    )
    if folder is None:
        raise RejectedError(
            f"The event names folder {scanned.root} of site {event.origin.site}, which the settings do not have: add "
            "it under [[scanners]], then replay."
        )
    now = database_now(session)
    clear_alert(session, _failed_slide(lab, event, scanned.path).id, SLIDE_FAILED, now)
    if scanned.taken is None:
        _expect_file(lab, session, folder, scanned.path, event.id)
        return
    taken, scanned_at = scanned.taken, scanned.scanned_at
    if _enter_file(session, folder, scanned.path, taken, now):
        lab.telemetry.scan_received(lab.ids.scan(folder.site, (taken.sha256,)), received_at, received_at)
        received = Received(folder.site, folder.name, taken.file_id, taken.sha256, received_at, scanned_at)
        register_scan(lab, session, received, cause)


def _enter_file(session: Session, folder: ScannerFolder, path: str, taken: TakenFile, now: datetime) -> bool:
    """Enter a file that a gateway holds; return whether it is the one that its scan is made of."""
    session.execute(_LOCK_SITE, {"site": folder.site})
    if session.scalar(_STATE, {"file_id": taken.file_id}) == FileState.TAKEN:
        return True
    of_file = {"site": folder.site, "digest": taken.sha256, "file_id": taken.file_id}
    state = FileState.DUPLICATE if session.scalar(_SITE_HAS, of_file) else FileState.TAKEN
    row: dict[str, Any] = {
        "id": taken.file_id,
        "site_id": folder.site,
        "root": folder.name,
        "relative_path": path,
        "bytes": taken.bytes,
        "modified_ns": taken.modified_ns,
        "state": state,
        "first_seen_at": now,
        "changed_at": now,
        "taken_at": now,
        "sha256": taken.sha256,
        "place": taken.place,
    }
    if not insert_unless_there(session, ScanFile, [row]) and state == FileState.TAKEN:
        _take_over(session, folder, path, taken, now)
    return state == FileState.TAKEN


def _take_over(session: Session, folder: ScannerFolder, path: str, taken: TakenFile, now: datetime) -> None:
    """Give the gateway's file the row by which this version of its path is known here already."""
    version = {"of_root": folder.name, "of_path": path, "of_bytes": taken.bytes, "of_modified_ns": taken.modified_ns}
    values = {"new_id": taken.file_id, "to": FileState.TAKEN, "digest": taken.sha256, "at_place": taken.place}
    done = session.execute(_TAKE_OVER, {**version, **values, "at": now})
    if not isinstance(done, CursorResult) or done.rowcount != 1:
        raise RejectedError(
            "Another file of the same folder, name, size and time was taken before, with other bytes: see which of "
            "the two is right, and have the slide scanned again if it is this one."
        )


def _expect_file(lab: Lab, session: Session, folder: ScannerFolder, path: str, event_id: str) -> None:
    """Enter a file that a scanner has finished and nobody has seen yet: its folder's watcher takes it."""
    named = {"of_root": folder.name, "of_path": path}
    if session.scalar(_IS_KNOWN, named):
        return
    now = database_now(session)
    row: dict[str, Any] = {
        "id": lab.ids.of("file", folder.name, f"{path}\x1f{event_id}"),
        "site_id": folder.site,
        "root": folder.name,
        "relative_path": path,
        # Its watcher enters what the file really has.
        "bytes": 0,
        "modified_ns": 0,
        "state": FileState.ARRIVING,
        "first_seen_at": now,
        "changed_at": now,
    }
    if not insert_unless_there(session, ScanFile, [row]):
        session.execute(_EXPECT_AGAIN, {**named, "at": now})


def _failed(lab: Lab, session: Session, event: Event, failed: SlideFailed, cause: Cause) -> None:
    """Raise a slide that could not be scanned, unless it was scanned since: this may have been long on its way."""
    if _was_scanned_since(lab, session, event, failed):
        return
    where = ", ".join(f"{what} {said}" for what, said in (("rack", failed.rack), ("slot", failed.slot)) if said)
    subject = _failed_slide(lab, event, failed.path or where or event.id)
    sentence = (
        f"scanner {event.origin.name} of {event.origin.site} could not scan the slide in "
        f"{where or 'a slot that it does not name'} at {failed.failed_at:%d %b %Y %H:%M} UTC: {failed.reason}"
    )
    now = database_now(session)
    raise_alert(session, subject, SLIDE_FAILED, sentence, now)
    if failed.path is not None:
        pattern = lab.settings.site(str(event.origin.site)).identifier_pattern
        seen = f"{event.origin.name} of {event.origin.site}, {where or 'in no slot that it names'}: not scanned"
        note_sighting(session, pattern, failed.path, seen, cause, now)


def _was_scanned_since(lab: Lab, session: Session, event: Event, failed: SlideFailed) -> bool:
    """Return whether a file by which the scanner called the slide was made after its failure.

    A failure that names no file, only a slot, is nobody's whom we could know.
    """
    if failed.path is None:
        return False
    site = str(event.origin.site)
    roots = [one.name for one in lab.settings.scanners if one.site == site and failed.root in (None, one.name)]
    found = session.execute(_FILES_OF_PATH, {"site": site, "roots": roots, "of_path": failed.path})
    return any(_made_at(*row) > failed.failed_at for row in found)


def _made_at(modified_ns: int, first_seen_at: datetime, scanned_at: datetime | None) -> datetime:
    """Return when a file was made, by its scanner's own clock if that is known, as failures are told by it."""
    if scanned_at is not None:
        return scanned_at
    # A file that is announced and not there yet has no time of its own.
    return datetime.fromtimestamp(modified_ns / 1e9, UTC) if modified_ns > 0 else first_seen_at


def _failed_slide(lab: Lab, event: Event, named: str) -> Subject:
    return Subject("scanner", lab.ids.of("failed slide", f"{event.origin.site}/{event.origin.name}", named))


def _stands(lab: Lab, session: Session, scanner: tuple[str, str], status: ScannerStatus, received_at: datetime) -> None:
    """Keep how a scanner stands; what it said later counts, in whatever order it comes in."""
    site, name = scanner
    row = {
        "name": name,
        "site_id": site,
        "state": status.state,
        "said": status.as_json(),
        # A clock that runs ahead must not have the last word for days: then it counts from when it came.
        "stated_at": status.stated_at if status.stated_at <= received_at + CLOCK_AHEAD else received_at,
        "heard_at": received_at,
    }
    if session.scalar(_later(session.get_bind().dialect.name), row) is None:
        return
    subject = Subject("scanner", lab.ids.of("scanner", site, name))
    if status.state in _IN_NEED:
        sentence = f"scanner {name} of {site} says: {status.state}{': ' + status.detail if status.detail else ''}"
        raise_alert(session, subject, SCANNER_IN_NEED, sentence, database_now(session))
    else:
        clear_alert(session, subject.id, SCANNER_IN_NEED, database_now(session))


@cache
def _later(dialect: str) -> Executable:
    made = sqlite.insert(_STANDING) if dialect == "sqlite" else postgresql.insert(_STANDING)
    return made.on_conflict_do_update(
        index_elements=[_STANDING.c.name],
        set_={name: made.excluded[name] for name in ("site_id", "state", "said", "stated_at", "heard_at")},
        where=_STANDING.c.stated_at < made.excluded.stated_at,
    ).returning(_STANDING.c.name)
