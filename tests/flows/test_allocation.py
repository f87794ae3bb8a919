"""Who reads a case where others say so: recorded and checked, never overwritten; where it is ours, only compared."""

from dataclasses import replace
from typing import Any

from sqlalchemy import select

from connectors.settings import Settings
from connectors.wiring import Lab
from flows.people.sync import sync_people
from models.facets import Images, Reading
from models.tables.books import OutboxMessage
from models.tables.reading import Assignment
from tests.flows.looking import LATER, LATEST, A, B, alerts, books_balance, says, steps, the_case, told
from tests.lims_says import reported, updated
from tests.small_lab import ON_BOTH, SmallSlide, message_arrives, order, run_until_calm, scan_arrives


def allocated_by(lab: Lab, authority: str, known_as: dict[str, tuple[str, ...]] | None = None, **rules: Any) -> Lab:  # noqa: ANN401 - any field of a site
    """Return the same laboratory, in which somebody else says who reads a case."""
    said = lab.settings.model_dump()
    for site in said["sites"]:
        site.update(allocation=authority, **rules)
    for reader in said["readers"]:
        reader["known_as"] = (known_as or {}).get(reader["id"], ())
    settings = Settings(**said)
    with lab.database.write("test") as session:
        sync_people(session, settings)
    return replace(lab, settings=settings)


def scanned(lab: Lab) -> None:
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)


def assigned(lab: Lab) -> list[tuple[str, str, bool]]:
    """Return who has or had the case, who decided it, and whether they have it still."""
    with lab.database.read() as session:
        rows = session.scalars(select(Assignment).order_by(Assignment.id))
        return [(row.pathologist_id, row.decided_by, row.ended_at is None) for row in rows]


def test_where_the_lims_allocates_nobody_else_does_and_its_word_is_waited_for(lab: Lab) -> None:
    lab = allocated_by(lab, "lims")
    scanned(lab)
    assert assigned(lab) == []
    assert steps(lab, "case_assignment") == ["waiting for the LIMS"]

    says(lab, updated("26H1", reader="tom"))
    assert assigned(lab) == [("tom", "lims", True)]
    assert the_case(lab).reading == Reading.ASSIGNED
    assert "assigned" not in told(lab)
    books_balance(lab)


def test_a_reader_stated_before_the_case_can_be_read_has_it_when_it_can(lab: Lab) -> None:
    lab = allocated_by(lab, "lims")
    says(lab, updated("26H1", reader="tom"))
    scanned(lab)

    assert assigned(lab) == [("tom", "lims", True)]
    books_balance(lab)


def test_a_later_word_of_the_lims_takes_the_case_from_one_and_gives_it_to_the_other_at_once(lab: Lab) -> None:
    lab = allocated_by(lab, "lims")
    scanned(lab)
    says(lab, updated("26H1", reader="tom"), updated("26H1", reader="rosa", sent_at=LATER, control_id="L2"))
    assert assigned(lab) == [("tom", "lims", False), ("rosa", "lims", True)]

    says(lab, updated("26H1", reader="tom", sent_at="20250101123100+0000", control_id="L3"))
    assert assigned(lab)[-1] == ("rosa", "lims", True)
    books_balance(lab)


def test_a_reader_is_known_by_what_the_lims_calls_them(lab: Lab) -> None:
    lab = allocated_by(lab, "lims", {"tom": ("C1234567", "TOMEX")})
    scanned(lab)
    says(lab, updated("26H1", reader="c1234567"))

    assert assigned(lab) == [("tom", "lims", True)]


def test_a_reader_whom_nobody_knows_is_kept_as_said_and_raised(lab: Lab) -> None:
    lab = allocated_by(lab, "lims")
    scanned(lab)
    says(lab, updated("26H1", reader="C7654321"))

    assert assigned(lab) == []
    assert the_case(lab).reader_stated == {"id": "C7654321", "family_name": "Reader", "given_name": "Rosa"}
    assert alerts(lab) == ["unknown reader"]
    assert steps(lab, "case_assignment") == ["waiting for the LIMS"]
    says(lab, updated("26H1", reader="rosa", sent_at=LATER, control_id="L2"))
    assert alerts(lab) == []
    books_balance(lab)


def test_a_reader_who_may_not_read_it_by_our_rules_has_it_all_the_same_and_people_are_told(lab: Lab) -> None:
    lab = allocated_by(lab, "lims")
    message_arrives(lab, order("26H1", A).replace(b"OBR|1|||SLIDE", b"OBR|1|||NEURO"))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    says(lab, updated("26H1", reader="tom"))

    assert assigned(lab) == [("tom", "lims", True)]
    assert alerts(lab) == ["doubtful reader"]
    books_balance(lab)


