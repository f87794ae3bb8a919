"""What real interfaces do with content and text, one test for each: read as it is meant, or said why not."""

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.lims.groups import group
from connectors.lims.message import Message
from connectors.lims.reading import read
from models.errors import RejectedError
from tests.connectors.lims.orders import PID, dialect, orc, order, segment, slide, stated, text

ORDER = (PID, slide("26H1-A1-1", parent="26H1-A1"), orc(), "OBR|1||26H1|SKIN")


# Content


@pytest.mark.parametrize("version", ["", "2.3", "2.5.1^DEU", "2.5.1^DEU^2.16.840.1.113883.2.6", "9.9", "two", "2.8.2"])
def test_a_version_that_is_blank_or_unknown_changes_nothing(version: str) -> None:
    raw = text("OML^O33^OML_O33", *ORDER).replace("|P|2.5.1", f"|P|{version}")
    found = read(Message(raw.encode()), dialect("plain"))
    assert found.order is not None
    assert found.order.accession_number == "26H1"
    assert found.problems == ()


@pytest.mark.parametrize("nine", ["OML^O33", "OML^O33^OML_O33", "OML^^OML_O33", "OML", "OML^O33^ORM_O01"])
def test_msh_9_needs_no_structure(nine: str) -> None:
    found = stated(nine, *ORDER)
    assert found.order is not None
    assert [one.container_identifier for one in found.order.slides] == ["26H1-A1-1"]


def test_z_segments_may_stand_anywhere_and_are_kept() -> None:
    between = [one for line in ORDER for one in (f"Z{line[:2]}|^~\\&|x", line)]
    message = Message(text("OML^O33", *between, "ZZZ", "Z1A|last").encode())
    plain = read(Message(text("OML^O33", *ORDER).encode()), dialect("plain"))
    assert read(message, dialect("plain")) == plain
    assert [one.line for one in message.segments[1:]] == [*between, "ZZZ", "Z1A|last"]


def test_what_must_go_is_not_what_is_not_said() -> None:
    found = stated("ADT^A08", 'PID|1||A1^^^SITEA^MR||Example^""||""|')
    assert found.patient is not None
    assert (found.patient.family_name, found.patient.given_name, found.patient.sex) == ("Example", "", None)
    deleted = order("OML^O33", segment("SPM", f2="S1", f27="GLASS", f30='""'), segment("ORC", f1="NW", f3="26H1"))
    assert deleted.accession_number == "26H1"


def test_placer_and_filler_may_be_swapped() -> None:
    swapped = dialect(
        "plain", placer_fields=["ORC-3", "OBR-3"], filler_fields=["ORC-2", "OBR-2"], accession_fields=["ORC-2", "OBR-2"]
    )
    found = order("OML^O33", slide("S1"), "ORC|NW|26H1^LAB|REQ7^WARD", "OBR|1|26H1^LAB|REQ7^WARD", profile=swapped)
    assert found.accession_number == "26H1"
    assert (found.placer_order_numbers, found.filler_order_numbers) == (("REQ7",), ("26H1",))


@pytest.mark.parametrize(
    ("field", "segments"),
    [
        ("ORC-2", [slide("S1"), "ORC|NW|26H1^LIMS"]),
        ("ORC-3", [slide("S1"), "ORC|NW|P1|26H1^LIMS"]),
        ("ORC-4", [slide("S1"), "ORC|NW|P1|F1|26H1^LIMS"]),
        ("ORC-4.2", [slide("S1"), "ORC|NW|P1|F1|X^26H1"]),
        ("OBR-3", [slide("S1"), "ORC|NW|P1|F1", "OBR|1|P1|26H1^LIMS"]),
        ("SPM-30", [slide("S1", f30="26H1^^^LAB"), "ORC|NW|P1|F1"]),
        ("ORC-38", [slide("S1"), segment("ORC", f1="NW", f3="F1", f38="26H1")]),
        ("ZAC-2", [slide("S1"), "ORC|NW|P1|F1", "ZAC|1|26H1"]),
    ],
)
def test_the_accession_may_stand_in_any_field(field: str, segments: list[str]) -> None:
    profile = dialect("plain", accession_fields=[field])
    assert order("OML^O33", *segments, profile=profile).accession_number == "26H1"


def test_the_accession_may_be_the_beginning_of_the_containers_identifier() -> None:
    profile = dialect("plain", accession_fields=["SPM-2"], accession_pattern="^([0-9]{2}[A-Z][0-9]+)-")
    found = order("OML^O33", slide("26H1-A1-1"), "ORC|NW", slide("26H1-A1-2"), "ORC|NW", profile=profile)
    assert found.accession_number == "26H1"
    with pytest.raises(RejectedError, match="no accession number"):
        order("OML^O33", slide("no shape of ours"), "ORC|NW", profile=profile)


