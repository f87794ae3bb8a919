"""``coverslip config check``: the settings as they are read, where each comes from, and nothing secret."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from connectors.first_lab import write_first_lab
from connectors.settings import load
from dashboards.cli.commands import application
from dashboards.cli.main import main


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_first_lab(tmp_path)
    return tmp_path


def checked(home: Path) -> dict[str, dict[str, Any]]:
    said = CliRunner().invoke(application(), ["--home", str(home), "config", "check", "--json"])
    assert said.exit_code == 0, said.output
    return {one["setting"]: one for one in json.loads(said.output)["settings"]}


def amend(home: Path, before: str, after: str) -> None:
    file = home / "coverslip.toml"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def test_every_setting_says_its_value_and_whether_the_file_says_so(home: Path) -> None:
    amend(home, "# answer_within = 10", "answer_within = 2.5")
    said = checked(home)
    assert (said["lims.lims.answer_within"]["value"], said["lims.lims.answer_within"]["source"]) == (2.5, "file")
    assert (said["sites.site-a.scan_wait"]["value"], said["sites.site-a.scan_wait"]["source"]) == (172_800, "default")
    assert (said["work.archive_upload"]["value"], said["work.archive_upload"]["source"]) == (2, "default")
    assert (said["listeners.lims.port"]["value"], said["listeners.lims.port"]["source"]) == (2575, "file")
    assert (said["kafka"]["value"], said["kafka"]["source"]) == (None, "default")
    assert said["readers.example-one.hours.1.starts"]["value"] == "00:00:00"


def test_two_listeners_of_one_peer_are_told_apart_by_their_numbers(home: Path) -> None:
    with (home / "coverslip.toml").open("a") as file:
        file.write('[[listeners]]\npeer = "lims"\nsite = "site-a"\nissuer = "B"\nport = 2580\n')
    said = checked(home)
    assert (said["listeners.1.port"]["value"], said["listeners.2.port"]["value"]) == (2575, 2580)


def test_no_secret_is_printed(home: Path) -> None:
    key = load(home).installation_key.get_secret_value()
    url = "postgresql+psycopg://keeper:pw-one@127.0.0.1/x?passfile=pw-two&application_name=c"
    amend(home, '# database_url = ""', f'database_url = "{url}"')
    amend(home, "# [telemetry]", '[telemetry]\nendpoint = "http://keeper:pw-three@127.0.0.1:4318"')
    for options in ((), ("--json",)):
        said = CliRunner().invoke(application(), ["--home", str(home), "config", "check", *options])
        assert said.exit_code == 0
        assert [one for one in (key, "pw-one", "pw-two", "pw-three") if one in said.output] == []
        assert "keeper" in said.output
        assert "application_name=c" in said.output


def test_what_is_printed_for_people_marks_defaults_and_says_what_is_not_set(home: Path) -> None:
    said = CliRunner().invoke(application(), ["--home", str(home), "config", "check"]).output
    assert 'sites.site-a.zone = "Europe/London"\n' in said
    assert "sites.site-a.settle_after = 60  # default\n" in said
    assert "listeners.lims.charset = not set  # default\n" in said
    assert 'installation_key = "********"\n' in said


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ('zone = "Europe/London"', 'zone = "Atlantis"', "is no IANA time zone"),
        ('lims = "lims"  ', 'lims = "lmis"  ', "which is not defined"),
        ("port = 2575", "prot = 2575", "is not a setting: check its spelling"),
        ("[page]", "[page", "is no TOML"),
    ],
)
def test_settings_that_a_start_would_refuse_are_refused_with_one_sentence(
    home: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, fault: str
) -> None:
    amend(home, before, after)
    with pytest.raises(SystemExit) as ended:
        main(("--home", str(home), "config", "check"))
    written = capsys.readouterr()
    assert (ended.value.code, written.out) == (1, "")
    assert fault in written.err
    assert str(home / "coverslip.toml") in written.err


@pytest.mark.parametrize("command", ["config check", "up"])
def test_a_certificate_that_can_t_be_used_is_said_before_anything_starts(
    home: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    gone = home / "gone.pem"
    amend(home, "port = 2575", f'port = 2575\ncertificate_file = "{gone}"\nkey_file = "{gone}"')
    with pytest.raises(SystemExit) as ended:
        main(("--home", str(home), *command.split()))
    written = capsys.readouterr()
    assert (ended.value.code, written.out) == (1, "")
    assert f"listeners lims: certificate_file: {gone} can't be read" in written.err


def test_without_a_file_it_says_what_writes_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(("--home", str(tmp_path), "config", "check"))
    assert "is missing: 'coverslip up' writes a first one" in capsys.readouterr().err
