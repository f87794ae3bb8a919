"""Opaque ids: repeatable under one key, silent about what they name."""

from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.opaque import OpaqueIds

_ids = OpaqueIds(b"k" * 32)
_triples = st.tuples(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))


@given(_triples)
def test_an_id_is_a_version_8_uuid_with_dashes(names: tuple[str, str, str]) -> None:
    found = _ids.of(*names)
    assert str(UUID(found)) == found
    assert UUID(found).version == 8
    assert UUID(found).variant == RFC_4122


@given(_triples, _triples)
def test_two_things_never_share_an_id(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (_ids.of(*one) == _ids.of(*other)) == (one == other)


def test_parts_can_not_be_confused_by_where_they_join() -> None:
    found = [_ids.of("case", "AB", "1"), _ids.of("case", "A", "B1"), _ids.of("caseA", "B", "1")]
    assert len(set(found)) == 3


def test_the_same_key_gives_the_same_id_after_a_restart() -> None:
    assert OpaqueIds(b"k" * 32).of("case", "north", "H26-1") == _ids.of("case", "north", "H26-1")


def test_another_key_gives_other_ids() -> None:
    assert OpaqueIds(b"x" * 32).of("case", "north", "H26-1") != _ids.of("case", "north", "H26-1")


def test_a_scan_is_named_by_its_bytes_whatever_order_its_files_came_in() -> None:
    assert _ids.scan("north", ["aa", "bb"]) == _ids.scan("north", ["bb", "aa"])
    assert _ids.scan("north", ["AA"]) == _ids.scan("north", ["aa"])


def test_the_same_bytes_at_two_sites_are_two_scans() -> None:
    assert _ids.scan("north", ["aa"]) != _ids.scan("south", ["aa"])


def test_a_file_that_came_twice_in_one_scan_is_not_the_scan_of_one_file() -> None:
    assert _ids.scan("north", ["aa", "aa"]) != _ids.scan("north", ["aa"])


def test_a_scan_is_never_named_like_another_kind() -> None:
    assert _ids.scan("north", ["aa", "bb"]) != _ids.of("north", "aa", "bb")
    assert _ids.scan("north", ["aa"]) != _ids.of("scan", "north", "aa")


def test_a_scan_without_files_has_no_id() -> None:
    with pytest.raises(ValueError, match="at least one file"):
        _ids.scan("north", [])


def test_a_short_key_is_refused_and_the_key_is_never_shown() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        OpaqueIds(b"short")
    assert "kkk" not in repr(_ids)
