"""How good and how fast assignment is, over several seeds of the shared generator, by the shared scorer.

``python -m tests.benchmarks.assignment`` runs the command on instances of ``../shared/assignment`` and prints what each
answer is worth: J and its gap to the scorer's bound, spread, late points, continuity, and the share of large cases on
part-time desks over that on full-time ones. Seconds (online: p50 and p99, in ms) are the command's own, beside the CPU
time of the whole process. The bound needs scipy: ``--scorer`` names a Python that has it and numpy; without it there
is no gap.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.whole_step import measure
from tests.flows.case_assignment.network import Size

_SHARED = Path(__file__).resolve().parents[3] / "shared" / "assignment"
_COLUMNS = ("seed", "broken", "J", "gap %", "CV %", "max/mean", "late %", "continuity %", "large", "s or ms", "CPU s")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(1, 9)))
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--sites", type=int, default=30)
    parser.add_argument("--sweeps", type=int, default=None)
    parser.add_argument("--online", action="store_true")
    parser.add_argument("--keep-assigned", action="store_true")
    parser.add_argument("--scorer", default=None, metavar="PYTHON")
    parser.add_argument("--step", action="store_true")
    given = parser.parse_args()
    if given.step:
        _measure_step(Size(people=given.people, sites=given.sites, reads=given.cases))
        return
    if not _SHARED.is_dir():
        sys.exit("needs the generator and the scorer in ../shared/assignment, which are not here")
    table = Table(*_COLUMNS)
    gaps = []
    with TemporaryDirectory() as folder:
        for seed in given.seeds:
            row, gap = _measure(given, seed, Path(folder))
            table.add_row(str(seed), *row)
            gaps += [gap] if gap is not None else []
    Console(width=120).print(table)
    if gaps:
        print(f"gap: median {100 * median(gaps):.1f} %, worst {100 * max(gaps):.1f} %")


def _measure_step(size: Size) -> None:
    with TemporaryDirectory() as folder:
        found = measure(Path(folder), size)
    table = Table("a read", "ms by the clock", "ms of a processor")
    for name, cost in (("event", found.event), ("step", found.step), ("bare decision (median)", found.bare)):
        table.add_row(name, f"{cost.wall_ms:.2f}", f"{cost.cpu_ms:.2f}")
    Console(width=120).print(table)
    print(
        f"{found.reads} reads, {size.people} people, {found.candidates:.0f} of whom may have a read. The bare "
        f"decision's p99 is {found.bare_p99_ms:.2f} ms; event and step take {found.ratio:.1f} times its processor time."
    )


def _measure(given: argparse.Namespace, seed: int, folder: Path) -> tuple[list[str], float | None]:
    instance, answer = folder / f"{seed}.json", folder / f"{seed}.csv"
    size = ["--cases", given.cases, "--pathologists", given.people, "--sites", given.sites]
    _run(given.scorer, _SHARED / "generate_instance.py", *size, "--seed", seed, "--out", instance)
    options = ["--online"] * given.online + ["--keep-assigned"] * given.keep_assigned
    options += ["--sweeps", given.sweeps] if given.sweeps is not None else []
    before = _cpu_seconds()
    said = _run(None, "-m", "dashboards.cli.main", "assign", "solve", instance, "--out", answer, *options).stderr
    cpu_seconds = _cpu_seconds() - before
    bound = ["--no-bound"] if given.scorer is None else []
    found = json.loads(_run(given.scorer, _SHARED / "score_assignments.py", instance, answer, *bound).stdout)
    gap = found.get("gap_to_bound")
    return [*_worth(found), " / ".join(map(str, json.loads(said.splitlines()[-1]).values())), f"{cpu_seconds:.2f}"], gap


def _worth(found: dict[str, Any]) -> list[str]:
    spread, share = found["relative_load"], found["large_case_share"]
    gap = found.get("gap_to_bound")
    return [
        str(found["hard_violations"]),
        f"{found['J']:.0f}",
        "" if gap is None else f"{100 * gap:.1f}",
        f"{100 * spread['cv']:.1f}",
        f"{spread['max_over_mean']:.2f}",
        f"{found['late_points_pct']:.2f}",
        f"{found['continuity_pct']:.0f}",
        f"{share['part_time'] / max(1e-9, share['full_time']):.2f}",
    ]


def _run(python: str | None, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python or sys.executable, *map(str, words)], capture_output=True, text=True, timeout=600, check=True
    )


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
