"""A case names each slide that it expects: where it was seen last, what it waits for, since when and until when."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from connectors.wiring import Lab
from flows.actions import order_work
from flows.standing.whereabouts import CaseSlides, Whereabouts, slides_of_case
from models.database import database_now
from models.events.kinds import SlideFailed
from models.facets import Images
from models.tables.case import Case
from models.tables.scan import ScanFile
from tests.flows.completing import ANN, archived, desk
from tests.flows.intake.eventing import SCANNER, a_log, event, take_all, written
from tests.flows.looking import LATER, LONG_AGO, A, B, C, books_balance, says, steps, the_case, time_passes
from tests.flows.test_work_orders import AnswersOrders, answering, work
from tests.lims_says import work_done
from tests.small_lab import ON_BOTH, SmallSlide, message_arrives, order, run_until_calm, scan_arrives, small_lab

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


@pytest.fixture
def slow_lab(tmp_path: Path) -> Iterator[Lab]:
    """A laboratory in which orders settle after an hour."""
    opened = small_lab(tmp_path, f"sqlite:///{tmp_path / 'coverslip.db'}", settle_after=timedelta(hours=1))
    yield opened
    opened.database.close()


def slides(lab: Lab) -> CaseSlides:
    with lab.database.read() as session:
        found = slides_of_case(session, lab.settings, the_case(lab).id)
    assert found is not None
    return found


def settled(lab: Lab) -> None:
    """Have an hour pass since the orders that came so far."""
    with lab.database.write("an hour passes") as session:
        session.execute(update(Case).values(orders_changed_at=LONG_AGO))
    time_passes(lab, "settle")
    run_until_calm(lab)


def slide(lab: Lab, name: str) -> Whereabouts:
    return next(one for one in slides(lab).slides if one.slide.startswith(name))


def test_a_slide_that_nobody_has_seen_says_so_and_waits_for_the_scanner(lab: Lab) -> None:
    says(lab, order("26H1", A, B))
    archived(lab, A)

    found = slides(lab)
    assert (found.readable, found.expected, [one.slide for one in found.missing]) == (1, 2, [f"{B}@NET"])
    assert found.closed_at is not None
    assert found.held is not None
    assert found.held.then == "people are told what is missing"
    there, missing = slide(lab, A), slide(lab, B)
    assert (there.can_be_read, there.standing, there.last_seen.where) == (True, "archived", "the archive")
    assert there.since is not None
    assert (missing.standing, missing.waits_for) == ("waiting for a scan", "the scanner")
    assert missing.last_seen.where == "the laboratory: no scanner has seen it"
    assert missing.since is not None
    assert missing.until is not None
    assert missing.then == "raised on the list of what needs attention"


@ON_BOTH
@pytest.mark.parametrize(
    ("quality", "standing", "waits_for"),
    [("rescan", "waiting for a rescan", "a rescan"), ("review", "moving", "a person")],
)
def test_a_scanned_slide_that_can_not_be_read_names_its_scanner_and_place(
    lab: Lab, quality: str, standing: str, waits_for: str
) -> None:
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,), quality=quality))
    run_until_calm(lab)

    found = slide(lab, A)
    assert (found.standing, found.waits_for) == (standing, waits_for)
    assert found.last_seen.where == "scanner-site-a of site-a; its file is at local"
    assert (found.last_seen.at is None, found.scan is None, found.reason is None) == (False, False, False)


@ON_BOTH
def test_a_slide_that_a_scanner_could_not_scan_names_rack_and_slot(lab: Lab) -> None:
    says(lab, order("26H1", A, B))
    log = a_log()
    failed = SlideFailed(failed_at=NOW, reason="empty", rack="3", slot="12", root="scanner-site-a", path=f"a/{A}.svs")
    written(log, SCANNER, event("f1", failed))
    take_all(lab, log)
    run_until_calm(lab)

    assert slide(lab, A).last_seen.where == "scanner-site-a of site-a, rack 3, slot 12: not scanned"
    assert slide(lab, B).last_seen.at is None


def test_a_file_that_is_still_arriving_under_its_name_is_where_a_slide_was_seen(lab: Lab) -> None:
    says(lab, order("26H1", A, B))
    with lab.database.write("arriving") as session:
        now = database_now(session)
        row = {"site_id": "site-a", "root": "scanner-site-a", "bytes": 1, "modified_ns": 1, "state": "arriving"}
        for number, name in enumerate((f"{A}.svs", f"{A} {B}.svs")):
            times = {"first_seen_at": now, "changed_at": now}
            session.add(ScanFile(id=f"file {number}", relative_path=name, **row, **times))

    assert slide(lab, A).last_seen.where == "scanner-site-a of site-a: a file called so is arriving"
    assert slide(lab, B).last_seen.at is None


def test_work_that_will_bring_a_slide_is_expected_by_name_and_keeps_an_open_set_open(slow_lab: Lab) -> None:
    lab = answering(slow_lab, AnswersOrders())
    message_arrives(lab, order("26H1", A))
    archived(lab, A)
    order_work(desk(lab), A, "stain", ANN, stain="Ki-67")
    run_until_calm(lab)
    number = work(lab).number
    expected = slide(lab, "stain")
    assert (expected.slide, expected.standing) == (f"stain Ki-67 ({number})", "being made")
    assert (expected.last_seen.where, expected.waits_for) == ("the laboratory, F-1", "the LIMS to do the work")
    assert (expected.reason, expected.since is None, expected.until is None) == (ANN.reason, False, False)

    settled(lab)
    assert (the_case(lab).expected_closed_at, the_case(lab).images) == (None, Images.INCOMPLETE)
    assert steps(lab, "settle")[-1] == "waiting for work that the LIMS has accepted"
    assert steps(lab, "hold") == ["waiting for its missing slides"]
    says(lab, work_done("26H1", number, B))
    assert slide(lab, "stain").waits_for == "the LIMS to register what was made"
    settled(lab)
    assert the_case(lab).expected_closed_at is None

    says(lab, order("26H1", B, sent_at=LATER, control_id="M2"))
    assert [one.slide for one in slides(lab).slides] == [f"{A}@NET", f"{B}@NET"]
    settled(lab)
    assert the_case(lab).expected_closed_at is not None


@ON_BOTH
def test_work_that_a_reader_asks_for_takes_no_case_from_them(lab: Lab) -> None:
    lab = answering(lab, AnswersOrders())
    says(lab, order("26H1", A))
    archived(lab, A)
    order_work(desk(lab), A, "recut", ANN)
    run_until_calm(lab)

    assert (the_case(lab).images, slides(lab).readable, slides(lab).expected) == (Images.READY, 1, 2)
    books_balance(lab)


def test_what_is_cancelled_is_not_expected(lab: Lab) -> None:
    says(lab, order("26H1", A, B, C), order("26H1", cancel=(C,), sent_at=LATER, control_id="M2"))
    assert [one.slide for one in slides(lab).slides] == [f"{A}@NET", f"{B}@NET"]
    says(lab, order("26H1", control="CA", sent_at="20250101140000+0000", control_id="M3"))
    assert slides(lab).slides == ()


def test_there_is_nothing_to_say_of_a_case_that_there_is_not(lab: Lab) -> None:
    with lab.database.read() as session:
        assert slides_of_case(session, lab.settings, "nobody") is None
        assert session.scalars(select(ScanFile)).all() == []
