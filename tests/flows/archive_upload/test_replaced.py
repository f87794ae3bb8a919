"""A scan that was archived and then replaced takes no part any more: it is not corrected, but never names another."""

import pytest
from sqlalchemy import select

from connectors.wiring import Lab
from flows.actions import Desk, Person, review
from models.facets import Outcome
from models.tables.scan import Instance
from tests.flows.archive_upload.correcting import OTHER, archived, becomes
from tests.flows.looking import A, books_balance, scan_of
from tests.small_lab import ON_BOTH, SmallSlide, run_until_calm, scan_arrives

ROSA = Person("Rosa Example", "because")


def desk(lab: Lab) -> Desk:
    return Desk(lab.database, lab.settings, lab.ids)


@ON_BOTH
@pytest.mark.parametrize("replaced_first", [True, False])
def test_what_was_archived_and_replaced_is_hidden_when_it_names_another(lab: Lab, replaced_first: bool) -> None:  # noqa: FBT001 - a parameter
    replaced = archived(lab)
    review(desk(lab), replaced, "rescan", ROSA)
    if not replaced_first:
        becomes(lab, OTHER)
    scan_arrives(lab, SmallSlide(codes=(A,), made=2))
    run_until_calm(lab)
    if replaced_first:
        becomes(lab, OTHER)
        run_until_calm(lab)

    with lab.database.read() as session:
        offered = session.scalars(
            select(Instance.scan_id).where(Instance.scan_id == replaced, Instance.state.in_(("stored", "proven")))
        ).all()
    assert scan_of(lab, replaced).outcome == Outcome.SUPERSEDED
    assert offered == []
    books_balance(lab)


@ON_BOTH
def test_what_was_archived_and_replaced_stays_while_it_names_whom_its_case_does(lab: Lab) -> None:
    replaced = archived(lab)
    review(desk(lab), replaced, "rescan", ROSA)
    scan_arrives(lab, SmallSlide(codes=(A,), made=2))
    run_until_calm(lab)

    assert scan_of(lab, replaced).outcome == Outcome.SUPERSEDED
    with lab.database.read() as session:
        assert set(session.scalars(select(Instance.state))) == {"proven"}
    books_balance(lab)
