"""That looks are made: the step that makes them, and what calls for one at once."""

from datetime import timedelta

from sqlalchemy import select, update

from connectors.wiring import Lab
from flows import ledger
from flows.books import Subject, clear_alert, raise_alert
from flows.case_assignment.rebalance.watching import see_to_looks
from flows.sweep_places import UNSERVED
from models.database import database_now
from models.facets import StepState
from models.tables.step import Step
from tests.flows.case_assignment.rebalance.desks import (
    ONLY_LOOKS,
    Desk,
    Given,
    last_look,
    lay,
    look,
    only,
    owners,
    step_state,
)
from tests.small_lab import ON_BOTH, run_until_calm


def _cut(lab: Lab, site: str) -> None:
    with lab.database.write("cut") as session:
        place = Subject("place", lab.ids.of("place", "", site))
        raise_alert(session, place, UNSERVED, "nobody there", database_now(session))


def _back(lab: Lab, site: str) -> None:
    with lab.database.write("back") as session:
        clear_alert(session, lab.ids.of("place", "", site), UNSERVED, database_now(session))


def _steps(lab: Lab) -> list[tuple[str, str | None]]:
    with lab.database.read() as session:
        rows = session.execute(select(Step.state, Step.waiting_for).where(Step.kind == "rebalance").order_by(Step.id))
        return [(row.state, row.waiting_for) for row in rows]


def test_there_is_one_step_that_waits_for_the_next_look_however_often_it_is_seen_to(lab: Lab) -> None:
    see_to_looks(lab)
    see_to_looks(lab)

    assert _steps(lab) == [("waiting", "the next look at who reads what")]


@ON_BOTH
def test_a_step_that_failed_is_followed_by_another_when_the_next_look_is_due(lab: Lab) -> None:
    see_to_looks(lab)
    with lab.database.write("failed") as session:
        subject = lab.ids.of("laboratory", "", "rebalance")
        ledger.end_open(session, subject, ("rebalance",), StepState.SET_ASIDE)
    see_to_looks(lab)
    assert len(_steps(lab)) == 1
    with lab.database.write("later") as session:
        session.execute(update(Step).values(ended_at=database_now(session) - timedelta(hours=2)))

    see_to_looks(lab)

    assert [state for state, _ in _steps(lab)] == ["set aside", "waiting"]


@ON_BOTH
def test_readers_of_a_site_that_is_cut_off_count_as_absent_until_it_is_back(lab: Lab) -> None:
    only(lab, Desk("ann"), Desk("bob", site="site-b"))
    mine, opened = lay(lab, Given("bob"), Given("bob", opened=True))
    look(lab)
    _cut(lab, "site-b")

    see_to_looks(lab)
    run_until_calm(lab, ONLY_LOOKS)

    assert (owners(lab)[mine], owners(lab)[opened]) == ("ann", "bob")
    assert (last_look(lab).why, last_look(lab).moved) == ("site site-b is cut off", 1)
    [later] = lay(lab, Given("bob", since=timedelta(0)))
    see_to_looks(lab)
    run_until_calm(lab, ONLY_LOOKS)
    assert (owners(lab)[later], last_look(lab).why) == ("ann", "reads came to a site that is cut off")
    _back(lab, "site-b")
    see_to_looks(lab)
    run_until_calm(lab, ONLY_LOOKS)
    assert last_look(lab).why == "site site-b is back"


@ON_BOTH
def test_far_more_reads_than_usual_call_for_a_look_at_once_and_only_one(lab: Lab) -> None:
    only(lab, Desk("ann"), Desk("bob"))
    look(lab)
    lay(lab, *(Given("ann", points=1, lane=1, since=timedelta(0)) for _ in range(40)))

    see_to_looks(lab)
    see_to_looks(lab)

    assert step_state(lab) == "ready"
    run_until_calm(lab, ONLY_LOOKS)
    assert (last_look(lab).why, last_look(lab).outcome["occasion"]) == ("40 reads came since the last look", "flood")
    see_to_looks(lab)
    assert step_state(lab) == "waiting"
