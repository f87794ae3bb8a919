"""A process that watches ``HOME/scanner`` until nothing moves any more: arguments ``HOME URL [SECONDS]``."""

import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from connectors.scanners.folder import FolderWatcher
from connectors.scanners.spool import Spool
from connectors.scanners.watched import WatchedFolder
from models.database import Database
from tests.connectors.scanners.laboratory import received

_QUIET_LOOKS = 5


def watch(arguments: Sequence[str]) -> int:
    """Watch as the arguments say."""
    home, url, *limit_s = arguments
    return main(Path(home), url, float(*limit_s or (20.0,)))


def main(home: Path, url: str, limit_s: float) -> int:
    """Watch; return 1 when something still moved at the end of the time."""
    folder = WatchedFolder("scanner-1", "north", home / "scanner", stable_for=timedelta(seconds=0.05))
    watcher = FolderWatcher(Database(url, checkpoints=True), Spool(home / "spool", "north-spool", 0), folder, received)
    ends_at = time.monotonic() + limit_s
    quiet = 0
    while quiet < _QUIET_LOOKS:
        if time.monotonic() > ends_at:
            return 1
        state = watcher.look()
        quiet = 0 if state.arriving or state.taken or state.problem else quiet + 1
        time.sleep(0.02)
    return 0


if __name__ == "__main__":
    sys.exit(watch(sys.argv[1:]))
