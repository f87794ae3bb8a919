from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import func, select, update

from connectors.lims.header import read_header
from connectors.wiring import Lab
from models.tables.books import OutboxMessage
from models.tables.step import Slot
from tests.flows.looking import LONG_AGO, A, steps, time_passes
from tests.small_lab import ON_BOTH, SmallLims, SmallSlide, message_arrives, order, run_until_calm, scan_arrives


def silent_since(lab: Lab) -> datetime | None:
    with lab.database.read() as session:
        return session.scalars(select(Slot.silent_since).where(Slot.name == "lims:lims-a")).one()


def pauses_end(lab: Lab) -> None:
    with lab.database.write("pauses end") as session:
        session.execute(update(Slot).where(Slot.paused_until.is_not(None)).values(paused_until=LONG_AGO))
    time_passes(lab, "send")


def answers(lab: Lab, *said: str) -> None:
    lims = lab.senders["lims-a"]
    assert isinstance(lims, SmallLims)
    lims.answers += said


@ON_BOTH
def test_a_lims_that_answers_again_is_no_longer_called_silent(lab: Lab) -> None:
    answers(lab, "silent", "silent")
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    fell_silent = silent_since(lab)
    assert fell_silent is not None

    pauses_end(lab)
    run_until_calm(lab)
    assert silent_since(lab) == fell_silent
    pauses_end(lab)
    run_until_calm(lab)

    assert silent_since(lab) is None
    assert steps(lab, "send") == ["done", "done", "done"]
    with lab.database.read() as session:
        assert session.scalars(select(Slot.paused_until).where(Slot.name == "lims:lims-a")).one() is None


@ON_BOTH
def test_every_try_counts_whatever_came_of_it(lab: Lab) -> None:
    answers(lab, "silent", "AR", "AA")
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    for _ in range(2):
        pauses_end(lab)
        run_until_calm(lab)

    with lab.database.read() as session:
        total = session.scalars(select(func.sum(OutboxMessage.tries))).one()
        codes = session.scalars(select(OutboxMessage.answer_code).order_by(OutboxMessage.stated_at)).all()
    assert codes == ["AA", "AA", "AA"]
    assert total == 2 + len(codes)


def peers_say(lab: Lab, **said: str) -> Lab:
    """The laboratory with settings that say this of each LIMS."""
    lims = tuple(peer.model_copy(update=said) for peer in lab.settings.lims)
    return replace(lab, settings=lab.settings.model_copy(update={"lims": lims}))


def first_sent(lab: Lab) -> tuple[str, str | None, int]:
    with lab.database.read() as session:
        sent = session.scalars(select(OutboxMessage).order_by(OutboxMessage.stated_at, OutboxMessage.id)).first()
    assert sent is not None
    return sent.state, sent.answer_code, sent.tries


@pytest.mark.parametrize(
    ("code", "said", "asked_again"),
    [
        ("AE", {}, False),
        ("CE", {}, False),
        ("AR", {}, True),
        ("CR", {}, True),
        ("AE", {"after_error": "send again"}, True),
        ("AR", {"after_reject": "a person"}, False),
    ],
)
def test_what_a_refusal_means_is_what_the_settings_say_of_the_peer(
    lab: Lab, code: str, said: dict[str, str], *, asked_again: bool
) -> None:
    lab = peers_say(lab, **said)
    answers(lab, *[code] * 20)
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    assert first_sent(lab) == (("pending", None, 1) if asked_again else ("refused", code, 1))

    for _ in range(5 if asked_again else 0):
        assert first_sent(lab)[0] == "pending"
        time_passes(lab, "send")
        run_until_calm(lab)
    # Sent again a few times, and then it is a person's all the same.
    assert first_sent(lab) == ("refused", code, 6 if asked_again else 1)


@pytest.mark.parametrize(("mode", "asks"), [("enhanced", ("AL", "AL")), ("original", ("", ""))])
def test_only_in_enhanced_mode_are_both_answers_asked_for(lab: Lab, mode: str, asks: tuple[str, str]) -> None:
    lab = peers_say(lab, acknowledgement=mode)
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    lims = lab.senders["lims-a"]
    assert isinstance(lims, SmallLims)
    assert lims.heard
    assert {(read_header(raw).text(15), read_header(raw).text(16)) for raw in lims.heard} == {asks}
