"""What hl7apy says of a message: its conformance report, and what it would lose. Runs in a bounded child only.

hl7apy drops Z-segments and segments that its structure does not expect, and its time grows with the square of
the size: it never stands between a socket and an answer, and what it drops is said.
"""

import re
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.core import Group, Message, Segment
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_message

from connectors.lims.message import Message as StoredMessage
from models.errors import RejectedError

_MOST_FINDINGS: Final = 200
_FINDING: Final = re.compile(r"(Error|Warning): (.*)")
_TEXT_CHARACTERS: Final = 300


def report(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the report on the one message in the file ``path``; ``folder`` is for what hl7apy writes.

    Raises
    ------
    RejectedError
        The message is none that can be read at all.
    """
    stored = StoredMessage(Path(arguments["path"]).read_bytes())
    if stored.problem:
        raise RejectedError(stored.problem)
    lines = [segment.line for segment in stored.segments]
    found, kept, structure = _judged(lines, Path(arguments["folder"]) / "report.txt")
    left = Counter(kept)
    dropped, changed = [], []
    for number, line in enumerate(lines, start=1):
        if left[_bare(line)]:
            left[_bare(line)] -= 1
        elif any(count and one[:3] == line[:3] for one, count in left.items()):
            changed.append(f"{line[:3]} (segment {number})")
            left[next(one for one, count in left.items() if count and one[:3] == line[:3])] -= 1
        else:
            dropped.append(f"{line[:3]} (segment {number})")
    return {
        "hl7apy": version("hl7apy"),
        "segments_in": len(lines),
        "segments_kept": len(lines) - len(dropped),
        "dropped": dropped,
        "changed": changed,
        "structure": structure,
        "errors": found["Error"],
        "warnings": found["Warning"],
    }


def _judged(lines: list[str], file: Path) -> tuple[dict[str, list[str]], list[str], list[str]]:
    """Return findings by kind, each with how often, what hl7apy kept as it writes it, and the groups it saw."""
    said: dict[str, Counter[str]] = {"Error": Counter(), "Warning": Counter()}
    kept: list[str] = []
    structure: list[str] = []
    try:
        message: Message = parse_message("\r".join(lines), validation_level=VALIDATION_LEVEL.TOLERANT)
        kept = [_bare(segment) for segment in _segments(message, structure, 0)]
        message.validate(report_file=str(file))
    except HL7apyException as error:
        # What the validation ends with stands in its report too.
        if not file.exists():
            said["Error"][f"{type(error).__name__}: {error}"[:_TEXT_CHARACTERS]] += 1
    written = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    for line in written:
        if finding := _FINDING.fullmatch(line):
            said[finding[1]][finding[2][:_TEXT_CHARACTERS]] += 1
    return (
        {
            kind: [f"{count} × {text}" for text, count in each.most_common(_MOST_FINDINGS)]
            for kind, each in said.items()
        },
        kept,
        structure,
    )


def _segments(parent: Message | Group, structure: list[str], depth: int) -> list[str]:
    found: list[str] = []
    for child in parent.children:
        structure.append(f"{'  ' * depth}{child.name}")
        if isinstance(child, Segment):
            found.append(child.to_er7())
        else:
            found += _segments(child, structure, depth + 1)
    return found


def _bare(line: str) -> str:
    """Return a segment without the empty fields at its end, which say nothing."""
    return line.rstrip(line[3:4]) if line[:3] != "MSH" else line
