from datetime import timedelta
from pathlib import Path

from sqlalchemy import select, update

from connectors.wiring import Lab
from flows.actions import Desk, Person, release
from flows.journey import CASE_ASSIGNMENT, STAGES
from models.database import database_now
from models.facets import Images, Reading
from models.tables.books import OutboxMessage
from models.tables.case import Block, Case, CaseSite, Derivation, Specimen
from models.tables.reading import Assignment
from models.tables.scan import Scan
from models.tables.step import Step
from tests.flows.looking import LATER, LATEST, LONG_AGO, A, B, C, alerts, books_balance, slides, the_case
from tests.small_lab import ON_BOTH, SmallSlide, message_arrives, order, run_until_calm, scan_arrives, small_lab


def block_order(identifier: str, kind: str, *, sent_at: str, control_id: str) -> bytes:
    """Return an order that registers a container as a specimen or a block."""
    said = order("26H1", identifier, sent_at=sent_at, control_id=control_id).decode()
    return said.replace("GLASS", {"specimen": "CONTAINER", "block": "CASSETTE"}[kind]).encode()


def test_a_stub_gives_way_to_what_its_container_turns_out_to_be(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A, parent="26H000001-A"))
    run_until_calm(lab)
    with lab.database.read() as session:
        assert session.scalars(select(Block.container_identifier)).all() == ["26H000001-A"]
    message_arrives(lab, block_order("26H000001-A", "specimen", sent_at=LATER, control_id="M2"))
    run_until_calm(lab)

    with lab.database.read() as session:
        assert session.scalars(select(Block)).all() == []
        specimen = session.scalars(select(Specimen)).one()
        assert session.scalars(select(Derivation.parent_id)).all() == [specimen.id]
    books_balance(lab)


def test_a_case_belongs_to_the_site_that_its_latest_order_names(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A, sent_at=LATER), peer="lims-b")
    message_arrives(lab, order("26H1", B, control_id="M2"), peer="lims-a")
    run_until_calm(lab)

    assert the_case(lab).site_id == "site-b"
    with lab.database.read() as session:
        assert session.scalars(select(CaseSite.site_id)).all() == ["site-b"]


def archived(lab: Lab, *identifiers: str) -> None:
    """Have these slides scanned, and everything done that follows."""
    for identifier in identifiers:
        scan_arrives(lab, SmallSlide(codes=(identifier,)))
    run_until_calm(lab)


def assignment_steps(lab: Lab) -> list[str]:
    with lab.database.read() as session:
        steps = select(Step.state).where(Step.kind == "case_assignment").order_by(Step.generation)
        return [str(state) for state in session.scalars(steps)]


def released_messages(lab: Lab) -> int:
    with lab.database.read() as session:
        return len(session.scalars(select(OutboxMessage.id).where(OutboxMessage.event_key.like("released:%"))).all())


def test_an_open_set_is_never_complete(tmp_path: Path) -> None:
    lab = small_lab(tmp_path, f"sqlite:///{tmp_path / 'coverslip.db'}", settle_after=timedelta(hours=1))
    message_arrives(lab, order("26H1", A))
    archived(lab, A)
    with lab.database.read() as session:
        assert session.scalars(select(Scan.storage)).all() == ["proven"]
    assert (the_case(lab).images, assignment_steps(lab), released_messages(lab)) == (Images.INCOMPLETE, [], 0)

    _an_hour_passes(lab)
    assert the_case(lab).images == Images.READY
    lab.database.close()


def test_an_order_that_changes_meanwhile_keeps_the_set_open(tmp_path: Path) -> None:
    lab = small_lab(tmp_path, f"sqlite:///{tmp_path / 'coverslip.db'}", settle_after=timedelta(hours=1))
    message_arrives(lab, order("26H1", A))
    archived(lab, A)
    with lab.database.write("the wait ends too early") as session:
        session.execute(update(Step).where(Step.kind == "settle").values(waiting_until=LONG_AGO))
    run_until_calm(lab)

    assert the_case(lab).expected_closed_at is None
    with lab.database.read() as session:
        settling = session.scalars(select(Step).where(Step.kind == "settle", Step.state == "waiting")).one()
    assert settling.waiting_until == the_case(lab).orders_changed_at + timedelta(hours=1)
    lab.database.close()


def test_a_case_without_slides_stays_open_until_a_slide_comes(lab: Lab) -> None:
    message_arrives(lab, order("26H1"))
    run_until_calm(lab)
    assert the_case(lab).expected_closed_at is None

    message_arrives(lab, order("26H1", A, control="XO", sent_at=LATER, control_id="M2"))
    run_until_calm(lab)
    assert the_case(lab).expected_closed_at is not None


@ON_BOTH
def test_a_complete_case_is_released_once_and_its_read_has_an_owner(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A, B))
    archived(lab, A)
    assert the_case(lab).images == Images.INCOMPLETE
    archived(lab, B)

    case = the_case(lab)
    assert (case.images, case.reading) == (Images.READY, Reading.ASSIGNED)
    assert released_messages(lab) == 1
    books_balance(lab)


