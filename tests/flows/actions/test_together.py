"""People who act at the same moment: one of them is first, the others hear what has happened."""

import threading
from collections.abc import Callable

from connectors.wiring import Lab
from flows.actions import Desk, match, release, review, withdraw
from models.errors import RefusedError
from tests.flows.actions.life import ANN, ONE, TWO, case_of, offered, ordered, scanned, slide_of, standing
from tests.small_lab import ON_BOTH, run_until_calm


def together(*actions: Callable[[], object]) -> list[str]:
    """Do all of these at once; return what was refused, in sentences."""
    at_once, refused = threading.Barrier(len(actions)), []

    def act(action: Callable[[], object]) -> None:
        at_once.wait()
        try:
            action()
        except RefusedError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=act, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return refused


@ON_BOTH
def test_one_slide_gets_one_of_two_scans(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scans = [scanned(lab, made=number) for number in (1, 2)]
    slide_id = slide_of(lab, ONE)
    refused = together(*(lambda scan_id=scan_id: match(desk, scan_id, slide_id, ANN) for scan_id in scans))
    assert len(refused) == 1
    assert "has a scan already" in refused[0]
    run_until_calm(lab)
    assert sorted(standing(lab, scan_id)[2] for scan_id in scans) == ["proven", "received"]


@ON_BOTH
def test_one_scan_gets_one_of_two_slides(lab: Lab, desk: Desk) -> None:
    ordered(lab, ONE, TWO)
    scan_id = scanned(lab)
    slides = [slide_of(lab, name) for name in (ONE, TWO)]
    refused = together(*(lambda slide_id=slide_id: match(desk, scan_id, slide_id, ANN) for slide_id in slides))
    assert len(refused) == 1
    assert "is matched to slide" in refused[0]


@ON_BOTH
def test_what_is_done_by_four_people_at_once_is_done_once(lab: Lab, desk: Desk) -> None:
    ordered(lab, ONE, TWO)
    scan_id = scanned(lab, ONE)
    case_id = case_of(lab).id
    assert len(together(*[lambda: withdraw(desk, scan_id, ANN)] * 4)) == 3
    run_until_calm(lab)
    assert standing(lab, scan_id)[4] == 2
    assert len(together(*[lambda: release(desk, case_id, ANN)] * 4)) == 3
    assert len(together(*[lambda: review(desk, scan_id, "rescan", ANN)] * 4)) == 3
    assert offered(lab, scan_id) == {1: 0}


@ON_BOTH
def test_people_act_while_the_laboratory_works(lab: Lab, desk: Desk) -> None:
    """Whatever order they come in, the books agree; the fixture looks."""
    ordered(lab, ONE, TWO)
    first, second = scanned(lab), scanned(lab, quality="review", made=2)
    slides = [slide_of(lab, name) for name in (ONE, TWO)]
    refused = together(
        lambda: run_until_calm(lab),
        lambda: match(desk, first, slides[0], ANN),
        lambda: match(desk, second, slides[1], ANN),
        lambda: review(desk, second, "pass", ANN),
    )
    assert refused == []
    run_until_calm(lab)
    assert standing(lab, first) == ("pass", "matched", "proven", "active", 1)
    assert standing(lab, second) == ("pass", "matched", "proven", "active", 1)
