import logging
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import delete

from connectors.settings_kafka import Gateway, Kafka
from dashboards.web.app import create_app
from dashboards.web.health import DOORS_NEED, readiness
from models.database import Database, utc_now
from models.tables.intake import Consumer
from tests.dashboards.web.conftest import SITES, Ask
from tests.dashboards.web.laboratory import Laboratory, opaque, settings_of

EXPECTED = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def test_every_answer_carries_the_same_protection(every_page: list[str], ask: Ask) -> None:
    for path in (*every_page, "/nothing", "/static/coverslip.css", "/livez", "/readyz", "/cases/nonsense"):
        headers = ask(path).headers
        assert {name: headers[name] for name in EXPECTED} == EXPECTED, path
        assert "set-cookie" not in headers


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "[::1]"])
def test_the_page_answers_to_the_names_of_this_machine(host: str, ask: Ask) -> None:
    assert ask("/livez", Host=host).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "10.0.0.1", "", "[::2]"]
)
def test_a_foreign_name_that_leads_here_is_not_answered(host: str, ask: Ask) -> None:
    answer = ask("/", Host=host)
    assert answer.status_code == 421
    assert "Coverslip" not in answer.text


def test_the_page_only_shows(every_page: list[str], ask: Ask) -> None:
    for path in every_page:
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
            assert ask(path, method).status_code == 405, path


def test_no_route_changes_anything_and_none_describes_the_others(app: FastAPI, ask: Ask) -> None:
    methods = {method for route in app.routes for method in getattr(route, "methods", None) or ()}
    assert methods == {"GET"}
    assert [ask(path).status_code for path in ("/docs", "/redoc", "/openapi.json")] == [404, 404, 404]


def test_a_fault_of_ours_is_a_number_to_report_and_its_words_are_told_to_nobody(
    app: FastAPI, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    patient = "SMITH^JANE"

    @app.get("/fault")
    def fault() -> str:
        raise ValueError(patient)

    with caplog.at_level(logging.ERROR):
        answer = ask("/fault")
    assert answer.status_code == 500
    assert "Slides are safe. Report it with the number" in answer.text
    number = answer.text.partition("the number ")[2][:8]
    assert number in caplog.text
    assert "ValueError" in caplog.text
    assert patient not in answer.text + caplog.text
    assert {name: answer.headers[name] for name in EXPECTED} == EXPECTED


@pytest.fixture
def lost(tmp_path: Path) -> FastAPI:
    """The application over a database whose file can't be opened any more."""
    folder = tmp_path / "gone"
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'coverslip.db'}")
    shutil.rmtree(folder)
    return create_app(database, settings_of(tmp_path, str(database.url), SITES), tmp_path)


class TestWithoutItsBooks:
    @pytest.fixture
    def app(self, lost: FastAPI) -> FastAPI:
        return lost

    def test_a_page_says_that_slides_are_safe(self, ask: Ask) -> None:
        answer = ask("/")
        assert answer.status_code == 503
        assert "The books can&#39;t be read just now. Slides are safe and go on" in answer.text

    def test_the_process_is_alive_but_not_ready(self, ask: Ask) -> None:
        assert (ask("/livez").status_code, ask("/livez").text) == (200, "alive")
        answer = ask("/readyz")
        assert answer.status_code == 503
        assert answer.json()["database"] == "does not answer: see that it runs and that its disk has room"

    def test_no_stream_of_events_is_promised(self, ask: Ask) -> None:
        assert ask("/events").status_code == 503


def test_the_framework_tells_nothing_of_its_own(app: FastAPI) -> None:
    assert not any(value for value in app._telemetry.values() if isinstance(value, bool))


def test_an_archive_that_is_away_makes_nobody_unready(ask: Ask, tmp_path: Path) -> None:
    assert not (tmp_path / "archive").exists()
    assert ask("/readyz").json() == {"ready": True, "database": "answers", "spool": "has room"}


def test_a_full_spool_is_not_ready(laboratory: Laboratory, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, str(laboratory.database.url), SITES)
    full = settings.model_copy(update={"work": settings.work.model_copy(update={"spool_reserve_bytes": 1 << 60})})
    ready, said = readiness(laboratory.database, full)
    assert not ready
    assert said["spool"].endswith("make room on its disk")


def test_kafka_that_nobody_reads_for_a_minute_is_not_ready_and_the_doors_are_open_all_the_same(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path, str(laboratory.database.url), SITES)
    reads = settings.model_copy(update={"kafka": Kafka(bootstrap=("localhost:9092",))})
    gateway = reads.model_copy(update={"gateway": Gateway()})
    never = "Nobody has read the event log yet: 'coverslip up' or 'coverslip intake' does"
    assert readiness(laboratory.database, reads) == (False, {**DOORS_NEED, "kafka": never})
    for silent, away, ready, says in (
        (0, None, True, "is read"),
        (50, None, True, "is read"),
        (120, None, False, "Nobody reads the event log since"),
        (0, 20, True, "is read"),
        (0, 70, False, "The event log can't be read since"),
    ):
        now = utc_now()
        seen_at = now - timedelta(seconds=silent)
        away_since = None if away is None else now - timedelta(seconds=away)
        with laboratory.database.write("beat") as session:
            session.execute(delete(Consumer))
            beat = {
                "started_at": seen_at,
                "heartbeat_at": seen_at,
                "away_since": away_since,
                "away_because": "it is down",
            }
            session.add(Consumer(id=opaque("reader"), host="here", pid=1, partitions=3, lag=0, **beat))
        is_ready, said = readiness(laboratory.database, reads)
        assert (is_ready, said["kafka"].startswith(says)) == (ready, True), said
        assert DOORS_NEED.items() <= said.items()
    assert readiness(laboratory.database, gateway) == (True, DOORS_NEED)
    assert readiness(laboratory.database, settings) == (True, DOORS_NEED)
