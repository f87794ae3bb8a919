"""What a message would change is what it changes when it is applied; and looking changes nothing."""

import pytest
from sqlalchemy import func, select

from connectors.wiring import Lab
from flows.actions import Desk
from flows.actions.previewing import Preview, preview_replay
from models.errors import RefusedError
from models.tables.books import Alert, Fact, History, InboxMessage, OutboxMessage
from models.tables.case import Case, Patient, Slide
from models.tables.step import Step, Worker
from tests.flows.actions.life import NOBODY, ONE, TWO, ordered
from tests.small_lab import ON_BOTH, message_arrives, order, run_until_calm

UNKNOWN = b"MSH|^~\\&|LIMS|A|COVERSLIP|NET|20261122091500+0000||ZZZ^Z01|U1|P|2.5.1\r"
_COUNTED = (InboxMessage, Fact, History, Alert, OutboxMessage, Case, Patient, Slide, Step, Worker)


def counts(lab: Lab) -> list[int | None]:
    with lab.database.read() as session:
        return [session.scalar(select(func.count()).select_from(entity)) for entity in _COUNTED]


def changes(seen: Preview) -> dict[tuple[str, str], tuple[str | None, str | None]]:
    return {(one.subject, one.what): (one.before, one.after) for one in seen.changes}


@ON_BOTH
def test_a_new_order_shows_the_case_and_slides_it_would_make_and_makes_none(lab: Lab, desk: Desk) -> None:
    kept = message_arrives(lab, order("26B0001", ONE, stain="HE", parent="26B0001-A1", priority="S"))
    before = counts(lab)
    seen = preview_replay(desk, kept.inbox_id)
    assert counts(lab) == before
    assert (seen.applied, seen.message_id, seen.message_type) == (True, kept.inbox_id, "OML^O21")
    assert {one.subject for one in seen.changes if one.what == "new"} >= {
        "case 26B0001",
        f"slide {ONE}@NET",
        "block 26B0001-A1@NET",
    }
    (slide,) = (one.after for one in seen.changes if one.subject == f"slide {ONE}@NET")
    assert slide is not None
    assert "HE" in slide
    assert "block 26B0001-A1@NET" in slide

    run_until_calm(lab)
    with lab.database.read() as session:
        assert session.scalars(select(Slide.container_identifier)).all() == [ONE]


def test_a_change_shows_the_fields_that_it_would_change_and_no_others(lab: Lab, desk: Desk) -> None:
    ordered(lab, ONE)
    change = order(
        "26B0001", ONE, TWO, control="XO", stain="CD3", priority="S", sent_at="20250101130000+0000", control_id="M2"
    )
    kept = message_arrives(lab, change)
    seen = changes(preview_replay(desk, kept.inbox_id))
    assert seen["case 26B0001", "priority"] == ("routine", "urgent")
    assert seen[f"slide {ONE}@NET", "stains"] == ("HE", "CD3")
    assert (f"slide {TWO}@NET", "new") in seen
    assert not any(subject.startswith("patient") for subject, _ in seen)


def test_applied_already_it_would_change_nothing(lab: Lab, desk: Desk) -> None:
    ordered(lab, ONE)
    with lab.database.read() as session:
        (message_id,) = session.scalars(select(InboxMessage.id)).all()
    before = counts(lab)
    seen = preview_replay(desk, message_id)
    assert seen.applied
    assert seen.changes_nothing
    assert counts(lab) == before


def test_what_an_older_message_says_changes_nothing_that_a_newer_one_said(lab: Lab, desk: Desk) -> None:
    ordered(lab, ONE)
    older = message_arrives(lab, order("26B0001", ONE, stain="CD3", sent_at="20240101120000+0000", control_id="M0"))
    assert f"slide {ONE}@NET" not in {one.subject for one in preview_replay(desk, older.inbox_id).changes}


def test_one_that_would_be_set_aside_again_says_why(lab: Lab, desk: Desk) -> None:
    kept = message_arrives(lab, UNKNOWN)
    run_until_calm(lab)
    before = counts(lab)
    seen = preview_replay(desk, kept.inbox_id)
    assert not seen.applied
    assert "MSH-9" in str(seen.problem)
    assert seen.changes_nothing
    assert counts(lab) == before
    foreign = message_arrives(lab, order("26B0009", ONE, control_id="M9"), peer="lims-b")
    assert preview_replay(desk, foreign.inbox_id).applied


def test_there_is_nothing_to_see_of_what_never_came(desk: Desk) -> None:
    with pytest.raises(RefusedError, match="no such message"):
        preview_replay(desk, NOBODY)
