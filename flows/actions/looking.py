"""Somebody has all open reads looked at now, without waiting for the next time."""

from flows.actions.desk import Desk, Person
from flows.books import Subject, note_changes
from flows.case_assignment.rebalance.looks import request_rebalance
from flows.journey import REBALANCE
from models.database import database_now


def ask_for_look(desk: Desk, person: Person) -> None:
    """Have a worker look at all open reads at once; what may move by the clock may move now, and no more."""
    with desk.database.write("people.ask_for_look") as session:
        now = database_now(session)
        subject = Subject("laboratory", desk.ids.of("laboratory", "", REBALANCE))
        note_changes(session, subject, [("a look", None, "asked for")], person.cause("rebalance"), now)
        request_rebalance(session, f"{person.name.strip()}: {person.reason.strip()}", now, "schedule")
