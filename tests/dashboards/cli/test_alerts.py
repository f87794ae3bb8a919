import json
from contextlib import closing
from pathlib import Path

from flows.intake.positions import raise_made_anew
from models.database import database_now
from tests.dashboards.cli.conftest import Run, lab_of
from tests.dashboards.cli.test_people import ANN


def test_what_only_a_person_ends_is_listed_and_ticked_off_by_its_number(run: Run, home: Path) -> None:
    assert run("acknowledge").out == "No alert waits to be ticked off: those that are open end by themselves.\n"
    lab = lab_of(home)
    with closing(lab.database), lab.database.write("anew") as session:
        raise_made_anew(session, lab.ids, "cluster", ["coverslip.scanner"], database_now(session))
    [listed_one] = json.loads(run("acknowledge", "--json").out)
    assert "topic coverslip.scanner of the event log is not the one" in " ".join(run("acknowledge").out.split())
    number = str(listed_one["number"])
    nameless = run("acknowledge", number)
    assert (nameless.code, "say who you are" in nameless.err) == (1, True)

    said = run("acknowledge", number, *ANN)
    assert (said.code, said.out) == (
        0,
        f"alert {number} (topic made anew) is acknowledged; if it happens again, it is raised again.\n",
    )
    again = run("acknowledge", number, *ANN)
    assert (again.code, f"alert {number} is over since" in again.err) == (1, True)
