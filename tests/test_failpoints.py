"""Every commit and every effect that others can see stands between two places where a test may stop the process."""

from pathlib import Path
from typing import Final

import pytest

from tests.faults.mutants import MUTANTS
from tests.faults.survey import ROOT, Effect, Survey, survey

BETWEEN_OUR_OWN_PROCESSES: Final = "says something to a process of ours, which ends with us"
ALLOWED: Final = {
    ("connectors/slides/fork_server.py", "serve", "self._control.sendall"): BETWEEN_OUR_OWN_PROCESSES,
    ("connectors/slides/fork_server.py", "_reap", "child.status.sendall"): BETWEEN_OUR_OWN_PROCESSES,
}
"""Effects that need no failpoint, each with its reason."""


@pytest.fixture(scope="module")
def code() -> Survey:
    return survey()


def test_no_two_places_share_the_name_of_a_failpoint(code: Survey) -> None:
    shared = {name: [str(place) for place in places] for name, places in code.names.items() if len(places) > 1}

    assert shared == {}


def test_every_failpoint_and_every_write_has_a_name_that_can_be_read_in_the_code(code: Survey) -> None:
    assert [str(place) for place in code.unread] == []


def test_every_outside_effect_has_a_failpoint_before_and_after_it(code: Survey) -> None:
    bare = [one for one in code.bare_effects if _key(one) not in ALLOWED]

    assert [f"{one.place} {one.function}: {one.call}" for one in bare] == []


def test_nothing_is_allowed_that_is_not_there(code: Survey) -> None:
    assert set(ALLOWED) <= {_key(one) for one in code.bare_effects}


def test_the_survey_finds_what_it_looks_for(code: Survey) -> None:
    assert {"inbox.before_commit", "store.after_put", "archive_upload.end_alone.after_commit"} <= set(code.names)
    assert len(code.names) > 60


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("path.rename(other)", "path.rename"),
        ("path.replace(other)", "path.replace"),
        ("os.replace(path, other)", "os.replace"),
        ("os.link(path, other)", "os.link"),
        ("peer.sendall(b'')", "peer.sendall"),
        ("writer.drain()", "writer.drain"),
        ("lab.archive.store(instance, path)", "lab.archive.store"),
        ("lab.senders['lims'].send(payload)", "lab.senders['lims'].send"),
        ("failpoint('a'); path.rename(other)", "path.rename"),
        ("path.rename(other)\n    failpoint('a')", "path.rename"),
        ("failpoint('a')\n    path.rename(other)\n    failpoint('b')", None),
        ("text.replace('a', 'b')", None),
        ("value.replace(tzinfo=None)", None),
    ],
)
def test_an_effect_is_known_by_its_call(tmp_path: Path, body: str, found: str | None) -> None:
    assert [one.call for one in _of(tmp_path, body).bare_effects] == ([found] if found else [])


def test_a_name_that_is_made_up_at_run_time_is_noticed(tmp_path: Path) -> None:
    body = "failpoint(name)\n    self.database.write(f'{name}.end')\n    with books.write('plain'):\n        pass"

    found = _of(tmp_path, body)

    assert [place.line for place in found.unread] == [2, 3, 3]
    assert set(found.names) == {"plain.before_commit", "plain.after_commit"}


def test_all_our_packages_are_read() -> None:
    with_code = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "infra"}

    assert with_code <= {"models", "connectors", "flows", "dashboards"}


def test_every_deliberate_bug_still_fits_the_code_that_it_spoils() -> None:
    changes = [(mutant.name, change) for mutant in MUTANTS for change in mutant.changes]

    assert [name for name, change in changes if not change.fits((ROOT / change.path).read_text("utf-8"))] == []


def _of(root: Path, body: str) -> Survey:
    (root / "connectors").mkdir()
    (root / "connectors" / "one.py").write_text(f"def act():\n    {body}\n", "utf-8")
    return survey(root)


def _key(effect: Effect) -> tuple[str, str, str]:
    return effect.place.path, effect.function, effect.call
