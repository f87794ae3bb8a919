"""What lies in the event log is read again when a person asks: shown by kind, and what is there already stays."""

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from connectors.eventlog.memory import MemoryLog
from connectors.wiring import Lab
from flows import actions
from flows.actions import Desk, Reread, Stretch
from flows.intake.inbox import keep
from flows.intake.records import unread
from models.database import database_now
from models.errors import RefusedError
from models.events.kinds import ScannerStatus
from models.events.parts import split
from models.tables.books import Alert, History, InboxMessage
from models.tables.intake import Circuit, ConsumerPosition, MessagePart
from tests.flows.actions.life import ANN
from tests.flows.intake.eventing import LIMS, NOW, SCANNER, a_log, event, hl7, rows, take_all, written
from tests.flows.intake.full_log import EVENTS, WHOLE
from tests.flows.looking import A
from tests.small_lab import ON_BOTH, order, run_until_calm

ROOT = Path(__file__).resolve().parents[3]
NOT_ACTED_ON = b"MSH|^~\\&|LIMS|A|COVERSLIP|NET|20261122091500+0000||ZZZ^Z01|U1|P|2.5.1\r"


REREADING = """
import sys
from pathlib import Path
from threading import Event
from flows.actions import Desk, reread
from tests.flows.actions.life import ANN
from tests.flows.actions.test_rereading import stretch
from tests.flows.intake.eventing import LIMS, SCANNER
from tests.flows.intake.full_log import full_log
from tests.small_lab import small_lab

lab, log = small_lab(Path(sys.argv[1]), sys.argv[2]), full_log("first")
for topic in (SCANNER, LIMS):
    wanted = stretch(log, topic)
    reread(Desk(lab.database, lab.settings, lab.ids), log.reader(), wanted, ANN, lambda _: None, Event())
"""


@pytest.fixture
def go() -> threading.Event:
    """Never set: nobody stops it."""
    return threading.Event()


def status(number: int, site: str = "site-a") -> bytes:
    said = ScannerStatus(state="idle", stated_at=NOW + timedelta(seconds=number))
    return event(f"{site}-s{number}", said, site=site)


def stretch(log: MemoryLog, topic: str = SCANNER, **said: object) -> Stretch:
    extents = log.reader().extents(topic, 0, None)
    return Stretch(topic, extents, **said)  # type: ignore[arg-type] # what a test says of it


def previewed(desk: Desk, log: MemoryLog, wanted: Stretch) -> dict[str, int]:
    passed: list[int] = []
    found = actions.preview_reread(desk, log.reader(), wanted, passed.append, threading.Event())
    assert found.ended_by is None
    assert sum(passed) == wanted.size
    return {kind: count for kind, count in found.counts.items() if count}


def taken(desk: Desk, log: MemoryLog, wanted: Stretch) -> dict[str, int]:
    done = actions.reread(desk, log.reader(), wanted, ANN, lambda _count: None, threading.Event())
    assert done.ended_by is None
    return {kind: count for kind, count in done.counts.items() if count}


def states(lab: Lab) -> list[tuple[str, str]]:
    return sorted((row.event_id or "", row.state) for row in rows(lab))


def history(lab: Lab) -> list[tuple[str, str, str | None, str | None]]:
    with lab.database.read() as session:
        found = session.scalars(select(History).where(History.cause == "kafka replay").order_by(History.id))
        return [(one.subject_kind, one.what, one.actor, one.reason) for one in found]


def positions(lab: Lab) -> list[tuple[str, int, int]]:
    with lab.database.read() as session:
        return sorted((one.topic, one.partition, one.position) for one in session.scalars(select(ConsumerPosition)))


