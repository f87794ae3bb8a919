"""The commands by which pathologists act on reads, as they type them."""

import json
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from models.database import utc_now
from models.tables.case import Case, Identifier
from models.tables.reading import Assignment, Pathologist, Read
from tests.dashboards.cli.conftest import Run, Said, lab_of

WHY = ("--reason", "the surgeon asked for it")
ANN = ("--by", "Ann Manager", *WHY)
NAMES = {"rosa": "Dr Rosa Example", "tom": "Dr Tom Example"}
OTHER = {"rosa": "tom", "tom": "rosa"}
FRIDAY = (utc_now().date() + timedelta(days=4)).isoformat()


@pytest.fixture
def case(home: Path) -> str:
    """The accession number of a case that somebody has."""
    return _assigned(home)[0]


@pytest.fixture
def owner(home: Path) -> str:
    """Who has it."""
    return _assigned(home)[1]


def _assigned(home: Path) -> tuple[str, str]:
    lab = lab_of(home)
    with closing(lab.database), lab.database.read() as session:
        query = (
            select(Identifier.value, Assignment.pathologist_id)
            .join(Case, Case.id == Identifier.subject_id)
            .join(Read, Read.case_id == Case.id)
            .join(Assignment, Assignment.read_id == Read.id)
            .where(Identifier.kind == "accession", Assignment.ended_at.is_(None))
            .order_by(Assignment.id)
        )
        accession, owner = session.execute(query).first() or ("", "")
        return accession, owner


def done(said: Said) -> str:
    assert (said.code, said.err) == (0, "")
    return said.out


