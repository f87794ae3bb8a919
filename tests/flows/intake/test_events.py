"""What lies in an event log comes into the inbox whole and once, whatever happens between the two."""

import random
import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import event as hooks
from sqlalchemy import select

from connectors.eventlog.protocol import Partition, Positions
from connectors.wiring import Lab
from flows.intake import positions
from flows.intake.inbox import Arrival, keep
from models.database import database_now
from models.events.kinds import ScannerStatus
from models.events.parts import split
from models.tables.books import OutboxMessage
from models.tables.intake import ConsumerPosition, MessagePart
from tests.flows.intake.eventing import (
    LIMS,
    NOW,
    SCANNER,
    a_log,
    door,
    event,
    hl7,
    is_read,
    rows,
    status,
    take_all,
    until,
    written,
)
from tests.flows.looking import A, alerts, books_balance, the_case
from tests.small_lab import ON_BOTH, message_arrives, order, run_until_calm

IDLE = ScannerStatus(state="idle", stated_at=NOW)
ORDER = order("26H1", A)


def test_each_record_becomes_one_row_that_says_where_it_lies(lab: Lab) -> None:
    log = a_log()
    written(log, SCANNER, *(status(number) for number in range(40)))
    written(log, LIMS, event("m1", hl7(ORDER)), key=b"lims-a")
    take_all(lab, log)

    found = rows(lab)
    assert sorted(str(row.event_id) for row in found) == sorted(["m1", *(f"s{number}" for number in range(40))])
    assert {(row.source, row.peer) for row in found} == {("event", "scanner-site-a"), ("hl7", "lims-a")}
    message = next(row for row in found if row.source == "hl7")
    assert message.payload == ORDER
    assert message.origin is not None
    assert (message.origin["cluster"], message.origin["topic"], message.origin["offset"]) == ("memory", LIMS, 0)
    run_until_calm(lab)
    assert the_case(lab).cancelled is False
    books_balance(lab)


@ON_BOTH
def test_what_is_read_again_from_the_start_changes_nothing(lab: Lab) -> None:
    log = a_log()
    written(log, SCANNER, *(status(number) for number in range(20)), *(status(number) for number in range(20)))
    take_all(lab, log)
    with lab.database.write("forget") as session:
        for row in session.scalars(select(ConsumerPosition)).all():
            session.delete(row)
    take_all(lab, log)

    assert len(rows(lab)) == 20


def test_a_message_by_a_gateway_and_the_same_by_mllp_are_one_and_get_one_answer(lab: Lab) -> None:
    log = a_log()
    other = order("26H2", "26H000002-A1-1", control_id="M2")
    message_arrives(lab, ORDER)
    written(log, LIMS, event("m1", hl7(ORDER)), event("m2", hl7(other)), key=b"lims-a")
    take_all(lab, log)
    kept = message_arrives(lab, other)

    assert len(rows(lab)) == 2
    assert not kept.is_new
    assert kept.answer is not None
    assert b"MSA|AA|M2" in kept.answer


@ON_BOTH
def test_an_event_id_that_comes_again_with_other_bytes_is_kept_and_never_applied(lab: Lab) -> None:
    log = a_log()
    written(log, LIMS, event("m1", hl7(ORDER)), event("m1", hl7(order("26H9", A))), key=b"lims-a")
    written(log, SCANNER, status(1), event("s1", IDLE))
    take_all(lab, log)
    run_until_calm(lab)

    assert sorted((row.event_id or "", row.state) for row in rows(lab)) == [
        ("", "set aside"),
        ("", "set aside"),
        ("m1", "applied"),
        ("s1", "applied"),
    ]
    assert all("had this id before" in str(row.problem) for row in rows(lab) if row.state == "set aside")
    assert the_case(lab).id == lab.ids.of("case", "NET", "26H1")
    books_balance(lab)


