"""How long things usually take in a laboratory, by what it has done lately. Rules only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median_high
from typing import Final, Literal

Stage = Literal["scan", "rescan", "work", "archive", "person", "assignment", "reading", "frozen section"]
"""What a case waits for: a slide's first scan, another one, work of the laboratory, the archive, somebody's look; then
to be given to somebody, and to be read, which for an intra-operative case is another thing."""

# What a laboratory is believed to take that has not done enough of it lately.
_DEFAULTS: Final[Mapping[Stage, timedelta]] = {
    "scan": timedelta(hours=12),
    "rescan": timedelta(hours=24),
    "work": timedelta(hours=48),
    "archive": timedelta(minutes=10),
    "person": timedelta(hours=4),
    "assignment": timedelta(minutes=5),
    "reading": timedelta(hours=24),
    "frozen section": timedelta(minutes=10),
}
# Fewer times than these tell about the cases that they were and not about the laboratory.
_ENOUGH: Final = 10


@dataclass(frozen=True)
class Usual:
    """Recent times of each stage, in any order."""

    took: Mapping[Stage, Sequence[timedelta]] = field(default_factory=dict)

    def still(self, stage: Stage, waited: timedelta = timedelta(0)) -> timedelta:
        """Return how long a stage probably takes yet that has lasted so long.

        The median of what it took yet those that had not ended by then; where all had, half as long again.
        """
        recent = self.took.get(stage, ())
        usual = recent if len(recent) >= _ENOUGH else (_DEFAULTS[stage],)
        longer = [one - waited for one in usual if one > waited]
        return median_high(longer) if longer else waited / 2
