"""The commands by which people ask the laboratory for work."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from models.tables.case import Case, Slide
from tests.dashboards.cli.conftest import Run, lab_of


@pytest.fixture
def glass(home: Path) -> tuple[str, str]:
    """A slide that nobody cancelled, by its name, and its case."""
    lab = lab_of(home)
    with lab.database.read() as session:
        found = session.execute(
            select(Slide.container_identifier, Slide.case_id)
            .join(Case, Case.id == Slide.case_id)
            .where(Slide.cancelled.is_(False), Case.cancelled.is_(False))
            .order_by(Slide.id)
        ).first()
    lab.database.close()
    assert found is not None
    return found[0], found[1]


def test_work_is_asked_for_shown_with_its_case_and_taken_back(run: Run, glass: tuple[str, str]) -> None:
    slide, case = glass
    said = run("order-work", slide, "recut", "--by", "Ann Example", "--because", "the section is folded")
    assert said.code == 0
    assert "asked for: recut" in said.out

    shown = run("show", case)
    assert "recut, not answered yet; asked for by Ann Example: the section is folded" in shown.out
    (work,) = json.loads(run("show", case, "--json").out)["work_orders"]
    assert (work["kind"], work["state"]) == ("recut", "asked")

    back = run("cancel-work", work["number"], "--by", "Ann Example", "--because", "found another")
    assert "tell the LIMS" in back.out
    assert "recut, cancelled" in run("show", case).out


def test_a_case_says_who_allocates_it_and_where_its_report_stands(run: Run, glass: tuple[str, str]) -> None:
    shown = run("show", glass[1]).out

    assert "Allocates  Coverslip" in shown
    assert "Report     none yet" in shown


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("nothing-so", "recut"), "no order has named such a slide"),
        (("SLIDE", "stain"), "say which stain"),
    ],
)
def test_what_can_t_be_asked_for_is_one_sentence(
    run: Run, glass: tuple[str, str], words: tuple[str, ...], why: str
) -> None:
    name = glass[0] if words[0] == "SLIDE" else words[0]
    said = run("order-work", name, words[1], "--by", "Ann Example", "--because", "why not")

    assert (said.code, said.out) == (1, "")
    assert why in said.err