def test_a_later_word_while_a_late_slide_is_waited_for_takes_the_case_too(lab: Lab) -> None:
    lab = allocated_by(lab, "lims")
    scanned(lab)
    says(lab, updated("26H1", reader="tom"), order("26H1", B, control_id="M2", sent_at=LATER))
    assert the_case(lab).images == Images.INCOMPLETE
    says(lab, updated("26H1", reader="rosa", sent_at=LATER, control_id="L2"))

    assert assigned(lab) == [("tom", "lims", False), ("rosa", "lims", True)]
    books_balance(lab)
    scan_arrives(lab, SmallSlide(codes=(B,)))
    run_until_calm(lab)
    assert assigned(lab)[-1] == ("rosa", "lims", True)
    books_balance(lab)


def test_an_unknown_reader_is_not_raised_any_more_when_the_lims_goes_back_to_who_has_the_case(lab: Lab) -> None:
    lab = allocated_by(lab, "lims")
    scanned(lab)
    says(lab, updated("26H1", reader="tom"), updated("26H1", reader="nobody-here", sent_at=LATER, control_id="L2"))
    assert alerts(lab) == ["unknown reader"]
    says(lab, updated("26H1", reader="tom", sent_at=LATEST, control_id="L3"))

    assert assigned(lab) == [("tom", "lims", True)]
    assert alerts(lab) == []


def test_nobody_is_asked_about_a_reader_of_a_case_that_is_reported(lab: Lab) -> None:
    scanned(lab)
    says(lab, updated("26H1", reader="nobody-here"))
    assert alerts(lab) == ["another reader stated"]
    says(lab, reported("26H1", "F", sent_at=LATEST))

    assert the_case(lab).reading == Reading.NONE
    assert alerts(lab) == []


def test_where_the_pacs_allocates_the_lims_is_told_of_it(lab: Lab) -> None:
    lab = allocated_by(lab, "pacs")
    scanned(lab)
    assert steps(lab, "case_assignment") == ["waiting for the PACS"]
    says(lab, updated("26H1", reader="tom"))

    assert assigned(lab) == [("tom", "pacs", True)]
    assert told(lab)[-1] == "assigned"
    books_balance(lab)


def test_one_subspecialty_may_be_allocated_by_another(lab: Lab) -> None:
    lab = allocated_by(lab, "coverslip", allocation_of={"breast": "lims"})
    scanned(lab)
    message_arrives(lab, order("26H2", "26H000002-A1-1", control_id="M2").replace(b"|||SLIDE", b"|||BREAST"))
    scan_arrives(lab, SmallSlide(codes=("26H000002-A1-1",)))
    run_until_calm(lab)

    assert [decided_by for _, decided_by, _ in assigned(lab)] == ["coverslip"]
    assert sorted(steps(lab, "case_assignment")) == ["done", "waiting for the LIMS"]
    books_balance(lab)


def test_where_it_is_ours_another_s_word_changes_nothing_and_a_difference_is_raised(lab: Lab) -> None:
    scanned(lab)
    ((reader, _, _),) = assigned(lab)
    other = {"tom": "rosa", "rosa": "tom"}[reader]
    says(lab, updated("26H1", reader=other))
    assert assigned(lab) == [(reader, "coverslip", True)]
    assert alerts(lab) == ["another reader stated"]

    says(lab, updated("26H1", reader=reader, sent_at=LATEST, control_id="L2"))
    assert alerts(lab) == []
    books_balance(lab)


@ON_BOTH
def test_where_it_is_ours_a_difference_that_was_stated_first_is_raised_when_we_have_chosen(lab: Lab) -> None:
    says(lab, updated("26H1", reader="nobody-here"))
    scanned(lab)

    assert len(assigned(lab)) == 1
    assert alerts(lab) == ["another reader stated"]
    books_balance(lab)


@ON_BOTH
def test_the_lims_is_told_of_a_reader_by_its_own_name_for_them(lab: Lab) -> None:
    lab = allocated_by(lab, "coverslip", {"tom": ("C1",), "rosa": ("C2",)})
    scanned(lab)
    ((reader, _, _),) = assigned(lab)
    with lab.database.read() as session:
        said = session.scalars(select(OutboxMessage).where(OutboxMessage.event_key.startswith("assigned:"))).one()
    assert said.announcement["pathologist_id"] == {"tom": "C1", "rosa": "C2"}[reader]
