"""Where people act from: who they are, what they need, and what they hear afterwards."""

import unicodedata
from dataclasses import dataclass
from typing import Final

from sqlalchemy import update
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows.books import Cause
from flows.changes import lock_scan
from models.database import Database
from models.errors import RefusedError
from models.facets import StepState
from models.opaque import OpaqueIds
from models.tables.scan import Scan
from models.tables.step import Step

_LONGEST_NAME: Final = 200
_LONGEST_REASON: Final = 2_000
_NO_PERSON: Final = frozenset({"coverslip", "batch", "lims", "pacs"})
"""What decides by itself is called so in the books: nobody else may be."""


@dataclass(frozen=True)
class Desk:
    """What every action works on."""

    database: Database
    settings: Settings
    ids: OpaqueIds


@dataclass(frozen=True)
class Person:
    """Who acts, and why: both are kept with whatever the action changes.

    ``RefusedError`` for a name that is empty, longer than 200 characters, of several lines or a machine's, and for a
    reason that is empty or longer than 2,000.
    """

    name: str
    reason: str

    def __post_init__(self) -> None:
        """Refuse what would be no name or no reason."""
        if not self.name.strip() or len(self.name) > _LONGEST_NAME or any(map(_is_control, self.name)):
            raise RefusedError(f"say who you are: a name of one line, of 1 to {_LONGEST_NAME} characters")
        if self.name.strip().casefold() in _NO_PERSON:
            raise RefusedError("say who you are: a person's name, since machines are called so")
        if not self.reason.strip() or len(self.reason) > _LONGEST_REASON or "\0" in self.reason:
            raise RefusedError(f"say why: a reason of 1 to {_LONGEST_REASON:,} characters")

    def cause(self, what: str) -> Cause:
        """Return this person's action as the cause of a change."""
        return Cause(what, actor=self.name.strip(), reason=self.reason.strip())


@dataclass(frozen=True)
class Acted:
    """What was done, to what, and what follows by itself: sentences for the person who did it."""

    what: str
    follows: tuple[str, ...]
    scan: str | None = None
    slide: str | None = None
    case: str | None = None


def locked(session: Session, scan_id: str, *case_ids: str) -> Scan:
    """Lock a scan, its case and the cases named; ``RefusedError`` when there is no such scan."""
    if session.get(Scan, scan_id) is None:
        raise RefusedError(f"there is no scan {scan_id}: 'coverslip list' shows those there are")
    return lock_scan(session, scan_id, *case_ids)


def settle_what_was_set_aside(session: Session, scan_id: str) -> None:
    """Say that a person has dealt with the steps of a scan that were set aside.

    The sweeper brings the subject of one that it has not raised yet in line, which would set the scan aside anew.
    """
    set_aside = (Step.subject_id == scan_id, Step.state == StepState.SET_ASIDE)
    session.execute(update(Step).where(*set_aside).values(alerted=True))


def _is_control(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Zl", "Zp")
