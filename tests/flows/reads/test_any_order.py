"""Whatever a LIMS says of a case, in whatever order and however often: the same reads in the end."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from connectors.wiring import Lab
from flows.journey import CASE_ASSIGNMENT, STAGES, Stage
from models.facets import Images
from tests.flows.looking import books_balance, the_case
from tests.flows.reads.life import Seen, cancelled, credits_of, divided, reader, reading_lab, reads_of
from tests.lims_says import reported
from tests.small_lab import message_arrives, run_until_calm

NAMES = "ABC"
CODES = ("SKIN", "NEURO", "BREAST")
NOBODY_YET = tuple(stage for stage in STAGES if stage.name != CASE_ASSIGNMENT)
POLICY: dict[str, Any] = {"skin": {"split": True, "double": True}, "neuro": {"split": True}, "breast": {"split": True}}


def a_story(chance: Random) -> list[bytes]:
    """Return what a LIMS says of one case: its first specimen, then others, later slides, cancels and reports."""
    kinds = {name: chance.choice(CODES) for name in NAMES}
    said = [divided(("A", kinds["A"]), sent_at="20250101100000+0000", control_id="S0")]
    for number in range(1, chance.randint(3, 6)):
        name, sent_at, control_id = chance.choice(NAMES), f"2025010110{number:02}00+0000", f"S{number}"
        covers = chance.choice(((), (f"26H1-{name}",)))
        report = reported("26H1", chance.choice("FFPC"), *covers, sent_at=sent_at, control_id=control_id)
        orders = divided((name, kinds[name]), sent_at=sent_at, control_id=control_id, slides=chance.randint(1, 3))
        cancel = cancelled(name, sent_at=sent_at, control_id=control_id)
        said.append(chance.choices((orders, report, cancel), (5, 3, 1))[0])
    return said


def told(lab: Lab, story: Sequence[bytes], stages: Sequence[Stage] = STAGES) -> None:
    for one in story:
        message_arrives(lab, one)
        run_until_calm(lab, stages)


def mixed(chance: Random, story: Sequence[bytes]) -> list[bytes]:
    """Return a story out of order, with some of it twice."""
    shuffled = [*story, *story[: len(story) // 2]]
    chance.shuffle(shuffled)
    return shuffled


def reads_after(folder: Path, story: Sequence[bytes]) -> list[list[Seen]] | None:
    """Return the open reads of each round after a story, while nobody is given anything; none of what can't be read."""
    folder.mkdir()
    lab = reading_lab(folder, f"sqlite:///{folder / 'books.db'}", reader("ann", "renal"), **POLICY)
    told(lab, story, NOBODY_YET)
    found = [[read for read in reads_of(lab, number) if read[4]] for number in range(1, 6)]
    can_be_read = the_case(lab).images == Images.READY
    run_until_calm(lab)
    books_balance(lab)
    lab.database.close()
    return found if can_be_read else None


@pytest.mark.parametrize("seed", range(5))
def test_the_same_reads_whatever_comes_first_and_however_often(tmp_path: Path, seed: int) -> None:
    chance = Random(seed)
    story = a_story(chance)
    assert reads_after(tmp_path / "mixed", mixed(chance, story)) == reads_after(tmp_path / "in-order", story)


@pytest.mark.parametrize("seed", range(4))
def test_the_books_balance_and_credits_stand_whoever_is_given_what_in_between(tmp_path: Path, seed: int) -> None:
    chance = Random(100 + seed)
    story = a_story(chance)
    lab = reading_lab(tmp_path, f"sqlite:///{tmp_path / 'books.db'}", **POLICY)
    for one in mixed(chance, story):
        told(lab, (one,))
        books_balance(lab)
    credited = credits_of(lab)
    told(lab, story)
    books_balance(lab)
    assert credits_of(lab) == credited