@pytest.mark.parametrize("name", ["plain", "dpow", "orm-o01", "stainer", "ai-integration"])
def test_one_message_about_two_cases_is_set_aside_in_every_dialect(name: str) -> None:
    one, other = (
        [
            f"ORC|NW|{case};A;1;1|{case}|{case}",
            segment("OBR", f1="1", f2=f"{case};A;1;1", f3=case),
            f"SPM|1|{case};A;1;1",
        ]
        for case in ("26H1", "26H2")
    )
    with pytest.raises(RejectedError, match="2 accession numbers, and one order message is one case") as refused:
        order("OML^O21", *one, *other, profile=dialect(name))
    assert "26H" not in str(refused.value)


def test_case_block_and_slide_may_be_one_text() -> None:
    compound = {
        "pattern": "^(?P<accession>[^;]+);(?P<block>[^;]+);(?P<slide>[^;]+)$",
        "block": "{accession}-{block}",
        "slide": "{accession}-{block}-{slide}",
    }
    fields = {"container_fields": ["OBR-2"], "accession_fields": ["OBR-2"], "accession_pattern": "^([^;]+);"}
    found = order("OML^O21", "ORC|NW|1", "OBR|1|26H1;A1;3||PAS", profile=dialect("plain", compound=compound, **fields))
    assert found.accession_number == "26H1"
    (one,) = found.slides
    assert (one.container_identifier, one.parents) == ("26H1-A1-3", ("26H1-A1",))
    assert [stain.code for stain in one.stains] == ["PAS"]
    assert [one.container_identifier for one in found.blocks] == ["26H1-A1"]


def test_an_order_whose_text_is_no_compound_names_no_container() -> None:
    found = order(
        "OML^O21", "ORC|NW|26H1;A;1;1", "OBR|1|26H1;A;1;1", "ORC|NW|77", "OBR|1|77", profile=dialect("stainer")
    )
    assert [one.container_identifier for one in found.slides] == ["26H1;A;1;1"]


def test_slides_may_be_named_by_a_segment_of_the_laboratorys_own() -> None:
    profile = dialect("orm-o01", container_fields=["ZSL-2"], parent_fields=["ZSL-3"], route_fields=["ZSL-4"])
    found = order(
        "ORM^O01", "ORC|NW|1|26H1", "OBR|1|1|26H1|SKIN", "ZSL|1|26H1-A1-1|26H1-A1|WSI", "ZSL|2|26H1-A1-2|26H1-A1|OTH",
        profile=profile,
    )  # fmt: skip
    assert [(one.container_identifier, one.parents, one.route) for one in found.slides] == [
        ("26H1-A1-1", ("26H1-A1",), "scan"),
        ("26H1-A1-2", ("26H1-A1",), "glass only"),
    ]


@pytest.mark.parametrize(
    "path",
    [
        r"\\server\S\share\F\slide.svs",
        r"D:\F\T\slide.svs",
        "/mnt/a b/Ünï.svs",
        "file:///etc/passwd",
        "../../../x",
        "https://user@host/slide?x=1;2",
        "a^b",
    ],
)
def test_the_path_of_an_image_is_kept_as_it_is_said_and_nothing_more(path: str) -> None:
    line = segment("OBR", f1="1", f13=path)
    (found,) = order("ORM^O01", "ORC|NW|S1||26H1", line, profile=dialect("ai-integration")).slides
    assert found.image_location == path
    assert path not in repr(found)


@pytest.mark.parametrize("path", ["x" * 5000, "a\\X07\\b"])
def test_what_is_no_path_is_left_out_with_a_word(path: str) -> None:
    found = stated(
        "ORM^O01", PID, "ORC|NW|S1||26H1", segment("OBR", f1="1", f13=path), profile=dialect("ai-integration")
    )
    assert found.order is not None
    assert found.order.slides[0].image_location is None
    assert "OBR-13" in found.problems[0]


# Text


