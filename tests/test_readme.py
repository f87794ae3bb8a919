"""What the README names is there: commands, options, targets, paths, links, settings and waits."""

import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from connectors.lims.message import Message
from connectors.lims.profile import Profile
from connectors.lims.reading import read
from connectors.settings import Settings
from dashboards.cli.commands import application
from flows.journey import STAGES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROOMS = ("dashboards", "flows", "connectors", "models", "infra", "tests")
CODE = [*re.findall(r"```\n(.*?)```", README, re.DOTALL), *re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", README))]


def section(title: str) -> str:
    """Return what stands below a heading, up to the next of its kind."""
    found = re.search(rf"^(#+) {title}\n(.*?)(?=^#{{1,2}} |\Z)", README, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[2]


def typed() -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield each command of ours that the README types: its words, and its options."""
    for code in CODE:
        for line in re.findall(r"(?:^|[\s/'])coverslip ((?:--home \S+ )?[a-z].*)", code):
            words = re.sub(r"\"[^\"]*\"", "TEXT", line).split()
            words = words[2:] if words[0] == "--home" else words
            command = tuple(
                words[
                    : 2
                    if words[0] in {"assign", "audit", "config", "deadline", "hl7", "kafka", "people", "policy"}
                    else 1
                ]
            )
            yield command, tuple(word for word in words if word.startswith("--"))


def test_every_command_and_option_that_is_typed_exists() -> None:
    commands = dict.fromkeys(typed())
    assert {"up", "doctor", "list", "match", "review", "release", "rerun", "withdraw", "worker", "migrate"} <= {
        words[0] for words, _ in commands
    }
    for words, options in commands:
        plain = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
        said = CliRunner().invoke(application(), [*words, "--help"], env=plain)
        assert said.exit_code == 0, words
        assert [option for option in options if option not in said.output] == [], words


def test_every_target_of_make_exists() -> None:
    targets = {target for code in CODE for target in re.findall(r"\bmake ([a-z][a-z-]*)", code)}
    assert {"demo", "up", "test", "faults", "bench", "setup", "check"} <= targets
    for target in targets:
        done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_every_path_that_is_named_exists() -> None:
    named = {word for code in CODE for word in re.findall(r"[\w.-]+(?:/[\w.-]+)*/?", code)}
    missing = [word for word in named if word.split("/")[0] in ROOMS and "/" in word and not (ROOT / word).exists()]
    assert missing == []


def test_every_link_leads_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    anchors = {f"#{re.sub(r'[^a-z0-9 -]', '', heading.lower()).replace(' ', '-')}" for heading in headings}
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links
    for link in links:
        assert link in anchors or (ROOT / link).exists(), link


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("flows/case_assignment/choice.py", ("SmallestMarginalCost", "costs")),
        ("flows/case_assignment/cost.py", ("def costs",)),
        ("flows/slide_qc/rules.py", ("def judge", "def _focus", "blurred_above")),
        ("flows/slide_qc/focus.py", ("def reblur_ratio",)),
        ("flows/barcode_matching/rules.py", ("def match", "identifiers")),
        ("flows/barcode_matching/identifiers.py", ("def normalised",)),
    ],
)
def test_the_walk_to_each_formula_is_as_it_is_told(file: str, names: tuple[str, ...]) -> None:
    assert f"({file})" in section("How it is built")
    text = (ROOT / file).read_text(encoding="utf-8")
    assert [name for name in names if name not in text] == []


def model_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the settings class that a field holds one or several of."""
    inner: tuple[Any, ...] = (field.annotation, *get_args(field.annotation))
    return next((one for one in inner if isinstance(one, type) and issubclass(one, BaseModel)), None)


def fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        below = model_of(field)
        if below is None:
            yield name, field
        elif name != "hours":
            yield from fields(below)


def test_every_setting_is_told() -> None:
    told = section("Settings")
    missing = [name for name, _ in fields(Settings) if f"`{name}`" not in told and name != "home"]
    assert missing == []


def test_every_wait_that_can_be_set_is_told_with_its_default() -> None:
    lines = re.findall(r"^\| [^|]+ \| `?([a-z_]*)`? \| ([^|]+) \|", section("Waits"), re.MULTILINE)
    waits = {name: field.default for name, field in fields(Settings) if isinstance(field.default, timedelta)}
    assert {name: dict(lines).get(name) for name in waits} == {
        name: f"{default.total_seconds():g} s" for name, default in waits.items()
    }


def test_the_longest_time_of_a_step_is_told() -> None:
    [row] = [line for line in section("Waits").splitlines() if line.startswith("| the end of a step")]
    usual = re.search(r"\| (\d+) s,", row)
    assert usual
    for stage in STAGES:
        said = re.search(rf"`{stage.name}` (\d+) s", row) or usual
        assert stage.deadline.total_seconds() == int(said[1]), stage.name


def test_the_order_that_is_sent_as_an_example_says_what_the_readme_says() -> None:
    raw = (ROOT / "infra" / "examples" / "order.hl7").read_bytes()
    profile = Profile(peer="lims", site="site-a", issuer="SITE-A", zone=ZoneInfo("Europe/London"))
    stated = read(Message(raw), profile)
    assert stated.problems == ()
    assert stated.order is not None
    slides = [f"{slide.container_identifier}@{slide.issuer}" for slide in stated.order.slides]
    assert slides == ["26H000001-A1-1@SITE-A", "26H000001-A1-2@SITE-A"]
    assert all(slide in README for slide in slides)


def test_decisions_are_numbered_and_say_why_what_and_what_follows() -> None:
    records = sorted((ROOT / "infra" / "decisions").glob("*.md"))
    assert [record.name[:4] for record in records] == [f"{number:04}" for number in range(1, len(records) + 1)]
    for record in records:
        text = record.read_text(encoding="utf-8")
        assert text.startswith(f"# {record.name[:4]} "), record.name
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], record.name
        named = re.findall(r"`((?:dashboards|flows|connectors|models|tests)/[\w/.]+)`", text)
        assert [path for path in named if not (ROOT / path).exists()] == [], record.name
