"""What scanners tell by the event log ends like what our own watchers see."""

import hashlib
import itertools
import json
import os
import uuid
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from connectors.eventlog.memory import MemoryLog
from connectors.scanners.folder import FolderWatcher
from connectors.scanners.watched import WatchedFolder
from connectors.wiring import Lab
from flows import actions
from flows.actions import Desk
from flows.intake.doors import scanner_door
from models.events.kinds import ScannerStatus, SlideFailed, SlideScanned, TakenFile
from models.facets import Storage
from models.tables.intake import ScannerStanding
from models.tables.scan import Scan, ScanFile
from models.tables.step import Step
from tests.flows.actions.life import ANN
from tests.flows.intake.eventing import NOW, SCANNER, a_log, event, rows, sentences, take_all, written
from tests.flows.looking import A, alerts, books_balance, scan_of, steps, the_scan
from tests.small_lab import ON_BOTH, PLACE, SmallSlide, message_arrives, order, run_until_calm, scan_arrives

ROOT = "scanner-site-a"


def taken(lab: Lab, slide: SmallSlide, *, place: str = PLACE, name: str = "") -> TakenFile:
    """Have a gateway's spool hold a slide, and return what it tells of it."""
    content = json.dumps(asdict(slide)).encode()
    digest = hashlib.sha256(content).hexdigest()
    file_id = str(uuid.UUID(bytes=hashlib.sha256(f"{name}{digest}".encode()).digest()[:16]))
    if place == PLACE:
        descriptor = os.memfd_create("slide")
        os.write(descriptor, content)
        lab.spool.take(descriptor, len(content), file_id, ".svs")
        os.close(descriptor)
    return TakenFile(file_id=file_id, sha256=digest, bytes=len(content), modified_ns=1, place=place)


def scanned(file: TakenFile | None = None, path: str = "a/one.svs", root: str = ROOT) -> SlideScanned:
    return SlideScanned(root=root, path=path, scanned_at=NOW, taken=file)


@pytest.fixture
def log() -> MemoryLog:
    return a_log()


def told(lab: Lab, log: MemoryLog, *values: bytes) -> None:
    """Have these events read and acted on, one after the other."""
    written(log, SCANNER, *values)
    take_all(lab, log)
    run_until_calm(lab)


def test_a_slide_that_a_gateway_holds_goes_its_whole_way(lab: Lab, log: MemoryLog) -> None:
    message_arrives(lab, order("26H1", A))
    file = taken(lab, SmallSlide(codes=(A,)))
    told(lab, log, event("e1", scanned(file)))

    scan = the_scan(lab)
    assert (scan.id, scan.storage, scan.scanner) == (lab.ids.scan("site-a", (file.sha256,)), Storage.PROVEN, ROOT)
    assert scan.scanned_at == NOW
    with lab.database.read() as session:
        row = session.scalars(select(ScanFile)).one()
        assert (row.id, row.relative_path, row.state, row.place) == (file.file_id, "a/one.svs", "taken", PLACE)
    books_balance(lab)


@ON_BOTH
def test_what_needs_bytes_waits_for_a_worker_of_the_place_that_holds_them(lab: Lab, log: MemoryLog) -> None:
    message_arrives(lab, order("26H1", A))
    told(lab, log, event("e1", scanned(taken(lab, SmallSlide(codes=(A,)), place="far-away"))))

    with lab.database.read() as session:
        found = session.execute(select(Step.kind, Step.place, Step.state).where(Step.subject_kind == "scan"))
        assert sorted(map(tuple, found)) == [
            ("barcode_matching", "far-away", "ready"),
            ("slide_qc", "far-away", "ready"),
        ]
    books_balance(lab)


@ON_BOTH
@pytest.mark.parametrize("first", ["the event", "our watcher"])
def test_the_same_bytes_by_an_event_and_by_our_own_watcher_are_one_scan(lab: Lab, log: MemoryLog, first: str) -> None:
    slide = SmallSlide(codes=(A,))
    if first == "our watcher":
        scan_arrives(lab, slide, name="one.svs")
    told(lab, log, event("e1", scanned(taken(lab, slide, place="far-away"))))
    if first == "the event":
        scan_arrives(lab, SmallSlide(codes=(A,), made=2), name="one.svs")
    told(lab, log, event("e2", scanned(taken(lab, slide, place="far-away"))))

    with lab.database.read() as session:
        states = sorted(session.scalars(select(ScanFile.state)))
        scans = len(session.scalars(select(Scan)).all())
    assert (states, scans) == ((["duplicate", "taken"], 1) if first == "our watcher" else (["taken", "taken"], 2))
    books_balance(lab)


