"""Sites that are cut off: whoever reads there can't open images, and what they have not begun goes to others.

A site is cut off while no worker serves the place that is called like it and work for one waits there: then its
machines do not reach the database, and its readers no archive. A laboratory whose places are called otherwise has none.
"""

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows.sweep_places import UNSERVED
from models.opaque import OpaqueIds
from models.tables.books import Alert

_UNSERVED = select(Alert.subject_id).where(Alert.kind == UNSERVED, text("cleared_at IS NULL"))


def cut_off_sites(session: Session, settings: Settings, ids: OpaqueIds) -> frozenset[str]:
    """Return the sites whose readers count as absent for now."""
    unserved = frozenset(session.scalars(_UNSERVED))
    return frozenset(site.id for site in settings.sites if ids.of("place", "", site.id) in unserved)