def reads(run: Run, who: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(done(run("assign", "reads", who, "--json")))
    return found


def test_what_somebody_has_to_read_is_listed_by_case(run: Run, case: str, owner: str) -> None:
    (listed,) = [one for one in reads(run, owner) if one["accession_number"] == case]
    assert (listed["role"], listed["lane"], listed["opened_at"]) == ("primary", "routine", None)
    shown = done(run("assign", "reads", owner))
    assert case in shown
    assert "routine" in shown
    assert listed["case"][:8] in shown


def test_who_let_a_case_be_read_early_is_said_below_the_list(run: Run, owner: str) -> None:
    early = [one for one in reads(run, owner) if one["read_early"]]
    shown = done(run("assign", "reads", owner))
    assert early
    assert all(f"Case {one['case'][:8]}: {one['read_early']}." in shown for one in early)


def test_the_list_fits_a_terminal(run: Run, owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = done(run("assign", "reads", owner)).splitlines()
    table = [line for line in lines if not line.startswith("Case ") or "Accession" in line]
    assert all(len(line) <= 80 for line in table)
    # One line a read: nothing had to be folded.
    assert len(table) == 1 + len(reads(run, owner))


def test_a_person_is_found_by_a_part_of_the_name_that_only_they_have(run: Run, owner: str) -> None:
    for name in (owner, owner.upper(), NAMES[owner], NAMES[owner][3:7].lower()):
        assert reads(run, name) == reads(run, owner)
    several = run("assign", "reads", "example")
    assert several.code == 1
    assert "say which of rosa (Dr Rosa Example), tom (Dr Tom Example)" in several.err
    nobody = run("assign", "reads", "Smith")
    assert "no pathologist is called so: there are rosa (Dr Rosa Example), tom (Dr Tom Example)" in nobody.err


def test_somebody_who_left_is_meant_only_where_nobody_else_can_be(run: Run, home: Path) -> None:
    lab = lab_of(home)
    with closing(lab.database), lab.database.write("test") as session:
        session.execute(update(Pathologist).where(Pathologist.id == "tom").values(active=False))
    assert reads(run, "example") == reads(run, "rosa")
    assert run("assign", "reads", "tom").code == 0


def test_a_case_is_opened_accepted_and_given_back_in_ones_own_name(run: Run, case: str, owner: str) -> None:
    by = ("--by", NAMES[owner])
    assert ": accepted." in done(run("assign", "accept", case, *by))
    assert ": opened; nobody but a person moves it from now on." in done(run("assign", "open", case, *by))
    assert "accepted already at " in done(run("assign", "accept", case, *by))
    assert "open since " in done(run("assign", "open", case, *by))
    (listed,) = [one for one in reads(run, owner) if one["accession_number"] == case]
    assert listed["opened_at"] is not None
    given_back = done(run("assign", "decline", case, *by, *WHY))
    to = NAMES[OTHER[owner]]
    assert f"given back; {to} has it now; {to} and the LIMS are told." in given_back
    assert case in given_back
    refused = run("assign", "decline", case, *by, *WHY)
    assert refused.code == 1
    assert f"it went to {NAMES[OTHER[owner]]} at " in refused.err


def test_whose_read_it_is_must_be_said_where_by_does_not(run: Run, case: str, owner: str) -> None:
    refused = run("assign", "accept", case, "--by", "Ann Manager")
    assert refused.code == 1
    assert "say with --reader whose read it is" in refused.err
    # A part of a name is enough to name somebody, not to be taken for them.
    assert run("assign", "accept", case, "--by", NAMES[owner][3:5]).code == 1
    assert ": accepted." in done(run("assign", "accept", case, "--by", "Ann Manager", "--reader", owner))


def test_a_case_is_handed_over(run: Run, case: str, owner: str) -> None:
    said = done(run("assign", "hand-over", case, OTHER[owner], "--by", NAMES[owner], *WHY))
    to = NAMES[OTHER[owner]]
    assert f"given to {to}; {to}, {NAMES[owner]} and the LIMS are told" in said
    again = run("assign", "hand-over", case, OTHER[owner], "--by", NAMES[owner], *WHY)
    assert (again.code, again.out) == (1, "")
    assert f"{NAMES[owner]} gave it to {NAMES[OTHER[owner]]} at " in again.err


def test_a_manager_decides_and_lets_go_again(run: Run, case: str, owner: str) -> None:
    other = OTHER[owner]
    acted = json.loads(done(run("assign", "override", case, other, *ANN, "--json")))
    assert acted["what"] == f"given to {NAMES[other]}"
    shown = done(run("assign", "reads", other))
    assert "new, by hand" in shown
    refused = run("assign", "override", case, owner, "--from", owner, *ANN)
    assert f"{NAMES[owner]} does not have it" in refused.err
    assert "may be moved" not in done(run("assign", "override", case, "--release", *ANN))
    for wrong in ((), (other, "--release")):
        assert "say who is to read it, or --release" in run("assign", "override", case, *wrong, *ANN).err


def test_somebody_is_away_and_back(run: Run, case: str, owner: str) -> None:
    assert done(run("assign", "absent")).startswith("Nobody is away: ")
    done(run("assign", "open", case, "--by", NAMES[owner]))
    unopened = len(reads(run, owner)) - 1
    said = done(run("assign", "absent", owner, "--until", FRIDAY, *ANN))
    assert f"{NAMES[owner]} is away until " in said
    moved = "1 read" if unopened == 1 else f"{unopened} reads"
    assert (f": {moved} moved to others, who are told" in said) == (unopened > 0)
    assert "1 read had been opened" in said
    listed = done(run("assign", "absent"))
    assert "(sick): 1 opened" in listed
    (as_json,) = json.loads(done(run("assign", "absent", "--json")))
    assert (as_json["pathologist"], len(as_json["left_open"])) == (owner, 1)
    back = done(run("assign", "back", owner, *ANN))
    assert back == f"{NAMES[owner]} reads again from now on; what others were given stays theirs.\n"
    assert "is not away" in run("assign", "back", owner, *ANN).err


def test_an_absence_needs_a_day_a_name_and_a_reason(run: Run, owner: str) -> None:
    assert "say who is away" in run("assign", "absent", "--until", FRIDAY).err
    assert "--until which day" in run("assign", "absent", owner, *ANN).err
    assert "takes a day, as in" in run("assign", "absent", owner, "--until", "Friday", *ANN).err
    assert "say who you are" in run("assign", "absent", owner, "--until", FRIDAY).err
    assert "say why" in run("assign", "absent", owner, "--until", FRIDAY, "--by", "Ann").err


def test_what_somebody_was_told_is_shown_until_they_have_seen_it(run: Run, case: str, owner: str) -> None:
    done(run("assign", "hand-over", case, OTHER[owner], "--by", NAMES[owner], *WHY))
    told = json.loads(done(run("assign", "notices", owner, "--json")))
    assert told[-1]["kind"] == "taken"
    shown = " ".join(done(run("assign", "notices", owner, "--seen")).split())
    assert told[-1]["sentence"].replace(told[-1]["case"], case) in shown
    assert told[-1]["case"] not in shown
    assert (
        done(run("assign", "notices", owner))
        == f"{NAMES[owner]} was told nothing new: --all shows what was seen before.\n"
    )
    assert len(json.loads(done(run("assign", "notices", owner, "--all", "--json")))) == len(told)


def test_a_case_that_is_not_there_or_is_a_scan_is_refused(run: Run, owner: str) -> None:
    assert "there is no such" in run("assign", "open", "nothing", "--by", NAMES[owner]).err
    scan = json.loads(run("list", "--json").out)[0]["scan"]
    if scan:
        assert "that is a scan: name a case" in run("assign", "open", scan, "--by", NAMES[owner]).err


def test_a_colleague_is_asked_and_answers(run: Run, case: str, owner: str) -> None:
    other = OTHER[owner]
    asked = done(run("assign", "ask", case, "--of", other, "--by", NAMES[owner], "--question", "Spitz naevus?"))
    assert f"asked for an opinion (opinion 1); {NAMES[other]} has it, and is told." in asked
    (opinion,) = [one for one in reads(run, other) if one["role"] == "opinion"]
    assert opinion["accession_number"] == case
    assert "opinion 1" in done(run("assign", "reads", other))
    ambiguous = run("assign", "override", case, owner, *ANN)
    assert "has several open reads: say with --role which of opinion 1, primary" in ambiguous.err
    said = done(run("assign", "answer", case, "--by", NAMES[other], "--answer", "I agree"))
    assert said.endswith(f": opinion 1 is given; {NAMES[owner]} is told.\n")
    done(run("assign", "ask", case, "--of", other, "--by", NAMES[owner], "--question", "And now?"))
    assert "is no longer wanted" in done(run("assign", "call-off", case, "--by", NAMES[owner], *WHY))
    both = run("assign", "ask", case, "--of", other, "--subspecialty", "skin", "--by", "Ann", "--question", "?")
    assert "not both" in both.err


def test_the_case_s_own_read_is_explained_first_and_what_was_called_off_is_not_waited_for(
    run: Run, case: str, owner: str
) -> None:
    done(run("assign", "ask", case, "--by", NAMES[owner], "--question", "Spitz naevus?"))
    assert "Nobody has had it yet: it is being decided." in done(run("assign", "explain", case))
    done(run("assign", "call-off", case, "--by", NAMES[owner], *WHY))
    said = done(run("assign", "explain", case))
    assert said.startswith("Primary read")
    assert "Nobody had it." in said
    assert "is being decided" not in said
