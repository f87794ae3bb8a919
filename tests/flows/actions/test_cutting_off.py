"""A site that is cut off: its readers get no new reads while it lasts, and the record says so."""

import pytest
from sqlalchemy import select

from connectors.wiring import Lab
from flows.actions import Desk, hand_over, site_back, site_cut_off
from flows.case_assignment.replaying import replay
from models.errors import RefusedError
from models.tables.reading import Pathologist
from models.tables.step import Step
from tests.flows.actions.life import ONE, ordered, scanned
from tests.flows.actions.reads_life import MANAGER, PERSONS, assigned, assignment, raised, the_read
from tests.small_lab import run_until_calm


def works_at(lab: Lab, site: str, *people: str) -> None:
    with lab.database.write("test") as session:
        for one in people:
            session.get_one(Pathologist, one).site_id = site


def test_whoever_reads_at_a_site_that_is_cut_off_gets_nothing_and_the_record_says_so(lab: Lab, desk: Desk) -> None:
    """Rosa would have got it: she works where the case is from."""
    works_at(lab, "site-b", "tom")
    site_cut_off(desk, "site-a", MANAGER)
    ordered(lab)
    scanned(lab, ONE)

    record = assignment(lab, the_read(lab)).explanation
    assert record["winner"] == "tom" == replay(record)
    [out] = record["ruled_out"]
    assert (out["rule"], out["people"]) == ("cut off", ["rosa"])
    assert out["sentence"] == "works at a site that is cut off, and can't open images now"


def test_nobody_gets_what_only_a_cut_off_site_could_read_until_it_is_back(lab: Lab, desk: Desk) -> None:
    site_cut_off(desk, "site-a", MANAGER)
    ordered(lab)
    scanned(lab, ONE)
    assert "nobody eligible" in raised(lab)
    with lab.database.read() as session:
        step = session.scalars(select(Step).where(Step.kind == "case_assignment")).one()
        told = (step.result or {})["explanation"]
    assert told["sentence"].startswith("nobody may have this primary read of general now (cut off 2): wait for the end")
    site_back(desk, "site-a", MANAGER)
    run_until_calm(lab)
    assert the_read(lab).pathologist_id is not None
    assert raised(lab) == []


def test_who_hands_over_to_somebody_who_is_cut_off_has_to_insist(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    works_at(lab, "site-b", other)
    site_cut_off(desk, "site-b", MANAGER)
    with pytest.raises(RefusedError, match="works at a site that is cut off"):
        hand_over(desk, seen, owner, other, PERSONS[owner])
    assert hand_over(desk, seen, owner, other, PERSONS[owner], insist=True).follows[0].startswith("the rules object")
