"""``coverslip hl7 check``: one line for each message, an exit code, no settings, nothing stored."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.first_lab import write_first_lab
from dashboards.cli.main import main
from tests.connectors.lims.hl7_files import ORDER, framed

KEYS = {
    *("file", "accepted", "ack_code", "type", "version", "charset", "control_id", "segments_in", "segments_kept"),
    *("accession_numbers", "slides", "patient_id", "problems"),
}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(("hl7", *arguments))
    written = capsys.readouterr()
    return int(ended.value.code or 0), written.out, written.err


def test_one_line_of_json_for_each_message_of_each_file_and_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "two.hl7").write_bytes(framed(ORDER, ORDER))
    one = tmp_path / "one.hl7"
    one.write_bytes(ORDER)
    code, out, err = run(capsys, "check", "--json", str(one), str(tmp_path / "below"))
    said = [json.loads(line) for line in out.splitlines()]
    assert (code, err, len(said)) == (0, "", 3)
    assert all(set(line) >= KEYS and line["accepted"] is True for line in said)
    assert [line["file"] for line in said] == [str(one), *[str(tmp_path / "below" / "two.hl7")] * 2]
    assert said[0]["slides"][0]["container_identifier"] == "26B0001-A1-1"


def test_one_message_that_is_refused_ends_it_with_1_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mixed.hl7"
    file.write_bytes(ORDER + ORDER.replace(b"|MSG1|", b"||"))
    code, out, _ = run(capsys, "check", "--json", str(file))
    first, second = map(json.loads, out.splitlines())
    assert (code, first["accepted"], second["accepted"], second["ack_code"]) == (1, True, False, "AE")
    assert [set(problem) for problem in second["problems"]] == [{"severity", "place", "what", "what_to_do"}]
    code, out, _ = run(capsys, "check", str(file))
    assert code == 1
    assert "NOT ACCEPTED" in out
    assert "MSH-10" in out
    assert out.endswith("2 messages: 1 accepted, 1 not.\n")


def test_wrong_usage_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "check")[0] == 2
    assert run(capsys, "check", str(tmp_path / "nothing.hl7"))[0] == 2
    file = tmp_path / "one.hl7"
    file.write_bytes(ORDER)
    assert run(capsys, "check", "--profile", "no-such-profile", str(file))[0] == 2


def test_a_folder_without_a_file_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "below").mkdir()
    code, _, err = run(capsys, "check", str(tmp_path))
    assert code == 2
    assert "there is no file in the folder" in err


@pytest.mark.parametrize(
    "words", [("send", "FILE", "127.0.0.1:1"), ("deidentify", "FILE", "--out", "OUT"), ("explain", "FILE")]
)
def test_a_file_that_is_not_there_or_is_a_folder_is_said_in_one_sentence_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    for file, said in ((tmp_path / "gone.hl7", "no file|can't be read"), (tmp_path, "folder")):
        names = {"FILE": str(file), "OUT": str(tmp_path / "out.hl7")}
        code, out, err = run(capsys, *(names.get(word, word) for word in words))
        assert (code in {1, 2}, out) == (True, "")
        assert re.search(said, err), err
        assert "Traceback" not in err


def test_a_copy_that_can_t_be_written_names_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "one.hl7", tmp_path / "no" / "copy.hl7"
    file.write_bytes(ORDER)
    code, _, err = run(capsys, "deidentify", str(file), "--out", str(out))
    assert (code, "copy.hl7 can't be written: No such file" in err.replace("\n", "")) == (1, True)


def test_a_peer_that_no_listener_has_is_said_with_those_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_first_lab(tmp_path / "home")
    file = tmp_path / "one.hl7"
    file.write_bytes(ORDER)
    with pytest.raises(SystemExit) as ended:
        main(("--home", str(tmp_path / "home"), "hl7", "check", "--peer", "nobody", str(file)))
    assert (ended.value.code, "has the peer nobody; there are: lims" in capsys.readouterr().err) == (1, True)


def test_what_a_terminal_would_act_on_is_not_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "esc.hl7"
    file.write_bytes(ORDER.replace(b"MSG1", b"MSG\x1b[2J1").replace(b"HE^", b"H\x1b]0;E^"))
    _, out, _ = run(capsys, "check", str(file))
    assert "\x1b" not in out


def test_it_starts_without_the_engine_the_database_and_hl7apy_and_reads_what_comes_in() -> None:
    program = (
        "import sys\nfrom dashboards.cli.main import main\n"
        "try:\n    main(['hl7', 'check', '--json', '-'])\nexcept SystemExit as ended:\n    code = ended.code\n"
        "loaded = {'prefect', 'sqlalchemy', 'hl7apy', 'httpx', 'numpy'} & set(sys.modules)\n"
        "sys.exit(code or f'loaded: {loaded}' if loaded else code)"
    )
    done = subprocess.run([sys.executable, "-c", program], input=ORDER, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["file"] == "-"
