"""``coverslip hl7 explain``: hl7apy's report in a bounded child, and what hl7apy would lose."""

import json
import time
from pathlib import Path

import pytest

from dashboards.cli.main import main
from tests.connectors.lims.hl7_files import ORDER, shared_hl7

__all__ = ["shared_hl7"]


def explain(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, object]]]:
    with pytest.raises(SystemExit) as ended:
        main(("hl7", "explain", "--json", *arguments))
    return int(ended.value.code or 0), [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_what_hl7apy_finds_and_what_it_drops_is_said(shared_hl7: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, (said,) = explain(capsys, str(shared_hl7 / "oml_o33_plain.hl7"))
    assert (code, said["errors"], said["segments_in"], said["segments_kept"]) == (0, [], 24, 23)
    assert said["dropped"] == ["ZSP (segment 24)"]
    assert said["warnings"]


def test_what_it_calls_an_error_and_what_it_writes_otherwise_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "odd.hl7"
    file.write_bytes(ORDER.replace(b"ORC|NW|P1|26B0001", b"ORC|NW|P1|26B0001" + b"|" * 35 + b"26B0001"))
    code, (said,) = explain(capsys, str(file))
    assert (code, said["changed"]) == (1, ["ORC (segment 3)"])
    assert said["errors"]


def test_a_message_that_takes_it_too_long_is_ended_at_its_limit_and_the_next_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "long.hl7"
    file.write_bytes(ORDER + b"OBX|2|ST|X^Y||some text|mm|||||F\r" * 15_000 + ORDER)
    began = time.monotonic()
    code, (long, short) = explain(capsys, str(file), "--seconds", "1")
    assert time.monotonic() - began < 60
    assert (code, "limit of 1 seconds" in str(long["problem"])) == (1, True)
    assert "20 s for 220 kB" in str(long["problem"])
    assert short["segments_in"] == 7


def test_what_is_no_message_gets_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "noise"
    file.write_bytes(b"\x00\xff nothing of HL7")
    code, (said,) = explain(capsys, str(file))
    assert (code, said["problem"]) == (1, "The file is no HL7 version 2: no line in it begins with MSH.")
