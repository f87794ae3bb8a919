import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, update

from connectors.telemetry import _KINDS, _STAGES
from flows.journey import STAGES
from flows.standing import (
    case_page,
    change_mark,
    counts_by_stage_and_site,
    engine_state,
    figures,
    list_cases,
    list_rows,
    open_alerts,
    silent_peers,
    timeline,
    waits,
)
from flows.standing.cases import count_cases
from flows.standing.counts import _STAGE_OF_STATE
from flows.standing.rows import rows_at
from flows.standing.rule import State
from models.tables.step import Worker
from tests.dashboards.web.laboratory import MINUTE, NOW, Laboratory, opaque
from tests.migrated import migrated
from tests.small_lab import ON_BOTH

LATER = NOW + timedelta(hours=1)


@pytest.fixture
def laboratory(database_url: str) -> Iterator[Laboratory]:
    database = migrated(database_url)
    yield Laboratory(database, {"site-a": "Europe/London", "site-b": "Asia/Kolkata"})
    database.close()


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Laboratory]:
    """A laboratory on SQLite only, for what does not depend on the database."""
    database = migrated(f"sqlite:///{tmp_path / 'coverslip.db'}")
    yield Laboratory(database)
    database.close()


def test_every_scan_slide_and_file_on_its_way_has_a_row_and_only_waits_have_one_when_asked(
    laboratory: Laboratory,
) -> None:
    case = laboratory.case("26S1", at=NOW)
    moving = laboratory.scan("moving", laboratory.slide("26S1-A1-1", case), case, quality="pass")
    laboratory.step("convert", "archive_upload", ("scan", moving), "running")
    lost = laboratory.scan("nobody knows it", identity="unmatched", quality="pass", at=NOW + MINUTE)
    laboratory.wait(
        "barcode_matching",
        "barcode_matching",
        ("scan", lost),
        "a person",
        at=NOW + MINUTE,
        result={"reason": "no label"},
    )
    glass = laboratory.slide("26S1-A1-2", case)
    laboratory.wait("expect_scan", "intake", ("slide", glass), "the scanner", hours=48)
    laboratory.slide("26S1-A1-3", case, route="glass only")
    laboratory.file("b.svs", "arriving", "b.svs still grows", at=NOW + 2 * MINUTE)
    laboratory.file("c.svs", "refused", "c.svs is empty", site="site-b")
    laboratory.file("d.svs", "duplicate")
    with laboratory.database.read() as session:
        everything, only_waits = list_rows(session, waiting=False), list_rows(session, waiting=True)
    assert sorted((row.state, row.waiting_for or "") for row in everything) == [
        ("arriving", "the scanner"),
        ("converting", ""),
        ("glass only", ""),
        ("refused", ""),
        ("waiting for a person", "a person"),
        ("waiting for a scan", "the scanner"),
    ]
    assert [row.state for row in only_waits] == ["waiting for a scan", "waiting for a person", "arriving"]
    assert only_waits[0].as_json() == {
        "scan": None,
        "slide": "26S1-A1-2@LAB",
        "case": case,
        "site": "site-a",
        "state": "waiting for a scan",
        "waiting_for": "the scanner",
        "since": "2026-11-02T10:42:00+00:00",
        "reason": None,
    }
    assert (only_waits[1].scan, only_waits[1].slide, only_waits[1].reason) == (lost, None, "no label")


@ON_BOTH
def test_a_slide_whose_scan_was_set_aside_waits_for_a_rescan_beside_the_scan_s_own_row(laboratory: Laboratory) -> None:
    case = laboratory.case("26S1")
    slide = laboratory.slide("26S1-A1-1", case)
    laboratory.scan("broken", slide, case, outcome="set aside", reason="the file is cut off")
    laboratory.wait("expect_scan", "intake", ("slide", slide), "a rescan")
    with laboratory.database.read() as session:
        rows = {row.state: row for row in list_rows(session, waiting=False)}
    assert rows["set aside"].reason == "the file is cut off"
    assert rows["waiting for a rescan"].slide == "26S1-A1-1@LAB"


def test_counts_say_what_moves_and_what_rests_by_site_with_the_oldest(laboratory: Laboratory) -> None:
    read, unread = (laboratory.case(name, images="ready", reading=reading) for name, reading in
                    (("26S1", "assigned"), ("26S2", "unassigned")))  # fmt: skip
    for number, case in enumerate((read, read, unread)):
        slide = laboratory.slide(f"26S-{number}", case)
        laboratory.scan(f"done {number}", slide, case, quality="pass", storage="proven")
    for number in range(2):
        scan = laboratory.scan(f"new {number}", site="site-b", at=NOW + number * MINUTE)
        laboratory.step("slide_qc", "slide_qc", ("scan", scan), "running", at=NOW + number * MINUTE)
    laboratory.scan("gone", outcome="set aside", reason="cut off", site="site-b")
    with laboratory.database.read() as session:
        counts = {(one.site, one.state): (one.count, one.oldest) for one in counts_by_stage_and_site(session)}
    assert counts == {
        ("site-a", "assigned"): (2, None),
        ("site-a", "archived"): (1, None),
        ("site-b", "being checked"): (2, NOW),
        ("site-b", "set aside"): (1, None),
    }


