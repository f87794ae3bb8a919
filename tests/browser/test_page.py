import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi import FastAPI

from dashboards.web.app import create_app
from tests.browser.chromium import Tab
from tests.dashboards.web.busy_day import busy_day
from tests.dashboards.web.laboratory import Laboratory, settings_of
from tests.dashboards.web.serving import Served, serve
from tests.migrated import migrated

pytestmark = pytest.mark.browser

SITES = {"site-a": "Europe/London", "site-b": "Europe/London", "site-c": "Asia/Kolkata"}
STATUS = "document.getElementById('live').textContent"


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    database = migrated(f"sqlite:///{tmp_path / 'coverslip.db'}")
    yield Laboratory(database, SITES)
    database.close()


@pytest.fixture
def ids(laboratory: Laboratory) -> dict[str, str]:
    return busy_day(laboratory, datetime.now(UTC))


@pytest.fixture
def app(laboratory: Laboratory, tmp_path: Path) -> FastAPI:
    return create_app(
        laboratory.database, settings_of(tmp_path, str(laboratory.database.url), SITES), tmp_path / "pictures"
    )


@pytest.fixture
def served(app: FastAPI, ids: dict[str, str]) -> Iterator[Served]:
    assert len(ids) > 0
    with serve(app) as running:
        yield running


def pages(ids: dict[str, str]) -> list[str]:
    scans = [f"/scans/{ids[name]}" for name in ("archived", "unmatched", "broken")]
    return ["/", "/slides", "/slides?state=set+aside", "/cases", f"/cases/{ids['case']}", *scans]


def test_every_page_becomes_live_without_a_complaint_and_loads_nothing_from_elsewhere(
    tab: Tab, served: Served, ids: dict[str, str], tmp_path: Path
) -> None:
    for name in ("archived", "unmatched", "broken"):
        folder = tmp_path / "pictures" / ids[name]
        folder.mkdir(parents=True)
        for picture in ("thumbnail.jpg", "label.png"):
            shutil.copy(_picture(tmp_path), folder / picture)
    for path in pages(ids):
        tab.open(f"{served.url}{path}")
        tab.until(f"{STATUS} === 'Live'")
    assert tab.complaints == []
    assert [url for url in tab.requested if not url.startswith((served.url, "about:"))] == []


def test_a_change_appears_by_itself_and_moves_neither_the_view_nor_the_keyboard(
    tab: Tab, served: Served, laboratory: Laboratory
) -> None:
    tab.open(f"{served.url}/slides")
    tab.until(f"{STATUS} === 'Live'")
    tab.value("window.untouched = true; window.scrollTo(0, 120); document.querySelectorAll('tbody a')[6].focus()")
    before = tab.value("[document.activeElement.id || document.activeElement.href, window.scrollY]")
    scan = laboratory.scan("just now", at=datetime.now(UTC))
    laboratory.step("slide_qc", "slide_qc", ("scan", scan), at=datetime.now(UTC))
    tab.until(f"document.querySelector('a[href=\"/scans/{scan}\"]') !== null")
    assert tab.value("window.untouched") is True
    assert tab.value("[document.activeElement.id || document.activeElement.href, window.scrollY]") == before
    assert before[1] == 120


def test_what_a_person_has_opened_stays_open(
    tab: Tab, served: Served, laboratory: Laboratory, ids: dict[str, str]
) -> None:
    tab.open(f"{served.url}/scans/{ids['archived']}")
    tab.until(f"{STATUS} === 'Live'")
    tab.value("document.querySelector('summary').click()")
    laboratory.history("scan", ids["archived"], "note", None, "looked at", at=datetime.now(UTC))
    tab.until("document.body.textContent.includes('note: looked at')")
    assert tab.value("document.querySelector('details').open") is True


def test_a_page_that_is_cut_off_says_since_when_and_is_live_again_by_itself(
    tab: Tab, app: FastAPI, ids: dict[str, str], laboratory: Laboratory, tmp_path: Path
) -> None:
    with serve(app) as first:
        tab.open(f"{first.url}/")
        tab.until(f"{STATUS} === 'Live'")
    tab.until(f"{STATUS}.startsWith('Not live since ')")
    said = tab.value(STATUS)
    assert said.endswith("UTC: what you see may be old")
    assert tab.value("document.body.classList.contains('is-stale')") is True
    assert tab.value("document.getElementById('live').getAttribute('role')") == "status"
    again = create_app(laboratory.database, settings_of(tmp_path, str(laboratory.database.url), SITES), tmp_path)
    with serve(again, first.port):
        tab.until(f"{STATUS} === 'Live'", 30)
        assert tab.value("document.body.classList.contains('is-stale')") is False
    assert ids


def test_without_scripts_the_page_still_shows_everything_and_renews_itself(
    tab: Tab, served: Served, ids: dict[str, str]
) -> None:
    tab.command("Emulation.setScriptExecutionDisabled", value=True)
    for path in pages(ids):
        tab.command("Page.navigate", url=f"{served.url}{path}")
        tab.until("document.readyState === 'complete' && document.querySelector('h1') !== null")
        assert tab.value(STATUS) == "Renews itself every 30 seconds"
        assert tab.value("document.querySelector('noscript meta, meta[http-equiv=refresh]').content") == "30"


def test_a_hostile_name_stays_a_text_also_when_the_page_renews_itself(
    tab: Tab, served: Served, laboratory: Laboratory
) -> None:
    hostile = "<img src=x onerror=\"document.title='broken into'\"><script>document.title='broken into'</script>"
    tab.open(f"{served.url}/slides")
    tab.until(f"{STATUS} === 'Live'")
    case = laboratory.case(hostile)
    slide = laboratory.slide(hostile, case)
    laboratory.wait("expect_scan", "intake", ("slide", slide), "the scanner")
    tab.until("document.body.textContent.includes('onerror')")
    assert tab.value("document.title") == "Slides – Coverslip"
    assert tab.value("document.querySelectorAll('main img, main script').length") == 0


def test_a_narrow_window_scrolls_tables_and_not_the_page(tab: Tab, served: Served, ids: dict[str, str]) -> None:
    # WCAG 2.2 1.4.10: 320 pixels are a window of 1280 at 400 %.
    tab.command("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=1, mobile=False)
    for path in pages(ids):
        tab.open(f"{served.url}{path}")
        assert tab.value("document.documentElement.scrollWidth") <= 320, path


def test_everything_can_be_reached_by_keyboard_and_shows_where_it_is(tab: Tab, served: Served) -> None:
    tab.open(f"{served.url}/")
    tab.press("Tab")
    assert tab.value("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(60):
        tab.press("Tab")
        reached.add(tab.value("document.activeElement.getAttribute('href')"))
        outline = tab.value("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or tab.value("document.activeElement === document.body")
    wanted = set(tab.value("[...document.querySelectorAll('a:not(.skip)')].map(a => a.getAttribute('href'))"))
    assert wanted - reached == set()


def _picture(folder: Path) -> Path:
    """The smallest picture that a browser shows: one black pixel, as PNG."""
    path = folder / "pixel.png"
    path.write_bytes(
        bytes.fromhex(
            "89504e470d0a1a0a0000000d4948445200000001000000010806000000 1f15c489".replace(" ", "")
            + "0000000d49444154789c63606060f80f0001040100c5c3a0f50000000049454e44ae426082"
        )
    )
    return path
