"""The simulated PAWM and image manager say what DPOW asks for, and write down all that they saw."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import hl7
import pytest

from connectors.lims.simulated_dpow import REFUSAL, Wanted, answer, faults, message, said, segments_of
from connectors.lims.simulated_peer import SimulatedLine, play
from connectors.lims.simulator import SimulatedLims

NOW = datetime(2026, 11, 22, 9, 15, 0, 250_000, tzinfo=UTC)
SLIDE = Wanted(what="slide", case="26H1", asset="26H1-A1-1", parent="26H1-A1", stains=("12710003^Hematoxylin^SCT",))
ASKED = (
    b"MSH|^~\\&|COVERSLIP|SITE-A|LIMS|SITE-A|20261122091500+0000||OML^O21^OML_O21|W1|P|2.5.1|||||||||DPOW-PLACE-WO^IHE\r"
    b"PID|1||MR1^^^SITE-A^MR\rORC|NW|WABC^COVERSLIP|26H1|||||||||||||||||||||||||||||||||||26H1\r"
    b"OBR|1|WABC^COVERSLIP|26H1|RECUT^recut^L\rSPM|1|26H1-A1-1\r"
)


def played(commands: list[dict[str, Any] | str], answers: bytes | None = None) -> list[dict[str, Any]]:
    """What a simulated PAWM says that it saw, against a door that accepts, or gives this answer."""
    seen: list[dict[str, Any]] = []
    with SimulatedLims(answer=(lambda _heard: answers) if answers is not None else None) as door:
        lines = (one if isinstance(one, str) else json.dumps(one) for one in commands)
        play("pawm", ("127.0.0.1", door.port), 0, lines, seen.append)
    return seen


def send(wanted: Wanted, called: str) -> dict[str, Any]:
    return {"called": called, "send": wanted.model_dump(mode="json")}


def test_a_slide_is_registered_in_the_segments_that_the_profile_gives() -> None:
    wanted = SLIDE.model_copy(update={"priority": "S", "reader": "C1"})
    read = hl7.parse(message(wanted, "M1", NOW).decode())
    assert [str(segment[0]) for segment in read] == ["MSH", "PID", "ORC", "TQ1", "OBR", "PRT", "SPM", "OBX", "SAC"]
    assert str(read.segment("MSH")[7]) == "20261122091500.250+0000"
    assert (str(read.segment("MSH")[21]), str(read.segment("ORC")[38])) == ("DPOW-SLIDE^IHE", "26H1")
    assert (str(read.segment("SPM")[27]), str(read.segment("SPM")[30])) == ("GLASS", "26H1")
    assert str(read.segment("SAC")[48]) == "WSI"


def test_what_is_to_be_wrong_is_wrong_and_nothing_else() -> None:
    wrong = SLIDE.model_copy(update={"but": (("MSH-21", "COFFEE^IHE"),), "without": ("SAC",)})
    right = segments_of(message(SLIDE, "M1", NOW))
    found = segments_of(message(wrong, "M1", NOW))
    assert said(found, "MSH-21") == "COFFEE^IHE"
    assert [one for one in right if one[0] not in ("MSH", "SAC")] == [one for one in found if one[0] != "MSH"]


@pytest.mark.parametrize(
    ("behaviour", "code", "control", "filler"),
    [
        ("accept", "AA", "OK", "F-WABC^LIMS"),
        ("refuse", "AA", "UA", ""),
        ("error", "AE", "", ""),
        ("reject", "AR", "", ""),
    ],
)
def test_an_order_for_work_is_taken_or_refused_in_the_answer(
    behaviour: Any,  # noqa: ANN401 - one of the literals
    code: str,
    control: str,
    filler: str,
) -> None:
    answered = segments_of(answer(ASKED, behaviour, "S1", NOW))
    assert (said(answered, "MSH-9"), said(answered, "MSA-1"), said(answered, "MSA-2")) == (
        "ORL^O22^ORL_O22",
        code,
        "W1",
    )
    assert (said(answered, "ORC-1"), said(answered, "ORC-3")) == (control, filler)
    assert any(one[0] == "ERR" for one in answered) == (code != "AA")
    assert (said(answered, "NTE-3") == REFUSAL) == (control == "UA")


@pytest.mark.parametrize("place", ["MSH-12", "PID-3", "ORC-1", "ORC-2", "ORC-38"])
def test_a_message_that_lacks_what_the_profile_asks_for_is_answered_ae(place: str) -> None:
    segments = segments_of(ASKED)
    name, _, number = place.partition("-")
    for one in segments:
        if one[0] == name:
            one[int(number)] = ""
    assert place in faults(segments)
    assert faults(segments_of(ASKED)) == ""
    without = ASKED.replace(b"|2.5.1|", b"||") if place == "MSH-12" else ASKED.replace(b"PID|1||MR1", b"PID|1||")
    if place in ("MSH-12", "PID-3"):
        refused = segments_of(answer(without.replace(b"^^^SITE-A^MR", b""), "accept", "S1", NOW))
        assert (said(refused, "MSA-1"), any(one[0] == "ERR" for one in refused)) == ("AE", True)


def test_all_that_went_over_the_wire_is_written_down_with_what_came_back() -> None:
    listening, sent, answered, again, answered_again = played([send(SLIDE, "one"), {"again": "one", "called": "two"}])
    assert listening["way"] == "listening"
    assert (sent["way"], sent["called"], sent["transaction"]) == ("sent", "one", "DPOW-SLIDE")
    assert (answered["way"], said(segments_of(answered["raw"].encode()), "MSA-2")) == (
        "was answered",
        sent["control_id"],
    )
    assert (again["sha256"], again["called"]) == (sent["sha256"], "two")
    assert answered_again["way"] == "was answered"


def test_a_door_that_does_not_answer_and_a_line_that_is_no_command_are_told_too() -> None:
    seen: list[dict[str, Any]] = []
    play("ima", ("127.0.0.1", 1), 0, [json.dumps(send(SLIDE, "one")), "nonsense", '{"behave": "dance"}'], seen.append)
    assert [one["way"] for one in seen] == ["listening", "sent", "not answered", "misunderstood", "misunderstood"]
    assert seen[2]["problem"]


def test_work_that_was_taken_is_told_done_after_a_while_and_its_slide_registered() -> None:
    seen: list[dict[str, Any]] = []
    with SimulatedLims() as coverslip:

        def commands() -> Iterator[str]:
            yield '{"behave": "accept", "fulfil_after": 0}'
            line = SimulatedLine(("127.0.0.1", seen[0]["port"]))
            line.exchange(ASKED)
            line.hang_up()
            coverslip.wait_for(2, 10)

        play("pawm", ("127.0.0.1", coverslip.port), 0, commands(), seen.append)
        done, slide = (segments_of(one) for one in coverslip.received)
    assert (said(done, "MSH-21"), said(done, "ORC-2"), said(done, "ORC-5")) == (
        "DPOW-ACCEPT-WO^IHE", "WABC^COVERSLIP", "CM"
    )  # fmt: skip
    assert said(done, "SPM-2") == "WABC&COVERSLIP^26H1-WABC"
    assert (said(slide, "MSH-21"), said(slide, "SPM-2", 2)) == ("DPOW-SLIDE^IHE", said(done, "SPM-2", 2))