def test_counts_and_rows_agree_on_everything(laboratory: Laboratory) -> None:
    case = laboratory.case("26S1")
    laboratory.scan("one", laboratory.slide("26S1-A1-1", case), case, quality="pass", storage="proven")
    laboratory.scan("two", outcome="cancelled")
    slide = laboratory.slide("26S1-A1-2", case)
    laboratory.wait("expect_scan", "intake", ("slide", slide), "the scanner")
    laboratory.file("a.svs", "taken")
    with laboratory.database.read() as session:
        rows = list_rows(session, waiting=False)
        counts = {(one.site, one.state): one.count for one in counts_by_stage_and_site(session)}
    listed: dict[tuple[str, str], int] = {}
    for row in rows:
        listed[row.site, row.state] = listed.get((row.site, row.state), 0) + 1
    assert listed == counts


@ON_BOTH
def test_what_stands_at_one_state_can_be_listed_for_one_site(laboratory: Laboratory) -> None:
    for site in ("site-a", "site-b"):
        case = laboratory.case(f"26S-{site}", site, images="ready", reading="assigned")
        slide = laboratory.slide(f"26S-{site}-1", case)
        laboratory.scan(f"done {site}", slide, case, site=site, quality="pass", storage="proven")
        laboratory.scan(f"gone {site}", site=site, outcome="set aside")
        laboratory.wait("slide_qc", "slide_qc", ("scan", laboratory.scan(f"odd {site}", site=site)), "a person")
        laboratory.file(f"{site}.svs", "refused", site=site)
    with laboratory.database.read() as session:
        for state in (State.ASSIGNED, State.SET_ASIDE, State.WAITING_FOR_PERSON, State.REFUSED):
            assert [(row.state, row.site) for row in rows_at(session, state, "site-b")] == [(state, "site-b")]
            assert len(rows_at(session, state)) == 2
            assert len(rows_at(session, state, most=1)) == 1
        assert rows_at(session, State.ARCHIVED) == []


@ON_BOTH
def test_waits_are_grouped_by_what_is_waited_for_and_what_happens_then(laboratory: Laboratory) -> None:
    for number in range(3):
        scan = laboratory.scan(f"scan {number}")
        laboratory.wait("slide_qc", "slide_qc", ("scan", scan), "a person", at=NOW + number * MINUTE)
    laboratory.wait("send", "sending", ("message", opaque("m")), "the LIMS", at=NOW - MINUTE, then="tried again")
    with laboratory.database.read() as session:
        found = [(one.count, one.thing, one.waiting_for, one.since, one.then) for one in waits(session)]
    assert found == [
        (1, "message", "the LIMS", NOW - MINUTE, "tried again"),
        (3, "scan", "a person", NOW, "raised"),
    ]


@ON_BOTH
def test_alerts_with_one_cause_are_one_line_with_a_few_examples(laboratory: Laboratory) -> None:
    case = laboratory.case("26S1", site="site-b")
    for number in range(7):
        scan = laboratory.scan(f"scan {number}", laboratory.slide(f"26S1-{number}", case), case, site="site-b")
        laboratory.alert(("scan", scan), "set aside", "the archive said no", NOW + number * MINUTE)
    laboratory.alert(("slide", laboratory.slide("26S1-9", case)), "no scan", "never scanned", NOW - MINUTE)
    laboratory.alert(("inbox", laboratory.message_in("m1")), "set aside", "unknown type", NOW - 2 * MINUTE)
    sent = laboratory.message_out("k", ("case", case), "released")
    laboratory.alert(("message", sent), "refused", "the LIMS answered AE", NOW + 9 * MINUTE)
    with laboratory.database.read() as session:
        inbox, slide, scans, message = open_alerts(session)
    assert (scans.count, scans.since, len(scans.about)) == (7, NOW, 5)
    assert (scans.about[0].kind, scans.about[0].site, scans.about[0].name) == ("scan", "site-b", "26S1-0")
    assert (slide.about[0].kind, slide.about[0].id) == ("case", case)
    assert (inbox.about[0].kind, inbox.about[0].name) == ("inbox", f"message {inbox.about[0].id[:8]} from lims-a")
    assert (message.about[0].kind, message.about[0].id) == ("case", case)


