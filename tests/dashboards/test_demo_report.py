"""What the demonstration shows while it runs and says at its end."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from connectors.settings import Settings, load
from dashboards.demo_report import Report
from dashboards.demo_screen import LiveScreen, PlainScreen
from flows.simulate.laboratory import free_ports, write_laboratory
from flows.simulate.outcome import Outlook
from flows.simulate.script import CASES
from tests.dashboards.scripted import at_its_end, scan_id

SMUDGED = next(scan for case in CASES for slide in case.slides for scan in slide.scans if scan.shows == "smudged label")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_laboratory(tmp_path / "demo", free_ports())
    return load(tmp_path / "demo")


def report(settings: Settings, outlook: Outlook) -> Report:
    return Report(settings, outlook, 61.4, "the books agree", outlook.differences, "coverslip --home demo")


def printed(report: Report) -> str:
    stream = io.StringIO()
    report.print(Console(file=stream, width=140))
    return stream.getvalue()


def test_at_the_scripts_end_nothing_differs() -> None:
    assert at_its_end().is_done
    assert at_its_end().differences == ()


def test_every_case_and_everything_that_waits_is_named(settings: Settings) -> None:
    text = printed(report(settings, at_its_end()))
    for case in CASES:
        assert case.ends is None or case.accession_number in text
    assert "On a pathologist's worklist" in text
    assert f"http://127.0.0.1:{settings.page.port}" in text
    assert "because [of] the script" in text, "a reason is no markup"
    assert "All 40 slides ended where they should, in 61 seconds." in text


def test_an_unreadable_label_comes_with_the_command_that_matches_it(settings: Settings) -> None:
    action = next(one for one in report(settings, at_its_end()).actions if one.name == SMUDGED.file_name)
    glass = f"{SMUDGED.container_identifier}@ALDER"
    assert action.commands == (f"coverslip --home demo match {scan_id(SMUDGED)[:8]} {glass} --by YOU --reason WHY",)
    assert "label.png" in action.sentence


def test_a_doubtful_scan_comes_with_its_picture_and_the_command_of_a_review(settings: Settings) -> None:
    action = next(one for one in report(settings, at_its_end()).actions if one.name == "26B2002-A1-1.svs")
    assert [command.split()[3::2][:2] for command in action.commands] == [["review", "pass"]]
    assert "thumbnail.jpg" in action.sentence


def test_a_slide_whose_scan_waits_for_somebody_is_not_asked_for_twice(settings: Settings) -> None:
    names = [one.name for one in report(settings, at_its_end()).actions]
    assert SMUDGED.file_name in names
    assert SMUDGED.container_identifier not in names


def test_what_differs_is_said_and_makes_it_fail(settings: Settings) -> None:
    wrong = report(settings, at_its_end("26A1001-A1-1.svs"))
    assert "should end as 'assigned' and is 'received'" in printed(wrong).replace("\n", " ")
    assert "All 40 slides" not in printed(wrong)
    assert wrong.as_json()["ok"] is False
    assert wrong.as_json()["faults"] == list(wrong.faults)


def test_a_log_gets_a_line_now_and_then() -> None:
    stream = io.StringIO()
    screen = PlainScreen(Console(file=stream, width=140))
    for _ in range(3):
        screen.show(at_its_end())
    (line,) = stream.getvalue().splitlines()
    assert "22 assigned" in line
    assert "6 of 12 assigned" in line


def test_a_terminal_sees_every_case_and_gets_its_place_back() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=110, height=40)
    screen = LiveScreen(console, 170)
    try:
        screen.show(at_its_end("26A1001-A1-1.svs"))
    finally:
        screen.close()
        screen.close()
    assert all(case.accession_number in stream.getvalue() for case in CASES)
    assert "\x1b[?25h" in stream.getvalue(), "the cursor is back"
