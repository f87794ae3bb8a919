"""A real browser for the tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.browser import chromium


@pytest.fixture(scope="session")
def one_browser() -> Iterator[chromium.Tab]:
    path = chromium.program()
    if path is None:
        pytest.skip("needs a browser: apt-get install chromium")
    with chromium.browser(path) as tab:
        yield tab


@pytest.fixture
def tab(one_browser: chromium.Tab) -> chromium.Tab:
    """A tab that has shown nothing and complained of nothing yet."""
    one_browser.command("Emulation.setScriptExecutionDisabled", value=False)
    one_browser.command("Emulation.setDeviceMetricsOverride", width=1400, height=900, deviceScaleFactor=1, mobile=False)
    one_browser.command("Page.navigate", url="about:blank")
    one_browser.complaints.clear()
    one_browser.requested.clear()
    return one_browser
