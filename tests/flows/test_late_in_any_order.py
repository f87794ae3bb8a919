"""Whatever happens to a case and in whatever order: the books balance, and nobody who reads it is left in the dark."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from connectors.wiring import Lab
from flows.actions import acknowledge, acknowledgeable_alerts, release
from flows.completeness import READABLE, standing_of
from flows.expected import expected_slides
from models.errors import RefusedError
from models.facets import Images
from models.tables.case import Case, Slide
from models.tables.reading import Assignment, Notice
from tests.flows.completing import ANN, days_pass, desk, under
from tests.flows.looking import A, B, C, books_balance
from tests.lims_says import reported
from tests.small_lab import SmallSlide, message_arrives, order, run_until_calm, scan_arrives, small_lab

_PARTIAL: Final = {"hold": "partial", "after_hours": 1.0}


def _ordered(lab: Lab, number: int, *slides: str, **more: str) -> None:
    sent_at = f"202501{number // 24 + 1:02}{number % 24:02}0000+0000"
    message_arrives(lab, order("26H1", *slides, sent_at=sent_at, control_id=f"M{number}", **more))


def _released(lab: Lab, _number: int) -> None:
    with lab.database.read() as session:
        case_id = session.scalar(select(Case.id))
    try:
        release(desk(lab), case_id or "nobody", ANN)
    except RefusedError:
        return


def _ticked_off(lab: Lab, _number: int) -> None:
    with lab.database.read() as session:
        listed = acknowledgeable_alerts(session)
    for one in listed[:1]:
        acknowledge(desk(lab), one.number, ANN)


_DEEDS: Final[dict[str, Callable[[Lab, int], object]]] = {
    "A and B are ordered": lambda lab, number: _ordered(lab, number, A, B),
    "C is ordered": lambda lab, number: _ordered(lab, number, C),
    "C is on glass": lambda lab, number: _ordered(lab, number, C, route="OTH"),
    "it is urgent": lambda lab, number: _ordered(lab, number, A, priority="S"),
    "it is cancelled": lambda lab, number: _ordered(lab, number, control="CA"),
    "A is scanned": lambda lab, _number: scan_arrives(lab, SmallSlide(codes=(A,))),
    "B is scanned": lambda lab, _number: scan_arrives(lab, SmallSlide(codes=(B,))),
    "B is blurred": lambda lab, number: scan_arrives(lab, SmallSlide(codes=(B,), quality="rescan", made=number + 2)),
    "C is scanned": lambda lab, _number: scan_arrives(lab, SmallSlide(codes=(C,))),
    "days pass": lambda lab, _number: days_pass(lab),
    "somebody releases it": _released,
    "somebody ticks off": _ticked_off,
    "it is reported": lambda lab, number: message_arrives(
        lab, reported("26H1", "F", sent_at=f"20250201{number:02}0000+0000", control_id=f"R{number}")
    ),
    "parts may be read": lambda lab, _number: under(lab, release=_PARTIAL),
    "nothing before its proof": lambda lab, _number: under(lab, read_before_proof=[]),
}


def _holds(lab: Lab) -> None:
    """Hold what is shown of the case against what there is."""
    with lab.database.read() as session:
        for case in session.scalars(select(Case)):
            expected = expected_slides(session, case)
            can_be_read = {one.slide_id for one in expected if standing_of(one) in READABLE}
            noted = {one.slide_id for one in expected if one.readable_at is not None}
            assert noted == can_be_read
            if case.images == Images.READY and case.released_how is None:
                assert case.expected_closed_at is not None
                assert can_be_read == {one.slide_id for one in expected}
                assert can_be_read
        told = session.scalar(select(func.count()).where(Notice.kind.in_(("late slide", "withdrawn"))))
        assert not told or session.scalar(select(func.count(Assignment.id)))


@given(st.lists(st.sampled_from(sorted(_DEEDS)), min_size=3, max_size=9))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_happens_the_books_balance_and_what_is_shown_is_so(deeds: Sequence[str]) -> None:
    with TemporaryDirectory() as folder:
        lab = small_lab(Path(folder), f"sqlite:///{folder}/coverslip.db")
        for number, deed in enumerate(("A and B are ordered", *deeds)):
            _DEEDS[deed](lab, number)
            run_until_calm(lab, patience=timedelta(seconds=0.05))
            _holds(lab)
        books_balance(lab)
        lab.database.close()


@pytest.mark.postgres
@pytest.mark.parametrize("urgent", ["", "S"])
def test_slides_that_come_while_the_policy_s_time_passes_are_each_told_once(lab_on_postgres: Lab, urgent: str) -> None:
    lab = lab_on_postgres
    under(lab, release={"hold": "partial", "after_hours": 0.0})
    message_arrives(lab, order("26H1", A, B, C, priority=urgent))
    for name in (A, B, C):
        scan_arrives(lab, SmallSlide(codes=(name,)))
    run_until_calm(lab, threads=3)

    _holds(lab)
    with lab.database.read() as session:
        assert session.scalars(select(Case.images)).one() == Images.READY
        assert session.scalar(select(func.count(Slide.readable_at))) == len((A, B, C))
    books_balance(lab)