@ON_BOTH
def test_each_kind_is_shown_and_then_done_with_a_name_on_it(lab: Lab, desk: Desk) -> None:
    log = a_log(1)
    written(log, LIMS, event("m1", hl7(order("26B0001", A))), event("m2", hl7(NOT_ACTED_ON)), b"poison")
    take_all(lab, log)
    run_until_calm(lab)
    kept = positions(lab)
    other = order("26B0002", "26B0002-A1-1", control_id="M3")
    written(log, LIMS, event("m3", hl7(other)), event("m3", hl7(other)), b"more poison")
    wanted = stretch(log, LIMS)
    assert (
        previewed(desk, log, wanted)
        == taken(desk, log, wanted)
        == {"new": 1, "duplicate": 2, "would change": 1, "poison": 2}
    )

    assert positions(lab) == kept
    assert states(lab) == [("", "kept"), ("", "set aside"), ("m1", "applied"), ("m2", "kept"), ("m3", "kept")]
    by_ann = (ANN.name, ANN.reason)
    assert sorted(history(lab)) == sorted(
        [
            ("inbox", "replayed", *by_ann),
            ("inbox", "replayed", *by_ann),
            ("inbox", "state", *by_ann),
            ("topic", "replayed", *by_ann),
        ]
    )
    run_until_calm(lab)
    assert states(lab) == [
        *[("", "set aside")] * 2,
        *[("m1", "applied"), ("m2", "set aside"), ("m3", "applied")],
    ]
    with lab.database.read() as session:
        open_alerts = select(Alert.subject_id).where(Alert.kind == "set aside", Alert.cleared_at.is_(None))
        assert len(session.scalars(open_alerts).all()) == 3


@ON_BOTH
def test_what_the_intake_reads_later_is_a_duplicate_of_what_a_person_had_read(lab: Lab, desk: Desk) -> None:
    log = a_log()
    written(log, SCANNER, *(status(number) for number in range(7)), b"poison")
    assert taken(desk, log, stretch(log)) == {"new": 7, "poison": 1}
    take_all(lab, log)
    run_until_calm(lab)

    assert len(rows(lab)) == 8
    assert previewed(desk, log, stretch(log)) == {"duplicate": 7, "poison": 1}
    assert taken(desk, log, stretch(log)) == {"duplicate": 7, "poison": 1}
    assert len(rows(lab)) == 8


@ON_BOTH
def test_parts_of_a_message_are_read_again_each_for_itself(lab: Lab, desk: Desk) -> None:
    log = a_log(1)
    large = order("26B0001", A) + b"ZZZ|" + secrets.token_hex(3_000).encode() + b"\r"
    parts = [event(f"p{part.number}", part) for part in split(hl7(large), 2_048)]
    most = len(parts)
    assert most >= 3
    written(log, LIMS, parts[0])
    take_all(lab, log)
    written(log, LIMS, *parts[1:], parts[1])
    assert previewed(desk, log, stretch(log, LIMS)) == {"duplicate": 2, "new": most - 1}
    assert taken(desk, log, stretch(log, LIMS)) == {"duplicate": 2, "new": most - 1}
    assert previewed(desk, log, stretch(log, LIMS)) == {"duplicate": most + 1}
    with lab.database.read() as session:
        assert session.scalars(select(MessagePart)).all() == []
    [whole] = rows(lab)
    assert whole.source == "hl7"
    run_until_calm(lab)


def test_only_one_site_s_are_read_when_it_is_named(lab: Lab, desk: Desk) -> None:
    log = a_log(1)
    written(log, SCANNER, status(1), status(2, "site-b"), status(3), b"poison of nobody")
    written(log, SCANNER, b"poison", key=b"site-b/scanner-site-b")
    assert previewed(desk, log, stretch(log, site="site-b")) == {"new": 1, "poison": 1}
    taken(desk, log, stretch(log, site="site-b"))
    assert {row.peer for row in rows(lab)} == {"scanner-site-b"}


def test_more_than_the_cap_would_change_is_refused_before_anything_is_done(lab: Lab, desk: Desk) -> None:
    log = a_log(1)
    written(log, SCANNER, *(status(number) for number in range(3)))
    taken(desk, log, stretch(log))
    written(log, SCANNER, *(status(number) for number in range(3, 6)))
    assert previewed(desk, log, stretch(log, most=3)) == {"duplicate": 3, "new": 3}
    with pytest.raises(RefusedError, match="of 6 records more than 2 would change something"):
        previewed(desk, log, stretch(log, most=2))
    assert len(rows(lab)) == 3


