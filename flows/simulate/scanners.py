"""A scripted scanner: it writes the slides of its site's racks one after another, growing before a watcher's eyes."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from connectors.slides.simulator import SlideScript, write_as_scanner
from flows.simulate.script import ScriptedCase, ScriptedScan, ScriptedSlide, Shows

_DRAWN: Final[dict[Shows, dict[str, Any]]] = {
    "sharp": {},
    "blurred": {"blur": "whole"},
    "partly blurred": {"blur": "part"},
    "no tissue": {"tissue": "none"},
    "smudged label": {"label": "smudged"},
    "cut short": {"truncated": True},
}
# Small enough for forty of them in a minute, large enough for three levels and a hundred tiles.
_WIDTHS: Final = (3072, 3584, 4096)
_HEIGHT: Final = 2304
_PIECE_BYTES: Final = 256 << 10
_PIECE_PAUSE: Final = timedelta(seconds=0.1)
_ONE_TURN: Final = timedelta(minutes=2)


def scan(folder: Path, case: ScriptedCase, slide: ScriptedSlide, turn: ScriptedScan, began: datetime) -> None:
    """Scan a slide: write its file into the scanner's folder, piece by piece."""
    write_as_scanner(folder / turn.file_name, _drawn(case, slide, turn, began), _PIECE_BYTES, _PIECE_PAUSE)


def _drawn(case: ScriptedCase, slide: ScriptedSlide, turn: ScriptedScan, began: datetime) -> SlideScript:
    place = case.slides.index(slide)
    number = slide.container_identifier.removeprefix(f"{case.accession_number}-")
    seed = int(case.accession_number[3:]) * 10 + place
    return SlideScript(
        container_identifier=slide.container_identifier,
        seed=seed,
        width=_WIDTHS[seed % len(_WIDTHS)],
        height=_HEIGHT,
        label_lines=(f"{slide.stain}   {number}", f"Example, {case.given_name}", case.site),
        scanner_serial=f"EX{case.site.upper()}",
        scanned_at=began + _ONE_TURN * (seed % 20 + 20 * turn.turn),
        **_DRAWN[turn.shows],
    )
