"""Apache Kafka's own libraries, which Maven fetches once into the checkout's untracked ``.kafka`` folder."""

import fcntl
import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".kafka"
LOG = CACHE / "maven.log"
POM = Path(__file__).with_name("pom.xml")
JAVA_AT_LEAST = 17
FETCH_LIMIT_S = 600


class KafkaNotToBeHadError(Exception):
    """No broker can be started on this machine; the message is one sentence that says what to do."""


def libraries() -> Path:
    """Return the folder of jars that the pom asks for; the first call takes as long as Maven needs to fetch them.

    Raises
    ------
    KafkaNotToBeHadError
        Java or Maven is missing, too old, or can't reach its repository.
    """
    _need_java()
    folder = CACHE / f"libraries-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # two test runs at once: the second waits, then finds it done
        if not folder.is_dir():
            _fetch(folder)
    return folder


def _need_java() -> None:
    try:
        done = subprocess.run(["java", "-version"], capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        message = "Apache Kafka needs Java: apt-get install openjdk-17-jre-headless, which `make test` does when it may"
        raise KafkaNotToBeHadError(message) from error
    version = re.search(r'version "(\d+)', done.stderr)
    if version is None or int(version.group(1)) < JAVA_AT_LEAST:
        message = f"Apache Kafka needs Java {JAVA_AT_LEAST} or newer, and the one on the PATH is older"
        raise KafkaNotToBeHadError(message)


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        message = "Apache Kafka is fetched by Maven: apt-get install maven, which `make test` does when it may"
        raise KafkaNotToBeHadError(message)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        made = Path(name) / "jars"
        goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={made}")
        options = ("--batch-mode", "--quiet", "--strict-checksums", "--file", str(POM))
        if not _run([maven, *options, *goal]):
            message = f"Maven could not fetch Apache Kafka: its last words are in {LOG}"
            raise KafkaNotToBeHadError(message)
        made.rename(folder)


def _run(command: Sequence[str]) -> bool:
    """Run Maven with its words in the log; return whether it did its work in time."""
    with LOG.open("wb") as log:
        try:
            done = subprocess.run(
                command,
                cwd=CACHE,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=FETCH_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0
