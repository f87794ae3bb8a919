"""How far something long is, on stderr: a bar at a terminal, elsewhere a plain line every ten seconds."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

from rich.console import Console

Told: TypeAlias = Callable[[int, int], None]
"""Takes how much is done, of how much."""

_EVERY_S: Final = 10.0


@contextmanager
def progress(what: str) -> Iterator[Told]:
    """Show how far something is while it is told; a bar is gone at the end, lines stay."""
    stderr = Console(stderr=True)
    if not stderr.is_terminal:
        yield plain_lines(what)
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True) as drawn:
        task = drawn.add_task(what, total=None)
        yield lambda done, of: drawn.update(task, completed=done, total=of)


def plain_lines(what: str, every_s: float = _EVERY_S) -> Told:
    """Return what prints a line now and then; nothing of what is over before the first is due."""
    said_at = time.monotonic()

    def told(done: int, of: int) -> None:
        nonlocal said_at
        if (now := time.monotonic()) - said_at >= every_s:
            said_at = now
            print(f"{what}: {100 * done // max(of, 1)}%", file=sys.stderr, flush=True)

    return told


def added_up(told: Told, of: int) -> Callable[[int], None]:
    """Return what takes how much more is done."""
    done = 0

    def add(more: int) -> None:
        nonlocal done
        done += more
        told(done, of)

    return add
