"""The queue as a plain list: what the ledger must do, in Python that a reader can check by eye."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

OPEN = ("ready", "running", "waiting")
MOST_CLAIMS_WITHOUT_END = 3


@dataclass
class QueuedStep:
    """One row."""

    id: int
    kind: str
    subject: str
    generation: int
    lane: int
    rank: int
    slot: str = ""
    order_key: str | None = None
    state: str = "ready"
    attempt: int = 0
    lost: int = 0
    tries: int = 0
    expired: bool = False
    alerted: bool = False
    worker: str | None = None
    waiting: tuple[str, str] | None = None
    result: str | None = None

    @property
    def turn(self) -> tuple[int, int, int]:
        """What ready steps are sorted by."""
        return self.lane, self.rank, self.id


@dataclass(frozen=True)
class Held:
    """One attempt, as its worker knows it."""

    step: int
    attempt: int
    worker: str
    lost_before: int
    tries_before: int


@dataclass
class QueueModel:
    """All rows, and the limits."""

    limits: dict[str, int]
    steps: list[QueuedStep] = field(default_factory=list)

    def add(self, step: QueuedStep) -> None:
        """Add a step unless it is there."""
        known = {(one.subject, one.kind, one.generation) for one in self.steps}
        if (step.subject, step.kind, step.generation) not in known:
            self.steps.append(step)

    def claim(self, worker: str, kinds: Sequence[str], limit: int, most_lane: int, *, ordered: bool) -> list[Held]:
        """Take steps: of each limit as many as are free, the most urgent first; a hopeless one is set aside."""
        found: list[QueuedStep] = []
        for slot, free in [("", limit), *((name, self.free(name)) for name in self.limits)]:
            ready = [one for one in self.ready(kinds, most_lane, ordered=ordered) if one.slot == slot]
            found += ready[: min(limit, free)]
        found.sort(key=lambda one: one.turn)
        for hopeless in [one for one in found if one.lost >= MOST_CLAIMS_WITHOUT_END]:
            hopeless.state = "set aside"
            found.remove(hopeless)
        held = []
        for one in found[:limit]:
            held.append(Held(one.id, one.attempt + 1, worker, one.lost, one.tries))
            one.state, one.worker = "running", worker
            one.attempt += 1
            one.lost += 1
        return held

    def ready(self, kinds: Iterable[str], most_lane: int, *, ordered: bool) -> list[QueuedStep]:
        """Return what may be claimed, in the order in which it is."""
        able = [one for one in self.steps if one.state == "ready" and one.kind in kinds and one.lane <= most_lane]
        return sorted((one for one in able if not ordered or self.is_first(one)), key=lambda one: one.turn)

    def is_first(self, step: QueuedStep) -> bool:
        """Whether nothing open with the same order key came before."""
        return step.order_key is None or not any(
            one.id < step.id and one.order_key == step.order_key and one.state in OPEN for one in self.steps
        )

    def free(self, slot: str) -> int:
        """Return how many more steps of a limit may run."""
        return self.limits[slot] - sum(one.slot == slot and one.state == "running" for one in self.steps)

    def held(self, claim: Held) -> QueuedStep | None:
        """Return the step of an attempt if it is still its worker's."""
        for one in self.steps:
            if (one.id, one.attempt, one.worker, one.state) == (claim.step, claim.attempt, claim.worker, "running"):
                return one
        return None

    def put_down(self, step: QueuedStep, state: str, waiting: tuple[str, str] | None = None) -> None:
        """End an attempt."""
        step.state, step.waiting, step.worker, step.lost, step.expired = state, waiting, None, 0, False

    def end_all(self, subject: str, kinds: Sequence[str], states: Sequence[str], to: str) -> None:
        """End steps whoever holds them."""
        for one in self.steps:
            if one.subject == subject and one.kind in kinds and one.state in states:
                one.state, one.worker, one.waiting = to, None, None

    def rerun(self, step: QueuedStep) -> None:
        """Add the next generation; open older ones are superseded."""
        self.end_all(step.subject, (step.kind,), OPEN, "superseded")
        latest = max((one.generation for one in self.steps if _same(one, step)), default=0)
        self.steps.append(replace(step, generation=latest + 1))


def _same(one: QueuedStep, other: QueuedStep) -> bool:
    return (one.subject, one.kind) == (other.subject, other.kind)
