import os
import subprocess
from pathlib import Path

import pytest

from infra.setup.check_lock import faults, wanted
from infra.setup.environment import BUILD_TOOL, LOCK, PROJECT, blocks, counted, trouble

ROOT = Path(__file__).resolve().parents[2]
HASH = "    --hash=sha256:043e0bd78d32888c0a9ca90fc788b38796843360c855a7262a532813133a0650"
SOUND = f"{BUILD_TOOL}==84.0 \\\n{HASH} \\\n{HASH}\nslides==1.0 ; python_full_version < '3.13' \\\n{HASH}\n"


def test_the_lock_of_this_checkout_serves_everyone() -> None:
    assert list(faults(LOCK.read_text(), wanted(PROJECT))) == []


def test_a_lock_is_read_one_block_a_package_hashes_and_all() -> None:
    assert list(blocks(SOUND)) == [BUILD_TOOL, "slides"]
    assert "".join(blocks(SOUND).values()) == SOUND


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://packages.example/simple",
        "--find-links /opt/packages",
        "-i packages.example",
        "slides @ file:///tmp/slides.whl",
        "# from https://packages.example/simple",
    ],
)
def test_a_lock_that_names_an_address_is_refused(line: str) -> None:
    [sentence] = faults(f"{SOUND}{line}\n", set())
    assert line in sentence


def test_a_package_without_a_hash_is_refused() -> None:
    [sentence] = faults(f"{SOUND}stains==2.0\n", set())
    assert sentence.startswith("stains has no hash")


def test_what_is_asked_for_but_not_locked_is_named() -> None:
    [sentence] = faults(SOUND, {"slides", "stains"})
    assert sentence.startswith("stains is asked for but not locked")


def test_every_line_of_pip_reaches_the_log_and_the_screen_sees_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [*(f"Collecting package{n}==1\n" for n in range(8)), "Installing collected packages: …\n"]
    assert list(counted(lines, total=8)) == lines
    assert capsys.readouterr().out.split("\n") == [
        "  2 of 8",
        "  4 of 8",
        "  6 of 8",
        "  8 of 8",
        "  all fetched; unpacking",
        "",
    ]


def test_without_a_suitable_python_one_sentence_says_what_to_do() -> None:
    environment = os.environ | {"PYTHON": "python-that-is-not-here"}
    script = ROOT / "infra/setup/find-python"
    done = subprocess.run([script], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "needs Python 3.11, 3.12, 3.13 or 3.14; tried: python-that-is-not-here" in done.stderr


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        (
            "SSLError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] verify failed')\nERROR: No matching distribution found",
            "PIP_CERT",
        ),
        ("Retrying (Retry(total=0, connect=None))\nERROR: No matching distribution found", "has a network"),
        ("ERROR: No matching distribution found for slides==1.0", "for this Python and processor"),
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "gave other bytes"),
        ("error: something new", "see the lines above"),
    ],
)
def test_why_pip_failed_is_said_in_a_sentence_with_what_to_do(said: str, advice: str) -> None:
    assert advice in trouble(said)


def test_an_unprivileged_user_is_told_the_name_that_this_release_has_for_a_package(tmp_path: Path) -> None:
    answers = {"sudo": "exit 1", "id": "echo 7", "ldconfig": "exit 0", "apt-get": "exit 1"}
    answers["apt-cache"] = 'case "$2" in libturbojpeg) echo "  Candidate: 2.1" ;; esac'
    for name, answer in answers.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = ROOT / "infra/setup/system-packages"
    done = subprocess.run([script, "run"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("Missing system packages: sudo apt-get install libturbojpeg. Without them: no slide")
