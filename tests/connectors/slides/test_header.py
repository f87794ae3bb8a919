"""What a laboratory knows, in the words that DICOM has for it."""

from datetime import UTC, datetime

import pytest

from connectors.slides.header import PersonName, SlideHeader, SpecimenHeader, read_header
from connectors.slides.preparation import coded_item, specimen_descriptions
from models.errors import RejectedError
from models.statements import Coded
from models.uid import derive_uid


def _header(specimens: tuple[SpecimenHeader, ...] = (), stain_text: str | None = None) -> SlideHeader:
    return SlideHeader(
        study_instance_uid=derive_uid("study", "1"),
        container_identifier="S1",
        container_issuer="NORTH",
        specimens=specimens,
        stain_text=stain_text,
        received_at=datetime(2026, 11, 22, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (PersonName(family="Müller", given="Zoë"), "Müller^Zoë"),
        (PersonName(family="Ray", prefix="Dr"), "Ray^^^Dr"),
        (PersonName(given="Ann", suffix="III"), "^Ann^^^III"),
        (PersonName(), ""),
    ],
)
def test_a_name_is_written_in_dicom_s_order(name: PersonName, written: str) -> None:
    assert name.person_name() == written


def test_a_header_survives_the_way_to_the_child() -> None:
    header = _header((SpecimenHeader(identifier="S1", specimen_type=Coded(code="1", scheme="SCT")),), "H&E")
    assert read_header(header.model_dump(mode="json")) == header


def test_a_patient_s_words_never_show_in_a_repr() -> None:
    header = read_header(
        {
            **_header().model_dump(mode="json"),
            "patient": {"identifier": "SECRET", "name": {"family": "SECRET"}, "birth_date": "1960-01-01"},
            "accession_number": "SECRET",
            "label_text": "SECRET",
        }
    )
    assert "SECRET" not in repr(header)
    assert "1960" not in repr(header)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(RejectedError, match="scanned_at"):
        read_header({**_header().model_dump(mode="json"), "scanned_at": "2026-11-22T10:00:00"})


def test_a_slide_without_specimens_carries_one_named_like_itself() -> None:
    (item,) = specimen_descriptions(_header())
    assert item.SpecimenIdentifier == "S1"
    assert item.IssuerOfTheSpecimenIdentifierSequence[0].LocalNamespaceEntityID == "NORTH"


def test_a_specimen_has_the_same_uid_on_every_slide_and_another_at_another_issuer() -> None:
    here = SpecimenHeader(identifier="A", issuer="NORTH")
    there = SpecimenHeader(identifier="A", issuer="SOUTH")
    uids = [item.SpecimenUID for item in specimen_descriptions(_header((here, there, here)))]
    assert uids[0] == uids[2] != uids[1]
    given = SpecimenHeader(identifier="A", uid="1.2.3")
    assert specimen_descriptions(_header((given,)))[0].SpecimenUID == "1.2.3"


def test_a_stain_that_is_only_text_is_written_as_text() -> None:
    (item,) = specimen_descriptions(_header(stain_text="Congo red"))
    (step,) = item.SpecimenPreparationSequence
    last = step.SpecimenPreparationStepContentItemSequence[-1]
    assert (last.ValueType, last.TextValue) == ("TEXT", "Congo red")


def test_text_without_a_code_is_never_written_as_a_code() -> None:
    text = Coded(code="", meaning="Left, upper", scheme="L")
    specimen = SpecimenHeader(identifier="A", specimen_type=text, anatomic_site=text, laterality=text)
    (item,) = specimen_descriptions(_header((specimen,)).model_copy(update={"stains": (text,), "fixative": text}))
    assert "SpecimenTypeCodeSequence" not in item
    assert "PrimaryAnatomicStructureSequence" not in item
    (step,) = item.SpecimenPreparationSequence
    assert step.SpecimenPreparationStepContentItemSequence[-1].TextValue == "Left, upper"


def test_a_meaning_is_made_to_fit_and_a_code_never() -> None:
    item = coded_item(Coded(code="1", meaning="a\\b " + "x" * 90, scheme="a scheme of more than sixteen"))
    assert item.CodeMeaning == "a b " + "x" * 60
    assert item.CodingSchemeDesignator == "99LOCAL"
    for code in ("A\\B", "A\nB", "A" * 129):
        with pytest.raises(RejectedError, match="stains"):
            read_header({**_header().model_dump(mode="json"), "stains": [{"code": code}]})


def test_a_slide_without_a_block_says_nothing_of_how_it_was_made() -> None:
    smear = SpecimenHeader(identifier="A", part_identifier="POT")
    (item,) = specimen_descriptions(_header((smear,)))
    assert len(item.SpecimenPreparationSequence) == 0


def test_a_long_code_goes_where_long_codes_go() -> None:
    item = coded_item(Coded(code="A-CODE-OF-MORE-THAN-16", scheme="99X", meaning="m"))
    assert item.LongCodeValue == "A-CODE-OF-MORE-THAN-16"
    assert "CodeValue" not in item
