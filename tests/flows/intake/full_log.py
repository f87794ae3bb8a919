"""An event log that is the same in every process, for programs that are killed while they read it.

Without anything that only tests need: such a program is started anew for each kill.
"""

from datetime import timedelta
from typing import Final

from connectors.eventlog.memory import MemoryLog
from models.events.kinds import ScannerStatus
from models.events.parts import split
from tests.flows.intake.eventing import LIMS, NOW, SCANNER, a_log, event, hl7, written
from tests.flows.looking import A
from tests.small_lab import order

EVENTS: Final = 700
"""How many scanner's events it holds, beside one that is none and a message in parts."""

WHOLE: Final = order("26H1", A, stain="H" * 3_000)
"""The message that is there in parts."""


def full_log(generation: str) -> MemoryLog:
    """Return a log that is the same in every process: what was made anew is of another generation."""
    log = a_log(1)
    for topic, one in log._shared.topics.items():
        one.id = f"{topic} {generation}"
    said = [ScannerStatus(state="idle", stated_at=NOW + timedelta(seconds=number)) for number in range(EVENTS)]
    written(log, SCANNER, *(event(f"s{number}", one) for number, one in enumerate(said)), b"poison")
    written(log, LIMS, *(event(f"p{part.number}", part) for part in split(hl7(WHOLE), 700)), key=b"lims-a")
    return log
