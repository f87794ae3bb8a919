"""``coverslip replay --dry-run`` and ``coverslip hl7 edit``: look first, then act, with a name on it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.wiring import Lab
from models.tables.books import InboxMessage
from models.tables.case import Slide
from tests.dashboards.cli.conftest import Run, lab_of
from tests.flows.actions.test_editing import BROKEN, MENDED
from tests.small_lab import message_arrives, run_until_calm

SIGNED = ("--by", "Ann", "--reason", "left out")


@pytest.fixture
def lab(home: Path) -> Iterator[Lab]:
    opened = lab_of(home)
    yield opened
    opened.database.close()


@pytest.fixture
def broken(lab: Lab) -> str:
    kept = message_arrives(lab, BROKEN.replace(b"26B0001", b"26B0777"))
    run_until_calm(lab)
    return kept.inbox_id


def slide(lab: Lab) -> str | None:
    with lab.database.read() as session:
        found = session.query(Slide).filter_by(container_identifier="26B0777-A1-1").one_or_none()
        return found.container_identifier if found else None


def test_a_dry_run_says_why_it_would_be_set_aside_again_and_an_edit_what_it_would_change(
    lab: Lab, run: Run, broken: str
) -> None:
    assert "would be set aside" in run("replay", broken, "--dry-run").out
    seen = run("hl7", "edit", broken[:8], "--set", "SPM-2=26B0777-A1-1", "--dry-run")
    assert seen.code == 0
    assert "SPM-2: nothing → 26B0777-A1-1" in seen.out
    assert "case 26B0777" in seen.out
    assert slide(lab) is None


def test_an_edit_by_values_is_applied_with_a_name_and_listed_no_more(lab: Lab, run: Run, broken: str) -> None:
    assert run("hl7", "edit", broken, "--set", "SPM-2=26B0777-A1-1").code == 1
    done = run("hl7", "edit", broken, "--set", "SPM-2=26B0777-A1-1", *SIGNED, "--json")
    said = json.loads(done.out)
    assert (done.code, said["preview"]["applied"]) == (0, True)
    assert [one["place"] for one in said["differences"]] == ["SPM-2"]
    assert broken not in {one["id"] for one in json.loads(run("replay", "--json").out)}
    run_until_calm(lab)
    assert slide(lab) == "26B0777-A1-1"
    with lab.database.read() as session:
        assert session.get_one(InboxMessage, broken).replaced_by_id is not None


def test_an_edit_by_a_file_wants_exactly_one_message(run: Run, broken: str, tmp_path: Path) -> None:
    file = tmp_path / "mended.hl7"
    file.write_bytes(MENDED.replace(b"26B0001", b"26B0777"))
    assert run("hl7", "edit", broken, "--from", str(file), "--dry-run").code == 0
    file.write_bytes(MENDED * 2)
    refused = run("hl7", "edit", broken, "--from", str(file), *SIGNED)
    assert (refused.code, refused.out) == (1, "")
    assert "exactly one message" in refused.err
    assert run("hl7", "edit", broken, "--from", str(file), "--set", "PID-8=F", *SIGNED).code == 2


def test_nobody_edits_without_a_terminal(run: Run, broken: str) -> None:
    refused = run("hl7", "edit", broken, *SIGNED)
    assert refused.code == 1
    assert "--set" in refused.err


def test_both_messages_are_shown_with_what_was_edited_by_whom_and_why(lab: Lab, run: Run, broken: str) -> None:
    run("hl7", "edit", broken, "--set", "SPM-2=26B0777-A1-1", *SIGNED)
    run_until_calm(lab)
    original = json.loads(run("show", broken, "--json").out)
    assert (original["state"], original["changes"][-1]["actor"]) == ("replaced", "Ann")
    new = json.loads(run("show", original["replaced_by"][:8], "--json").out)
    assert (new["state"], new["stands_for"]) == ("applied", [broken])
    assert new["differs"] == [{"place": "SPM-2", "before": None, "after": "26B0777-A1-1"}]
    assert "case" in {kind for kind, _ in new["subjects"]}
    shown = run("show", new["id"]).out
    assert "left out" in shown
    assert "SPM-2" in shown


def test_the_audit_finds_an_edited_message_that_nothing_stands_for(lab: Lab, run: Run, broken: str) -> None:
    assert run("audit", "books").code == 0
    with lab.database.write("test") as session:
        session.get_one(InboxMessage, broken).replaced_by_id = "nobody"
    found = run("audit", "books")
    assert found.code == 1
    assert broken in found.out + found.err
