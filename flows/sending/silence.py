"""A neighbour that does not answer: everything that waits for it pauses, and one asks again after a while."""

from datetime import timedelta

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from flows import ledger
from flows.ledger import Claim
from models.base import table_of
from models.tables.step import Slot

_SLOT = table_of(Slot)
SILENT_SINCE = select(func.max(_SLOT.c.silent_since)).where(_SLOT.c.name == bindparam("slot_name"))
"""Since when whoever is behind a slot is silent."""

# A silent peer is asked again after these seconds, then at the last of them.
_BACK_OFF = (1, 2, 5, 10, 30, 60)


def put_off(session: Session, claimed: Claim, because: str, waiting_for: str) -> None:
    """Give a step back whose neighbour was silent, and keep the others of its slot from asking too."""
    pause = pause_after(claimed)
    ledger.pause_slot(session, claimed.slot, pause, because)
    ledger.give_back(session, claimed, retry_after=pause, problem=because, waiting_for=waiting_for)


def pause_after(claimed: Claim) -> timedelta:
    """Return how long to wait after another try in a row that came to nothing."""
    return timedelta(seconds=_BACK_OFF[min(claimed.tries, len(_BACK_OFF) - 1)])
