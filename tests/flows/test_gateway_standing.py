import os
from datetime import timedelta

import pytest
from sqlalchemy import update

from connectors.wiring import Lab
from flows.standing import gateway_state
from flows.standing.gateway import Disk, GatewayState, full_in
from models.database import database_now
from models.tables.books import InboxMessage
from models.tables.scan import ScanFile
from tests.flows.sending.eventful import with_log
from tests.flows.sending.test_forward import message_comes, numbered
from tests.small_lab import ON_BOTH, SmallSlide, run_until_calm, scan_arrives

HOUR = timedelta(hours=1)


def state_of(lab: Lab) -> GatewayState:
    with lab.database.read() as session:
        return gateway_state(session, lab.settings)


def came_long_ago(lab: Lab, ago: timedelta) -> None:
    with lab.database.write("long ago") as session:
        at = database_now(session) - ago
        session.execute(update(InboxMessage).values(received_at=at))
        session.execute(update(ScanFile).values(taken_at=at))


@pytest.mark.parametrize(
    ("disks", "during", "hours"),
    [
        ((), HOUR, None),
        ((Disk(100, 0),), HOUR, None),
        ((Disk(100, 10),), HOUR, 10.0),
        ((Disk(100, 10),), 6 * HOUR, 60.0),
        ((Disk(100, 10), Disk(30, 10), Disk(1, 0)), HOUR, 3.0),
        ((Disk(-5, 10),), HOUR, 0.0),
    ],
)
def test_the_disk_that_is_full_first_decides(disks: tuple[Disk, ...], during: timedelta, hours: float | None) -> None:
    assert full_in(disks, during) == hours


def test_a_gateway_to_which_nothing_came_says_so(lab: Lab) -> None:
    lab, _log = with_log(lab, gateway=True)

    state = state_of(lab)

    assert state.sentence == "everything that came in was handed on; nothing came in during the last 15 min"
    assert (state.all_is_well, state.full_in) == (True, None)


def test_a_gateway_that_is_cut_off_says_what_waits_and_when_it_is_full(lab: Lab) -> None:
    lab, log = with_log(lab, gateway=True)
    log.presence = "away"
    for number in range(3):
        message_comes(lab, numbered(number))
    scan_arrives(lab, SmallSlide())
    run_until_calm(lab)

    state = state_of(lab)

    assert state.waiting == 4
    assert not state.all_is_well
    assert state.sentence.startswith("Kafka has been silent since ")
    assert "4 messages and scans wait to be handed on, the oldest since" in state.sentence
    assert state.sentence.endswith("full in more than 1,000 h at the pace of the last 15 min")


def test_the_hours_left_follow_from_what_the_spool_and_the_database_took_in_of_late(lab: Lab) -> None:
    lab, _log = with_log(lab, gateway=True)
    scan_arrives(lab, SmallSlide())
    run_until_calm(lab)
    came_long_ago(lab, 2 * HOUR)
    status = os.statvfs(lab.settings.home)
    with lab.database.write("a large slide") as session:
        session.execute(update(ScanFile).values(bytes=status.f_bavail * status.f_frsize // 10))

    state = state_of(lab)

    assert state.full_in == pytest.approx(20.0, rel=0.05)
    assert state.sentence.endswith("full in 20 h at the pace of the last 2 h")
    assert not state.all_is_well


@ON_BOTH
def test_what_came_before_the_last_hours_does_not_count(lab: Lab) -> None:
    lab, _log = with_log(lab, gateway=True)
    scan_arrives(lab, SmallSlide())
    run_until_calm(lab)
    came_long_ago(lab, 30 * HOUR)

    assert state_of(lab).sentence == "everything that came in was handed on; nothing came in during the last 6 h"
