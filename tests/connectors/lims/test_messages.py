"""Given this message file, expect that meaning: one file a dialect and an event, beside what it must state.

The messages are invented. A description holds what counts; what it does not name may be anything.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from connectors.lims.groups import group
from connectors.lims.message import Message
from connectors.lims.reading import read
from tests.connectors.lims.orders import dialect

MESSAGES = Path(__file__).parent / "messages"
NAMES = sorted(path.stem for path in MESSAGES.glob("*.hl7"))


def message_of(name: str) -> Message:
    """Return the message with CR between its segments, as it comes over the wire."""
    return Message((MESSAGES / f"{name}.hl7").read_bytes().replace(b"\n", b"\r"))


def differences(expected: Any, found: Any, place: str = "") -> list[str]:  # noqa: ANN401 - JSON
    """Return where something is not as a description has it."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            line for key, value in expected.items() for line in differences(value, found.get(key), f"{place}.{key}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [line for number, pair in pairs for line in differences(*pair, f"{place}[{number}]")]
    return [] if expected == found else [f"{place}: {found!r} and not {expected!r}"]


@pytest.mark.parametrize("name", NAMES)
def test_a_message_means_what_its_description_says(name: str) -> None:
    description = json.loads((MESSAGES / f"{name}.json").read_text())
    stated = read(message_of(name), dialect(description["profile"]))
    assert stated.acts
    assert differences(description["stated"], stated.model_dump(mode="json")) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_segment_of_a_message_has_its_place_and_only_one(name: str) -> None:
    message = message_of(name)
    groups = group(message.segments) if not name.startswith("adt_") else None
    assert len(message.segments) == message.raw.count(b"\r")
    if groups is not None:
        places = [*groups.opening, *groups.prior, *groups.segments()]
        assert sorted(map(id, places)) == sorted(map(id, message.segments))
