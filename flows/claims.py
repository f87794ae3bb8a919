"""What the queue is spoken to with: steps to add, waits, claims, and what a worker is able to claim."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from models.errors import CoverslipError
from models.facets import Lane


class LostClaimError(CoverslipError):
    """The attempt is no longer ours: another worker, a rerun or a person has taken the step over."""


@dataclass(frozen=True)
class NewStep:
    """A step to be added, unless it is there already."""

    kind: str
    stage: str
    subject_kind: str
    subject_id: str
    rank_at: datetime
    lane: int = Lane.ROUTINE
    generation: int = 1
    edition: int = 1
    place: str = ""
    slot: str = ""
    order_key: str | None = None
    wait: "Wait | None" = None


@dataclass(frozen=True)
class Wait:
    """Waiting for what, recognised by which key, until when, and what happens then."""

    waiting_for: str
    key: str
    until: datetime
    then: str


@dataclass(frozen=True)
class Claim:
    """One attempt at one step: the right to end it, as long as nobody took it over."""

    id: int
    kind: str
    stage: str
    subject_kind: str
    subject_id: str
    generation: int
    edition: int
    lane: int
    rank_at: datetime
    slot: str
    attempt: int
    lost: int
    tries: int
    expired: bool
    alerted: bool
    worker_id: str

    @property
    def run_number(self) -> int:
        """One number for one attempt at one step, for the folder it works in."""
        return self.id * 1_000 + self.attempt

    @property
    def alone(self) -> bool:
        """Whether nothing else should run beside it: it may be what killed a worker before."""
        return self.lost > 0


@dataclass(frozen=True)
class Wanted:
    """What a worker is able to claim now."""

    stage: str
    kinds: tuple[str, ...]
    limit: int
    deadline: timedelta
    most_lane: int = Lane.ROUTINE
    places: tuple[str, ...] = ("",)
    slotted: bool = False
    """Whether steps of this stage are limited by slots."""
    ordered: bool = False
    """Whether steps of this stage must keep the order of their ``order_key``."""
