import json
import os
import pty
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update

from models.tables.books import History, OutboxMessage
from models.tables.case import Slide
from models.tables.scan import Scan
from models.tables.step import Step
from tests.dashboards.cli.conftest import Run, lab_of
from tests.small_lab import run_until_calm

ANN = ("--by", "Ann Example", "--reason", "looked at the glass")
KEYS = {"scan", "slide", "case", "site", "state", "waiting_for", "since"}


def listed(run: Run, *options: str) -> list[dict[str, Any]]:
    said = run("list", "--json", *options)
    assert (said.code, said.err) == (0, "")
    rows: list[dict[str, Any]] = json.loads(said.out)
    return rows


def scan_at(run: Run, state: str) -> str:
    return str(next(row["scan"] for row in listed(run) if row["state"] == state and row["scan"]))


def work(home: Path) -> None:
    lab = lab_of(home)
    with closing(lab.database):
        run_until_calm(lab)


# ---------------------------------------------------------------- list


def test_the_list_for_machines_has_the_same_seven_keys_in_each_row(run: Run) -> None:
    rows = listed(run)
    assert len(rows) == 15
    assert all(set(row) == KEYS for row in rows)
    assert {row["site"] for row in rows} == {"site-a"}
    assert sorted(rows, key=lambda row: str(row["since"])) == rows


def test_messages_that_nobody_answered_are_listed_with_peer_age_and_tries(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("list", "--messages").out.startswith("Every message that went out was answered: ")
    lab = lab_of(home)
    with closing(lab.database), lab.database.write("test") as session:
        message = session.scalars(select(OutboxMessage).limit(1)).one()
        control_id, message.state, message.tries = message.message_control_id, "pending", 3
        session.execute(update(Step).where(Step.subject_id == message.id).values(state="ready"))
    said = run("list", "--messages", "--json")
    assert (said.code, said.err) == (0, "")
    (one,) = json.loads(said.out)
    assert (one["message_control_id"], one["tries"], one["state"]) == (control_id, 3, "waits its turn")
    assert {"peer", "since", "next_try_at", "problem", "about_id"} <= one.keys()
    shown = run("list", "--messages").out
    assert control_id in shown
    assert "3 times" in shown
    monkeypatch.setenv("COLUMNS", "80")
    _, line = run("list", "--messages").out.splitlines()
    assert control_id in line


def test_only_what_waits_is_listed_on_demand(run: Run) -> None:
    waiting = listed(run, "--waiting")
    assert {row["waiting_for"] for row in waiting} == {"a person", "the LIMS", "the scanner", "a rescan"}
    assert [row for row in listed(run) if row["waiting_for"]] == waiting


def test_a_site_lists_its_own(run: Run) -> None:
    assert listed(run, "--site", "site-b") == []
    assert len(listed(run, "--site", "site-a")) == 15
    assert run("list", "--site", "site-b").out.startswith("No slide is known yet at site site-b: drop one into ")
    assert run("list", "--site", "site-b", "--waiting").out.startswith("Nothing waits at site site-b: ")
    refused = run("list", "--site", "nowhere")
    assert (refused.code, refused.out) == (1, "")
    assert "there are: site-a, site-b" in refused.err


@pytest.mark.parametrize(("columns", "cases"), [("80", False), ("120", True)])
def test_the_list_fits_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch, columns: str, *, cases: bool) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = run("list").out.splitlines()
    assert all(len(line) <= int(columns) for line in lines)
    # One line a row: nothing had to be folded.
    assert len(lines) == 16
    assert ("Case" in lines[0]) is cases
    assert any("26B0001-A1-1@NET" in line and "assigned" in line for line in lines)


def test_what_the_list_shows_of_an_id_is_enough_to_name_it(run: Run) -> None:
    for line in run("list").out.splitlines()[1:]:
        shown = line.split(" ")[0]
        assert not shown or run("show", shown).code == 0


def test_what_a_label_says_does_nothing_to_the_terminal(run: Run, home: Path) -> None:
    lab = lab_of(home)
    with closing(lab.database), lab.database.write("test") as session:
        hostile = "\x1b[2J[red]26B\n1"
        session.execute(
            update(Slide).where(Slide.container_identifier == "26B0001-A1-1").values(container_identifier=hostile)
        )
    said = run("list").out
    assert "\x1b" not in said
    assert "\N{REPLACEMENT CHARACTER}[2J[red]26B\N{REPLACEMENT CHARACTER}1@NET" in said


# ---------------------------------------------------------------- what people do


