"""People stop a case's clock, let it run again, and say when a meeting wants the case."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from connectors.wiring import Lab
from flows.actions import Desk, Person
from flows.actions.deadlines import pause_deadlines, resume_deadlines, set_mdt
from flows.deadlines.telling import at_in_words
from models.database import utc_now
from models.errors import RefusedError
from models.tables.books import History
from models.tables.deadline import Deadline, DeadlinePause
from models.tables.reading import Assignment, Read
from tests.flows.actions.life import ANN, NOBODY, ONE, case_of, ordered, scanned
from tests.flows.actions.reads_life import PERSONS, notices, the_read
from tests.flows.looking import books_balance, says
from tests.lims_says import reported
from tests.small_lab import ON_BOTH, run_until_calm

BEN = Person("Ben Example", "the clinic answered")


@ON_BOTH
def test_a_clock_is_stopped_once_and_let_run_once(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    case = case_of(lab)
    assert pause_deadlines(desk, case.id, ANN).what == "its clock stands still"
    with pytest.raises(RefusedError, match=r"stands still since .* UTC: Ann Example stopped it"):
        pause_deadlines(desk, case.id, BEN)
    assert resume_deadlines(desk, case.id, BEN).what == "its clock runs again"
    with pytest.raises(RefusedError, match="runs: there is nothing to resume"):
        resume_deadlines(desk, case.id, BEN)

    with lab.database.read() as session:
        pause = session.scalars(select(DeadlinePause)).one()
        changes = session.scalars(select(History).where(History.what == "clock").order_by(History.id)).all()
    assert (pause.by, pause.because) == ("Ann Example", "looked at the glass")
    assert pause.ended_at is not None
    assert [(one.actor, one.after) for one in changes] == [("Ann Example", "stands still"), ("Ben Example", "runs")]
    books_balance(lab)


def test_nothing_is_stopped_or_wanted_of_a_case_that_nobody_has_to_read(lab: Lab, desk: Desk) -> None:
    with pytest.raises(RefusedError, match="there is no case"):
        pause_deadlines(desk, NOBODY, ANN)
    ordered(lab)
    says(lab, reported("26B0001", "F"))
    for act in (pause_deadlines, lambda *what: set_mdt(what[0], what[1], utc_now() + timedelta(days=1), what[2])):
        with pytest.raises(RefusedError, match="is reported: nothing is due"):
            act(desk, case_of(lab).id, ANN)


def test_a_meeting_rules_when_it_is_first_and_is_moved_or_taken_back(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scanned(lab, ONE)
    soon = utc_now() + timedelta(days=2)
    acted = set_mdt(desk, case_of(lab).id, soon, ANN)
    then = at_in_words(soon, "UTC", utc_now())
    assert acted.what == f"a meeting wants it by {then}"
    assert acted.follows == (f"it is due {then} (MDT)", "somebody is asked to prepare it")
    acted = set_mdt(desk, case_of(lab).id, soon + timedelta(days=20), BEN)
    assert acted.follows[0].endswith("(turnaround)")

    with lab.database.read() as session:
        meeting = session.scalars(select(Deadline).where(Deadline.kind == "mdt")).one()
        assert [read.role for read in session.scalars(select(Read).where(Read.role == "mdt"))] == ["mdt"]
    assert (meeting.source, meeting.basis) == ("set by Ben Example", "moment")
    assert meeting.due_at == soon + timedelta(days=20)
    set_mdt(desk, case_of(lab).id, None, ANN)
    with lab.database.read() as session:
        assert session.scalars(select(Deadline).where(Deadline.kind == "mdt")).all() == []
        said = session.scalars(select(History).where(History.what == "due (mdt)").order_by(History.id)).all()
    assert [(one.actor, one.after is None) for one in said] == [
        ("Ann Example", False),
        ("Ben Example", False),
        ("Ann Example", True),
    ]
    books_balance(lab)


def test_whoever_prepares_a_case_is_told_that_no_meeting_wants_it_any_more(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scanned(lab, ONE)
    set_mdt(desk, case_of(lab).id, utc_now() + timedelta(days=2), ANN)
    run_until_calm(lab)
    seen = the_read(lab, role="mdt")
    prepares = str(seen.pathologist_id)
    acted = set_mdt(desk, case_of(lab).id, None, BEN)

    assert acted.follows[-1] == f"{PERSONS[prepares].name} is told"
    assert notices(lab, prepares)[-1] == "taken"
    with lab.database.read() as session:
        assert session.get_one(Read, seen.read_id).closed_at is not None
        ended = session.scalars(select(Assignment.ended_because).where(Assignment.read_id == seen.read_id)).one()
    assert ended == "Ben Example says that no meeting wants it any more"
    books_balance(lab)


def test_a_meeting_that_has_begun_wants_nothing(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    with pytest.raises(RefusedError, match="that moment is over"):
        set_mdt(desk, case_of(lab).id, utc_now() - timedelta(minutes=1), ANN)