@ON_BOTH
def test_the_engine_is_told_in_its_own_words_and_a_silent_worker_is_missed(laboratory: Laboratory) -> None:
    grace, now = timedelta(seconds=15), datetime.now(UTC)
    with laboratory.database.read() as session:
        assert engine_state(session, grace).sentence == "No worker is running: slides wait until one is started"
    laboratory.worker("Prefect runs and shows the flows", now)
    with laboratory.database.read() as session:
        state = engine_state(session, grace)
        assert (state.sentence, state.all_is_well) == ("Prefect runs and shows the flows (1 worker)", True)
    laboratory.worker("Prefect is away since 10:41:00 UTC: slides still move", now, "second")
    laboratory.worker("", now - 2 * grace, "third")
    with laboratory.database.read() as session:
        state = engine_state(session, grace)
    assert not state.all_is_well
    assert "Prefect is away since 10:41:00 UTC: slides still move" in state.sentence
    assert "2 workers; 1 more stopped without a word" in state.sentence


@ON_BOTH
def test_a_silent_neighbour_is_named_with_what_waits_for_it(laboratory: Laboratory) -> None:
    laboratory.silent("lims:lims-a", NOW, "nobody answers on its port")
    for number in range(2):
        laboratory.step("send", "sending", ("message", opaque(f"m{number}")), slot="lims:lims-a")
    with laboratory.database.read() as session:
        (peer,) = silent_peers(session)
    assert (peer.name, peer.since, peer.because, peer.waiting) == (
        "lims:lims-a", NOW, "nobody answers on its port", 2
    )  # fmt: skip


@ON_BOTH
def test_a_case_says_how_many_of_its_slides_can_be_read_and_who_has_it_why(laboratory: Laboratory) -> None:
    case = laboratory.case("26S1", images="incomplete", reading="assigned", lane=1)
    for number in range(7):
        slide = laboratory.slide(f"26S1-A1-{number}", case)
        laboratory.scan(f"done {number}", slide, case, quality="pass", storage="proven")
    again = laboratory.slide("26S1-A1-7", case)
    laboratory.scan("blurred", again, case, quality="rescan")
    laboratory.slide("26S1-A1-8", case)
    laboratory.slide("26S1-A1-9", case, cancelled=True)
    laboratory.assign(case, laboratory.reader("okafor", "Ada Okafor"), "the smallest cost of 3", LATER)
    with laboratory.database.read() as session:
        (line,) = list_cases(session)
        page = case_page(session, case)
        assert case_page(session, opaque("nothing")) is None
        assert count_cases(session) == {("site-a", "assigned"): 1}
    assert line.completeness == "7 of 9 slides can be read, 1 rescan, 1 awaited"
    assert (line.lane, line.accession_number, line.standing.since) == ("urgent", "26S1", LATER)
    assert line.reader is not None
    assert (line.reader.name, line.reader.why) == ("Ada Okafor", "the smallest cost of 3")
    assert page is not None
    assert len(page.rows) == 10


def test_an_open_set_is_never_shown_as_complete(quick: Laboratory) -> None:
    case = quick.case("26S1", closed=False, images="incomplete")
    quick.scan("done", quick.slide("26S1-A1-1", case), case, quality="pass", storage="proven")
    with quick.database.read() as session:
        (line,) = list_cases(session)
    assert line.completeness == "1 of 1 slide can be read; more may be ordered"


@ON_BOTH
def test_a_timeline_tells_what_happened_in_order_by_whom_and_what_it_took(laboratory: Laboratory) -> None:
    case = laboratory.case("26S1")
    slide = laboratory.slide("26S1-A1-1", case)
    scan = laboratory.scan("one", slide, case, quality="pass", storage="proven")
    laboratory.history("scan", scan, "identity", "pending", "matched", at=NOW + MINUTE, actor="Ada", reason="label")
    laboratory.history("scan", scan, "slide_id", None, slide, at=NOW + MINUTE, actor="Ada", reason="label")
    laboratory.history("scan", scan, "case_id", None, case, at=NOW + MINUTE)
    laboratory.history("scan", scan, "storage", "stored", "proven", at=NOW + 2 * MINUTE, cause="prove 1.2")
    laboratory.step("prove", "archive_upload", ("scan", scan), "done", attempt=2, ended_at=NOW + 2 * MINUTE)
    laboratory.message_out("k", ("scan", scan), "archived", state="answered", answer_code="AA", tries=1)
    laboratory.object(scan)
    with laboratory.database.read() as session:
        story = timeline(session, scan)
        assert timeline(session, opaque("nothing")) is None
    assert story is not None
    assert [entry.what for entry in story.entries] == [
        "first seen in the scanner's folder",
        "taken into the spool whole, 1,938,955 bytes",
        "matched to slide 26S1-A1-1",
        "archived: listed there and read back unchanged",
    ]
    assert (story.entries[2].actor, story.entries[2].reason) == ("Ada", "label")
    (work,) = story.work
    assert (work.what, work.attempts, work.took) == ("proof", 2, 2 * MINUTE)
    (message,) = story.messages
    assert (message.what, message.answer_code) == ("archived", "AA")
    assert len(story.trace_id) == 32
    assert story.accession_number == "26S1"
    assert (len(story.files), len(story.objects)) == (1, 1)


