"""What all commands share: each says what it does, and help waits for nothing."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest
import typer.main
from typer.testing import CliRunner

from dashboards.cli.commands import application

HEAVY: Final = ("alembic", "asyncio", "httpx", "kafka", "numpy", "prefect", "sqlalchemy")
TIMES: Final = ("WHEN", "DAY", "TIME|OFFSET")
"""Of these nobody knows the form without an example."""


def commands(command: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401 - Typer brings its own Click
    yield words, command
    for word, one in getattr(command, "commands", {}).items():
        yield from commands(one, *words, word)


ALL: Final = dict(commands(typer.main.get_command(application())))


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_says_in_one_sentence_what_it_does_and_what_it_takes(words: tuple[str, ...]) -> None:
    command = ALL[words]
    first = " ".join((command.help or "").split("\n\n")[0].split())
    assert re.fullmatch(r"[A-Z].*\.", first), first
    assert ". " not in first, first
    for parameter in command.params:
        assert (parameter.help or "").strip(), parameter.name
        if parameter.metavar in TIMES:
            assert re.search(r"as in [^ ]*\d|such as \d", parameter.help), parameter.name


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_the_help_of_every_command_can_be_read(words: tuple[str, ...]) -> None:
    said = CliRunner().invoke(application(), [*words, "--help"], env={"COLUMNS": "80", "TERM": "dumb"})
    assert (said.exit_code, "Usage: " in said.output) == (0, True)
    assert all(len(line) <= 80 for line in said.output.splitlines())


def test_every_command_that_a_machine_may_read_speaks_json() -> None:
    speechless = {
        words
        for words, command in ALL.items()
        if not hasattr(command, "commands") and not any("--json" in one.opts for one in command.params)
    }
    assert speechless == {
        # They run until they are told to end.
        *(("doors",), ("worker",), ("intake",), ("engine",), ("simulate",), ("hl7", "simulate")),
        # They write files, or make tables, and end with 0.
        *(("migrate",), ("people", "export"), ("hl7", "deidentify"), ("assign", "solve")),
    }


def test_help_and_wrong_usage_wait_for_no_database() -> None:
    program = (
        "import json, sys\nfrom dashboards.cli.main import main\ncodes = []\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    try:\n        main(words)\n    except SystemExit as ended:\n        codes.append(ended.code)\n"
        f"print(json.dumps([codes, sorted({set(HEAVY)!r} & set(sys.modules))]), file=sys.stderr)"
    )
    helps = [[*words, "--help"] for words in ALL]
    typed = [*helps, ["match"], ["policy", "wrong"], ["list", "--nothing"]]
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(typed)], capture_output=True, text=True, timeout=120, check=True
    )
    codes, loaded = json.loads(done.stderr.splitlines()[-1])
    assert codes == [0] * len(helps) + [2, 2, 2]
    assert loaded == []
