import pytest
from sqlalchemy import select

from connectors.wiring import Lab
from flows.actions import Desk, match
from flows.journey import STAGES
from flows.ledger import LostClaimError
from flows.steps import STEPS
from models.errors import RefusedError
from models.tables.books import Fact, History
from tests.flows.actions.life import (
    ANN,
    NOBODY,
    ONE,
    TWO,
    case_of,
    claim,
    finish,
    ordered,
    row,
    scanned,
    slide_of,
    standing,
    told,
    waits,
)
from tests.small_lab import ON_BOTH, SmallSlide, message_arrives, order, run_until_calm, scan_arrives


@ON_BOTH
def test_a_scan_without_a_barcode_is_archived_once_a_person_matched_it(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scan_id = scanned(lab)
    assert waits(lab) == {("barcode_matching", "a person"), ("expect_scan", "the scanner")}
    acted = match(desk, scan_id, slide_of(lab, ONE), ANN)
    assert acted.follows == ("it is converted and archived next",)
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("pass", "matched", "proven", "active", 1)
    assert case_of(lab).reading == "assigned"
    assert told(lab) == ["archived", "released", "assigned"]
    assert waits(lab) == set()


def test_who_matched_and_why_stands_in_fact_and_history(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scan_id = scanned(lab)
    match(desk, scan_id, slide_of(lab, ONE), ANN)
    with lab.database.read() as session:
        fact = session.scalars(select(Fact).where(Fact.kind == "SlideMatched")).one()
        changes = session.scalars(
            select(History).where(History.actor.is_not(None), History.subject_id == scan_id)
        ).all()
    assert (fact.actor, fact.reason) == ("Ann Example", "looked at the glass")
    assert {change.what for change in changes} == {"identity", "slide_id", "case_id"}
    assert {(change.cause, change.reason) for change in changes} == {("match", "looked at the glass")}


def test_a_person_overrules_a_label_that_waits_for_an_order(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scan_id = scanned(lab, "26B0009-A1-1")
    assert ("barcode_matching", "the LIMS") in waits(lab)
    match(desk, scan_id, slide_of(lab, ONE), ANN)
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("pass", "matched", "proven", "active", 1)
    assert waits(lab) == set()


@ON_BOTH
def test_what_is_read_from_a_label_meanwhile_does_not_overrule_a_person(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scan_id = scan_arrives(lab, SmallSlide())
    run_until_calm(lab, [stage for stage in STAGES if stage.name == "intake"])
    claimed = claim(lab, "barcode_matching")
    end = STEPS["barcode_matching"](lab, claimed)
    match(desk, scan_id, slide_of(lab, ONE), ANN)
    with pytest.raises(LostClaimError):
        finish(lab, end)
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("pass", "matched", "proven", "active", 1)


@ON_BOTH
def test_a_persons_match_replaces_a_scan_that_was_to_be_made_again(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    old = scanned(lab, ONE, quality="rescan")
    new = scanned(lab, made=2)
    match(desk, new, slide_of(lab, ONE), ANN)
    run_until_calm(lab)
    assert standing(lab, old)[3] == "superseded"
    assert (row(lab, new).purpose, row(lab, new).storage) == ("replacement", "proven")


def test_a_match_that_the_state_forbids_is_refused_and_changes_nothing(lab: Lab, desk: Desk) -> None:
    ordered(lab, ONE, TWO)
    matched, waiting, broken = scanned(lab, ONE), scanned(lab), scanned(lab, trouble="rejected")
    message_arrives(lab, order("26B0001", cancel=(TWO,), sent_at="20250102120000+0000", control_id="M2"))
    run_until_calm(lab)
    for scan_id, slide_id, said in (
        (waiting, NOBODY, "there is no slide"),
        (NOBODY, slide_of(lab, ONE), "there is no scan"),
        (waiting, slide_of(lab, ONE), "has a scan already"),
        (waiting, slide_of(lab, TWO), "was cancelled by the LIMS"),
        (matched, slide_of(lab, TWO), "is matched to slide"),
        (broken, slide_of(lab, ONE), "is set aside: 'coverslip rerun'"),
    ):
        with pytest.raises(RefusedError, match=said):
            match(desk, scan_id, slide_id, ANN)
    assert standing(lab, waiting)[1] == "unmatched"
    with lab.database.read() as session:
        assert session.scalars(select(History.id).where(History.actor.is_not(None))).all() == []