def test_a_scan_that_waits_for_a_person_is_matched_and_archived(run: Run, home: Path) -> None:
    scan_id = scan_at(run, "waiting for a person")
    said = run("match", scan_id[:8], "26b0002-a1-3", *ANN)
    assert said.code == 0
    assert said.out == (
        f"Scan {scan_id[:8]} (slide 26B0002-A1-3@NET, accession 26B0002): matched; it is converted and archived next.\n"
    )
    work(home)
    row = next(row for row in listed(run) if row["scan"] == scan_id)
    assert (row["state"], row["slide"]) == ("assigned", "26B0002-A1-3@NET")


def test_each_action_answers_machines_with_ids(run: Run) -> None:
    scan_id = scan_at(run, "waiting for a person")
    done = json.loads(run("withdraw", scan_id, "--close", *ANN, "--json").out)
    assert done == {
        "what": "closed",
        "follows": ["it takes no part any more"],
        "scan": scan_id,
        "slide": None,
        "case": None,
    }


def test_a_scan_is_reviewed(run: Run) -> None:
    scan_id = scan_at(run, "waiting for a rescan")
    said = run("review", scan_id, "pass", *ANN)
    assert (said.code, said.err) == (0, "")
    assert said.out.endswith("reviewed: pass; it is converted and archived next.\n")
    again = run("review", scan_id, "pass", *ANN)
    assert (again.code, again.out) == (1, "")
    assert again.err == f"coverslip: scan {scan_id} was judged pass by a person already\n"


@pytest.mark.parametrize("called", ["", "26B0002", "26B0002-A1-2"])
def test_a_case_is_released_by_its_id_its_accession_number_or_a_slide(run: Run, home: Path, called: str) -> None:
    lab = lab_of(home)
    with closing(lab.database), lab.database.read() as session:
        case_id = session.scalars(select(Slide.case_id).where(Slide.container_identifier == "26B0002-A1-1")).one()
    said = run("release", called or case_id[:6], *ANN)
    assert said.out == f"Case {case_id[:8]} (accession 26B0002): released; it is read with 2 of its 3 slides.\n"


def test_a_rerun_shows_what_stands_and_what_is_redone(run: Run, home: Path) -> None:
    scan_id = scan_at(run, "archived")
    said = run("rerun", scan_id, "--from", "convert", *ANN)
    shown = [" ".join(line.split()) for line in said.out.splitlines()]
    assert shown[:3] == [f"Scan {scan_id}", "Stands slide_qc, barcode_matching", "Redone convert, store, prove"]
    assert shown[-1].endswith("runs again from convert.")
    work(home)
    assert next(row for row in listed(run) if row["scan"] == scan_id)["state"] == "archived"


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_on_a_terminal_a_rerun_asks_before_it_acts(run: Run, home: Path, answer: str, code: int) -> None:
    scan_id = scan_at(run, "set aside")
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    command = (sys.executable, "-m", "dashboards.cli.main", "--home", str(home), "rerun", scan_id, *ANN)
    done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=60, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == code, done.stderr
    assert "Do this?" in done.stdout
    lab = lab_of(home)
    with closing(lab.database), lab.database.read() as session:
        scan = session.get_one(Scan, scan_id)
        acted = session.scalars(select(History).where(History.cause == "rerun slide_qc")).all()
    assert (scan.outcome, bool(acted)) == (("active", True) if answer == "y" else ("set aside", False))


def test_a_withdrawn_scan_is_no_longer_its_slides(run: Run, home: Path) -> None:
    scan_id = scan_at(run, "archived")
    said = run("withdraw", scan_id, *ANN)
    assert "hidden in the archive, and the LIMS hears of it; it waits for a person" in said.out
    work(home)
    row = next(row for row in listed(run) if row["scan"] == scan_id)
    assert (row["state"], row["slide"]) == ("waiting for a person", None)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "command",
    [
        ("match", "SCAN", "SLIDE"),
        ("review", "SCAN", "pass"),
        ("release", "CASE"),
        ("rerun", "SCAN"),
        ("withdraw", "SCAN"),
    ],
)
@pytest.mark.parametrize("half", [(), ANN[:2], ANN[2:]])
def test_nobody_acts_without_saying_who_and_why(run: Run, command: tuple[str, ...], half: tuple[str, ...]) -> None:
    said = run(*command, *half)
    assert (said.code, said.out) == (2, "")
    assert "Missing option" in said.err


