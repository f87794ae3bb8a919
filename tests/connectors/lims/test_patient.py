"""Who the patient is said to be, and when something happened."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.lims.moments import read_date, read_stamp
from connectors.lims.nhs_number import is_valid, normalised
from models.statements import PatientStated
from tests.connectors.lims.orders import segment, stated

LONDON = ZoneInfo("Europe/London")


def patient(**fields: str) -> PatientStated:
    found = stated("ADT^A08", segment("PID", **fields)).patient
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("pid_3", "identifiers", "status"),
    [
        ("9990048215^^^NHS^NH", [("NHS", "9990048215", "NHS")], "valid"),
        ("999 004 8215^^^2.16.840.1.113883.2.1.4.1", [("NHS", "9990048215", "NHS")], "valid"),
        ("9990048216^^^NHS^NH", [("NHS?", "9990048216", "NHS")], "invalid"),
        (
            "9990048215^^^NHS^NH~9434765919^^^NHS^NH",
            [("NHS?", "9990048215", "NHS"), ("NHS?", "9434765919", "NHS")],
            "conflicting",
        ),
        ("9990048215^^^NHS^NH~999-004-8215^^^NHS^NH", [("NHS", "9990048215", "NHS")], "valid"),
        ("A1^^^SITEA^MR~A2", [("MR", "A1", "SITEA"), ("MR", "A2", "SITEA")], "missing"),
        ("A1^^^&1.2.3&ISO^PI", [("PI", "A1", "1.2.3")], "missing"),
        ('""', [], "missing"),
    ],
)
def test_identifiers_keep_their_issuer_and_an_nhs_number_is_tested(
    pid_3: str, identifiers: list[tuple[str, str, str]], status: str
) -> None:
    found = patient(f3=pid_3)
    assert [(one.kind, one.value, one.issuer) for one in found.identifiers] == identifiers
    assert found.nhs_number_status == status


def test_a_doubtful_nhs_number_is_a_problem_that_does_not_show_it() -> None:
    found = stated("ADT^A08", segment("PID", f3="9990048216^^^NHS^NH"))
    assert "NHS number in PID-3 is invalid" in found.problems[0]
    assert "999" not in found.problems[0]


@pytest.mark.parametrize(
    ("pid_5", "family", "given_name", "whole"),
    [
        ("Example^Ada^Beth^Jr^Dr^^L", "Example", "Ada", "Example^Ada^Beth^Dr^Jr"),
        ("Nick^Nan^^^^^N~Example^Ada^^^^^L", "Example", "Ada", "Example^Ada"),
        ("Example", "Example", None, "Example"),
        ("van Example&van&Example^Ada", "van Example", "Ada", "van Example^Ada"),
        ("O\\S\\B=\\E\\x", "O^B=\\x", None, "O B x"),
        ('""', "", "", ""),
        ("", None, None, None),
    ],
)
def test_a_name_is_its_parts_and_the_whole_in_dicoms_order(
    pid_5: str, family: str | None, given_name: str | None, whole: str | None
) -> None:
    found = patient(f3="A1", f5=pid_5)
    assert (found.family_name, found.given_name, found.name_text) == (family, given_name, whole)


def test_a_birth_date_that_is_none_is_a_problem() -> None:
    found = stated("ADT^A08", segment("PID", f3="A1", f7="19640230"))
    assert found.patient is not None
    assert found.patient.birth_date is None
    assert found.problems == ("PID-7 (date of birth) is not a date.",)
    assert patient(f3="A1", f7="196402291530").birth_date == date(1964, 2, 29)


def test_a_patient_does_not_show_in_a_log_line() -> None:
    shown = repr(stated("ADT^A08", segment("PID", f3="9990048215^^^NHS^NH", f5="Example^Ada", f7="19640229", f8="F")))
    assert not [secret for secret in ("999", "Example", "Ada", "1964") if secret in shown]


@given(st.integers(min_value=0, max_value=9_999_999_999), st.integers(min_value=0, max_value=9))
def test_no_single_wrong_digit_passes_for_an_nhs_number(number: int, place: int) -> None:
    written = f"{number:010}"
    if is_valid(written):
        wrong = written[:place] + str((int(written[place]) + 1) % 10) + written[place + 1 :]
        assert not is_valid(wrong)


@pytest.mark.parametrize("number", ["", "999004821", "99900482155", "999004821x", "٩٩٩٠٠٤٨٢١٥", "0000000000"])
def test_what_has_not_ten_digits_is_no_nhs_number(number: str) -> None:
    assert not is_valid(normalised(number))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("20261122091500+0000", datetime(2026, 11, 22, 9, 15, tzinfo=UTC)),
        ("20261122091500.25-0500", datetime(2026, 11, 22, 14, 15, 0, 250_000, tzinfo=UTC)),
        ("202607010930", datetime(2026, 7, 1, 8, 30, tzinfo=UTC)),
        ("20260701", datetime(2026, 6, 30, 23, 0, tzinfo=UTC)),
        ("20261025013000", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        ("20260701093000Z", datetime(2026, 7, 1, 9, 30, tzinfo=UTC)),
        ("2026", None),
        ("20260230", None),
        ("20260701250000", None),
        ("00010101000000+1400", None),
        ("99991231235959-1400", None),
        ("20260701093000+9900", None),
        ("soon", None),
    ],
)
def test_a_time_is_utc_and_without_offset_the_zones(written: str, expected: datetime | None) -> None:
    stamp = read_stamp(written, LONDON)
    assert (stamp.at if stamp else None) == expected
    if stamp:
        assert stamp.raw == written
        assert stamp.zone_assumed == ("+" not in written and "-" not in written and "Z" not in written)


@given(st.text(alphabet="0123456789+-.Z", max_size=25))
def test_no_time_is_too_strange_to_look_at(written: str) -> None:
    read_date(written)
    stamp = read_stamp(written, LONDON)
    assert stamp is None or stamp.at.tzinfo is UTC
