"""Who a patient is once merges and moves are followed: facts that are resolved on reading, never by changing others.

The order in which they arrived plays no part; of two that contradict each other the later said counts.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from models.statements import Frozen


class PatientMergedInto(Frozen):
    """A patient was merged into another: a fact about the one that goes."""

    survivor_id: str


class VisitMovedTo(Frozen):
    """In a visit, what was one patient is another: a fact about the visit."""

    from_patient_id: str
    to_patient_id: str


@dataclass(frozen=True)
class Merge:
    """Whom a patient was last merged into, and what decides between two of a cycle."""

    survivor_id: str
    effective_at: datetime
    sequence_number: int | None
    digest: str

    @property
    def place(self) -> tuple[datetime, int, str]:
        """The key that merges are sorted by."""
        return (self.effective_at, -1 if self.sequence_number is None else self.sequence_number, self.digest)


def last(merges: Iterable[Merge]) -> Merge | None:
    """Return which merge of one patient counts."""
    return max(merges, key=lambda one: one.place, default=None)


def who_stays(patient_id: str, merges: Mapping[str, Merge]) -> str:
    """Return who a patient is in the end; in a cycle, whoever its latest merge merged the others into."""
    chain = [patient_id]
    while chain[-1] in merges:
        following = merges[chain[-1]].survivor_id
        if following in chain:
            cycle = chain[chain.index(following) :]
            return max((merges[one] for one in cycle), key=lambda one: one.place).survivor_id
        chain.append(following)
    return chain[-1]


def moved(patient_id: str | None, moves: Iterable[VisitMovedTo], stays: Callable[[str], str]) -> str | None:
    """Return whose a case is whose orders name a patient and whose visit was moved so, in their order of telling."""
    if patient_id is None:
        return None
    theirs = stays(patient_id)
    for move in moves:
        if stays(move.from_patient_id) == theirs:
            theirs = stays(move.to_patient_id)
    return theirs