@pytest.mark.parametrize(
    "command",
    [
        *("match", "review", "release", "rerun", "withdraw", "order-work", "cancel-work", "replay", "acknowledge"),
        *("people import", "policy set", "deadline pause", "deadline resume", "deadline mdt", "kafka replay"),
        *("hl7 edit", "assign open", "assign accept", "assign decline", "assign hand-over", "assign override"),
        *("assign absent", "assign back", "assign ask", "assign answer", "assign call-off", "assign rebalance"),
        "assign cut-off",
    ],
)
def test_a_reason_is_called_the_same_by_every_command(run: Run, command: str) -> None:
    said = run(*command.split(), "--help").out
    assert "--reason" in said
    assert "--because" in said


def test_an_empty_name_is_refused_like_none(run: Run) -> None:
    said = run("review", scan_at(run, "archived"), "rescan", "--by", " ", "--reason", "why")
    assert (said.code, said.err) == (1, "coverslip: say who you are: a name of one line, of 1 to 200 characters\n")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("match", "ffffff", "26B0001-A1-1", *ANN), "there is no such scan"),
        (("match", "STATE:waiting for a person", "26B9999", *ANN), "no order has named such a slide"),
        (("match", "STATE:waiting for a person", "26B0001-A1-1", *ANN), "has a scan already"),
        (("match", "STATE:archived", "26B0002-A1-3", *ANN), "is matched to slide"),
        (("review", "STATE:set aside", "pass", *ANN), "is set aside"),
        (("release", "ffffff", *ANN), "there is no such case"),
        (("rerun", "STATE:archived", *ANN), "every step of scan"),
        (("rerun", "STATE:archived", "--from", "polishing", *ANN), "choose one of slide_qc"),
        (("rerun", "STATE:superseded", *ANN), "was replaced by scan"),
        (("withdraw", "STATE:waiting for a person", *ANN), "with --close"),
        (("show", "ffffff"), "there is no such scan, case or message"),
    ],
)
def test_what_the_state_forbids_is_one_sentence_and_changes_nothing(
    run: Run, command: tuple[str, ...], said: str
) -> None:
    before = listed(run)
    wanted = [scan_at(run, word.removeprefix("STATE:")) if word.startswith("STATE:") else word for word in command]
    refused = run(*wanted)
    assert (refused.code, refused.out) == (1, "")
    assert said in refused.err
    assert refused.err.startswith("coverslip: ")
    assert refused.err.count("\n") == 1
    assert listed(run) == before


def test_without_settings_one_is_told_what_to_do(run: Run, tmp_path: Path) -> None:
    said = run("--home", str(tmp_path / "nowhere"), "list")
    assert (said.code, said.out) == (1, "")
    assert said.err.endswith("coverslip.toml is missing: 'coverslip up' writes a first one\n")


def test_without_a_database_one_is_told_what_to_do_and_none_is_made(run: Run, home: Path) -> None:
    (home / "coverslip.db").unlink()
    said = run("list")
    assert (said.code, said.err) == (
        1,
        f"coverslip: there is no database at {home / 'coverslip.db'} yet: 'coverslip up' makes it\n",
    )
    assert not (home / "coverslip.db").exists()


def test_a_database_of_another_version_is_left_alone(run: Run, home: Path) -> None:
    lab = lab_of(home)
    with closing(lab.database), lab.database.write("test") as session:
        session.execute(text("DELETE FROM alembic_version"))
    said = run("list")
    assert said.code == 1
    assert "'coverslip migrate' brings them there" in said.err


def test_a_database_that_does_not_answer_is_said_in_a_sentence(run: Run, home: Path) -> None:
    settings = home / "coverslip.toml"
    away = 'database_url = "postgresql+psycopg://nobody:secret@127.0.0.1:1/none"\n'
    settings.write_text(away + settings.read_text())
    said = run("list")
    assert (said.code, said.out) == (1, "")
    assert said.err == "coverslip: the database does not answer: see that it runs, and its address in the settings\n"


def test_a_file_that_is_no_database_is_said_in_a_sentence(run: Run, home: Path) -> None:
    for name in ("coverslip.db", "coverslip.db-wal", "coverslip.db-shm"):
        (home / name).unlink(missing_ok=True)
    (home / "coverslip.db").write_bytes(b"this is a text and no database, and long enough to be taken for one" * 50)
    said = run("list")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("coverslip: the database")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("command", ["list", "match", "review", "release", "rerun", "withdraw", "show", "audit", "up"])
def test_every_command_says_what_it_is_for(run: Run, command: str) -> None:
    said = run(command, "--help")
    assert said.code == 0
    assert "Usage:" in said.out
    assert command in run("--help").out