def test_an_event_id_that_comes_twice_in_one_poll_counts_once(lab: Lab) -> None:
    log = a_log()
    written(log, SCANNER, event("s1", IDLE), status(1), event("s1", IDLE))
    take_all(lab, log)
    run_until_calm(lab)

    assert [(row.event_id, row.state) for row in rows(lab)] == [("s1", "applied"), (None, "set aside")]


def test_the_same_id_of_two_senders_is_two_events(lab: Lab) -> None:
    log = a_log()
    written(log, SCANNER, event("s1", IDLE), event("s1", IDLE, site="site-b"))
    take_all(lab, log)

    assert [row.event_id for row in rows(lab)] == ["s1", "s1"]


POISON = {
    "no JSON": b"\xff\x00garbage",
    "a tombstone in disguise": b"",
    "an unknown type": status(1).replace(b"scanner.status", b"scanner.dreams"),
    "another major version": status(1).replace(b"scanner.status:1", b"scanner.status:2"),
    "half a surrogate pair": status(1).replace(b"idle", b"\\ud800"),
    "nothing like an event": b"[1, 2, 3]",
    "an event of ours": b'{"specversion":"1.0"}',
}


def test_poison_is_kept_and_set_aside_and_what_comes_after_it_flows(lab: Lab) -> None:
    log = a_log(1)
    written(log, SCANNER, *POISON.values(), status(7))
    take_all(lab, log)
    run_until_calm(lab)

    found = rows(lab)
    assert [row.payload for row in found] == [*POISON.values(), status(7)]
    assert [row.state for row in found] == ["set aside"] * len(POISON) + ["applied"]
    assert all(row.problem for row in found[:-1])
    assert alerts(lab) == ["set aside"] * len(POISON)
    books_balance(lab)


def test_what_was_set_aside_is_announced_to_the_log_with_where_it_lies(lab: Lab) -> None:
    log = a_log(1)
    written(log, SCANNER, status(1), b"garbage")
    message_arrives(lab, b"MSH|^~\\&|LIMS|A|COVERSLIP|NET|20261122091500+0000||ZZZ^Z01|U1|P|2.5.1\r")
    take_all(lab, log)
    run_until_calm(lab)

    with lab.database.read() as session:
        letter = session.scalars(select(OutboxMessage)).one()
    bad = next(row for row in rows(lab) if row.payload == b"garbage")
    assert (letter.peer, letter.subject_kind, letter.subject_id) == ("kafka", "inbox", bad.id)
    assert letter.announcement["kind"] == "DeadLetter"
    assert (letter.announcement["topic"], letter.announcement["offset"]) == (SCANNER, 1)
    assert letter.announcement["problem"] == bad.problem


