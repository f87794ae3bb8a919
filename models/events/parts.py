"""A large HL7 message on its way in parts: cut, and put together again only when it is the same, byte for byte."""

import hashlib
from collections.abc import Iterable
from typing import Final

from models.errors import RejectedError
from models.events.kinds import MOST_PARTS, Hl7Part, Hl7Received

MOST_PAYLOAD_BYTES: Final = (Hl7Received.MOST_BYTES - 4_096) // 4 * 3
"""What one event has room for, base64 and envelope counted; a longer message travels in parts."""


def split(whole: Hl7Received, most_bytes: int = MOST_PAYLOAD_BYTES) -> tuple[Hl7Part, ...]:
    """Return a message in parts of at most so many bytes each, in order; the same message gives the same parts.

    Raises
    ------
    RejectedError
        It would take more than 1,024 parts.
    """
    count = -(-len(whole.payload) // most_bytes)
    if count > MOST_PARTS:
        raise RejectedError(f"A message of {whole.bytes} bytes takes {count} parts; at most {MOST_PARTS} are sent.")
    return tuple(
        Hl7Part(
            received_at=whole.received_at,
            sha256=whole.sha256,
            bytes=whole.bytes,
            number=number,
            count=count,
            payload=whole.payload[(number - 1) * most_bytes : number * most_bytes],
        )
        for number in range(1, count + 1)
    )


def together(parts: Iterable[Hl7Part]) -> Hl7Received | None:
    """Return the message that these parts, in any order and any of them twice, are; nothing while one is missing.

    Raises
    ------
    RejectedError
        They are not parts of one message, or what they make is not what its SHA-256 says.
    """
    by_number: dict[int, Hl7Part] = {}
    for part in parts:
        if by_number.setdefault(part.number, part) != part:
            raise RejectedError(f"Two parts {part.number} of one message differ.")
    if not by_number:
        return None
    first = next(iter(by_number.values()))
    if len({(part.sha256, part.bytes, part.count, part.received_at) for part in by_number.values()}) != 1:
        raise RejectedError("The parts are not of one message: they name different wholes.")
    if len(by_number) < first.count:
        return None
    payload = b"".join(by_number[number].payload for number in range(1, first.count + 1))
    if len(payload) != first.bytes or hashlib.sha256(payload).hexdigest() != first.sha256:
        raise RejectedError(f"The {first.count} parts do not make the message of {first.bytes} bytes that they name.")
    return Hl7Received(received_at=first.received_at, sha256=first.sha256, bytes=first.bytes, payload=payload)
