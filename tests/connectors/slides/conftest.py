from pathlib import Path

import pytest

from connectors.slides.simulator import SlideScript, write_slide

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