def test_a_record_that_our_own_code_stumbles_over_is_kept_as_it_came(lab: Lab) -> None:
    log = a_log(1)
    written(log, SCANNER, status(1), status(2))
    stumbles = [True, True]

    @hooks.listens_for(lab.database.engine, "before_cursor_execute")
    def stumble(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if stumbles and statement.startswith("INSERT INTO inbox"):
            stumbles.clear()
            raise ZeroDivisionError

    take_all(lab, log)
    assert [(row.event_id, row.peer) for row in rows(lab)] == [(None, "scanner-site-a")] * 2
    run_until_calm(lab)

    # The step reads them anew, and finds that they were events after all.
    assert [(row.event_id, row.state) for row in rows(lab)] == [("s1", "applied"), ("s2", "applied")]


@ON_BOTH
def test_a_large_message_in_parts_is_kept_when_it_is_whole_and_only_once(lab: Lab) -> None:
    log = a_log()
    whole = hl7(order("26H1", A, stain="H" * 5_000))
    parts = [event(f"p{part.number}", part) for part in split(whole, 700)]
    assert len(parts) > 5
    shuffled = random.Random(7).sample(parts * 2, len(parts) * 2)
    written(log, LIMS, *shuffled[:-1], key=b"lims-a")
    take_all(lab, log)
    written(log, LIMS, shuffled[-1], event("again", whole), key=b"lims-a")
    take_all(lab, log)
    run_until_calm(lab)

    assert [(row.source, row.payload, row.state) for row in rows(lab)] == [("hl7", whole.payload, "applied")]
    with lab.database.read() as session:
        assert session.scalars(select(MessagePart)).all() == []


def test_a_part_that_does_not_fit_the_others_is_kept_for_a_person(lab: Lab) -> None:
    log = a_log()
    whole = hl7(order("26H1", A, stain="H" * 2_000))
    first, second, *others = split(whole, 700)
    forged = first.model_copy(update={"payload": b"x" * 700})
    said = [event("p1", first), event("p1x", forged), event("p2", second)]
    written(log, LIMS, *said, key=b"lims-a")
    take_all(lab, log)
    run_until_calm(lab)
    assert [(row.event_id, row.state) for row in rows(lab)] == [("p1x", "set aside")]

    written(log, LIMS, *(event(f"p{part.number}", part) for part in others), key=b"lims-a")
    take_all(lab, log)
    assert whole.payload in [row.payload for row in rows(lab)]


@ON_BOTH
def test_a_position_never_moves_back_for_a_reader_that_comes_late(lab: Lab) -> None:
    where = Partition(SCANNER, "id", 0)
    for position in (5, 3, 9, 9, 2):
        with lab.database.write("move") as session:
            positions.advance(session, "memory", {where: position}, database_now(session))
    with lab.database.read() as session:
        assert positions.positions(session, "memory", [where]) == {where: 9}
        assert positions.positions(session, "another", [where]) == {}


@ON_BOTH
def test_several_doors_share_a_log_and_take_over_from_each_other(lab: Lab) -> None:
    log = a_log(6)
    values = [status(number) for number in range(600)]
    with door(lab, log), door(lab, log):
        with door(lab, log):
            for number, value in enumerate(values):
                written(log, SCANNER, value, key=str(number).encode())
            until(lambda: len(rows(lab)) > 50, "nothing was read")
        until(lambda: is_read(lab, log), "nobody took over")
    assert sorted(row.payload for row in rows(lab)) == sorted(values)


def test_what_the_log_is_told_is_how_far_the_inbox_is(lab: Lab) -> None:
    log = a_log(1)
    written(log, SCANNER, *(status(number) for number in range(7)))
    take_all(lab, log)

    assert log.committed("coverslip", SCANNER) == {0: 7}


def test_a_door_closes_at_once_and_leaves_its_place_to_others(lab: Lab) -> None:
    log = a_log(1)
    with door(lab, log) as reading:
        assert reading.ready.wait(10)
        began = time.monotonic()
        reading.end()
    assert time.monotonic() - began < 2
    assert log._shared.groups["coverslip"].members == []


def test_a_message_number_with_a_nul_in_it_is_kept(lab: Lab) -> None:
    log = a_log()
    odd = order("26H1", A, control_id="M\0one")
    written(log, LIMS, event("m1", hl7(odd)), key=b"lims-a")
    take_all(lab, log)
    with lab.database.write("keep") as session:
        kept = keep(session, lab.ids, Arrival("hl7", "lims-b", odd, message_control_id="M\0one"), database_now(session))

    assert kept.is_new
    assert [row.payload for row in rows(lab)] == [odd, odd]


def test_no_more_than_one_poll_of_records_is_asked_for(lab: Lab) -> None:
    log = a_log(1)
    written(log, SCANNER, *(status(number) for number in range(1_200)))
    asked: list[tuple[int, int]] = []

    class Counting:
        def __init__(self, asks: Positions) -> None:
            self._source = log.source("coverslip", (SCANNER, LIMS), asks)

        def poll(self, within: timedelta, most: int) -> Sequence[object]:
            records = self._source.poll(within, most)
            asked.append((most, len(records)))
            return records

        def __getattr__(self, name: str) -> object:
            return getattr(self._source, name)

    with door(lab, log, Counting):  # type: ignore[arg-type] # as above
        until(lambda: is_read(lab, log), "it was not read")
    assert max(most for most, _ in asked) == 500
    assert [count for _, count in asked if count] == [500, 500, 200]
