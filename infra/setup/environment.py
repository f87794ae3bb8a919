"""Make .venv from requirements.lock, with the standard library of any supported Python.

Every package is installed by hash. Those that come as source are built with the locked build tools, not with whatever
an index has today. Quick when the lock and the project file have not changed since the last time.
"""

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import time
import venv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
LOCK = ROOT / "requirements.lock"
PROJECT = ROOT / "pyproject.toml"
STAMP = ENVIRONMENT / "coverslip-setup.json"
LOG = ENVIRONMENT / "coverslip-setup.log"

# Builds the packages of the lock that come as source; must be there before them.
BUILD_TOOL = "setuptools"
LINES_SHOWN_ON_FAILURE = 15

# What pip writes when it fails, and what that wants of a person. In this order: where the certificate or the network
# fails, pip says at last that there is no such version.
TROUBLES = {
    "No space left on device": "the disk is full: .venv takes about 1 GB, and so does TMPDIR while it is made",
    "DO NOT MATCH THE HASHES": "the package index gave other bytes than are locked: empty its cache, or use another",
    "CERTIFICATE_VERIFY_FAILED": "this machine does not know the certificate that the package index shows: install "
    "ca-certificates, or name your organisation's own with PIP_CERT=/path/to/certificates.pem",
    "Retry(total=0": "the package index can't be reached: see that this machine has a network, or name a proxy with "
    "HTTPS_PROXY=ADDRESS, or an index of your own with PIP_INDEX_URL=ADDRESS",
    "No matching distribution found": "the package index does not have a locked version for this Python and processor",
}


class SetupFailedError(Exception):
    """Pip ended with an error; the message says where its output is."""


def main() -> int:
    """Make or refresh the environment; return the exit code."""
    with PROJECT.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # two `make` at once: the second waits, then finds nothing to do
        try:
            refresh()
        except SetupFailedError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


def refresh() -> None:
    """Bring the environment up to the lock and the project file, doing only what changed."""
    wanted = {"lock": digest(LOCK), "project": digest(PROJECT), "place": str(ROOT)}
    done = stamped()
    if not usable(done):
        print(f"Making a virtual environment in .venv with Python {sys.version.split()[0]}")
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
        done = {}
    if done == wanted:
        print("Set-up is complete: nothing has changed since the last time")
        return
    STAMP.unlink(missing_ok=True)
    LOG.unlink(missing_ok=True)
    if done.get("lock") != wanted["lock"]:
        install_locked()
    print("Installing Coverslip itself, editable")
    pip(["install", "--no-deps", "--no-build-isolation", "--no-index", "--editable", str(ROOT)])
    STAMP.write_text(json.dumps(wanted))
    print("Set-up is complete: .venv/bin/coverslip")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stamped() -> dict[str, str]:
    """Return the digests of the last complete set-up; empty when there was none."""
    try:
        return dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return {}


def usable(done: dict[str, str]) -> bool:
    """Return whether .venv starts, was made where it lies, and has the Python that was asked for by name."""
    if done and done.get("place") != str(ROOT):
        return False  # its commands begin with the path at which it was made
    version = sys.version_info[:2] if os.environ.get("PYTHON") else None
    question = f"import sys, pip; sys.exit({version} not in (None, sys.version_info[:2]))"
    try:
        return subprocess.run([PYTHON, "-c", question], capture_output=True, timeout=60, check=False).returncode == 0
    except OSError:
        return False


def install_locked() -> None:
    """Install every package of the lock: first what builds, then all."""
    started = time.monotonic()
    requirements = blocks(LOCK.read_text())
    tool = ENVIRONMENT / "coverslip-build-tool.lock"
    tool.write_text(requirements[BUILD_TOOL])
    # The lock is complete, so pip need not look for what its packages depend on.
    by_hash = ["install", "--require-hashes", "--no-deps", "--no-build-isolation", "--requirement"]
    print(f"Fetching and installing {len(requirements)} locked packages; the first time takes a few minutes")
    pip([*by_hash, str(tool)])
    pip([*by_hash, str(LOCK)], total=len(requirements))
    print(f"Installed them in {time.monotonic() - started:.0f} s")


def blocks(lock: str) -> dict[str, str]:
    """Return each requirement of a lock with its hashes, by package name."""
    found = re.finditer(r"^([A-Za-z0-9._-]+)==.*(?:\n[ \t].*)*\n?", lock, flags=re.MULTILINE)
    return {block.group(1): block.group() for block in found}


def pip(arguments: Sequence[str], total: int = 0) -> None:
    """Run pip with its words in the log and a count on the screen.

    Raises
    ------
    SetupFailedError
        With pip's last lines and the name of the log.
    """
    command = [str(PYTHON), "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments]
    with (
        LOG.open("a") as log,
        subprocess.Popen(
            [*command, "--progress-bar", "off"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        log.write(f"$ {' '.join(command)}\n")
        for line in counted(process.stdout or (), total):
            log.write(line)
    if process.returncode != 0:
        said = LOG.read_text()
        last = "".join(said.splitlines(keepends=True)[-LINES_SHOWN_ON_FAILURE:])
        message = f"{last}\npip could not install what is locked: {trouble(said)} (all that it said: {LOG})."
        raise SetupFailedError(message)


def trouble(said: str) -> str:
    """Return why pip failed and what to do about it, as far as its words tell."""
    return next((advice for words, advice in TROUBLES.items() if words in said), "see the lines above")


def counted(lines: Iterable[str], total: int) -> Iterator[str]:
    """Pass pip's lines on, showing how many packages it has collected: live on a terminal, else at each quarter."""
    collected, shown = 0, 0
    live = sys.stdout.isatty()
    for line in lines:
        yield line
        if not total:
            continue
        collected += line.startswith(("Collecting ", "Requirement already satisfied: ", "Ignoring "))
        if live:
            print(f"\r  {min(collected, total)} of {total}", end="", flush=True)
        elif collected * 4 // total > shown:
            shown = collected * 4 // total
            print(f"  {min(collected, total)} of {total}", flush=True)
        if line.startswith("Installing collected packages"):
            print("\r  all fetched; unpacking" if live else "  all fetched; unpacking", flush=True)


if __name__ == "__main__":
    sys.exit(main())
