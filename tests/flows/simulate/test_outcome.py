"""What the demonstration makes of the books."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.settings import Settings, load
from connectors.wiring import open_database
from flows.people.sync import sync_people
from flows.simulate.laboratory import free_ports, read_back_path, write_laboratory
from flows.simulate.outcome import NOT_SEEN, look
from flows.simulate.script import CASES
from models.database import Database, database_now
from models.migrate import migrate
from models.tables.books import OutboxMessage
from models.tables.scan import ScanFile


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_laboratory(tmp_path / "demo", free_ports())
    return load(tmp_path / "demo")


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings)
    migrate(opened)
    with opened.write("test") as session:
        sync_people(session, settings)
    yield opened
    opened.close()


def test_before_the_beginning_nothing_is_where_it_ends(settings: Settings, database: Database) -> None:
    with database.read() as session:
        outlook = look(session, settings)
    assert not outlook.is_done
    assert {place.state for place in (*outlook.scans, *outlook.slides)} == {NOT_SEEN}
    assert len(outlook.differences) == len(outlook.scans) + len(outlook.slides) + len(outlook.cases)
    assert "the slide 26A1001-A1-1 should end as 'assigned' and is 'not seen yet'" in outlook.differences


def test_a_file_that_grows_is_the_slide_that_it_will_be(settings: Settings, database: Database) -> None:
    case = CASES[0]
    with database.write("test") as session:
        now = database_now(session)
        session.add(
            ScanFile(
                id="00000000-0000-8000-8000-000000000001",
                site_id=case.site,
                root=f"scanner-{case.site}",
                relative_path=case.slides[1].scans[0].file_name,
                bytes=1,
                modified_ns=1,
                state="arriving",
                first_seen_at=now,
                changed_at=now,
            )
        )
    with database.read() as session:
        outlook = look(session, settings)
    assert [place.state for place in outlook.glass(case)] == [NOT_SEEN, "arriving", NOT_SEEN, NOT_SEEN]
    assert outlook.unscripted == 0


def test_an_event_that_nobody_could_read_back_is_a_difference(tmp_path: Path) -> None:
    write_laboratory(tmp_path / "lab", free_ports(), by_kafka=True)
    settings = load(tmp_path / "lab")
    database = open_database(settings)
    migrate(database)
    written = "00000000-0000-8000-8000-000000000001"
    with database.write("test") as session:
        session.add(
            OutboxMessage(
                id=written,
                peer="kafka",
                event_key="slide.archived:1",
                subject_kind="scan",
                subject_id="00000000-0000-8000-8000-000000000002",
                announcement={},
                message_control_id="X",
                stated_at=database_now(session),
                payload=b"{}",
                state="answered",
            )
        )
    with database.read() as session:
        before = look(session, settings)
    read_back_path(settings.home).parent.mkdir()
    read_back_path(settings.home).write_text(json.dumps({"id": written}) + '\n{"id": "under w')
    with database.read() as session:
        after = look(session, settings)
    database.close()
    assert "1 events count as written that nobody could read from Kafka" in before.differences
    assert after.events is not None
    assert after.events.sentence == "0 events in, 1 out, 1 of them read back"
    assert not any("Kafka" in difference for difference in after.differences)
    assert (before.traffic.told, after.traffic.told) == (0, 0), "it is no message to a LIMS"
