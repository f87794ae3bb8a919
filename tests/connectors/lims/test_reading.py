"""What a message states by the default profile."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.lims.message import Message
from connectors.lims.profile import Profile, profile_named
from connectors.lims.reading import read
from models.errors import RejectedError
from models.statements import MessageStated, ReaderStated
from tests.connectors.lims.orders import PID, PROFILE, orc, slide, stated, text

HL7 = Path(__file__).parents[4] / "shared" / "hl7"
shared = pytest.mark.skipif(not HL7.is_dir(), reason="the shared example messages are not here")

STAIN = "OBX|1|CWE|397165007^Stain^SCT|1|{}||||||F"


def example(name: str, profile: Profile = PROFILE) -> tuple[MessageStated, dict[str, Any]]:
    raw = (HL7 / f"{name}.hl7").read_bytes()
    return read(Message(raw), profile), json.loads((HL7 / f"{name}.json").read_text())


@shared
def test_the_plain_order_means_what_its_description_says() -> None:
    found, meaning = example("oml_o33_plain")
    assert found.message_type == meaning["type"]
    assert found.patient is not None
    assert found.order is not None
    identifiers = {(one.kind, one.value, one.issuer) for one in found.patient.identifiers}
    assert ("NHS", meaning["patient"]["nhs_number"], "NHS") in identifiers
    value, issuer = meaning["patient"]["mrn"].split("@")
    assert ("MR", value, issuer) in identifiers
    assert found.order.accession_number == meaning["accession"]
    assert found.order.priority == {"R": "routine", "S": "urgent"}[meaning["priority"]]
    assert found.order.due is not None
    assert found.order.due.at == datetime.fromisoformat(meaning["due"])
    assert found.order.subspecialty == meaning["subspecialty_from"].lower()
    assert [one.container_identifier for one in found.order.specimens] == meaning["specimens"]
    assert {one.container_identifier: one.parents[0] for one in found.order.blocks} == meaning["blocks"]
    assert [
        {
            "container_identifier": one.container_identifier,
            "block": one.parents[0],
            "stain": [s.code for s in one.stains],
        }
        for one in found.order.slides
    ] == meaning["slides"]
    assert [one.order_numbers for one in found.order.specimens] == [("P1", "26H004821")]
    assert [one.order_numbers for one in found.order.blocks] == [("P2", "26H004821")]
    assert [one.order_numbers for one in found.order.slides] == [("P3", "26H004821"), ("P4", "26H004821")]
    assert found.problems == ()


@shared
@pytest.mark.parametrize("name", ["dpow_lab100_slide", "dpow_lab100_slide_change_first"])
def test_a_registered_slide_means_what_its_description_says(name: str) -> None:
    found, meaning = example(name)
    assert found.order is not None
    (one,) = found.order.slides
    (expected,) = meaning["slides"]
    assert one.container_identifier == expected["container_identifier"]
    assert [stain.code for stain in one.stains] == expected["stain"]
    assert one.parents == (expected.get("block", "26H004821-A1"),)
    assert one.route == "scan"
    assert found.order.control == ("change" if "change" in name else "register")
    assert found.order.reader_stated == "C1234567"
    assert found.order.priority == ("urgent" if meaning.get("priority") == "S" else None)


@shared
def test_a_merge_means_what_its_description_says() -> None:
    found, meaning = example("adt_a40_merge")
    (merge,) = found.merges
    value, issuer = meaning["survivor"].split("@")
    assert (value, issuer, "MR") in {(one.value, one.issuer, one.kind) for one in merge.survivor}
    value, issuer = meaning["merged"].split("@")
    assert [(one.value, one.issuer, one.kind) for one in merge.merged] == [(value, issuer, "MR")]
    assert found.patient is not None
    assert found.problems == ()


@shared
def test_a_final_case_update_means_what_its_description_says() -> None:
    found, meaning = example("dpow_lab101_final")
    assert found.case_update is not None
    assert found.case_update.case.accession_number == meaning["accession"]
    assert found.case_update.report == meaning["report"]
    assert found.case_update.reader == ReaderStated(id="C1234567", family_name="Reader", given_name="Rosa")
    assert (found.case_update.grossed, found.case_update.set_closed, found.case_update.ended) == (False, False, False)
    assert ("A100234", "SITEA") in {(one.value, one.issuer) for one in found.case_update.case.patient}
    assert (found.patient, found.order, found.problems) == (None, None, ())


@shared
def test_an_image_notification_means_what_its_description_says() -> None:
    found, meaning = example("dpow_lab104_available")
    assert found.images is not None
    assert found.images.container_identifier == meaning["container_identifier"]
    assert found.images.available == meaning["available"]
    assert found.images.scanned_at is not None
    assert found.images.scanned_at.at == datetime.fromisoformat(meaning["scanned_at"])
    assert found.images.study_instance_uid == "2.25.329800735698586629295641978511506172918"
    assert found.images.series_instance_uid == "2.25.329800735698586629295641978511506172919"
    assert (found.patient, found.order, found.problems) == (None, None, ())


@shared
@pytest.mark.parametrize("profile", ["plain", "orm-o01"])
def test_an_order_for_a_case_alone_means_what_its_description_says(profile: str) -> None:
    found, meaning = example("orm_o01_case_only", profile_named(profile, HL7, issuer="SITEA"))
    assert found.message_type == meaning["type"]
    assert found.order is not None
    assert found.order.accession_number == meaning["accession"]
    assert found.order.priority == {"S": "urgent"}[meaning["priority"]]
    assert (found.order.slides, found.order.subspecialty, found.problems) == ((), "skin", ())


@shared
def test_every_description_is_of_a_message_that_is_read_whole() -> None:
    names = sorted(path.stem for path in HL7.glob("*.json"))
    for name in names:
        raw = (HL7 / f"{name}.hl7").read_bytes()
        found, _ = example(name)
        assert found.acts, name
        assert len(Message(raw).segments) == raw.count(b"\r"), name
    message = Message((HL7 / "oml_o33_plain.hl7").read_bytes())
    meaning = json.loads((HL7 / "oml_o33_plain.json").read_text())
    assert len(message.segments) == meaning["segments_in"]
    assert [one.name for one in message.segments if one.name.startswith("Z")] == meaning["kept_unread"]


def test_an_unknown_message_type_is_kept_without_quoting_it() -> None:
    found = stated("EXAMPLE^ADA", PID)
    assert (found.message_type, found.patient, found.order) == ("unknown", None, None)
    assert "Example" not in found.problems[0]
    assert "no message type that we know" in stated("ZZZ^Z01", PID).problems[0]


def test_an_update_of_a_patient_states_no_order() -> None:
    found = stated("ADT^A08^ADT_A01", "EVN|A08", PID, "PV1|1|O")
    assert found.patient is not None
    assert found.patient.name_text == "Example^Ada"
    assert found.order is None
    assert found.problems == ()


def test_a_message_without_a_patient_still_states_its_order() -> None:
    found = stated("OML^O33", slide("S1"), orc())
    assert (found.patient, found.order is not None) == (None, True)
    assert "no PID" in found.problems[0]
    with pytest.raises(RejectedError, match="no PID"):
        stated("ADT^A08", "EVN|A08")


@pytest.mark.parametrize(
    ("rest", "number", "says"),
    [("|17", 17, ""), ("|x", None, "MSH-13"), ("|" + "9" * 99, None, "MSH-13"), ("", None, "")],
)
def test_the_sequence_number_is_a_number_or_a_problem(rest: str, number: int | None, says: str) -> None:
    found = stated("ADT^A08", PID, rest=rest)
    assert found.sequence_number == number
    assert says in "".join(found.problems)


def test_the_time_of_a_message_is_read_or_a_problem() -> None:
    found = stated("ADT^A08", PID)
    assert found.sent_at is not None
    assert found.sent_at.at == datetime(2026, 11, 22, 9, 15, tzinfo=UTC)
    broken = read(Message(text("ADT^A08", PID).replace("20261122091500+0000", "yesterday").encode()), PROFILE)
    assert broken.sent_at is None
    assert "MSH-7" in broken.problems[0]


def test_a_broken_message_is_set_aside_with_its_sentence() -> None:
    with pytest.raises(RejectedError, match="MSH-10"):
        read(Message(text("OML^O33", PID, control_id="").encode()), PROFILE)


LINES = (
    [PID, "SPM|1|S1^F&x|B~C", "SPM||||", "SAC|||S1", "ORC|NW||26H1", "ORC|CA|P|26H1", "ORC|SC", "OBR|1||26H1|2^CD3"],
    [
        "OBX|1|ST|397165007||~x~",
        "ZZZ|^~\\&",
        "PRT",
        "",
        "PID|||~^^^&~&&",
        'SPM|1|""|""',
        "no segment",
        "IPC|||x",
        "TQ1",
    ],
)


@given(
    st.sampled_from(["OML^O33", "OML^O21", "ADT^A08"]), st.lists(st.sampled_from([*LINES[0], *LINES[1]]), max_size=12)
)
def test_every_message_is_read_or_set_aside_and_nothing_said_about_it_quotes_it(
    message_type: str, lines: list[str]
) -> None:
    said = ""
    try:
        found = read(Message(text(message_type, *lines).encode()), PROFILE)
    except RejectedError as error:
        said = str(error)
    else:
        said = "".join(found.problems)
        assert MessageStated.model_validate_json(found.model_dump_json()) == found
    assert "26H1" not in said
    assert "Example" not in said