@ON_BOTH
def test_the_change_mark_differs_after_whatever_people_see_and_stays_after_a_heartbeat(laboratory: Laboratory) -> None:
    def mark() -> str:
        with laboratory.database.read() as session:
            return change_mark(session)

    laboratory.worker("Prefect runs and shows the flows", NOW)
    scan = laboratory.scan("one")
    marks = [mark()]
    for change in (
        lambda: laboratory.step("slide_qc", "slide_qc", ("scan", scan)),
        lambda: laboratory.history("scan", scan, "quality", "pending", "pass"),
        lambda: laboratory.alert(("scan", scan), "set aside", "why"),
        lambda: laboratory.file("b.svs", "arriving"),
        lambda: laboratory.write_problem("b.svs", "b.svs still grows", LATER),
        lambda: laboratory.silent("lims:lims-a", NOW, "why"),
    ):
        change()
        marks.append(mark())
    assert len(set(marks)) == len(marks)
    with laboratory.database.write("beat") as session:
        session.execute(update(Worker).values(heartbeat_at=LATER))
    assert mark() == marks[-1]


@ON_BOTH
def test_figures_for_metrics_have_names_sites_and_stages_that_telemetry_knows(laboratory: Laboratory) -> None:
    scan = laboratory.scan("one")
    laboratory.step("slide_qc", "slide_qc", ("scan", scan), "running")
    laboratory.message_in("m1")
    with laboratory.database.read() as session:
        found = {(one.name, one.site, one.stage): one.value for one in figures(session, timedelta(seconds=15))}
    assert found["coverslip.slides.waiting", "site-a", "slide_qc"] == 1
    assert found["coverslip.inbox.unprocessed", "", ""] == 1
    assert found["coverslip.slides.oldest_age", "site-a", "slide_qc"] != 0


def test_telemetry_knows_every_kind_of_step_and_every_stage() -> None:
    assert {kind for stage in STAGES for kind in stage.kinds} <= _KINDS
    assert {stage.name for stage in STAGES} | set(_STAGE_OF_STATE.values()) <= _STAGES


def test_no_query_reads_a_growing_table_from_end_to_end(quick: Laboratory) -> None:
    """What is at rest grows for years; what moves does not. SQLite's plan says SCAN when it reads everything."""
    statements: list[tuple[str, object]] = []
    engine = quick.database.engine

    def remember(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", remember)
    with quick.database.read() as session:
        list_rows(session, waiting=True)
        counts_by_stage_and_site(session)
        waits(session)
        open_alerts(session)
        silent_peers(session)
        change_mark(session)
        timeline(session, opaque("scan"))
        case_page(session, opaque("case"))
        list(figures(session, timedelta(seconds=15)))
    event.remove(engine, "before_cursor_execute", remember)
    plans = [
        row[3]
        for statement, parameters in statements
        if statement.lstrip().startswith("SELECT")
        for row in _explain(quick, statement, parameters)
    ]
    growing = "scan|scan_file|slide|step|rescan|history|fact|inbox|outbox|alert|assignment|read|instance|identifier"
    scanned = [plan for plan in plans if re.match(rf"SCAN ({growing})\b", plan) and not _is_small_index(plan)]
    assert scanned == []
    assert len(plans) > 20


def _is_small_index(plan: str) -> bool:
    """An index that holds only what is open, or one that counts without touching the table."""
    of_what_is_open = ("ix_step_order", "ix_step_until", "ix_step_waiting", "ix_step_worker", "uq_alert_open")
    counted = ("COVERING INDEX ix_scan_site_outcome", "COVERING INDEX ix_assignment_pathologist_open")
    return any(name in plan for name in (*of_what_is_open, *counted))


def _explain(laboratory: Laboratory, statement: str, parameters: object) -> list[tuple[int, int, int, str]]:
    with laboratory.database.engine.connect() as connection:
        return list(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters))  # type: ignore[arg-type] # what SQLAlchemy itself passed
