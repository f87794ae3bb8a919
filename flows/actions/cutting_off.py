"""Somebody says that a site is cut off, or back: while it is, its readers count as absent for whatever is not open."""

from typing import Final

from sqlalchemy import select, text

from flows.actions.desk import Desk, Person
from flows.books import Subject, clear_alert, note_changes, raise_alert
from flows.case_assignment.again import try_again
from flows.case_assignment.cut_off import CUT_OFF, subject_of
from flows.case_assignment.rebalance.looks import request_rebalance
from models.database import database_now
from models.errors import RefusedError
from models.tables.books import Alert

_IS_CUT_OFF: Final = select(Alert.id).where(Alert.kind == CUT_OFF, text("cleared_at IS NULL"))


def site_cut_off(desk: Desk, site_id: str, person: Person) -> None:
    """Have what readers of a site have not opened read elsewhere, until somebody says that it is back.

    Raises
    ------
    RefusedError
        There is no such site, or it is cut off already.
    """
    subject = _site(desk, site_id)
    with desk.database.write("people.site_cut_off") as session:
        if session.scalar(_IS_CUT_OFF.where(Alert.subject_id == subject.id)) is not None:
            raise RefusedError(
                f"site {site_id} is cut off already: 'coverslip assign cut-off {site_id} --over' ends it"
            )
        now = database_now(session)
        sentence = (
            f"site {site_id} is cut off, says {person.name.strip()}: its readers get nothing, and lose what they have "
            f"not opened, until 'coverslip assign cut-off {site_id} --over'"
        )
        raise_alert(session, subject, CUT_OFF, sentence, now)
        note_changes(session, subject, [("cut off", "no", "yes")], person.cause("cut-off"), now)
        request_rebalance(session, f"site {site_id} is cut off", now)


def site_back(desk: Desk, site_id: str, person: Person) -> None:
    """Have readers of a site count again; what was moved stays where it is.

    Raises
    ------
    RefusedError
        There is no such site, or nobody said that it is cut off.
    """
    subject = _site(desk, site_id)
    with desk.database.write("people.site_back") as session:
        if session.scalar(_IS_CUT_OFF.where(Alert.subject_id == subject.id)) is None:
            raise RefusedError(f"nobody said that site {site_id} is cut off")
        now = database_now(session)
        clear_alert(session, subject.id, CUT_OFF, now)
        note_changes(session, subject, [("cut off", "yes", "no")], person.cause("cut-off"), now)
        try_again(session)
        request_rebalance(session, f"site {site_id} is back", now, "schedule")


def _site(desk: Desk, site_id: str) -> Subject:
    known = [site.id for site in desk.settings.sites]
    if site_id not in known:
        raise RefusedError(f"there is no such site: the settings have {', '.join(known)}")
    return subject_of(desk.ids, site_id)
