import traceback
from datetime import timedelta
from pathlib import Path

import pytest

from connectors.first_lab import write_first_lab
from connectors.settings import load
from models.errors import RefusedError

SECOND_SITE = '[[sites]]\nid = "site-a"\nname = "Again"\nlims = "lims"\n'


def laboratory(home: Path, said: str, instead: str) -> Path:
    """Write the first laboratory with one text replaced."""
    path = write_first_lab(home)
    text = path.read_text()
    assert said in text
    path.write_text(text.replace(said, instead, 1))
    return path


@pytest.mark.parametrize(
    ("said", "instead", "sentence"),
    [
        ("[[sites]]", "[[sites]", "is no TOML: "),
        ("[page]", "[pages]", "pages: is not a setting: check its spelling"),
        ("stable_for = 5 ", "stable_for = 0 ", "scanners.0.stable_for: Input should be greater than 0 seconds"),
        ("stable_for = 5 ", 'stable_for = "soon" ', "scanners.0.stable_for: Input should be a valid timedelta"),
        ('name = "scanner-a"', 'nmae = "scanner-a"', "scanners.0.name: is missing"),
        ('name = "Site A (invented)"', 'name = ""', "sites.0.name: String should have at least 1 character"),
        ('id = "site-a"', 'id = "Site A!"', "sites.0.id: String should match pattern"),
        (
            'zone = "Europe/London"',
            'zone = "GMT+London"',
            "sites.0.zone: 'GMT+London' is no IANA time zone; for example: Europe/London",
        ),
        ('lims = "lims"', 'lims = "limbs"', "the file: sites.lims names limbs, which is not defined; defined: lims"),
        (
            'peer = "lims"\nsite = "site-a"',
            'peer = "lims"\nsite = "site-b"',
            "the file: listeners.site names site-b, which is not defined; defined: site-a",
        ),
        (
            'name = "Dr One Example"\nsite = "site-a"',
            'name = "Dr One Example"\nsite = "site-z"',
            "the file: readers.site names site-z, which is not defined; defined: site-a",
        ),
        ("[[scanners]]", SECOND_SITE + "[[scanners]]", "the file: sites.id says site-a more than once"),
        ('id = "example-two"', 'id = "example-one"', "the file: readers.id says example-one more than once"),
        (
            'days = ["mon", "tue", "wed", "thu"',
            'days = ["mon", "mon", "tue", "wed", "thu"',
            "the file: readers.hours says example-one on mon at 00:00:00 more than once",
        ),
        (
            'days = ["mon", "tue", "wed", "thu"',
            'days = ["Monday"',
            "readers.0.hours.0.days.0: Input should be 'mon', 'tue'",
        ),
        ("starts = 00:00:00", 'starts = "00:00+01:00"', "readers.0.hours.0.starts: must have no offset"),
        ("starts = 00:00:00", 'starts = "25:00"', "readers.0.hours.0.starts: Input should be in a valid time format"),
        ("points_a_week = 100", "points_a_week = 0", "readers.0.points_a_week: Input should be greater than 0"),
        ("points_a_week = 100", "points_a_week = inf", "readers.0.points_a_week: Input should be a finite number"),
        ('leads = ["breast"', 'leads = ["Head & neck"', "readers.0.leads.0: String should match pattern"),
        (
            "port = 2575",
            'port = 2575\nkey_file = "k.pem"',
            "listeners.0: certificate_file and key_file belong together",
        ),
        (
            "port = 2575",
            'port = 2575\nca_file = "ca.pem"',
            "listeners.0: ca_file can't be used without certificate_file",
        ),
        (
            "port = 2576",
            'port = 2576\ncertificate_name = "x"',
            "lims.0: certificate_name can't be used without ca_file",
        ),
        (
            "port = 2576",
            'port = 2576\ncertificate_file = "c.pem"\nkey_file = "k.pem"',
            "lims.0: ca_file must be set beside certificate_file",
        ),
        (
            'host = "127.0.0.1"\nport = 2575',
            'host = "0.0.0.0"',
            "listeners.0: host 0.0.0.0 is not this machine, and HL7",
        ),
        ('host = "127.0.0.1"\nport = 2576', 'host = "lims.example"', "lims.0: host lims.example is not this machine"),
        ("port = 2575", "port = 65536", "listeners.0.port: Input should be less than or equal to 65535"),
        ("port = 2575", 'port = "HL7"', "listeners.0.port: Input should be a valid integer"),
        (
            '[page]\nhost = "127.0.0.1"',
            '[page]\nhost = "0.0.0.0"',
            "page.host: Input should be '127.0.0.1' or '::1'",
        ),
        (
            'installation_key = "',
            'installation_key = "x',
            "installation_key: must be 32 bytes in hexadecimal, 64 digits",
        ),
        ("installation_key = ", "installation_kee = ", "installation_key: is missing"),
        (
            "# identifier_pattern = '(?P<container>",
            "identifier_pattern = '(?P<number>",
            "sites.0.identifier_pattern: the identifier pattern names no group (?P<container>...)",
        ),
        (
            "# identifier_pattern = '(?P<container>",
            "identifier_pattern = '(?P<container>[0-9]+[A-Z]+[0-9]+)' # '",
            "sites.0.identifier_pattern: the identifier pattern can match in too many ways: write {1,9}",
        ),
        (
            "# identifier_pattern = '(?P<container>",
            "identifier_pattern = '((?P<container>",
            "sites.0.identifier_pattern: the identifier pattern is not a regular expression: missing )",
        ),
        ('# database_url = ""', 'database_url = "oracle://x:hush@y"', "database_url: must be empty, sqlite:///path"),
        ('# database_url = ""', 'database_url = "postgresql+psycopg://x:hush@y:p/z"', "database_url: must be empty"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_sentence_that_names_file_key_and_fault(
    tmp_path: Path, said: str, instead: str, sentence: str
) -> None:
    path = laboratory(tmp_path, said, instead)
    with pytest.raises(RefusedError) as refused:
        load(tmp_path)
    told = str(refused.value)
    assert told.startswith((f"{path}: {sentence}", f"{path} {sentence}"))
    assert "\n" not in told


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ('installation_key = "', 'installation_key = "zz'),
        ("installation_key = ", "installation_kee = "),
        ('# database_url = ""', 'database_url = "oracle://x:hush@y"'),
        ('# database_url = ""', 'database_uri = "postgresql://x:hush@y"'),
    ],
)
def test_a_refusal_never_shows_the_key_or_a_password(tmp_path: Path, said: str, instead: str) -> None:
    key = laboratory(tmp_path, said, instead).read_text().split("installation_ke")[1].split('"')[1]
    with pytest.raises(RefusedError) as refused:
        load(tmp_path)
    told = "".join(traceback.format_exception(refused.value))
    assert key not in told
    assert "hush" not in told


def test_without_a_file_it_is_said_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"coverslip\.toml is missing: 'coverslip up' writes a first one"):
        load(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "coverslip.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RefusedError, match="is no TOML"):
        load(tmp_path)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "coverslip.toml").mkdir()
    with pytest.raises(RefusedError, match="can't be read: Is a directory"):
        load(tmp_path)


def test_durations_are_in_seconds_and_paths_below_the_state_folder(tmp_path: Path) -> None:
    laboratory(tmp_path, "# settle_after = 60 ", "settle_after = 90 ")
    settings = load(tmp_path)
    assert settings.site("site-a").settle_after == timedelta(seconds=90)
    assert settings.resolved(Path("/mnt/slides")) == Path("/mnt/slides")
    assert settings.resolved(Path("archive")) == tmp_path / "archive"
    assert settings.database == f"sqlite:///{tmp_path}/coverslip.db"


def test_what_is_not_set_any_more_is_named(tmp_path: Path) -> None:
    write_first_lab(tmp_path)
    settings = load(tmp_path)
    with pytest.raises(RefusedError, match="site site-b is not in the settings any more"):
        settings.site("site-b")
    with pytest.raises(RefusedError, match="LIMS other is not in the settings any more"):
        settings.peer("other")