@pytest.mark.parametrize(
    ("declared", "name"),
    [
        ("", "Müller".encode()),
        ("", "Müller".encode("latin-1")),
        ("8859/1", "Müller".encode("latin-1")),
        ("8859/15", "Müller".encode("iso8859-15")),
        ("ISO-8859-1", "Müller".encode("latin-1")),
        ("ISO8859/1", "Müller".encode("latin-1")),
        ("ISO IR100", "Müller".encode("latin-1")),
        ("UNICODE UTF-8", "Müller".encode()),
        ("UTF-8", "Müller".encode()),
        ("utf8", "Müller".encode()),
        ("UNICODE", "Müller".encode()),
        ("CP1252", "Müller".encode("cp1252")),
        ("UNICODE UTF-8~ISO IR87", "Müller".encode()),
        ("KLINGON", "Müller".encode()),
    ],
)
def test_a_name_is_read_whatever_msh_18_says_and_however_it_is_spelt(declared: str, name: bytes) -> None:
    header = f"MSH|^~\\&|L|S|C|N|20261122091500||ADT^A08|1|P|2.5||||||{declared}\r".encode()
    found = read(Message(header + b"PID|1||A1^^^SITEA||" + name + b"^Ada\r"), dialect("plain"))
    assert found.patient is not None
    assert found.patient.family_name == "Müller"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("M\\XC3BC\\ller", "Müller"),
        ("O\\S\\B", "O^B"),
        ("A\\.br\\B", "A\nB"),
        ("a\\b", "a\\b"),
        ("a\\", "a\\"),
        ("a\\T\\b\\R\\c\\E\\d\\F\\e", "a&b~c\\d|e"),
        ("a\\H\\b\\N\\c", "abc"),
        ("a\\Zzz\\b", "a\\Zzz\\b"),
        ("a\0b", "ab"),
    ],
)
def test_escapes_mean_what_they_say_and_lone_backslashes_stay(written: str, meant: str) -> None:
    found = stated("ADT^A08", f"PID|1||A1^^^SITEA||{written}")
    assert found.patient is not None
    assert found.patient.family_name == meant


# Size


@pytest.mark.parametrize(
    "observations",
    [
        ["OBX|1|ED|PDF||^AP^PDF^Base64^" + base64.b64encode(b"%PDF" * 2_500_000).decode() + "||||||F"],
        [f"OBX|{number}|NM|{number}||1||||||F" for number in range(5000)],
        ["OBX|1|FT|R||" + "x" * 100_000 + "||||||F"],
    ],
    ids=["ten megabytes of base64", "5,000 observations", "one field of 100 KB"],
)
def test_a_large_report_is_read_whole_and_soon(observations: list[str]) -> None:
    raw = text("ORU^R01", PID, segment("OBR", f1="1", f3="26H1", f25="F"), *observations).encode()
    began = time.process_time()
    message = Message(raw)
    found = read(message, dialect("plain"))
    # Generous: a reading that is not linear takes minutes.
    assert time.process_time() - began < 5
    assert found.report is not None
    assert [part.status for part in found.report.parts] == ["final"]
    assert len(message.segments) == 3 + len(observations)


# Anything at all


LINES = st.sampled_from(
    [
        *ORDER,
        "ORC|RP|P1|26H1",
        "ORC|RO|P2|26H1",
        "ORC|CA|P1|26H1",
        "ORC|SC||26H1||CM",
        "OBR|1|26H1;A;1;1|26H1|CD3",
        "SPM|1|WO1^S9",
        "SPM|1|26H1;A;1;2",
        segment("SPM", f2="S1", f20="Y"),
        segment("OBR", f1="1", f3="26H1", f25="F"),
        "MRG|A9^^^SITEA^MR",
        "PV1|1|O",
        "OBX|1|FT|R||x||||||C",
        "ZZZ|^~\\&",
        "PRT||AD||PI|C77^Reader",
        "no segment",
        "",
    ]
)
TYPES = ["OML^O33", "OML^O21", "ORM^O01", "ORU^R01", "ADT^A40", "ADT^A45", "ADT^A08", "ADT"]
DPOW = ["", "DPOW-SLIDE", "DPOW-CASE-UPDATE", "DPOW-IMAGE-NOTIF", "DPOW-ACCEPT-WO", "DPOW-PLACE-WO", "DPOW-NEW"]


@given(
    st.sampled_from(["plain", "dpow", "orm-o01", "stainer", "ai-integration"]),
    st.sampled_from(TYPES),
    st.sampled_from(DPOW),
    st.lists(LINES, max_size=14),
)
def test_every_segment_is_kept_in_one_place_and_every_message_is_read_or_set_aside(
    profile: str, message_type: str, transaction: str, lines: list[str]
) -> None:
    rest = f"|||||||||{transaction}^IHE" if transaction else ""
    message = Message(text(message_type, *lines, rest=rest).encode())
    said = ""
    try:
        found = read(message, dialect(profile))
        groups = group(message.segments)
    except RejectedError as error:
        said = str(error)
    else:
        said = "".join(found.problems)
        assert found.acts or found.problems
        places = [*groups.opening, *groups.prior, *groups.segments()]
        assert sorted(map(id, places)) == sorted(map(id, message.segments))
    assert len(message.segments) == 1 + sum(bool(line) for line in lines)
    assert not any(secret in said for secret in ("26H1", "Example", "A9", "Reader"))
