"""What a power cut may leave: bytes reach the disk before their name does, the name before the books mention it.

Nobody can cut the power here. So the order of the calls that make things durable is read from a trace of the real
processes, on a whole journey.
"""

import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.lab import SLIDES, FaultLab

NO_TRACER: Final = "needs strace, to see in which order things reach the disk"
_CALLS: Final = "trace=fsync,fdatasync,rename,renameat,renameat2,link,linkat"
_LINE: Final = re.compile(r"(?P<thread>\d+) +(?:(?P<call>\w+)\((?P<told>.*)|<\.\.\. \w+ resumed>(?P<rest>.*))")
_PATH: Final = re.compile(r'<(/[^>]*)>|"(/[^"]*)"')
_OBJECTS_A_SLIDE: Final = 6


@dataclass(frozen=True)
class Call:
    """One call of one thread: what was made durable, or which name was given to what."""

    thread: int
    syncs: str = ""
    source: str = ""
    target: str = ""


@dataclass(frozen=True)
class Named:
    """The giving of a name, with all that was synced before it, and what its own thread synced after it, in order."""

    call: Call
    synced_before: frozenset[str]
    synced_after: list[str]


def traced_journey(lab: FaultLab) -> list[str]:
    """Let a whole journey go by under a tracer; return what a power cut could have lost on its way."""
    strace = shutil.which("strace")
    assert strace is not None, NO_TRACER
    traces = {name: lab.home.parent / f"{name}.trace" for name in ("doors", "worker")}
    for name, trace in traces.items():
        # -D: the tracer is the child, so that our process is the one that is started and ended here.
        lab.start(name, under=(strace, "-D", "-f", "--seccomp-bpf", "-y", "-o", str(trace), "-e", _CALLS))
    lab.deliver()
    lab.until_quiet()
    lab.stop()
    taken = _named_below(_read(traces["doors"]), lab.spool / "scans")
    stored = _named_below(_read(traces["worker"]), lab.archive)
    found = [] if len(taken) == len(SLIDES) else [f"{len(taken)} files were taken"]
    found += [] if len(stored) == len(SLIDES) * _OBJECTS_A_SLIDE else [f"{len(stored)} objects were stored"]
    return [*found, *_lost(taken, "the books"), *_lost(stored, "")]


def _lost(named: list[Named], mentioned_by: str) -> Iterator[str]:
    for one in named:
        if one.call.source not in one.synced_before:
            yield f"{one.call.source} was not on the disk when it got its name"
        if one.synced_after[:1] != [str(Path(one.call.target).parent)]:
            yield f"the name {one.call.target} was not on the disk before anything else was"
        if mentioned_by and not any(path.endswith("-wal") for path in one.synced_after):
            yield f"{mentioned_by} never mentioned {one.call.target}"


def _named_below(calls: list[Call], folder: Path) -> list[Named]:
    """Return each giving of a name below a folder."""
    return [
        Named(
            call,
            frozenset(one.syncs for one in calls[:place]),
            [one.syncs for one in calls[place + 1 :] if one.thread == call.thread and one.syncs],
        )
        for place, call in enumerate(calls)
        if call.target.startswith(f"{folder}/") and not call.target.endswith(".coverslip-archive")
    ]


def _read(trace: Path) -> list[Call]:
    """Read a trace: a sync counts when it is over, a name from when it is asked for."""
    calls: list[Call] = []
    begun: dict[str, list[str]] = defaultdict(list)
    for line in trace.read_text("utf-8").splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        thread, call, told = found["thread"], found["call"] or "", found["told"] or ""
        paths = [one or other for one, other in _PATH.findall(told)]
        if "sync" not in call and call:
            calls.append(Call(int(thread), source=paths[0], target=paths[1]))
        elif told.endswith("<unfinished ...>"):
            begun[thread] = paths
        elif (found["rest"] or told).endswith("= 0") and (paths or begun[thread]):
            calls.append(Call(int(thread), syncs=(paths or begun.pop(thread))[0]))
    return calls
