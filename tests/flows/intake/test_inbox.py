import asyncio
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import distinct, event, func, select

from connectors.wiring import Lab
from flows.intake.inbox import Arrival, InboxWriter, Kept, keep
from models.database import database_now
from models.errors import TransientError
from models.tables.books import InboxMessage
from models.tables.step import Step
from tests.small_lab import ON_BOTH


def arrival(number: int, answer: bytes = b"AA", peer: str = "lims-a") -> Arrival:
    return Arrival("hl7", peer, f"message {number}".encode(), answer=answer, message_control_id=f"M{number}")


async def kept_by(writer: InboxWriter, one: Arrival) -> Kept:
    """Have an arrival kept, and wait for the word of it."""
    word: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()

    def tell(said: Kept | TransientError) -> None:
        if isinstance(said, TransientError):
            word.set_exception(said)
        else:
            word.set_result(said)

    writer.keep(one, tell)
    return await word


@pytest.fixture
def writer(lab: Lab) -> Iterator[InboxWriter]:
    opened = InboxWriter(lab.database, lab.ids)
    yield opened
    opened.close()


def rows(lab: Lab) -> int:
    with lab.database.read() as session:
        return session.scalars(select(func.count()).select_from(InboxMessage)).one()


def test_an_arrival_is_durable_with_its_step_when_it_counts_as_kept(lab: Lab, writer: InboxWriter) -> None:
    kept = asyncio.run(kept_by(writer, arrival(1)))

    with lab.database.read() as session:
        message = session.get_one(InboxMessage, kept.inbox_id)
        step = session.scalars(select(Step)).one()
    assert (message.payload, message.state, message.answer) == (b"message 1", "kept", b"AA")
    assert (step.kind, step.subject_id, step.state) == ("apply", kept.inbox_id, "ready")


def test_the_same_bytes_get_the_first_answer_again_and_the_same_bytes_of_another_peer_do_not(
    lab: Lab, writer: InboxWriter
) -> None:
    async def send() -> list[Kept]:
        return [
            await kept_by(writer, arrival(1, answer=b"the first")),
            await kept_by(writer, arrival(1, answer=b"the second")),
            await kept_by(writer, arrival(1, answer=b"another", peer="lims-b")),
        ]

    first, again, other = asyncio.run(send())
    assert (again.is_new, again.answer, again.inbox_id) == (False, b"the first", first.inbox_id)
    assert (other.is_new, other.answer) == (True, b"another")
    assert rows(lab) == 2


@ON_BOTH
def test_arrivals_that_come_together_share_a_commit_and_each_gets_its_own_answer(lab: Lab, writer: InboxWriter) -> None:
    async def send() -> list[Kept]:
        return await asyncio.gather(*(kept_by(writer, arrival(n, answer=str(n).encode())) for n in range(60)))

    kept = asyncio.run(send())
    assert [one.answer for one in kept] == [str(n).encode() for n in range(60)]
    assert rows(lab) == 60
    with lab.database.read() as session:
        # What came in together has one time, the transaction's.
        assert session.scalars(select(func.count(distinct(InboxMessage.received_at)))).one() < 30


def test_the_same_message_twice_at_once_is_kept_once(lab: Lab, writer: InboxWriter) -> None:
    async def send() -> list[Kept]:
        return await asyncio.gather(*(kept_by(writer, arrival(1, answer=str(n).encode())) for n in range(8)))

    kept = asyncio.run(send())
    assert sum(one.is_new for one in kept) == 1
    assert len({one.answer for one in kept}) == 1
    assert rows(lab) == 1


@ON_BOTH
def test_two_processes_that_take_the_same_message_keep_it_once(lab: Lab) -> None:
    writers = [InboxWriter(lab.database, lab.ids) for _ in range(2)]
    together = threading.Barrier(2)
    kept: list[Kept] = []

    def take(one: InboxWriter) -> None:
        async def send() -> None:
            for number in range(10):
                together.wait(30)
                kept.append(await kept_by(one, arrival(number)))

        asyncio.run(send())

    threads = [threading.Thread(target=take, args=(one,)) for one in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in writers:
        one.close()
    assert sum(one.is_new for one in kept) == 10
    assert rows(lab) == 10


def test_a_sender_hears_nothing_when_nothing_could_be_stored_and_may_send_again(lab: Lab) -> None:
    writer = InboxWriter(lab.database, lab.ids)
    full = [True]

    @event.listens_for(lab.database.engine, "checkout")
    def refuse(*_: object) -> None:
        if full:
            full.pop()
            raise OSError("no space left on device")

    async def send() -> Kept:
        with pytest.raises(TransientError):
            await kept_by(writer, arrival(1))
        return await kept_by(writer, arrival(1))

    assert asyncio.run(send()).is_new
    assert rows(lab) == 1
    writer.close()


def test_closing_writes_what_is_pending_and_refuses_what_comes_later(lab: Lab) -> None:
    writer = InboxWriter(lab.database, lab.ids)

    async def send() -> None:
        pending = [asyncio.ensure_future(kept_by(writer, arrival(n))) for n in range(20)]
        await asyncio.sleep(0)
        await asyncio.to_thread(writer.close)
        assert all([(await one).is_new for one in pending])
        with pytest.raises(TransientError):
            await asyncio.wait_for(kept_by(writer, arrival(99)), timeout=5)

    asyncio.run(send())
    assert rows(lab) == 20


def test_a_sender_that_went_away_meanwhile_harms_nobody(lab: Lab) -> None:
    writer = InboxWriter(lab.database, lab.ids)
    busy, go_on = threading.Event(), threading.Event()

    @event.listens_for(lab.database.engine, "checkout")
    def slow(*_: object) -> None:
        busy.set()
        go_on.wait(30)

    async def ask_and_leave() -> None:
        asking = asyncio.ensure_future(kept_by(writer, arrival(1)))
        await asyncio.to_thread(busy.wait, 30)
        asking.cancel()

    asyncio.run(ask_and_leave())
    go_on.set()
    assert asyncio.run(kept_by(writer, arrival(2))).is_new
    assert rows(lab) == 2
    writer.close()


def test_keeping_is_part_of_the_callers_transaction(lab: Lab) -> None:
    def keep_and_fail() -> None:
        with lab.database.write("fails") as session:
            keep(session, lab.ids, arrival(1), database_now(session))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        keep_and_fail()
    assert rows(lab) == 0
