"""The doctor says where work waits and nobody is."""

from pathlib import Path

from connectors.first_lab import write_first_lab
from connectors.settings import load
from connectors.wiring import open_database, open_ids
from dashboards.doctor import books
from dashboards.doctor.finding import Installation
from flows.books import Subject, raise_alert
from flows.sweep_places import UNSERVED
from models.database import database_now
from models.migrate import migrate


def test_a_place_without_a_worker_is_missing_until_it_is_cleared(tmp_path: Path) -> None:
    write_first_lab(tmp_path)
    settings = load(tmp_path)
    database = open_database(settings)
    migrate(database)
    assert not [one for one in books.database(Installation(settings)) if one.what == "place"]
    with database.write("unserved") as session:
        subject = Subject("place", open_ids(settings).of("place", "", "far-away"))
        raise_alert(session, subject, UNSERVED, "no worker serves place far-away", database_now(session))
    database.close()

    [found] = [one for one in books.database(Installation(settings)) if one.what == "place"]
    assert (found.level, found.sentence) == ("missing", "no worker serves place far-away")
