"""The published description of our events is the one that the models give, and true."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from infra.kafka.asyncapi import FILE, document, main, written
from models.events.envelope import Event, build
from models.events.fields import EventData
from models.events.kinds import KINDS
from tests.models.events.test_envelope import AT, OPAQUE, said

jsonschema = pytest.importorskip("jsonschema")


def resolved(value: Any, whole: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON is anything
    """The value with every reference replaced by what it refers to."""
    if isinstance(value, list):
        return [resolved(one, whole) for one in value]
    if not isinstance(value, dict):
        return value
    if "$ref" not in value:
        return {name: resolved(one, whole) for name, one in value.items()}
    found: Any = whole
    for part in value["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return resolved(found, whole)


def test_the_file_is_what_the_models_say() -> None:
    assert FILE.read_text(encoding="utf-8") == written(), "run 'python -m infra.kafka.asyncapi' and commit the file"


def test_a_file_that_differs_is_told_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "asyncapi.json"
    assert main(["--check", "--file", str(file)]) == 1
    assert main(["--file", str(file)]) == 0
    assert main(["--check", "--file", str(file)]) == 0
    file.write_text(file.read_text().replace("scanner.status", "scanner.state"))
    capsys.readouterr()
    assert main(["--check", "--file", str(file)]) == 1
    said = capsys.readouterr()
    assert "scanner.state" in said.out
    assert "run 'python -m infra.kafka.asyncapi'" in said.err


def test_every_type_is_described_once_with_its_channel_and_nothing_refers_nowhere() -> None:
    described = document()
    assert set(described["components"]["messages"]) == set(KINDS)
    in_channels = [name for channel in described["channels"].values() for name in channel["messages"]]
    assert sorted(in_channels) == sorted(KINDS)
    assert resolved(described, described)


@given(said)
def test_an_event_that_we_build_is_one_that_the_description_allows(data: EventData) -> None:
    source = "/coverslip" if data.FROM == "coverslip" else f"/site-a/{data.FROM}/one"
    raw = build(Event("e-1", source, AT, data, OPAQUE if data.FROM == "coverslip" else None))
    described = document()
    schema = resolved(described["components"]["messages"][data.TYPE]["payload"], described)
    jsonschema.Draft202012Validator(schema).validate(json.loads(raw))
