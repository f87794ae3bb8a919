"""Public samples of HL7, named one by one, are read without loss: segments kept = segments in.

They come with packages that the set-up installs, and stay there: nothing of them is in this repository.
"""

import ast
import doctest
import re
import warnings
from importlib import import_module
from pathlib import Path

import pytest

from connectors.lims.groups import group
from connectors.lims.message import Message
from connectors.lims.reading import read
from models.errors import RejectedError
from tests.connectors.lims.orders import dialect

SIMPLE_HL7 = Path(__file__).parents[2] / "peers" / "node_modules" / "simple-hl7" / "test" / "samples"
PROFILES = ("plain", "dpow", "orm-o01", "stainer", "ai-integration")


def without_loss(raw: bytes, segments: int) -> None:
    """Show that every line is a segment, and that reading it by any profile states something or says why not."""
    message = Message(raw)
    lines = [line.strip("\r\n\0 ") for line in re.split(r"[\r\n]+", raw.decode("latin-1")) if line.strip("\r\n\0 ")]
    assert message.problem == ""
    assert [one.line.strip() for one in message.segments] == lines
    assert len(message.segments) == segments
    assert all(one.name for one in message.segments)
    groups = group(message.segments)
    assert len([*groups.opening, *groups.prior, *groups.segments()]) == segments
    assert all(said_of(message, name) for name in PROFILES)


def said_of(message: Message, profile: str) -> str:
    """Return what a message states by a profile, else why nothing of it can be acted on."""
    try:
        stated = read(message, dialect(profile, processing_id=None))
    except RejectedError as error:
        return str(error)
    return stated.model_dump_json() if stated.acts else "; ".join(stated.problems)


@pytest.mark.parametrize(
    ("name", "segments"),
    [("adt.hl7", 4), ("adt.txt", 4), ("orm.hl7", 5), ("oru.hl7", 9), ("oru-imm.hl7", 60)],
)
def test_a_sample_of_simple_hl7_is_read_whole(name: str, segments: int) -> None:
    if not SIMPLE_HL7.is_dir():
        pytest.skip("simple-hl7 is not installed: `make setup` does it where npm and its registry are")
    without_loss((SIMPLE_HL7 / name).read_bytes(), segments)


def texts_of(module: str, documented: str) -> list[str]:
    """Return the texts that the examples of a docstring begin with, in their order."""
    tests = [
        one for one in doctest.DocTestFinder().find(import_module(module), module) if one.name.endswith(documented)
    ]
    with warnings.catch_warnings():
        # Its examples write a backslash where Python wants two.
        warnings.simplefilter("ignore")
        statements = [one for test in tests for example in test.examples for one in ast.parse(example.source).body]
    values = [one.value for one in statements if isinstance(one, ast.Assign)]
    return [one.value for one in values if isinstance(one, ast.Constant) and isinstance(one.value, str)]


@pytest.mark.parametrize(
    ("module", "documented", "segments"),
    [("hl7apy.parser", ".parse_message", 2), ("hl7apy.exceptions", ".ValidationError", 3)],
)
def test_a_sample_in_hl7apys_own_words_is_read_whole(module: str, documented: str, segments: int) -> None:
    texts = texts_of(module, documented)
    begins = next(number for number, text in enumerate(texts) if text.startswith("MSH|"))
    without_loss("".join(texts[begins:]).encode(), segments)
