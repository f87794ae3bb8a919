from datetime import datetime

from sqlalchemy import func, select, update

from connectors.wiring import Lab
from models.tables.books import OutboxMessage
from models.tables.step import Slot
from tests.flows.looking import LONG_AGO, A, steps, time_passes
from tests.small_lab import SmallLims, SmallSlide, message_arrives, order, run_until_calm, scan_arrives


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
