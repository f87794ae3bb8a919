import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from connectors.wiring import Lab
from dashboards.cli.main import main
from tests.flows.audit.story import lived_in
from tests.small_lab import KEY, PEERS, small_lab


@dataclass(frozen=True)
class Said:
    """What a command did: how it ended, and what it wrote where."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder that was lived in, with its settings."""
    home = tmp_path_factory.mktemp("lived_in")
    lived_in(home, database_of(home)).database.close()
    sites = [f'[[sites]]\nid = "{site}"\nname = "{site.upper()}"\nlims = "{peer}"\n' for site, peer in PEERS.items()]
    lims = [f'[[lims]]\nname = "{peer}"\n' for peer in PEERS.values()]
    listener = '[[listeners]]\npeer = "lims-a"\nsite = "site-a"\nissuer = "NET"\nport = 0\n'
    nobody = "scanners = []\nreaders = []\n"
    text = f'installation_key = "{KEY.hex()}"\n{nobody}' + "".join((*sites, *lims, listener))
    (home / "coverslip.toml").write_text(text)
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    copied = tmp_path / "home"
    shutil.copytree(template, copied)
    return copied


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on the copy."""
    monkeypatch.setenv("COVERSLIP_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "120")

    def command(*arguments: str) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        written = capsys.readouterr()
        return Said(int(ended.value.code or 0), written.out, written.err)

    return command


def database_of(home: Path) -> str:
    return f"sqlite:///{home / 'coverslip.db'}"


def lab_of(home: Path) -> Lab:
    """Open the laboratory of a state folder; close its database afterwards."""
    return small_lab(home, database_of(home))
