import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.slides.simulator import SlideScript, write_slide
from tests.conftest import ON_CI

_SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    """The folder of real slides and labels that lies beside a checkout, where it does."""
    if not _SHARED.is_dir():
        pytest.skip("the folder of real slides is not there")
    return _SHARED


@pytest.fixture(scope="session")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One ordinary slide; copy it before you damage it."""
    path = tmp_path_factory.mktemp("slides") / "ordinary.svs"
    write_slide(path, SlideScript("26H004821-A1-1", seed=1, width=3000, height=2000, scanner_barcode="26H004821-A1-1"))
    return path


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of the simulator: three levels, thumbnail, label and macro."""
    path = tmp_path_factory.mktemp("slides") / "drawn.svs"
    write_slide(path, SlideScript("S26-00017;A;1", width=5000, height=3000))
    return path


@pytest.fixture(scope="session")
def dciodvfy() -> Callable[[Path], list[str]]:
    """Run the DICOM validator on one file and return the errors that it finds."""
    program = shutil.which("dciodvfy")
    if program is None:
        missing = "needs dciodvfy: apt-get install dicom3tools, which `make test` does when it may"
        (pytest.fail if ON_CI else pytest.skip)(missing)

    def errors(path: Path) -> list[str]:
        ran = subprocess.run([program, str(path)], check=False, capture_output=True, text=True)
        said = ran.stderr.splitlines() + ran.stdout.splitlines()
        assert any("VLWholeSlideMicroscopyImage" in line for line in said), "the validator did not know what it read"
        return [line for line in said if line.startswith("Error")]

    return errors