def test_an_event_that_comes_again_under_another_id_registers_nothing_twice(lab: Lab, log: MemoryLog) -> None:
    file = taken(lab, SmallSlide(codes=(A,)))
    told(lab, log, event("e1", scanned(file)), event("e2", scanned(file)), event("e1", scanned(file)))

    assert the_scan(lab).outcome == "active"
    assert [row.state for row in rows(lab)] == ["applied", "applied"]
    books_balance(lab)


@ON_BOTH
def test_a_file_that_nobody_has_taken_is_taken_by_its_folders_own_watcher(
    lab: Lab, log: MemoryLog, tmp_path: Path
) -> None:
    told(lab, log, event("e1", scanned(path="day/one.svs")))
    with lab.database.read() as session:
        row = session.scalars(select(ScanFile)).one()
        assert (row.state, row.root, row.relative_path) == ("arriving", ROOT, "day/one.svs")
    books_balance(lab)

    folder = tmp_path / "in"
    (folder / "day").mkdir(parents=True)
    (folder / "day" / "one.svs").write_bytes(json.dumps(asdict(SmallSlide(codes=(A,)))).encode())
    watched = WatchedFolder(ROOT, "site-a", folder, stable_for=timedelta(0))
    watcher = FolderWatcher(lab.database, lab.spool, watched, scanner_door(lab.ids))
    watcher.look()
    watcher.look()
    watcher.close()
    run_until_calm(lab)

    with lab.database.read() as session:
        again = session.scalars(select(ScanFile)).one()
    assert (again.id, again.state) == (row.id, "taken")
    told(lab, log, event("e2", scanned(path="day/one.svs")))
    assert scan_of(lab, str(again.scan_id)).outcome == "active"
    books_balance(lab)


@ON_BOTH
def test_a_file_that_was_expected_here_and_that_a_gateway_has_taken_is_one_row(lab: Lab, log: MemoryLog) -> None:
    file = taken(lab, SmallSlide(codes=(A,)))
    with lab.database.write("seen") as session:
        row = ScanFile(id=str(uuid.uuid4()), site_id="site-a", root=ROOT, relative_path="a/one.svs", state="arriving")
        row.bytes, row.modified_ns, row.first_seen_at, row.changed_at = file.bytes, 1, NOW, NOW
        session.add(row)
    told(lab, log, event("e1", scanned(file)))

    with lab.database.read() as session:
        assert [(one.id, one.state) for one in session.scalars(select(ScanFile))] == [(file.file_id, "taken")]
    books_balance(lab)


def test_an_event_of_a_folder_or_site_that_nobody_knows_is_set_aside_until_somebody_does(
    lab: Lab, log: MemoryLog
) -> None:
    file = taken(lab, SmallSlide(codes=(A,)))
    told(lab, log, event("e1", scanned(file, root="scanner-x")), event("e2", scanned(file), site="site-x"))
    assert [row.state for row in rows(lab)] == ["set aside", "set aside"]
    said = sorted(str(row.problem) for row in rows(lab))
    assert "site site-x, which is not in the settings" in said[0]
    assert "folder scanner-x of site site-a, which the settings do not have" in said[1]

    known = lab.settings.scanners[0].model_copy(update={"name": "scanner-x"})
    settings = lab.settings.model_copy(update={"scanners": (*lab.settings.scanners, known)})
    wiser = type(lab)(**{**vars(lab), "settings": settings})
    unknown_root = next(row for row in rows(lab) if "folder" in str(row.problem))
    actions.replay(Desk(lab.database, settings, lab.ids), unknown_root.id, ANN)
    run_until_calm(wiser)
    assert the_scan(lab).scanner == "scanner-x"
    books_balance(lab)


