"""IHE PaLM DPOW in one table: what MSH-21 says a message is (draft for public comment, 2026, Volume 2 appendix A.1).

The numbers of the transactions are provisional.
"""

from dataclasses import dataclass
from typing import Final, Literal

Asset = Literal["specimen", "block", "slide"]
TransactionReads = Literal["order", "case update", "images", "work done"]

NAMESPACE: Final = "IHE"
"""MSH-21.2."""

CASE_UPDATE: Final = "DPOW-CASE-UPDATE"
PLACE_WORK_ORDER: Final = "DPOW-PLACE-WO"
ACCEPT_WORK_ORDER: Final = "DPOW-ACCEPT-WO"
IMAGE_NOTIFICATION: Final = "DPOW-IMAGE-NOTIF"

FULFILLED: Final = "CM"
"""ORC-5 of an accepted work order: it was fulfilled."""
REFUSED: Final = "UA"
"""ORC-1 of the answer to a work order that can't be done."""
ACCEPTED: Final = "OK"
"""ORC-1 of the answer to a work order that will be done."""

_OURS: Final = "DPOW-"


@dataclass(frozen=True, slots=True)
class Transaction:
    """One value of MSH-21.

    Attributes
    ----------
    number
        The transaction's, such as LAB-100.
    reads
        What it states to us; ``None`` for one that we only send.
    registers
        What a registration registers, where SPM-27 does not say it.
    """

    number: str
    reads: TransactionReads | None
    registers: Asset | None = None


TRANSACTIONS: Final[dict[str, Transaction]] = {
    "DPOW-SPECIMEN": Transaction("LAB-100", "order", "specimen"),
    "DPOW-BLOCK": Transaction("LAB-100", "order", "block"),
    "DPOW-SLIDE": Transaction("LAB-100", "order", "slide"),
    CASE_UPDATE: Transaction("LAB-101", "case update"),
    PLACE_WORK_ORDER: Transaction("LAB-102", None),
    ACCEPT_WORK_ORDER: Transaction("LAB-103", "work done"),
    IMAGE_NOTIFICATION: Transaction("LAB-104", "images"),
}
"""MSH-21.1 and what it makes of an OML^O21."""

_UNKNOWN: Final = Transaction("", None)


def transaction(profile_identifier: str) -> Transaction | None:
    """Return what one repetition of MSH-21 names; ``None`` when it is no name of DPOW's.

    A name that looks like one of DPOW's and is none states nothing to us.
    """
    name = profile_identifier.strip().upper()
    return TRANSACTIONS.get(name, _UNKNOWN if name.startswith(_OURS) else None)
