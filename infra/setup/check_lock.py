"""Check that the lock serves everyone: all that was asked for, each by hash, nothing by address."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from infra.setup.environment import BUILD_TOOL, LOCK, PROJECT, blocks

# An address, or an option such as --index-url: a lock that names a host works only where that host is reached.
ADDRESS = re.compile(r"://|\s@\s|^\s*--?(?!hash=)[a-z]")


def main() -> int:
    """Print what is wrong with the lock; return the exit code."""
    wrong = list(faults(LOCK.read_text(), wanted(PROJECT)))
    for sentence in wrong:
        print(f"{LOCK.name}: {sentence}", file=sys.stderr)
    return 1 if wrong else 0


def wanted(project: Path) -> set[str]:
    """Return the names of the packages that the project file asks for."""
    content = tomllib.loads(project.read_text())
    asked = content["project"]["dependencies"] + content["dependency-groups"]["dev"]
    names = (re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in asked)
    return {normalised(name.group()) for name in names if name}


def normalised(name: str) -> str:
    """Return a package's name as the lock writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def faults(lock: str, asked: set[str]) -> Iterator[str]:
    """Yield a sentence for everything that would make an installation fail or differ elsewhere."""
    requirements = blocks(lock)
    for line in lock.splitlines():
        if ADDRESS.search(line):
            yield f"names an address or an option ({line.strip()}): write it again with `make lock`"
    for name, text in requirements.items():
        if "--hash=sha256:" not in text:
            yield f"{name} has no hash: write the lock again with `make lock`"
    for name in sorted((asked | {BUILD_TOOL}) - set(requirements)):
        yield f"{name} is asked for but not locked: write the lock again with `make lock`"


if __name__ == "__main__":
    sys.exit(main())
