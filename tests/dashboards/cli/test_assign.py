import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.case_assignment.plan.invented import Document, answer_of, faults, laboratory


def _coverslip(*words: str, threads: int = 1) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    line = [sys.executable, "-m", "dashboards.cli.main", "assign", "solve", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, env=environment)


@pytest.fixture
def document() -> Document:
    return laboratory(7)


@pytest.fixture
def instance(tmp_path: Path, document: Document) -> Path:
    path = tmp_path / "instance.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(("option", "measured"), [((), ["seconds"]), (("--online",), ["p50_ms", "p99_ms"])])
def test_an_instance_is_solved_and_the_last_line_says_how_long_it_took(
    tmp_path: Path, instance: Path, document: Document, option: tuple[str, ...], measured: list[str]
) -> None:
    out = tmp_path / "answer.csv"

    done = _coverslip(*option, str(instance), "--out", str(out))

    assert (done.returncode, done.stdout) == (0, "")
    assert faults(document, answer_of(out.read_text())) == []
    *_, sentence, last = done.stderr.splitlines()
    assert "reads assigned" in sentence
    assert list(json.loads(last)) == measured


def test_one_thread_or_two_and_another_order_give_the_same_bytes(
    tmp_path: Path, instance: Path, document: Document
) -> None:
    shuffled = tmp_path / "shuffled.json"
    random.Random(3).shuffle(document["cases"])
    shuffled.write_text(json.dumps(document))

    assert _coverslip(str(instance), "--out", str(tmp_path / "a"), threads=1).returncode == 0
    assert _coverslip(str(shuffled), "--out", str(tmp_path / "b"), threads=2).returncode == 0

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"schema": NaN}', "coverslip: the document holds NaN, which is no number: state every number\n"),
        (None, "coverslip: the instance can't be read (No such file or directory): give the JSON document's file\n"),
    ],
)
def test_a_bad_instance_is_one_sentence_and_no_answer(tmp_path: Path, text: str | None, says: str) -> None:
    instance, out = tmp_path / "instance.json", tmp_path / "answer.csv"
    if text is not None:
        instance.write_text(text)

    done = _coverslip(str(instance), "--out", str(out))

    assert (done.returncode, done.stderr, out.exists()) == (1, says, False)


def test_the_command_starts_without_the_engine_and_the_database() -> None:
    line = "import sys; from dashboards.cli.commands import application; application(); import dashboards.cli."
    line += (
        "assign, flows.case_assignment.plan.solve; print([m for m in ('prefect', 'sqlalchemy') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "[]\n"
