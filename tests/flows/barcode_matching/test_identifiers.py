import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.barcode_matching.identifiers import find, whole
from models.identifier_pattern import compiled

SITE = r"(?P<container>\d{2}[A-Z]\d{6}-[A-Z]\d{1,2}-\d{1,3})"
LIS = r"LAB;(?P<container>[0-9A-Z-]{5,20});(?:HE|IHC)"


@pytest.mark.parametrize("text", ["26H004821-A1-1", "  26h004821-a1-1 \r\n", "\x1d26H004821-A1-1\x1e"])
def test_a_printed_code_is_compared_without_case_and_without_space_around_it(text: str) -> None:
    assert whole(SITE, text) == "26H004821-A1-1"


@pytest.mark.parametrize(
    "text", ["", "4210201129820", "26H004821-A1-1234", "x26H004821-A1-1", "26H004821 -A1-1", "26H"]
)
def test_a_printed_code_must_fit_from_end_to_end(text: str) -> None:
    assert whole(SITE, text) is None


def test_only_the_named_group_identifies_the_slide() -> None:
    assert whole(LIS, "lab;26h004821-a1-1;he") == "26H004821-A1-1"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("26H004821-A1-1.svs", ("26H004821-A1-1",)),
        ("26h004821-a1-1_2026-11-22.svs", ("26H004821-A1-1",)),
        ("26H004821-A1-1 (26H004821-A1-12) 26H004821-A1-1.svs", ("26H004821-A1-1", "26H004821-A1-12")),
        ("126H004821-A1-1.svs", ()),
        ("26H004821-A1-1234.svs", ()),
        ("CMU-1-Small-Region.svs", ()),
    ],
)
def test_a_file_name_holds_identifiers_only_where_they_stand_alone(name: str, found: tuple[str, ...]) -> None:
    assert find(SITE, name) == found


def test_of_a_long_path_the_file_name_at_its_end_is_read() -> None:
    folders = "2026-11-22/" * 80

    assert find(SITE, f"{folders}26H004821-A1-1.svs") == ("26H004821-A1-1",)
    assert find(SITE, f"26H004821-A1-2/{folders}26H004821-A1-1.svs") == ("26H004821-A1-1",)
    assert find(SITE, "1" + "26H004821-A1-1".ljust(255, ".")) == ()


@pytest.mark.parametrize("text", ["26H004821-A1-1" * 1000, "1" * 1_000_000, "\0" * 300])
def test_a_text_longer_than_any_label_is_no_identifier(text: str) -> None:
    assert whole(SITE, text) is None
    assert find(SITE, text) == ()


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("(?P<container>b", "not a regular expression"),
        (r"\d+", "names no group"),
        ("(?P<container>a{300})" + "b" * 200, "at most 200"),
        (r"(?P<container>(?:a+)+b)", "too many ways"),
        (r"(?P<container>(?:a|a)*b)", "too many ways"),
        (r"(?P<container>\w+\w+\w+!)", "too many ways"),
        (r"(?P<container>a?){999999999}", "too many ways"),
        (r"(?P<container>b)\1", "refer back"),
        (r"(?P<container>b)(?P=container)", "only the groups"),
        (r"(?=a)(?P<container>b)", "only the groups"),
        (r"(?x)(?P<container>b)", "only the groups"),
    ],
)
def test_a_pattern_that_could_search_for_ever_is_refused_when_it_is_set(pattern: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        compiled(pattern)


@pytest.mark.parametrize(
    "pattern",
    [SITE, LIS, r"(?P<container>\w+-\w+)", r"(?P<container>[]|)]x(?:-\d{1,3}){2})", r"(?P<container>S\d{2,}\.?)"],
)
def test_patterns_that_laboratories_use_are_taken(pattern: str) -> None:
    assert compiled(pattern).groupindex == {"container": 1}


_ATOMS = st.sampled_from(["a", r"\d", r"\w", "[a-f]", r"\-", "."])
_QUANTIFIERS = st.sampled_from(["", "?", "*", "+", "{2}", "{1,3}", "{,4}", "{2,}", "+?", "{0,9}?"])
_PIECES = st.recursive(
    st.builds(str.__add__, _ATOMS, _QUANTIFIERS),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.builds("(?:{}|{}){}".format, inner, inner, _QUANTIFIERS),
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=200)
@given(piece=_PIECES, ending=st.sampled_from(["", "!", "-"]))
def test_every_pattern_that_is_taken_ends_its_search_soon(piece: str, ending: str) -> None:
    pattern = f"(?P<container>{piece}{ending})"
    try:
        compiled(pattern)
    except ValueError:
        return
    began = time.process_time()

    for text in ("a" * 255, "1-" * 127, "a1f-" * 63 + "?"):
        find(pattern, text)
        whole(pattern, text)

    assert time.process_time() - began < 1.0
