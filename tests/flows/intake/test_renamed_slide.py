"""A slide that only a cancel made turns out to be another issuer's: whoever was matched to it is let go."""

from itertools import permutations

import pytest

from connectors.wiring import Lab
from models.facets import Identity, Outcome
from tests.flows.looking import LATER, A, B, books_balance, inbox, slides, steps, the_scan
from tests.small_lab import ON_BOTH, SmallSlide, message_arrives, order, run_until_calm, scan_arrives

CANCEL = order("26H1", B, cancel=(A,), sent_at=LATER)
OLDER = order("26H1", A, control_id="M2").replace(f"|{A}|".encode(), f"|{A}&OTHER|".encode())


@ON_BOTH
def test_a_scan_of_a_slide_that_an_older_order_names_by_another_issuer_goes_to_a_person(lab: Lab) -> None:
    message_arrives(lab, CANCEL)
    run_until_calm(lab)
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    assert (the_scan(lab).identity, the_scan(lab).outcome) == (Identity.MATCHED, Outcome.CANCELLED)
    message_arrives(lab, OLDER)
    run_until_calm(lab)

    assert set(inbox(lab)) == {"applied"}
    assert slides(lab) == {A: False, B: True}
    scan = the_scan(lab)
    assert (scan.identity, scan.slide_id, scan.outcome) == (Identity.UNMATCHED, None, Outcome.ACTIVE)
    assert steps(lab, "barcode_matching")[-1] == "waiting for a person"
    books_balance(lab)


@pytest.mark.parametrize("arrival", list(permutations((CANCEL, OLDER))))
def test_without_a_scan_the_slide_is_the_older_order_s_either_way(lab: Lab, arrival: tuple[bytes, ...]) -> None:
    for message in arrival:
        message_arrives(lab, message)
        run_until_calm(lab)

    assert slides(lab) == {A: False, B: True}
    books_balance(lab)
