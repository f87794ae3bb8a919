"""A corrected message is applied in place of one that was set aside; both stay, with who did it and why."""

import pytest
from sqlalchemy import select

from connectors.lims.editable_text import with_value
from connectors.wiring import Lab
from flows import actions
from flows.actions import Acted, Desk
from flows.actions.editing import drafted, edit, payload_of, preview_draft
from models.errors import RefusedError
from models.tables.books import Alert, History, InboxMessage
from models.tables.case import Slide
from tests.flows.actions.life import ANN, NOBODY, ONE, TWO, ordered
from tests.small_lab import ON_BOTH, message_arrives, order, run_until_calm

BROKEN = order("26B0001", ONE, stain="HE").replace(b"SPM|1|" + ONE.encode(), b"SPM|1|")
MENDED = with_value(BROKEN, "SPM-2", ONE)


@pytest.fixture
def broken(lab: Lab) -> str:
    """A message that was set aside, because its slide has no identifier."""
    kept = message_arrives(lab, BROKEN)
    run_until_calm(lab)
    assert message(lab, kept.inbox_id).state == "set aside"
    return kept.inbox_id


def message(lab: Lab, message_id: str) -> InboxMessage:
    with lab.database.read() as session:
        return session.get_one(InboxMessage, message_id)


def messages(lab: Lab) -> list[InboxMessage]:
    with lab.database.read() as session:
        return list(session.scalars(select(InboxMessage)))


def slides(lab: Lab) -> list[str]:
    with lab.database.read() as session:
        return sorted(session.scalars(select(Slide.container_identifier)))


def mend(desk: Desk, message_id: str, raw: bytes = MENDED) -> Acted:
    return edit(desk, drafted(desk, message_id, raw), ANN)


@ON_BOTH
def test_a_mended_message_is_applied_and_the_original_kept_and_marked(lab: Lab, desk: Desk) -> None:
    kept = message_arrives(lab, BROKEN)
    run_until_calm(lab)
    draft = drafted(desk, kept.inbox_id, with_value(payload_of(desk, kept.inbox_id), "SPM-2", ONE))
    assert [(one.place, one.before, one.after) for one in draft.differences] == [("SPM-2", None, ONE)]
    seen = preview_draft(desk, draft)
    assert (seen.applied, seen.problem) == (True, None)
    assert f"slide {ONE}@NET" in {one.subject for one in seen.changes}
    assert len(messages(lab)) == 1
    assert slides(lab) == []

    edit(desk, draft, ANN)
    run_until_calm(lab)
    original = message(lab, kept.inbox_id)
    assert (original.state, original.payload) == ("set aside", BROKEN)
    assert original.replaced_by_id is not None
    new = message(lab, original.replaced_by_id)
    assert (new.state, new.payload, new.peer) == ("applied", MENDED, original.peer)
    assert slides(lab) == [ONE]


def test_the_history_of_both_says_who_why_and_which_places(lab: Lab, desk: Desk, broken: str) -> None:
    mend(desk, broken)
    new_id = message(lab, broken).replaced_by_id
    with lab.database.read() as session:
        said = session.scalars(select(History).where(History.cause == "hl7 edit").order_by(History.id)).all()
        assert {(one.actor, one.reason) for one in said} == {(ANN.name, ANN.reason)}
        assert [(one.subject_id, one.what, one.after) for one in said] == [
            (broken, "replaced", new_id),
            (new_id, "stands for", broken),
            (new_id, "edited", "SPM-2"),
        ]
        open_alerts = select(Alert).where(Alert.subject_id == broken, Alert.cleared_at.is_(None))
        assert session.scalars(open_alerts).all() == []
        assert actions.set_aside_messages(session) == []


def test_its_peer_gets_the_answer_of_the_door_if_it_sends_the_mended_bytes_itself(
    lab: Lab, desk: Desk, broken: str
) -> None:
    mend(desk, broken)
    run_until_calm(lab)
    again = message_arrives(lab, MENDED)
    assert not again.is_new
    assert again.answer is not None
    assert b"MSA|AA|M1" in again.answer
    run_until_calm(lab)
    assert len(messages(lab)) == 2
    assert message_arrives(lab, BROKEN).inbox_id == broken
    run_until_calm(lab)
    assert message(lab, broken).state == "set aside"


def test_who_mends_what_came_in_right_meanwhile_does_nothing_twice(lab: Lab, desk: Desk, broken: str) -> None:
    right = message_arrives(lab, MENDED)
    run_until_calm(lab)
    assert "came in before" in mend(desk, broken).what
    assert message(lab, broken).replaced_by_id == right.inbox_id
    assert len(messages(lab)) == 2


def test_what_was_replaced_is_neither_edited_nor_replayed_again(lab: Lab, desk: Desk, broken: str) -> None:
    draft = drafted(desk, broken, MENDED)
    mend(desk, broken, with_value(BROKEN, "SPM-2", TWO))
    with pytest.raises(RefusedError, match="edited already"):
        edit(desk, draft, ANN)
    with pytest.raises(RefusedError, match="was edited"):
        actions.replay(desk, broken, ANN)
    run_until_calm(lab)
    assert slides(lab) == [TWO]


def test_an_original_that_was_applied_meanwhile_is_not_replaced(lab: Lab, desk: Desk, broken: str) -> None:
    draft = drafted(desk, broken, MENDED)
    actions.replay(desk, broken, ANN)
    with pytest.raises(RefusedError, match="was kept"):
        edit(desk, draft, ANN)
    assert len(messages(lab)) == 1
    run_until_calm(lab)


def test_a_mended_message_that_is_set_aside_too_can_be_mended_again_but_not_into_the_first(
    lab: Lab, desk: Desk, broken: str
) -> None:
    mend(desk, broken, with_value(BROKEN, "PID-8", "M"))
    run_until_calm(lab)
    second = str(message(lab, broken).replaced_by_id)
    with lab.database.read() as session:
        assert [one.id for one in actions.set_aside_messages(session)] == [second]
    with pytest.raises(RefusedError, match="set aside too"):
        mend(desk, second, BROKEN)
    mend(desk, second)
    run_until_calm(lab)
    assert slides(lab) == [ONE]


def test_what_is_no_edit_is_refused(lab: Lab, desk: Desk, broken: str) -> None:
    with pytest.raises(RefusedError, match="nothing was edited"):
        drafted(desk, broken, BROKEN)
    with pytest.raises(RefusedError, match="MSH-10"):
        drafted(desk, broken, with_value(BROKEN, "MSH-10", ""))
    with pytest.raises(RefusedError, match="no such message"):
        drafted(desk, NOBODY, MENDED)
    ordered(lab, TWO)
    applied = next(one.id for one in messages(lab) if one.state == "applied")
    with pytest.raises(RefusedError, match="was applied"):
        drafted(desk, applied, MENDED)
