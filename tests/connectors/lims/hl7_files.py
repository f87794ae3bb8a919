"""Messages for tests of what the integrator's commands do with files of them."""

from pathlib import Path

import pytest

SHARED_HL7 = Path(__file__).resolve().parents[4] / "shared" / "hl7"

ORDER = (
    b"MSH|^~\\&|LIMS|SITEA|COVERSLIP|NET|20261122091500+0000||OML^O21^OML_O21|MSG1|P|2.5.1||||||UNICODE UTF-8\r"
    b"PID|1||A100234^^^SITEA^MR||Example^Ada^^^^^L||19640229|F\r"
    b"ORC|NW|P1|26B0001\r"
    b"OBR|1|P1|26B0001|SLIDE\r"
    b"SPM|1|26B0001-A1-1|26B0001-A1||||||||||||||||||||||||GLASS\r"
    b"OBX|1|CWE|397165007^Stain^SCT|1|HE^H and E^L||||||F\r"
    b"ZSP|1|rack 7\r"
)


def framed(*messages: bytes) -> bytes:
    return b"".join(b"\x0b" + message + b"\x1c\r" for message in messages)


@pytest.fixture
def shared_hl7() -> Path:
    """The folder of sample messages with what they mean."""
    if not SHARED_HL7.is_dir():
        pytest.skip("needs the messages in ../shared/hl7, which are not here")
    return SHARED_HL7
