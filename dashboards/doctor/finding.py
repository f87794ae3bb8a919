"""What the doctor says of one thing, and what it looks at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from connectors.settings import Settings

Level = Literal["ok", "note", "missing"]
"""``note``: it works, and somebody may want to know. ``missing``: it does not, or keeps less than it promises."""

UP: Final = "coverslip up"


@dataclass(frozen=True)
class Finding:
    """One thing in one sentence, and what to do about it when something is to be done."""

    what: str
    level: Level
    sentence: str
    fix: str = ""

    @property
    def line(self) -> str:
        """Sentence and fix as people read them."""
        return f"{self.sentence}: {self.fix}" if self.fix else self.sentence


@dataclass(frozen=True)
class Installation:
    """What is looked at.

    ``is_new`` says that there are no settings yet: then they are those that a first start would write.
    ``processes`` are the names and pids of what a running ``up`` has started; ``None`` while none runs here.
    """

    settings: Settings
    is_new: bool = False
    processes: Mapping[str, int | None] | None = None

    @property
    def file(self) -> Path:
        """The settings file."""
        return self.settings.home / "coverslip.toml"


Findings = Iterator[Finding]
"""What one check yields: a finding for each thing that it looked at."""


def shown_bytes(count: int) -> str:
    """Return a size as people compare it."""
    return f"{count / 1e9:.1f} GB"
