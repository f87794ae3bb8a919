"""Derived UIDs: valid, repeatable, never mistaken for one another."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from models.uid import derive_uid, instance_uid, is_uid, series_uid, study_of, study_uid

_names = st.lists(st.text(max_size=12), max_size=4).map(tuple)


@given(_names)
def test_a_derived_uid_is_valid_dicom(parts: tuple[str, ...]) -> None:
    uid = UID(derive_uid(*parts))
    assert uid.is_valid
    assert len(uid) <= 64


@given(_names)
def test_a_derived_uid_is_a_uid_to_us_too(parts: tuple[str, ...]) -> None:
    assert is_uid(derive_uid(*parts))


@pytest.mark.parametrize(
    "text", ["", "1", "1.", ".1", "1..2", "1.02", "../1", "1.2/3", "1.2\n", "1.²", "1.x", "1." + "2" * 63]
)
def test_what_is_no_uid_never_becomes_a_name(text: str) -> None:
    assert not is_uid(text)


@given(_names, _names)
def test_different_names_never_share_a_uid(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert (derive_uid(*one) == derive_uid(*other)) == (one == other)


def test_parts_can_not_be_confused_by_where_they_join() -> None:
    uids = [derive_uid("ab", "c"), derive_uid("a", "bc"), derive_uid("abc"), derive_uid("abc", ""), derive_uid()]
    assert len(set(uids)) == len(uids)


def test_study_series_and_instance_of_the_same_names_differ() -> None:
    assert len({study_uid("s", "1"), series_uid("s", 1), instance_uid("s", 1, ""), derive_uid("s", "1")}) == 4


def test_a_new_edition_renames_the_series_and_every_instance() -> None:
    assert series_uid("scan", 1) != series_uid("scan", 2)
    assert instance_uid("scan", 1, "level-0") != instance_uid("scan", 2, "level-0")


def test_every_role_has_its_own_instance() -> None:
    roles = ["level-0", "level-1", "level-10", "label", "overview", "thumbnail"]
    assert len({instance_uid("scan", 1, role) for role in roles}) == len(roles)


def test_the_same_case_number_at_two_issuers_is_two_studies() -> None:
    assert study_uid("case", "north") != study_uid("case", "south")


def test_a_study_that_was_supplied_is_kept_and_any_other_is_the_case_s() -> None:
    assert study_of("1.2.3", "case", "north") == "1.2.3"
    assert study_of(None, "case", "north") == study_of("", "case", "north") == study_uid("case", "north")


def test_another_process_derives_the_same_uid() -> None:
    script = "from models.uid import series_uid; print(series_uid('scan', 1))"
    checkout = Path(__file__).resolve().parents[2]
    ran = subprocess.run([sys.executable, "-c", script], cwd=checkout, check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == series_uid("scan", 1)


def test_the_derivation_never_changes_under_archived_objects() -> None:
    # These values are in archives; a change here orphans every object ever stored.
    assert series_uid("scan", 1) == "2.25.253727254588055269514377396915146533955"
    assert study_uid("case", "issuer") == "2.25.166663346225370761658080441942357913914"