def test_what_waits_in_quarantine_is_not_let_out(lab: Lab, desk: Desk) -> None:
    with lab.database.write("storm") as session:
        now = database_now(session)
        opened: dict[str, datetime | None] = {"opened_at": now, "try_at": now + timedelta(hours=1)}
        session.add(Circuit(peer="scanner-site-a", in_a_row=20, holding=True, **opened))
    log = a_log(1)
    written(log, SCANNER, status(1))
    assert taken(desk, log, stretch(log)) == {"new": 1}
    assert taken(desk, log, stretch(log)) == {"duplicate": 1}
    [row] = rows(lab)
    assert (row.state, row.quarantined_at is not None) == ("set aside", True)
    with lab.database.write("over") as session:
        session.delete(session.get_one(Circuit, "scanner-site-a"))
        session.delete(session.get_one(InboxMessage, row.id))


def test_what_could_not_be_read_when_it_came_is_tried_again_in_its_place(lab: Lab, desk: Desk) -> None:
    log = a_log(1)
    written(log, SCANNER, status(1), key=b"a key that says nothing")
    [[record]] = log.reader().read(log.reader().extents(SCANNER, 0, None)[0], 1)
    as_it_came = unread(lab.settings, "memory", record)
    assert as_it_came.peer == SCANNER
    with lab.database.write("came") as session:
        keep(session, lab.ids, as_it_came, database_now(session))
    run_until_calm(lab)
    with lab.database.write("once") as session:
        # As an earlier version, which did not know the type, would have left it.
        [row] = session.scalars(select(InboxMessage)).all()
        row.event_id, row.state, row.problem = None, "set aside", "its type is not known here"
    assert taken(desk, log, stretch(log)) == {"would change": 1}
    run_until_calm(lab)
    assert [(row.peer, row.state, row.problem) for row in rows(lab)] == [(SCANNER, "applied", None)]


def test_a_stop_leaves_what_was_done_and_the_same_again_does_the_rest(lab: Lab, desk: Desk) -> None:
    log = a_log(1)
    written(log, SCANNER, *(status(number) for number in range(9)))
    stop = threading.Event()
    wanted = stretch(log, per_second=3)
    done = actions.reread(desk, log.reader(), wanted, ANN, lambda _count: stop.set(), stop)
    assert done == Reread({"new": 3}, 3, "it was stopped")
    assert len(rows(lab)) == 3
    assert taken(desk, log, stretch(log)) == {"duplicate": 3, "new": 6}


def test_no_more_a_second_are_taken_than_was_said(desk: Desk) -> None:
    log = a_log(1)
    written(log, SCANNER, *(status(number) for number in range(20)))
    began = time.monotonic()
    assert taken(desk, log, stretch(log, per_second=40)) == {"new": 20}
    assert 0.4 < time.monotonic() - began < 5
    began = time.monotonic()
    assert taken(desk, log, stretch(log, per_second=1)) == {"duplicate": 20}
    assert time.monotonic() - began < 5


def test_a_log_that_goes_away_ends_it_with_what_was_done(desk: Desk, lab: Lab, go: threading.Event) -> None:
    log = a_log(1)
    written(log, SCANNER, *(status(number) for number in range(4)))

    def passed(_count: int) -> None:
        log.presence = "away"

    done = actions.reread(desk, log.reader(), stretch(log, per_second=2), ANN, passed, go)
    assert (done.counts, done.ended_by) == ({"new": 2}, "The event log could not be reached: ask again")
    assert len(rows(lab)) == 2


@pytest.mark.faults
@pytest.mark.parametrize("failpoint", ["rereading.before_commit:2", "rereading.after_commit:1"])
def test_whoever_was_killed_does_the_rest_when_told_the_same_again(
    lab: Lab, database_url: str, tmp_path: Path, failpoint: str
) -> None:
    for where, code in ((failpoint, -signal.SIGKILL), ("", 0)):
        environment = os.environ | {"COVERSLIP_FAILPOINT": where}
        command = [sys.executable, "-c", REREADING, str(tmp_path), database_url]
        assert subprocess.run(command, cwd=ROOT, env=environment, timeout=60, check=False).returncode == code

    found = rows(lab)
    assert sorted(row.event_id for row in found if row.event_id) == sorted(f"s{number}" for number in range(EVENTS))
    others = [(row.source, row.payload) for row in found if not row.event_id]
    assert sorted(others) == [("event", b"poison"), ("hl7", WHOLE)]
    assert Counter(said[:2] for said in history(lab))["inbox", "replayed"] == len(found)


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() <= before
