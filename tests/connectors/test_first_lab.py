import stat
import tomllib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from connectors.first_lab import FirstPorts, describe, write_first_lab
from connectors.lims.profile import Profile
from connectors.settings import load

# The subspecialties that the laboratories of a network share out.
EVERY_SUBSPECIALTY = {
    *("skin", "gi", "gynae", "urology", "breast", "general", "head_neck", "thoracic", "hpb", "haem"),
    *("endocrine", "renal", "neuro", "paediatric", "soft_tissue"),
}
EVERY_DAY = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"}


def key_of(path: Path) -> str:
    return str(tomllib.loads(path.read_text())["installation_key"])


def test_a_first_laboratory_loads_and_is_as_announced(tmp_path: Path) -> None:
    write_first_lab(tmp_path / "var")
    settings = load(tmp_path / "var")

    assert [(site.id, site.zone) for site in settings.sites] == [("site-a", "Europe/London")]
    [scanner] = settings.scanners
    assert settings.resolved(scanner.path) == tmp_path / "var" / "scanners" / "site-a"
    assert settings.resolved(scanner.path).is_dir()
    assert scanner.stable_for == timedelta(seconds=5)
    assert [(one.host, one.port, one.site) for one in settings.listeners] == [("127.0.0.1", 2575, "site-a")]
    assert [(one.host, one.port) for one in settings.lims] == [("127.0.0.1", 2576)]
    assert (settings.page.host, settings.page.port) == ("127.0.0.1", 8080)
    assert (settings.engine.enabled, settings.engine.port) == (True, 4200)
    assert len(settings.readers) == 4


def test_its_four_pathologists_cover_every_subspecialty_so_that_one_may_be_away(tmp_path: Path) -> None:
    write_first_lab(tmp_path)
    readers = load(tmp_path).readers
    stated_by_orders = set(Profile().subspecialties.values())

    assert stated_by_orders <= EVERY_SUBSPECIALTY
    assert {one for reader in readers for one in reader.leads} == EVERY_SUBSPECIALTY
    for away in readers:
        still = {one for reader in readers if reader is not away for one in (*reader.leads, *reader.may_read)}
        assert still == EVERY_SUBSPECIALTY


def test_they_read_every_day_so_that_a_first_try_on_a_sunday_finds_somebody(tmp_path: Path) -> None:
    write_first_lab(tmp_path)
    for reader in load(tmp_path).readers:
        assert {day for hours in reader.hours for day in hours.days} == EVERY_DAY


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = write_first_lab(tmp_path / "var")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700


def test_each_installation_has_a_key_of_its_own(tmp_path: Path) -> None:
    one, other = (key_of(write_first_lab(tmp_path / name)) for name in ("one", "other"))
    assert len(bytes.fromhex(one)) == 32
    assert one != other


def test_a_laboratory_that_is_there_is_never_touched(tmp_path: Path) -> None:
    path = tmp_path / "coverslip.toml"
    path.write_text("# mine")
    assert write_first_lab(tmp_path) == path
    assert path.read_text() == "# mine"
    assert list(tmp_path.iterdir()) == [path]


def test_processes_that_start_together_agree_on_one_laboratory(tmp_path: Path) -> None:
    def start(_: int) -> str:
        return key_of(write_first_lab(tmp_path))

    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(start, range(8)))
    assert len(keys) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coverslip.toml", "scanners"]


def test_other_ports_are_written_where_they_belong(tmp_path: Path) -> None:
    write_first_lab(tmp_path, FirstPorts(mllp=1, page=2, lims=3, engine=4))
    settings = load(tmp_path)
    ports = (settings.listeners[0].port, settings.page.port, settings.lims[0].port, settings.engine.port)
    assert ports == (1, 2, 3, 4)


def test_what_a_comment_says_holds_when_nothing_is_said_does_hold(tmp_path: Path) -> None:
    path = write_first_lab(tmp_path)
    before = load(tmp_path)
    lines = path.read_text().splitlines()
    assert sum(map(is_setting, lines)) >= 10
    path.write_text("\n".join(line.removeprefix("# ") if is_setting(line) else line for line in lines))
    assert load(tmp_path) == before


def is_setting(line: str) -> bool:
    """Return whether a comment shows a default; the suffix of a marker file is an example."""
    text = line.removeprefix("# ")
    shown = text in ("[work]", "[telemetry]") or " = " in text
    return shown and text != line and not text.startswith((" ", "done_suffix"))


def test_everything_is_told_but_no_secret(tmp_path: Path) -> None:
    path = write_first_lab(tmp_path)
    text = path.read_text()
    path.write_text(text.replace('# database_url = ""', 'database_url = "postgresql+psycopg://lab:hidden@db/lab"'))
    told = "\n".join(f"{what}: {how}" for what, how in describe(load(tmp_path)))

    for expected in (
        "postgresql+psycopg://lab:***@db/lab",
        "site: site-a: Site A (invented), Europe/London",
        f"scanner folder: {tmp_path}/scanners/site-a (scanner-a at site-a)",
        "HL7 in (MLLP): 127.0.0.1:2575 from lims for site-a",
        "LIMS that is told: lims at 127.0.0.1:2576",
        "page: http://127.0.0.1:8080",
        "Prefect: http://127.0.0.1:4200",
        "pathologist: example-four: Dr Four Example at site-a, 60 points a week; leads urology, renal, thoracic, ",
        "neuro; may read gi, hpb, haem, general; mon tue wed thu fri sat sun 00:00 to 00:00",
    ):
        assert expected in told
    assert key_of(path) not in told
    assert "hidden" not in told
