import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from dashboards.web.live import ChangeWatch
from dashboards.web.questions import Front
from tests.dashboards.web.conftest import SITES
from tests.dashboards.web.laboratory import Laboratory, opaque, settings_of
from tests.dashboards.web.serving import Served, serve


@pytest.fixture
def served(app: FastAPI) -> Iterator[Served]:
    with serve(app) as running:
        yield running


class Viewer:
    """One open stream of events, read in a thread."""

    def __init__(self, url: str) -> None:
        self.marks: list[str] = []
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, args=(url,), daemon=True)
        self._thread.start()

    def _listen(self, url: str) -> None:
        try:
            with httpx.stream("GET", f"{url}/events", timeout=30) as answer:
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        self.marks.append(line.removeprefix("data: "))
        except httpx.HTTPError:
            pass
        self.ended.set()


def until(true: Callable[[], bool], seconds: float = 10) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, "did not come true in time"
        time.sleep(0.02)


def test_a_viewer_hears_of_a_change_within_two_seconds_and_only_that_there_is_one(
    served: Served, laboratory: Laboratory
) -> None:
    viewer = Viewer(served.url)
    until(lambda: len(viewer.marks) == 1)
    began = time.monotonic()
    case = laboratory.case("26S0001234")
    until(lambda: len(viewer.marks) == 2)
    assert time.monotonic() - began < 2
    assert viewer.marks[0] != viewer.marks[1]
    page = httpx.get(f"{served.url}/").text
    assert f'data-mark="{viewer.marks[1]}"' in page
    assert case not in "".join(viewer.marks)
    assert all(len(mark) == 16 for mark in viewer.marks)


def test_a_quiet_stream_still_says_something_so_that_silence_means_a_broken_line(laboratory: Laboratory) -> None:
    async def listen() -> list[str]:
        watch = ChangeWatch(laboratory.database, timedelta(seconds=15), sign_of_life=timedelta(seconds=0.2))
        heard: list[str] = []
        async with asyncio.timeout(10):
            async for event in watch.events():
                heard.append(event)
                if len(heard) == 3:
                    watch.close()
        return heard

    first, again, once_more = asyncio.run(listen())
    assert first.startswith("retry: ")
    assert again == once_more


def test_twenty_viewers_cost_no_more_looks_at_the_books_than_one(served: Served) -> None:
    viewers = [Viewer(served.url) for _ in range(20)]
    until(lambda: all(viewer.marks for viewer in viewers))
    looks, began = served.watch.looks, time.monotonic()
    time.sleep(3)
    assert (served.watch.looks - looks) / (time.monotonic() - began) <= 5
    assert not any(viewer.ended.is_set() for viewer in viewers)


def test_nobody_looks_at_the_books_when_nobody_views_them(served: Served) -> None:
    with httpx.stream("GET", f"{served.url}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        next(answer.iter_lines())
    until(lambda: served.watch._viewers == 0)
    time.sleep(1)
    looks = served.watch.looks
    time.sleep(1.5)
    assert served.watch.looks == looks


def test_a_worker_that_dies_without_a_word_is_a_change_that_viewers_hear_of(
    served: Served, laboratory: Laboratory
) -> None:
    # Its heartbeat was fresh for one more second when the page was opened.
    laboratory.worker("Prefect runs and shows the flows", datetime.now(UTC) - timedelta(seconds=13))
    viewer = Viewer(served.url)
    until(lambda: len(set(viewer.marks)) == 2)
    assert "No worker is running since" in httpx.get(f"{served.url}/").text


def test_streams_end_when_the_books_are_away_so_that_pages_say_they_are_not_live(
    served: Served, laboratory: Laboratory, tmp_path: Path
) -> None:
    viewer = Viewer(served.url)
    until(lambda: len(viewer.marks) == 1)
    laboratory.database.close()
    for part in ("", "-wal", "-shm"):
        (tmp_path / f"coverslip.db{part}").unlink(missing_ok=True)
    (tmp_path / "coverslip.db").mkdir()
    until(viewer.ended.is_set)
    assert httpx.get(f"{served.url}/events").status_code == 503


def test_a_server_that_stops_is_not_held_up_by_open_streams(app: FastAPI) -> None:
    with serve(app) as running:
        viewers = [Viewer(running.url) for _ in range(3)]
        until(lambda: all(viewer.marks for viewer in viewers))
        began = time.monotonic()
    assert time.monotonic() - began < 1.9
    until(lambda: all(viewer.ended.is_set() for viewer in viewers))


def test_too_many_viewers_are_told_so(app: FastAPI) -> None:
    app.state.watch._viewers = 200

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return await client.get("/events")

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.text[:24]) == (503, "Too many pages are open:")


def test_one_state_of_the_books_is_counted_once_however_many_look(laboratory: Laboratory, tmp_path: Path) -> None:
    front = Front(settings_of(tmp_path, str(laboratory.database.url), SITES))

    def counted() -> object:
        with laboratory.database.read() as session:
            front.ask(session)
        return front._known

    laboratory.scan("one")
    first = counted()
    assert counted() is first
    laboratory.step("slide_qc", "slide_qc", ("scan", opaque("scan one")))
    assert counted() is not first
