"""The pictures that people look at: a thumbnail and a label crop of each scan, kept outside of the spool's work."""

import shutil
from pathlib import Path

from connectors.settings import Settings
from models.failpoint import failpoint

THUMBNAIL = "thumbnail.jpg"
LABEL = "label.png"


def picture_path(settings: Settings, scan_id: str, name: str) -> Path:
    """Return where a scan's picture lies, or would lie."""
    return settings.home / "pictures" / scan_id / name


def keep_picture(settings: Settings, scan_id: str, found: Path, name: str) -> None:
    """Put a picture in place of an older one; a picture that was not made is no fault."""
    if not found.is_file():
        return
    wanted = picture_path(settings, scan_id, name)
    wanted.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    failpoint("pictures.before_rename")
    partial = wanted.with_name(f"{name}.part")
    shutil.move(found, partial)
    partial.replace(wanted)
    failpoint("pictures.after_rename")
