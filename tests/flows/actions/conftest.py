from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from connectors.wiring import Lab
from flows.actions import Desk
from tests.flows.audit.story import breaches
from tests.small_lab import small_lab


@pytest.fixture
def lab(tmp_path: Path, database_url: str) -> Iterator[Lab]:
    """An empty laboratory; at the end of each story its books agree."""
    opened = small_lab(tmp_path, database_url, order_wait=timedelta(hours=1))
    yield opened
    assert breaches(opened) == []
    opened.database.close()


@pytest.fixture
def desk(lab: Lab) -> Desk:
    return Desk(lab.database, lab.settings, lab.ids)
