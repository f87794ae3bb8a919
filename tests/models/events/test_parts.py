"""A message that travelled in parts is the same, byte for byte, or nothing."""

import hashlib
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import RejectedError
from models.events.envelope import Event, build, parse
from models.events.kinds import Hl7Part, Hl7Received
from models.events.parts import MOST_PAYLOAD_BYTES, split, together

AT = datetime(2026, 11, 22, tzinfo=UTC)


def message(payload: bytes) -> Hl7Received:
    return Hl7Received(received_at=AT, sha256=hashlib.sha256(payload).hexdigest(), bytes=len(payload), payload=payload)


@given(st.binary(min_size=1, max_size=300), st.integers(1, 400), st.randoms())
def test_parts_in_any_order_and_repeated_make_the_message_they_came_from(
    payload: bytes, most: int, chance: Random
) -> None:
    whole = message(payload)
    parts = [*split(whole, most), *split(whole, most)]
    chance.shuffle(parts)
    assert together(parts) == whole
    assert max(len(part.payload) for part in parts) <= most


@given(st.binary(min_size=2, max_size=100), st.data())
def test_a_message_waits_while_one_of_its_parts_is_missing(payload: bytes, data: st.DataObject) -> None:
    parts = list(split(message(payload), 1))
    parts.pop(data.draw(st.integers(0, len(parts) - 1)))
    assert together(parts) is None
    assert together([]) is None


def test_the_same_message_always_gives_the_same_parts() -> None:
    assert split(message(b"MSH|" * 50), 7) == split(message(b"MSH|" * 50), 7)


def test_a_part_of_another_message_is_noticed() -> None:
    ours, theirs = split(message(b"one two three"), 4), split(message(b"eno owt eerht"), 4)
    with pytest.raises(RejectedError, match="not of one message"):
        together([*ours[:-1], theirs[-1]])
    with pytest.raises(RejectedError, match="Two parts 1"):
        together([ours[0], theirs[0]])


def test_parts_that_do_not_make_what_they_name_are_rejected() -> None:
    first, second = split(message(b"MSH|PID|"), 4)
    forged = second.model_copy(update={"payload": b"PIE|"})
    with pytest.raises(RejectedError, match="do not make the message"):
        together([first, forged])
    with pytest.raises(RejectedError, match="do not make the message"):
        together([first, second.model_copy(update={"payload": b"PID"})])


def test_a_message_that_would_take_too_many_parts_is_not_cut() -> None:
    with pytest.raises(RejectedError, match="1025 parts"):
        split(message(b"x" * 1_025), 1)


def test_the_largest_part_fits_into_one_event() -> None:
    part = split(message(b"x" * (MOST_PAYLOAD_BYTES + 1)))[0]
    assert len(part.payload) == MOST_PAYLOAD_BYTES
    raw = build(Event("p" * 128, "/" + "s" * 63 + "/lims/" + "p" * 63, AT, part))
    assert isinstance(parse(raw).data, Hl7Part)
