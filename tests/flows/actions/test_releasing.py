import pytest
from sqlalchemy import select

from connectors.wiring import Lab
from flows.actions import Desk, release
from models.errors import RefusedError
from models.tables.books import History
from tests.flows.actions.life import ANN, NOBODY, ONE, TWO, case_of, ordered, scanned, told
from tests.small_lab import ON_BOTH, run_until_calm


@ON_BOTH
def test_a_released_case_is_read_with_what_there_is(lab: Lab, desk: Desk) -> None:
    ordered(lab, ONE, TWO)
    scanned(lab, ONE)
    assert case_of(lab).images == "incomplete"
    acted = release(desk, case_of(lab).id, ANN)
    assert acted.follows == ("it is read with 1 of its 2 slides",)
    run_until_calm(lab)
    assert (case_of(lab).images, case_of(lab).reading) == ("ready", "assigned")
    assert told(lab) == ["archived", "released", "assigned"]
    with lab.database.read() as session:
        change = session.scalars(select(History).where(History.what == "released")).one()
    assert (change.actor, change.reason, change.after) == ("Ann Example", "looked at the glass", "True")


def test_a_release_that_the_state_forbids_is_refused(lab: Lab, desk: Desk) -> None:
    ordered(lab, ONE, TWO)
    with pytest.raises(RefusedError, match="there is no case"):
        release(desk, NOBODY, ANN)
    scanned(lab, ONE)
    scanned(lab, TWO)
    with pytest.raises(RefusedError, match="is complete"):
        release(desk, case_of(lab).id, ANN)


def test_a_case_is_released_once(lab: Lab, desk: Desk) -> None:
    ordered(lab, ONE, TWO)
    release(desk, case_of(lab).id, ANN)
    with pytest.raises(RefusedError, match="is released already"):
        release(desk, case_of(lab).id, ANN)