@pytest.mark.parametrize("site", ["site-b"])
def test_a_folder_of_another_site_is_not_ones_own(lab: Lab, log: MemoryLog, site: str) -> None:
    told(lab, log, event("e1", scanned(taken(lab, SmallSlide())), site=site))

    assert [row.state for row in rows(lab)] == ["set aside"]


def test_a_slide_that_could_not_be_scanned_is_raised_with_scanner_and_slot_until_it_is(
    lab: Lab, log: MemoryLog
) -> None:
    failed = SlideFailed(failed_at=NOW, reason="empty", rack="3", slot="12", root=ROOT, path="a/one.svs")
    told(lab, log, event("f1", failed), event("f2", failed))
    assert sentences(lab, "slide failed") == [
        "scanner scanner-site-a of site-a could not scan the slide in rack 3, slot 12 at 02 Mar 2026 09:30 UTC: empty"
    ]

    told(lab, log, event("e1", scanned(taken(lab, SmallSlide(codes=(A,))))))
    assert alerts(lab) == []


@pytest.mark.parametrize("root", [ROOT, None])
def test_a_failure_that_comes_after_its_slide_was_scanned_anew_raises_nothing(
    lab: Lab, log: MemoryLog, root: str | None
) -> None:
    told(lab, log, event("e1", scanned(taken(lab, SmallSlide(codes=(A,))))))
    earlier = SlideFailed(failed_at=NOW - timedelta(minutes=5), reason="empty", root=root, path="a/one.svs")
    told(lab, log, event("f1", earlier))
    assert sentences(lab, "slide failed") == []

    told(lab, log, event("f2", earlier.model_copy(update={"failed_at": NOW + timedelta(minutes=5)})))
    assert len(sentences(lab, "slide failed")) == 1
    told(lab, log, event("f3", earlier.model_copy(update={"path": "a/two.svs"})))
    assert len(sentences(lab, "slide failed")) == 2


def test_a_failure_of_a_slide_whose_file_is_announced_and_not_there_yet_is_late_too(lab: Lab, log: MemoryLog) -> None:
    told(lab, log, event("e1", scanned()))
    told(lab, log, event("f1", SlideFailed(failed_at=NOW, reason="empty", rack="3", path="a/one.svs")))

    assert sentences(lab, "slide failed") == []


STATUSES = (
    ScannerStatus(state="idle", stated_at=NOW),
    ScannerStatus(state="error", stated_at=NOW + timedelta(minutes=1), detail="the door is open"),
    ScannerStatus(state="scanning", stated_at=NOW + timedelta(minutes=2), slides_waiting=7),
    ScannerStatus(state="needs a person", stated_at=NOW + timedelta(minutes=3)),
)


@pytest.mark.parametrize("in_order", list(itertools.permutations(range(4)))[::5], ids=str)
def test_how_a_scanner_stands_is_what_it_said_last_in_whatever_order_it_comes(
    lab: Lab, log: MemoryLog, in_order: list[int]
) -> None:
    told(lab, log, *(event(f"s{number}", STATUSES[number]) for number in in_order))

    with lab.database.read() as session:
        standing = session.scalars(select(ScannerStanding)).one()
    assert (standing.name, standing.site_id, standing.state) == ("scanner-site-a", "site-a", "needs a person")
    assert standing.stated_at == NOW + timedelta(minutes=3)
    assert len(sentences(lab, "scanner in need")) == 1
    told(lab, log, event("s9", ScannerStatus(state="idle", stated_at=NOW + timedelta(minutes=9))))
    assert alerts(lab) == []


@ON_BOTH
def test_a_scanner_whose_clock_runs_ahead_does_not_have_the_last_word(lab: Lab, log: MemoryLog) -> None:
    told(lab, log, event("s1", ScannerStatus(state="error", stated_at=NOW + timedelta(days=20_000))))
    with lab.database.read() as session:
        standing = session.scalars(select(ScannerStanding)).one()
    assert standing.stated_at == standing.heard_at
    told(lab, log, event("s2", ScannerStatus(state="idle", stated_at=NOW + timedelta(days=20_000))))

    assert alerts(lab) == []
    assert steps(lab, "apply") == ["done", "done"]
