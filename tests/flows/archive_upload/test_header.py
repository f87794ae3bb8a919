import pytest
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from connectors.slides.header import SlideHeader
from connectors.wiring import Lab
from flows.archive_upload.header import header_of, stated_of
from models.tables.case import Block, Derivation, Identifier, Slide, Specimen
from tests.flows.looking import A, the_case, the_scan
from tests.small_lab import ON_BOTH, SmallSlide, message_arrives, order, run_until_calm, scan_arrives


@pytest.fixture
def slide(lab: Lab) -> str:
    """The only slide: matched, and cut from nothing that the books know of."""
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    with lab.database.write("test") as session:
        session.execute(delete(Derivation))
        return session.scalars(select(Slide.id)).one()


def add_part(session: Session, lab: Lab, name: str) -> str:
    found = lab.ids.of("specimen", "NET", name)
    row = {"id": found, "case_id": the_case(lab).id, "container_identifier": name, "issuer": "NET"}
    session.execute(insert(Specimen).values(**row))
    return found


def add_block(session: Session, lab: Lab, name: str, *parts: str) -> str:
    found = lab.ids.of("block", "NET", name)
    row = {"id": found, "case_id": the_case(lab).id, "container_identifier": name, "issuer": "NET"}
    session.execute(insert(Block).values(**row))
    cut(session, lab, found, *parts)
    return found


def cut(session: Session, lab: Lab, child: str, *parents: str) -> None:
    case_id = the_case(lab).id
    for parent in parents:
        session.execute(insert(Derivation).values(child_id=child, parent_id=parent, case_id=case_id))


def header(lab: Lab) -> SlideHeader:
    scan = the_scan(lab)
    with lab.database.read() as session:
        stated = stated_of(session, scan.id, scan.edition)
        assert stated is not None
        return header_of(session, stated)


def sections(lab: Lab) -> list[tuple[str, str | None, str | None]]:
    """Return (section, block, part) of each."""
    return [(one.identifier, one.block_identifier, one.part_identifier) for one in header(lab).specimens]


@ON_BOTH
def test_a_slide_names_its_block_and_the_part_that_the_block_was_cut_from(lab: Lab, slide: str) -> None:
    with lab.database.write("test") as session:
        cut(session, lab, slide, add_block(session, lab, "B1", add_part(session, lab, "P1")))
    assert sections(lab) == [(A, "B1", "P1")]


@ON_BOTH
def test_a_smear_has_a_part_and_no_block(lab: Lab, slide: str) -> None:
    with lab.database.write("test") as session:
        cut(session, lab, slide, add_part(session, lab, "P1"))
    assert sections(lab) == [(A, None, "P1")]


@ON_BOTH
def test_sections_are_numbered_by_block_and_part_after_those_without_a_block(lab: Lab, slide: str) -> None:
    with lab.database.write("test") as session:
        first, second = (add_part(session, lab, name) for name in ("P1", "P2"))
        later, earlier = add_block(session, lab, "B2", first), add_block(session, lab, "B1", second, first)
        cut(session, lab, slide, later, earlier, second)
    assert sections(lab) == [
        (f"{A}/1", None, "P2"),
        (f"{A}/2", "B1", "P1"),
        (f"{A}/3", "B1", "P2"),
        (f"{A}/4", "B2", "P1"),
    ]


@ON_BOTH
def test_a_block_of_unknown_origin_makes_no_section(lab: Lab, slide: str) -> None:
    with lab.database.write("test") as session:
        cut(session, lab, slide, add_block(session, lab, "B1"), lab.ids.of("block", "NET", "never named"))
    assert sections(lab) == []


@ON_BOTH
def test_the_laboratorys_own_number_stands_before_the_national_one(lab: Lab, slide: str) -> None:
    patient_id = the_case(lab).patient_id
    with lab.database.write("test") as session:
        session.execute(delete(Identifier).where(Identifier.subject_id == patient_id))
        for kind in ("NHS", "MR", "accession"):
            row = {"subject_kind": "patient", "subject_id": patient_id, "kind": kind, "issuer": "NET", "value": kind}
            session.execute(insert(Identifier).values(**row))
    assert header(lab).patient.identifier == "MR"
    assert header(lab).accession_number == "26H1"
    assert slide == the_scan(lab).slide_id


def test_nothing_is_stated_about_another_edition(lab: Lab, slide: str) -> None:
    scan = the_scan(lab)
    assert scan.slide_id == slide
    with lab.database.read() as session:
        assert stated_of(session, scan.id, scan.edition + 1) is None
