"""Sites that are cut off: whoever reads there can't open images, gets none, and loses what they have not begun.

A site is cut off when somebody says so, until they say that it is back; and while no worker serves the place that is
called like it and work for one waits there: then its machines do not reach the database, and its readers no archive.
"""

from typing import Final

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows.books import Subject
from flows.sweep_places import UNSERVED
from models.opaque import OpaqueIds
from models.tables.books import Alert

CUT_OFF: Final = "site cut off"
"""The alert about a site of which somebody said so."""

_OPEN = select(Alert.subject_id).where(Alert.kind.in_((CUT_OFF, UNSERVED)), text("cleared_at IS NULL"))


def subject_of(ids: OpaqueIds, site_id: str) -> Subject:
    """Return what an alert about a site is about."""
    return Subject("site", ids.of("site", "", site_id))


def cut_off_sites(session: Session, settings: Settings, ids: OpaqueIds) -> frozenset[str]:
    """Return the sites whose readers can't open images for now."""
    told = frozenset(session.scalars(_OPEN))
    return frozenset(
        site.id for site in settings.sites if not told.isdisjoint({subject_of(ids, site.id).id, _place(ids, site.id)})
    )


def _place(ids: OpaqueIds, site_id: str) -> str:
    return ids.of("place", "", site_id)
