"""What befalls a laboratory that reads events: kills, freezes, take-overs, one more partition; from a seed."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.faults.events.lab import READ_TOPICS, READERS, WORKERS, EventLab
from tests.faults.events.process import LIMITS

_LONG_S: Final = LIMITS.session.total_seconds() + 2
"""A reader that hangs for so long has lost its partitions to others when it wakes up."""


@dataclass
class Chaos:
    """Troubles one after the other, each kind once before any comes again; ``done`` counts them."""

    lab: EventLab
    chance: random.Random
    done: Counter[str] = field(default_factory=Counter)
    _next: list[str] = field(default_factory=list)

    def strike(self) -> None:
        """Let one trouble come and go."""
        if not self._next:
            # Only once: each more moves keys, and a topic never gets fewer.
            kinds = [kind for kind in _KINDS if kind != "another partition" or not self.done[kind]]
            self._next = self.chance.sample(kinds, len(kinds))
        kind = self._next.pop()
        _KINDS[kind](self)
        self.done[kind] += 1

    def is_enough(self) -> bool:
        """Tell whether every kind of trouble came."""
        return len(self.done) == len(_KINDS)

    def pause(self, least: float, most: float) -> None:
        """Let time pass, and look how everybody is."""
        until = time.monotonic() + self.chance.uniform(least, most)
        while (left := until - time.monotonic()) > 0:
            self.lab.look()
            time.sleep(min(left, 0.25))

    def kill_a_reader(self) -> None:
        """End one at once; another process takes its place a moment later."""
        self.kill(self.chance.choice(READERS))

    def kill_two_readers(self) -> None:
        """End two at once."""
        for name in self.chance.sample(READERS, 2):
            self.kill(name)

    def freeze_a_reader(self) -> None:
        """Let one hang, but not for so long that others take over."""
        self._freeze(self.chance.choice(READERS), self.chance.uniform(0.5, LIMITS.session.total_seconds() / 2))

    def wake_a_dead_reader(self) -> None:
        """Let one hang until others have its partitions, then let it go on where it was."""
        self._freeze(self.chance.choice(READERS[1:]), _LONG_S)

    def kill_a_worker(self) -> None:
        """End one that applies, while it holds steps."""
        self.kill(self.chance.choice(WORKERS))

    def freeze_a_worker(self) -> None:
        """Let one that applies hang, often for so long that its steps are the other's when it wakes up."""
        self._freeze(self.chance.choice(WORKERS), self.chance.uniform(1, 5))

    def kill_the_broker(self) -> None:
        """End the broker as a power cut would."""
        self.lab.broker.kill()
        self.pause(0.2, 3)
        self.lab.broker.start()

    def freeze_the_broker(self) -> None:
        """Let the broker hang."""
        self.lab.broker.freeze()
        self.pause(1, 7)
        self.lab.broker.thaw()

    def add_a_partition(self) -> None:
        """Give the scanners' topic one more partition: keys move, and readers share it anew."""
        self.lab.add_partition(READ_TOPICS[0])

    def kill(self, name: str) -> None:
        """End one at once, and start another in its place."""
        self.lab.kill(name)
        time.sleep(self.chance.uniform(0, 0.5))
        self.lab.start(name)

    def _freeze(self, name: str, seconds: float) -> None:
        self.lab.freeze(name)
        self.pause(seconds, seconds)
        self.lab.thaw(name)


_KINDS: Final[Mapping[str, Callable[[Chaos], None]]] = {
    "reader killed": Chaos.kill_a_reader,
    "two readers killed": Chaos.kill_two_readers,
    "reader frozen": Chaos.freeze_a_reader,
    "reader frozen beyond its session": Chaos.wake_a_dead_reader,
    "worker killed": Chaos.kill_a_worker,
    "worker frozen": Chaos.freeze_a_worker,
    "broker killed": Chaos.kill_the_broker,
    "broker frozen": Chaos.freeze_the_broker,
    "another partition": Chaos.add_a_partition,
}
