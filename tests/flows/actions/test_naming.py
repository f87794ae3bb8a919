from collections.abc import Callable

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows.actions import case_named, scan_named, slide_named
from models.errors import RefusedError
from models.tables.case import Case, Slide
from tests.flows.actions.life import NOBODY, NOW, ONE, case_of, ordered, scanned
from tests.small_lab import ON_BOTH


def named(lab: Lab, how: Callable[[Session, str], str], name: str) -> str:
    with lab.database.read() as session:
        return how(session, name)


@ON_BOTH
def test_scans_and_cases_are_named_by_id_or_by_its_beginning(lab: Lab) -> None:
    ordered(lab)
    scan_id, case_id = scanned(lab), case_of(lab).id
    for name in (scan_id, scan_id.upper(), scan_id[:6], f" {scan_id[:13]} "):
        assert named(lab, scan_named, name) == scan_id
    assert named(lab, case_named, case_id[:8]) == case_id
    for wrong in (scan_id[:5], "", case_id[:8], "%", "______", scan_id + "0"):
        with pytest.raises(RefusedError, match="there is no such scan"):
            named(lab, scan_named, wrong)


@ON_BOTH
def test_the_beginning_of_two_ids_names_none_of_them(lab: Lab) -> None:
    times = {"registered_at": NOW, "orders_changed_at": NOW}
    twins = [Case(id=f"abcdef12-0000-8000-8000-00000000000{n}", site_id="site-a", **times) for n in (1, 2)]
    with lab.database.write("test") as session:
        session.add_all(twins)
    with pytest.raises(RefusedError, match="more than one case begins with abcdef: give more of its id"):
        named(lab, case_named, "abcdef")
    assert named(lab, case_named, twins[0].id) == twins[0].id
    with lab.database.write("test") as session:
        session.execute(delete(Case).where(Case.id.in_([twin.id for twin in twins])))


@ON_BOTH
def test_slides_are_named_by_what_is_written_on_them(lab: Lab) -> None:
    ordered(lab)
    with lab.database.read() as session:
        slide_id = session.scalars(select(Slide.id)).one()
    for name in (ONE, ONE.lower(), f"{ONE}@NET", f"{ONE}@net", slide_id, slide_id[:8]):
        assert named(lab, slide_named, name) == slide_id
    for wrong in (f"{ONE}@ELSE", "26B0001", "", f"{ONE}@"):
        with pytest.raises(RefusedError, match="no order has named such a slide") as refused:
            named(lab, slide_named, wrong)
        assert "26B" not in str(refused.value)


def test_a_container_identifier_of_two_issuers_needs_its_issuer(lab: Lab) -> None:
    ordered(lab)
    with lab.database.write("test") as session:
        values = {"stains": [], "route": "scan", "cancelled": True}
        other = Slide(id=NOBODY, case_id=case_of(lab).id, container_identifier=ONE, issuer="ELSE", **values)
        session.add(other)
    try:
        with pytest.raises(RefusedError, match="more than one slide: use container_identifier@issuer"):
            named(lab, slide_named, ONE)
        assert named(lab, slide_named, f"{ONE}@ELSE") == NOBODY
    finally:
        with lab.database.write("test") as session:
            session.delete(session.get_one(Slide, NOBODY))
