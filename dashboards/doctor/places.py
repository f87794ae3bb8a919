"""Where things lie: the state folder, the archive, what scanners write into, and how much room there is."""

import os
import shutil
import stat
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from connectors.settings_doors import ScannerFolder
from connectors.wiring import open_archive, open_database
from dashboards.doctor.books import sqlite_file
from dashboards.doctor.finding import UP, Finding, Findings, Installation, shown_bytes
from models.errors import TransientError
from models.tables.scan import Instance

# Of these SQLite can't be sure that a lock is a lock, nor share the memory that its write-ahead log needs.
_NETWORK_FILE_SYSTEMS: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "fuse.sshfs"})
_SOMETHING: Final = "2.25.1"


def settings_file(installation: Installation) -> Findings:
    """Look at the settings file, which holds the installation's key."""
    path = installation.file
    if installation.is_new:
        yield Finding("settings", "note", f"{path} is not there yet", f"'{UP}' writes a first one to edit")
        return
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        fix = f"chmod 600 {path}"
        yield Finding("settings", "missing", f"{path} holds the installation's key and others may read it", fix)
        return
    yield Finding("settings", "ok", str(path))


def state_folder(installation: Installation) -> Findings:
    """Look at the folder of everything that is kept, which others should not read."""
    home = installation.settings.home
    if not home.exists():
        folder = existing(home)
        if os.access(folder, os.W_OK | os.X_OK):
            yield Finding("state folder", "note", f"{home} is not there yet", f"'{UP}' makes it")
        else:
            yield Finding(
                "state folder", "missing", f"{home} can't be made: {folder} is not ours to write", "use --home"
            )
        return
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("state folder", "missing", f"{home} is not ours to write", "start it as its owner, or chown it")
    elif home.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        sentence = f"{home} holds patients' names and slides, and others on this machine may look into it"
        yield Finding("state folder", "note", sentence, f"chmod 700 {home}")
    else:
        yield Finding("state folder", "ok", str(home))
    file = sqlite_file(installation.settings)
    if file is not None and (kind := file_system_of(existing(file))) in _NETWORK_FILE_SYSTEMS:
        fix = "put the state folder on a disk of this machine, or use PostgreSQL"
        yield Finding("state folder", "missing", f"SQLite's file lies on a share ({kind}), where it is not safe", fix)


def archive(installation: Installation) -> Findings:
    """Look whether the archive is there, and not the empty place where it is to be mounted."""
    folder = installation.settings.resolved(installation.settings.archive_folder)
    try:
        open_archive(installation.settings).listed(_SOMETHING, _SOMETHING)
    except TransientError as error:
        if _was_used(installation):
            yield Finding("archive", "missing", f"{folder}: {error}")
        else:
            yield Finding("archive", "note", f"{folder} is not prepared yet", f"'{UP}' does so")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding("archive", "missing", f"{folder} is not ours to write", "chown it, or mount it for writing")
        return
    yield Finding("archive", "ok", str(folder))


def scanners(installation: Installation) -> Findings:
    """Look whether every scanner's folder can be read."""
    for scanner in (one for one in installation.settings.scanners if not one.at_gateway):
        yield _scanner(installation, scanner)


def room(installation: Installation) -> Findings:
    """Look how much is free where slides are spooled and archived, beside what is kept for the database."""
    settings = installation.settings
    reserve = settings.work.spool_reserve_bytes
    folders = {"spool": settings.resolved(settings.work.spool), "archive": settings.resolved(settings.archive_folder)}
    seen: set[int] = set()
    for what, folder in folders.items():
        there = existing(folder)
        if there.stat().st_dev in seen:
            continue
        seen.add(there.stat().st_dev)
        free = shutil.disk_usage(there).free
        kept = f"{shown_bytes(free)} free for the {what}, {shown_bytes(reserve)} of it kept for the database"
        if free > reserve:
            yield Finding("room", "ok", kept)
        else:
            fix = "make room on its disk, or lower work.spool_reserve_bytes"
            yield Finding("room", "missing", f"{kept}, so no slide is taken", fix)


def existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that is there."""
    return next(one for one in (path, *path.parents) if one.exists())


def file_system_of(path: Path) -> str:
    """Return the kind of file system that holds a path, as Linux names it; an empty text when nobody can say."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    mounts = [(fields[4], fields[fields.index("-") + 1]) for fields in map(str.split, lines)]
    # Of two mounts on one place the later one is seen.
    holding = [one for one in mounts if path.resolve().is_relative_to(one[0])]
    return max(reversed(holding), key=lambda one: len(one[0]), default=("", ""))[1]


def _was_used(installation: Installation) -> bool:
    """Whether anything was ever archived: then an archive that is not there is a disk that is not mounted."""
    file = sqlite_file(installation.settings)
    if installation.is_new or (file is not None and not file.exists()):
        return False
    database = open_database(installation.settings)
    try:
        with database.read() as session:
            return session.scalar(select(Instance.id).limit(1)) is not None
    except (TransientError, SQLAlchemyError):
        # It is away or has no tables yet, which is said elsewhere.
        return False
    finally:
        database.close()


def _scanner(installation: Installation, scanner: ScannerFolder) -> Finding:
    settings = installation.settings
    folder = settings.resolved(scanner.path)
    what = f"scanner {scanner.name}"
    try:
        with os.scandir(folder) as found:
            next(iter(found), None)
    except FileNotFoundError:
        if folder.is_relative_to(settings.home):
            return Finding(what, "note", f"{folder} is not there yet", f"'{UP}' makes it")
        return Finding(
            what, "missing", f"{folder} is not there", "mount its share, or correct its path in the settings"
        )
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        return Finding(what, "missing", f"{folder} can't be read ({reason})", "mount its share, or correct its rights")
    return Finding(what, "ok", f"{folder}, for {scanner.site}")
