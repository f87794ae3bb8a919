"""Who said something, when it counts from, and why the books change: what every fact of one message shares."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from flows.books import Cause, Subject, record
from models.statements import Frozen


@dataclass(frozen=True)
class Said:
    """What all facts of one message have in common."""

    peer: str
    cause: Cause
    effective_at: datetime
    received_at: datetime
    sequence_number: int | None

    def record(self, session: Session, subject: Subject, fact: Frozen) -> bool:
        """Write one fact of the message; return whether it was new."""
        return record(
            session,
            subject,
            fact,
            self.cause,
            effective_at=self.effective_at,
            received_at=self.received_at,
            sequence_number=self.sequence_number,
        )
