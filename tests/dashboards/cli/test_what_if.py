import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from dashboards.what_if_picture import picture
from flows.case_assignment.what_if.figures import Figures, Load
from tests.dashboards.cli.conftest import Run, Said

MORE = """
[[readers]]
id = "new-reader"
name = "Dr New"
site = "site-a"
points_a_week = 120
leads = ["general", "skin"]
may_read = ["breast"]
hours = [{ days = ["mon", "tue", "wed", "thu", "fri"], starts = 08:00:00, ends = 18:00:00 }]
"""
POLICY = """
[weights]
other_site = 5.0

[targets.turnaround]
days = 3
"""


@pytest.fixture
def what_if(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command on a made-up week, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> Said:
        return run("assign", "what-if", "--generated", "--days", "3", *arguments)

    return command


def test_other_rules_are_shown_beside_todays_as_a_table_and_a_picture(what_if: Run, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(POLICY)
    said = what_if("--policy", "policy.toml")
    assert (said.code, said.err) == (0, "")
    assert "today's rules" in said.out.splitlines()[0]
    assert "changed" in said.out.splitlines()[0]
    for row in ("nine tenths within", "points that missed their deadline", "moves for each hundred", "at another site"):
        assert row in said.out, row
    assert "The picture is in what-if.svg." in said.out
    drawn = ET.fromstring((tmp_path / "what-if.svg").read_text())  # noqa: S314 - what we have just written
    assert len(drawn.findall(".//{http://www.w3.org/2000/svg}polyline")) == 4


def test_rules_that_weigh_other_sites_more_keep_reads_at_home(what_if: Run, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(POLICY)
    found = json.loads(what_if("--policy", "policy.toml", "--json").out)
    today, changed = found["today's rules"], found["changed"]
    assert changed["other_site"] < today["other_site"]
    assert changed["late"] > today["late"]  # three days instead of ten
    assert changed["reads"] == today["reads"]


def test_more_people_report_sooner_and_fewer_later(what_if: Run, tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text(MORE)
    more = json.loads(what_if("--add-pathologist", "more.toml", "--json").out)
    names = [f"reader-{number:02d}" for number in range(1, 10)]
    fewer = json.loads(what_if(*(word for name in names for word in ("--absent", name)), "--json").out)
    within = {how: found["changed"]["turnaround_days"]["p90"] for how, found in (("more", more), ("fewer", fewer))}
    assert within["more"] <= more["today's rules"]["turnaround_days"]["p90"]
    assert within["fewer"] is None or within["fewer"] > more["today's rules"]["turnaround_days"]["p90"]
    assert "new-reader" in {load["pathologist_id"] for load in more["changed"]["loads"]}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "say what is to be different: --policy FILE, --absent NAME or --add-pathologist FILE"),
        (("--absent", "Nobody"), "nobody is called 'Nobody': there are reader-01"),
        (("--policy", "none.toml"), "none.toml can't be read (No such file or directory): give"),
        (("--policy", "bad.toml"), "bad.toml: readers is no rule of the policy"),
        (("--add-pathologist", "bad.toml"), "bad.toml: readers.0.points_a_week: Input should be greater than 0"),
        (("--absent", "reader-01", "--picture", "no/such/folder.svg"), "there is no folder"),
    ],
)
def test_what_can_t_be_tried_is_told_in_one_sentence(
    what_if: Run, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "bad.toml").write_text(MORE.replace("120", "0"))
    said = what_if(*arguments)
    assert said.code == 1
    assert sentence in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_a_laboratory_without_a_history_is_told_what_else_to_try(run: Run) -> None:
    said = run("assign", "what-if", "--absent", "reader-01")
    assert (said.code, "try --generated" in said.err) == (1, True)


def test_names_that_would_be_mark_up_are_only_text_in_a_picture() -> None:
    figures = Figures(1, 0, (1.0,), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, (Load("a", "A", 0.5),))
    drawn = ET.fromstring(picture("<script>&", {"<b>": figures}))  # noqa: S314 - as above
    texts = [one.text for one in drawn.iter() if one.text and one.text.strip()]
    assert "<script>&" in texts
    assert "<b>" in texts


def test_help_names_the_settings_that_more_people_are_written_as(what_if: Run) -> None:
    assert "written as [[readers]] of the settings" in " ".join(what_if("--help").out.split())
