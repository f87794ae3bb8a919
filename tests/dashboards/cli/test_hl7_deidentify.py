"""``coverslip hl7 deidentify``: a copy beside the original, never in its place, or nothing at all."""

from pathlib import Path

import pytest

from dashboards.cli.main import main
from tests.connectors.lims.hl7_files import ORDER, framed


def deidentify(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(("hl7", "deidentify", *arguments))
    written = capsys.readouterr()
    return int(ended.value.code or 0), written.out, written.err


@pytest.mark.parametrize("written", [ORDER * 2, framed(ORDER, ORDER), ORDER.replace(b"\r", b"\n") * 2])
def test_a_copy_has_the_same_messages_in_the_same_frames_and_says_what_was_done(
    written: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "in.hl7", tmp_path / "out.hl7"
    file.write_bytes(written)
    code, said, err = deidentify(capsys, str(file), "--out", str(out))
    copy = out.read_bytes()
    assert (code, err, len(copy)) == (0, "", len(copy))
    assert [copy.count(mark) for mark in (b"\x0b", b"\x1c", b"\r", b"\n", b"|", b"^")] == [
        written.count(mark) for mark in (b"\x0b", b"\x1c", b"\r", b"\n", b"|", b"^")
    ]
    assert not any(told in copy + said.encode() for told in (b"Example", b"A100234", b"26B0001", b"19640229"))
    assert "2 messages copied" in said
    assert "PID-5" in said


def test_the_same_key_file_makes_the_same_copy_and_none_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, key = tmp_path / "in.hl7", tmp_path / "key"
    file.write_bytes(ORDER)
    key.write_text("a secret of the laboratory\n")
    for name, how in (("a", ("--key-file", str(key))), ("b", ("--key-file", str(key))), ("c", ()), ("d", ())):
        assert deidentify(capsys, str(file), "--out", str(tmp_path / name), *how)[0] == 0
    a, b, c, d = ((tmp_path / name).read_bytes() for name in "abcd")
    assert a == b
    assert len({a, c, d}) == 3


def test_nothing_is_written_over_and_nothing_half_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out, key = tmp_path / "in.hl7", tmp_path / "out.hl7", tmp_path / "key"
    file.write_bytes(ORDER + b"MSH|^^^^|\r")
    code, _, err = deidentify(capsys, str(file), "--out", str(out))
    assert (code, out.exists()) == (1, False)
    assert "message 2" in err
    file.write_bytes(ORDER)
    assert deidentify(capsys, str(file), "--out", str(file))[0] == 1
    assert file.read_bytes() == ORDER
    key.write_text("short")
    assert deidentify(capsys, str(file), "--out", str(out), "--key-file", str(key))[0] == 1
    assert not out.exists()
