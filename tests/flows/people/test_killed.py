"""An import and a new policy are killed at their commits: all is done, or nothing, and it can be said again."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import select

from flows.actions.peopling import import_people, roster
from flows.actions.ruling import set_policy
from flows.people.policies import policy_versions
from models.policy import Policy
from models.tables.books import History
from tests.flows.people.conftest import ANN, Office
from tests.small_lab import ON_BOTH

ROOT: Final = Path(__file__).resolve().parents[3]
_OFFICE: Final = """
import sys
from pathlib import Path
from flows.actions import Desk
from flows.actions.peopling import import_people
from flows.actions.ruling import set_policy
from models.database import Database
from models.opaque import OpaqueIds
from models.policy import Policy
from tests.flows.people.conftest import ANN, settings_of

home, url = Path(sys.argv[1]), sys.argv[2]
desk = Desk(Database(url), settings_of(home, url), OpaqueIds(bytes(range(32))))
"""
_IMPORTING: Final = _OFFICE + "import_people(desk, Path(sys.argv[3]), ANN)"
_RULING: Final = _OFFICE + "set_policy(desk, Policy(warn_before_hours=2.0), ANN)"
FILES: Final = {
    "networks": "north,The North,ne",
    "sites": "site-a,north,",
    "pathologists": "okafor,Dr Ada Okafor,site-a,,,,,",
    "competences": "okafor,skin,lead,,,2026-01-01,",
}


def _killed(office: Office, program: str, failpoint: str) -> int:
    url = office.desk.database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", program, str(office.folder.parent), url, str(office.folder)]
    environment = os.environ | {"COVERSLIP_FAILPOINT": failpoint}
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=120, check=False).returncode


def _told(office: Office) -> int:
    with office.desk.database.read() as session:
        return len(session.scalars(select(History.id)).all())


@pytest.mark.faults
@ON_BOTH
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_import_that_is_killed_has_brought_in_everything_or_nothing(office: Office, when: str) -> None:
    folder, before = office.files(**FILES), roster(office.desk)
    assert _killed(office, _IMPORTING, f"people.import.{when}_commit") == -signal.SIGKILL
    assert (roster(office.desk) == before) == (when == "before")
    assert (_told(office) == 0) == (when == "before")
    again = import_people(office.desk, folder, ANN)
    assert (again.changes == ()) == (when == "after")
    assert [one.id for one in roster(office.desk).pathologists] == ["okafor"]
    assert import_people(office.desk, folder, ANN).changes == ()


@pytest.mark.faults
@ON_BOTH
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_policy_that_is_set_by_somebody_who_is_killed_is_a_version_once(office: Office, when: str) -> None:
    assert _killed(office, _RULING, f"policy.set.{when}_commit") == -signal.SIGKILL
    ruling = set_policy(office.desk, Policy(warn_before_hours=2.0), ANN)
    assert ruling.is_new == (when == "before")
    with office.desk.database.read() as session:
        assert [one.version for one in policy_versions(session)] == [1]
