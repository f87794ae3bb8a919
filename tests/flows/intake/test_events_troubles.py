"""What may come between an event log and whoever reads it: either away, made anew, cut short or without a topic."""

import threading
from collections.abc import Mapping
from datetime import timedelta

import pytest
from sqlalchemy import event as hooks
from sqlalchemy.exc import OperationalError

from connectors.eventlog.memory import MemoryLog
from connectors.eventlog.protocol import Partition, Positions
from connectors.wiring import Lab
from flows.intake.consumers import intake_state
from models.errors import RefusedError
from tests.flows.intake.eventing import (
    LIMS,
    SCANNER,
    a_log,
    door,
    is_read,
    rows,
    sentences,
    status,
    take_all,
    until,
    written,
)
from tests.flows.looking import alerts
from tests.small_lab import ON_BOTH


@ON_BOTH
def test_while_the_log_is_away_it_is_waited_for_and_people_see_since_when(lab: Lab) -> None:
    log = a_log()
    with door(lab, log) as reading:
        assert reading.ready.wait(10)
        log.presence = "away"
        until(lambda: _state(lab).startswith("The event log can't be read since"), "nobody was told")
        log.presence = "there"
        written(log, SCANNER, status(1))
        until(lambda: is_read(lab, log), "it was not read on")
        until(lambda: _state(lab) == "1 process reads the event log: 4 partitions, 0 records to come", _state(lab))
    assert _state(lab).startswith("Nobody reads the event log since")


def _state(lab: Lab) -> str:
    with lab.database.read() as session:
        return intake_state(session).sentence


def test_a_topic_that_was_made_anew_is_read_from_its_start_and_people_are_told(lab: Lab) -> None:
    log = a_log(1)
    written(log, SCANNER, *(status(number) for number in range(5)))
    take_all(lab, log)
    log.delete(SCANNER)
    log.create(SCANNER)
    written(log, SCANNER, status(4), status(5))
    take_all(lab, log)

    assert len(rows(lab)) == 6
    assert alerts(lab) == ["topic made anew"]
    assert SCANNER in sentences(lab, "topic made anew")[0]


def test_a_topic_that_is_made_anew_while_it_is_read_is_noticed_too(lab: Lab) -> None:
    log = a_log(1)
    with door(lab, log):
        written(log, SCANNER, *(status(number) for number in range(5)))
        until(lambda: is_read(lab, log), "it was not read")
        log.delete(SCANNER)
        log.create(SCANNER)
        written(log, SCANNER, status(9))
        until(lambda: is_read(lab, log), "the new one was not read")
    assert len(rows(lab)) == 6
    assert alerts(lab) == ["topic made anew"]


def test_another_cluster_with_the_same_topics_is_read_from_its_start(lab: Lab) -> None:
    log = a_log(1)
    written(log, SCANNER, status(1), status(2))
    take_all(lab, log)
    log._shared.cluster_id = "another"
    written(log, SCANNER, status(3))
    take_all(lab, log)

    assert len(rows(lab)) == 3
    assert alerts(lab) == ["topic made anew"]


def test_records_that_were_deleted_unread_are_told_of_and_the_rest_is_read(lab: Lab) -> None:
    log = a_log(1)
    written(log, SCANNER, status(0), status(1))
    take_all(lab, log)
    written(log, SCANNER, *(status(number) for number in range(2, 8)))
    log.forget(SCANNER, 0, 5)
    take_all(lab, log)

    assert [row.event_id for row in rows(lab)] == ["s0", "s1", "s5", "s6", "s7"]
    assert alerts(lab) == ["records lost"]


@ON_BOTH
def test_a_log_that_was_cut_short_is_read_again_from_where_it_can_be(lab: Lab) -> None:
    log = a_log(1)
    written(log, SCANNER, *(status(number) for number in range(6)))
    take_all(lab, log)
    log.cut(SCANNER, 0, 2)
    with door(lab, log):
        until(lambda: alerts(lab) == ["records lost"], "nobody was told")
        written(log, SCANNER, status(100))
        until(lambda: any(row.event_id == "s100" for row in rows(lab)), "what was written anew was not read")
    assert len(rows(lab)) == 7


def test_a_topic_that_is_missing_is_refused_with_a_sentence(lab: Lab) -> None:
    log = MemoryLog()
    log.create(SCANNER)
    missing = r"no topic coverslip\.lims\.hl7v2: 'coverslip kafka topics apply'"
    with pytest.raises(RefusedError, match=missing), door(lab, log) as reading:
        until(lambda: bool(reading.failed), "it was not refused")


def test_a_log_that_refuses_to_be_told_harms_nothing(lab: Lab) -> None:
    log = a_log(1)
    written(log, SCANNER, *(status(number) for number in range(3)))

    class Deaf:
        def __init__(self, asked: Positions) -> None:
            self._source = log.source("coverslip", (SCANNER, LIMS), asked)

        def commit(self, _positions: Mapping[Partition, int], within: timedelta) -> bool:
            return within < timedelta(0)

        def __getattr__(self, name: str) -> object:
            return getattr(self._source, name)

    with door(lab, log, Deaf):  # type: ignore[arg-type] # it is a source but for one word
        until(lambda: is_read(lab, log), "it was not read")
    assert len(rows(lab)) == 3


def test_while_the_database_is_away_nothing_is_lost_and_the_door_stays_open(lab: Lab) -> None:
    log = a_log()
    away = threading.Event()
    refused: list[str] = []

    @hooks.listens_for(lab.database.engine, "before_cursor_execute")
    def refuse(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if away.is_set() and statement.startswith("INSERT INTO inbox"):
            refused.append(statement)
            raise OperationalError(statement, None, OSError("away"))

    with door(lab, log) as reading:
        assert reading.ready.wait(10)
        away.set()
        written(log, SCANNER, *(status(number) for number in range(700)))
        until(lambda: len(refused) > 2 and "could not take the change" in _state(lab), "nobody was told")
        away.clear()
        until(lambda: is_read(lab, log), "the log was not read to its end")
    assert len(rows(lab)) == 700
