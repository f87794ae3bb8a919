"""A page over a laboratory of rows, asked as a browser would ask it."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from dashboards.web.app import create_app
from tests.dashboards.web.busy_day import busy_day
from tests.dashboards.web.laboratory import Laboratory, settings_of
from tests.migrated import migrated

SITES = {"site-a": "Europe/London", "site-b": "Asia/Kolkata"}

Ask = Callable[..., httpx.Response]
"""Asks the page for a path and returns its answer."""


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    """A laboratory on SQLite, empty but for its sites."""
    database = migrated(f"sqlite:///{tmp_path / 'coverslip.db'}")
    yield Laboratory(database, SITES)
    database.close()


@pytest.fixture
def app(laboratory: Laboratory, tmp_path: Path) -> FastAPI:
    """The real application."""
    settings = settings_of(tmp_path, str(laboratory.database.url), SITES)
    return create_app(laboratory.database, settings, tmp_path / "pictures")


@pytest.fixture
def ask(app: FastAPI) -> Ask:
    """Ask the application directly, without a socket."""

    def asked(path: str, method: str = "GET", **headers: str) -> httpx.Response:
        async def exchange() -> httpx.Response:
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
                return await client.request(method, path, headers=headers)

        return asyncio.run(exchange())

    return asked


@pytest.fixture
def busy(laboratory: Laboratory) -> dict[str, str]:
    """Fill the laboratory; give the ids of a case, an archived scan, an unmatched and a set-aside one."""
    return busy_day(laboratory, datetime.now(UTC))


@pytest.fixture
def every_page(busy: dict[str, str]) -> list[str]:
    """Return the address of one page of each kind, over a busy day."""
    scans = [f"/scans/{busy[name]}" for name in ("archived", "unmatched", "broken")]
    lists = ["/", "/slides", "/slides?state=set+aside", "/slides?site=site-b", "/cases", "/cases?site=site-a"]
    return [*lists, f"/cases/{busy['case']}", *scans]