def test_a_glass_only_slide_is_not_waited_for(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    message_arrives(lab, order("26H1", B, route="OTH", control_id="M2"))
    archived(lab, A)

    assert the_case(lab).images == Images.READY


def test_a_late_slide_reopens_the_case_and_alerts(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    archived(lab, A)
    version = the_case(lab).completeness_version
    message_arrives(lab, order("26H1", B, sent_at=LATER, control_id="M2"))
    run_until_calm(lab)

    case = the_case(lab)
    assert (case.images, case.completeness_version) == (Images.INCOMPLETE, version + 1)
    assert alerts(lab) == ["late slide"]
    archived(lab, B)
    # Whoever has the case looks at the slide and says so: that it is archived ends nothing.
    assert (the_case(lab).images, alerts(lab), released_messages(lab)) == (Images.READY, ["late slide"], 2)
    books_balance(lab)


def test_a_late_slide_opens_the_set_again_even_one_that_needs_no_scan(tmp_path: Path) -> None:
    lab = small_lab(tmp_path, f"sqlite:///{tmp_path / 'coverslip.db'}", settle_after=timedelta(hours=1))
    message_arrives(lab, order("26H1", A))
    archived(lab, A)
    _an_hour_passes(lab)
    assert the_case(lab).images == Images.READY
    message_arrives(lab, order("26H1", B, route="OTH", sent_at=LATER, control_id="M2"))
    run_until_calm(lab)

    assert (the_case(lab).expected_closed_at, the_case(lab).images) == (None, Images.INCOMPLETE)
    assert alerts(lab) == ["late slide"]
    _an_hour_passes(lab)
    assert (the_case(lab).images, alerts(lab)) == (Images.READY, ["late slide"])
    lab.database.close()


def test_a_late_slide_that_comes_with_a_cancel_of_another_reopens_the_case_too(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A, B))
    archived(lab, A)
    message_arrives(lab, order("26H1", control_id="M2", cancel=(B,), sent_at=LATER))
    run_until_calm(lab)
    assert the_case(lab).images == Images.READY
    scan_arrives(lab, SmallSlide(codes=(C,), quality="review"))
    message_arrives(lab, order("26H1", C, control_id="M3", sent_at=LATEST))
    run_until_calm(lab)

    message_arrives(lab, order("26H1", B, cancel=(C,), control_id="M4", sent_at="20250101150000+0000"))
    run_until_calm(lab)

    assert slides(lab) == {A: True, B: True, C: False}
    assert the_case(lab).images == Images.INCOMPLETE
    books_balance(lab)


def test_a_late_slide_of_a_case_that_a_person_released_alerts_its_reader(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A, B))
    archived(lab, A)
    release(_desk(lab), the_case(lab).id, Person("Rosa", "the rest is lost"))
    run_until_calm(lab)
    version = the_case(lab).completeness_version
    assert (the_case(lab).images, alerts(lab)) == (Images.READY, [])
    message_arrives(lab, order("26H1", C, sent_at=LATER, control_id="M2"))
    run_until_calm(lab)

    assert (the_case(lab).images, alerts(lab)) == (Images.READY, ["late slide"])
    assert the_case(lab).completeness_version == version + 1
    books_balance(lab)


@ON_BOTH
def test_a_case_that_is_no_longer_ready_is_given_to_nobody(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab, stages=[one for one in STAGES if one.name != CASE_ASSIGNMENT])
    assert assignment_steps(lab) == ["ready"]
    message_arrives(lab, order("26H1", B, sent_at=LATER, control_id="M2"))
    run_until_calm(lab)

    assert (the_case(lab).reading, assignment_steps(lab)) == (Reading.UNASSIGNED, ["superseded"])
    archived(lab, B)
    assert (the_case(lab).reading, assignment_steps(lab)) == (Reading.ASSIGNED, ["superseded", "done"])


def test_a_case_cancelled_and_ordered_again_is_given_to_somebody(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab, stages=[one for one in STAGES if one.name != CASE_ASSIGNMENT])
    message_arrives(lab, order("26H1", control="CA", sent_at=LATER, control_id="M2"))
    run_until_calm(lab)
    assert (the_case(lab).images, the_case(lab).reading) == (Images.AWAITING, Reading.NONE)
    assert alerts(lab) == ["cancelled after archive", "case cancelled"]
    message_arrives(lab, order("26H1", A, sent_at=LATEST, control_id="M3"))
    run_until_calm(lab)

    assert (the_case(lab).images, the_case(lab).reading) == (Images.READY, Reading.ASSIGNED)
    books_balance(lab)


def test_who_has_a_read_keeps_it_when_a_late_slide_comes(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    archived(lab, A)
    message_arrives(lab, order("26H1", B, sent_at=LATER, control_id="M2"))
    archived(lab, B)

    with lab.database.read() as session:
        assert len(session.scalars(select(Assignment)).all()) == 1
    assert assignment_steps(lab) == ["done"]


def test_a_released_case_that_the_lims_cancels_is_not_read(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A, B))
    archived(lab, A)
    release(_desk(lab), the_case(lab).id, Person("Rosa", "the rest is lost"))
    run_until_calm(lab)
    later = sent_now(lab)
    message_arrives(lab, order("26H1", control="CA", sent_at=later, control_id="M2"))
    run_until_calm(lab)

    assert (the_case(lab).released, the_case(lab).images) == (False, Images.AWAITING)
    books_balance(lab)


def sent_now(lab: Lab) -> str:
    """Return this moment as MSH-7: later than whatever a person has said."""
    with lab.database.read() as session:
        return database_now(session).strftime("%Y%m%d%H%M%S.%f%z")[:19] + "+0000"


def _desk(lab: Lab) -> Desk:
    return Desk(lab.database, lab.settings, lab.ids)


def _an_hour_passes(lab: Lab) -> None:
    """Have the orders that came so far be settled."""
    with lab.database.write("an hour passes") as session:
        session.execute(update(Case).values(orders_changed_at=LONG_AGO))
        waiting = (Step.kind == "settle", Step.state == "waiting")
        session.execute(update(Step).where(*waiting).values(waiting_until=LONG_AGO))
    run_until_calm(lab)
