import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.scanners.names import folded, stored_name
from models.relative_path import name_fault

paths = st.one_of(
    st.binary(min_size=1, max_size=40).filter(lambda raw: b"\x00" not in raw),
    st.text(min_size=1, max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text("aA/.\\ é\u0301\u202e\n", min_size=1, max_size=12).map(str.encode),
)


@pytest.mark.parametrize(
    "path",
    ["slide.svs", "2026-03/rack 4/H26-1 A1.svs", "Ärzte/größe µm.ndpi", "標本/切片.tif", "..hidden.svs", "a.b/...svs"],
)
def test_names_that_laboratories_give_are_fine(path: str) -> None:
    assert name_fault(path.encode()) is None
    assert stored_name(path.encode()) == path


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"/etc/passwd", "leads out of the folder"),
        (b"../a.svs", "leads out of the folder"),
        (b"a/../../b.svs", "leads out of the folder"),
        (b"a//b.svs", "leads out of the folder"),
        (b"./a.svs", "leads out of the folder"),
        (b"", "leads out of the folder"),
        (b"C:\\slides\\a.svs", "leads out of the folder"),
        (b"\\\\server\\share\\a.svs", "leads out of the folder"),
        (b"a\x00.svs", "can't be seen"),
        (b"a\n.svs", "can't be seen"),
        (b"a\x1b[2J.svs", "can't be seen"),
        (b"a\x7f.svs", "can't be seen"),
        ("a\u2028.svs".encode(), "can't be seen"),
        ("svs.\u202eeteled".encode(), "can't be seen"),
        (b"caf\xe9.svs", "is not UTF-8"),
        (b"a\xed\xa0\x80.svs", "is not UTF-8"),
        (b"x" * 1_025, "1025 bytes long"),
        (b"/".join([b"d"] * 33), "lies 33 folders deep"),
    ],
)
def test_a_name_that_could_lead_astray_is_told_why(raw: bytes, fault: str) -> None:
    assert fault in (name_fault(raw) or "")


def test_the_longest_and_the_deepest_path_are_still_taken() -> None:
    assert name_fault(b"x" * 1_024) is None
    assert name_fault(b"/".join([b"d"] * 32)) is None


@given(paths)
def test_every_name_can_be_kept_and_shown(raw: bytes) -> None:
    stored = stored_name(raw)
    assert stored.encode()
    assert len(stored) <= 1_024
    if name_fault(raw):
        assert not any(unicodedata.category(letter) in {"Cc", "Zl", "Zp"} for letter in stored)


@given(paths, paths)
def test_no_two_paths_are_kept_under_one_name(one: bytes, other: bytes) -> None:
    assert (stored_name(one) == stored_name(other)) == (one == other)


def test_a_refused_name_is_never_kept_like_a_fine_one() -> None:
    stand_in = stored_name(b"caf\xe9.svs")
    assert name_fault(stand_in.encode()) is not None
    assert stored_name(stand_in.encode()) != stand_in


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A.svs", "a.SVS"),
        ("caf\u00e9.svs", "cafe\u0301.svs"),
        ("CAF\u00c9.svs", "cafe\u0301.svs"),
        ("Straße", "STRASSE"),
    ],
)
def test_names_that_people_would_take_for_one_another_are_the_same_when_folded(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(("one", "other"), [("a1.svs", "a2.svs"), ("a/b.svs", "ab.svs"), ("o.svs", "ö.svs")])
def test_other_names_stay_apart(one: str, other: str) -> None:
    assert folded(one) != folded(other)
