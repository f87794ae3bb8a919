"""Deliberate bugs, each of a kind that a laboratory once lost something by; every one must be caught, or the tests lie.

A mutant is our own code with a few lines replaced, run from a copy of the tree. What happens to it, and the words by
which it must be found out, are part of it.
"""

import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.experiment import Bench, dies, pause_outside_of_writes
from tests.faults.lab import FaultLab, laboratory
from tests.faults.oracle import acknowledged_is_kept, breaches
from tests.faults.power_cut import traced_journey
from tests.faults.survey import ROOT
from tests.faults.zygote import Zygote

_QUIET_SECONDS: Final = 45.0


@dataclass(frozen=True)
class Change:
    """One replacement in one file; the old text must be there exactly once, unless nothing is replaced but added."""

    path: str
    old: str
    new: str

    def fits(self, text: str) -> bool:
        """Tell whether a file's text can be changed like this."""
        return not self.old or text.count(self.old) == 1


@dataclass(frozen=True)
class Mutant:
    """A bug, what is done to a laboratory that has it, and what must be said of it then."""

    name: str
    changes: tuple[Change, ...]
    disturb: Callable[[FaultLab], list[str]]
    caught_by: str

    def __str__(self) -> str:
        return self.name

    def carry_out(self, bench: Bench, home: Path) -> list[str]:
        """Return what the tests find wrong with it."""
        tree = home / "tree"
        for package in ("models", "connectors", "flows", "dashboards"):
            shutil.copytree(ROOT / package, tree / package)
        for change in self.changes:
            _apply(tree, change)
        with (
            Zygote(root=tree) as zygote,
            laboratory(bench.template, home / "home", tree, zygote=zygote) as lab,
        ):
            try:
                found = self.disturb(lab)
            except AssertionError as error:
                return [str(error)]
            lab.kill()
            return [*found, *breaches(lab, bench.end)]


def _apply(tree: Path, change: Change) -> None:
    path = tree / change.path
    text = path.read_text("utf-8")
    assert change.fits(text), f"{change.path} does not say this once any more: {change.old!r}"
    path.write_text(text.replace(change.old, change.new) if change.old else text + change.new, "utf-8")


def _message_and_kill(failpoint: str) -> Callable[[FaultLab], list[str]]:
    """Kill the doors while they take a message, start them again, and look at once for what they acknowledged."""

    def disturb(lab: FaultLab) -> list[str]:
        lab.start("doors", failpoint)
        lab.order()
        dies(lab, "doors")
        lab.start("doors")
        lab.wait(lambda: not lab.lims.waits, "the LIMS waits for an answer")
        return list(acknowledged_is_kept(lab))

    return disturb


def _journey_and_kill(process: str, failpoint: str) -> Callable[[FaultLab], list[str]]:
    """Kill a process on the way, start it again, and wait for the end."""

    def disturb(lab: FaultLab) -> list[str]:
        lab.start("worker" if process == "doors" else "doors")
        lab.start(process, failpoint)
        lab.deliver()
        dies(lab, process)
        lab.start(process)
        lab.until_quiet(_QUIET_SECONDS)
        return []

    return disturb


def _pause(lab: FaultLab) -> list[str]:
    """Stop a worker in the middle of a step, have another end it, and let the first one go on."""
    lab.start("doors")
    lab.deliver()
    paused = lab.start("worker")
    running = "SELECT id FROM step WHERE kind = 'slide_qc' AND state = 'running'"
    lab.wait(lambda: lab.rows(running) != [], "no scan is judged")
    pause_outside_of_writes(lab, paused)
    try:
        lab.start("worker")
        lab.until_quiet(_QUIET_SECONDS)
        paused.process.send_signal(signal.SIGCONT)
        paused.process.terminate()
        paused.ended()
    finally:
        paused.process.kill()
    return []


MUTANTS: Final = (
    Mutant(
        "a message is acknowledged before it is kept",
        (
            Change(
                "flows/intake/doors.py",
                "        inbox.keep(arrival, told)\n",
                "        inbox.keep(arrival, lambda kept: None)\n        say(arrival.answer)\n",
            ),
        ),
        _message_and_kill("inbox.before_commit"),
        "was acknowledged and is 0 times in the inbox",
    ),
    Mutant(
        "the same message twice is two messages",
        (
            Change(
                "flows/intake/inbox.py",
                "    digest = arrival.sha256 or hashlib.sha256(arrival.payload).hexdigest()\n",
                "    digest = hashlib.sha256(arrival.payload + now.isoformat().encode()).hexdigest()\n",
            ),
        ),
        _message_and_kill("listener.before_answer"),
        "was acknowledged and is 2 times in the inbox",
    ),
    Mutant(
        "an end does not ask whether the attempt is still its own",
        (
            Change(
                "flows/ledger.py",
                '        _STEP.c.attempt == bindparam("our_attempt"),\n'
                '        _STEP.c.worker_id == bindparam("worker"),\n'
                '        _STEP.c.state == "running",\n'
                "    )\n"
                "    .values(worker_id=None",
                '        bindparam("our_attempt") == bindparam("our_attempt"),\n'
                '        bindparam("worker") == bindparam("worker"),\n'
                "    )\n"
                "    .values(worker_id=None",
            ),
        ),
        _pause,
        "fact: 1 x too many",
    ),
    Mutant(
        "what a dead worker held is never returned",
        (
            Change(
                "flows/sweep.py",
                "    if lost:\n        session.execute(update(Step)",
                "    if not lost:\n        session.execute(update(Step)",
            ),
        ),
        _journey_and_kill("worker", "slide_qc.claim.after_commit:1"),
        "slide_qc is running",
    ),
    Mutant(
        "every try gives an object a new UID",
        (
            Change(
                "models/uid.py",
                'return derive_uid("instance", scan_id, str(edition), role)',
                'return derive_uid("instance", scan_id, str(edition), role, __import__("uuid").uuid4().hex)',
            ),
        ),
        _journey_and_kill("worker", "archive_upload.end.before_commit:1"),
        "instance: 1 x too few",
    ),
    Mutant(
        "the LIMS is told in a transaction of its own",
        (
            Change(
                "flows/sending/announce.py",
                "",
                """

_announce_together = _announce


def _announce(session, settings, case, announced, event_key, about):
    import threading

    from sqlalchemy import event

    def apart():
        with Session(session.get_bind()) as other:
            _announce_together(other, settings, other.get(Case, case.id), announced, event_key, about)
            other.commit()

    event.listen(session, "after_commit", lambda _session: threading.Timer(0.3, apart).start(), once=True)
""",
            ),
        ),
        _journey_and_kill("worker", "case_assignment.end.after_commit:1"),
        "outbox: 1 x too few",
    ),
    Mutant(
        "an assignment is committed before the end of its step",
        (
            Change(
                "flows/case_assignment/giving.py",
                "    assignment_id: int = session.scalars(_GIVE, given).one()\n",
                "    assignment_id: int = session.scalars(_GIVE, given).one()\n    session.commit()\n",
            ),
        ),
        _journey_and_kill("worker", "case_assignment.end.before_commit:1"),
        "outbox: 1 x too few",
    ),
    Mutant(
        "the books mention a file before it has its name",
        (
            Change(
                "connectors/scanners/spool.py",
                'path = self._put_in_place(part, self._scans / name / f"slide{_safe(suffix)}")',
                'part, path = self.later = part, self._scans / name / f"slide{_safe(suffix)}"',
            ),
            Change(
                "connectors/scanners/folder.py",
                "        if state == FileState.ARRIVING:\n            memory.forget(path)\n",
                "        self._spool._put_in_place(*self._spool.later)\n"
                "        if state == FileState.ARRIVING:\n            memory.forget(path)\n",
            ),
        ),
        _journey_and_kill("doors", "scan_file_take.after_commit:1"),
        "waits for a person",
    ),
    Mutant(
        "a message is built anew for every try",
        (
            Change("flows/sending/step.py", "message.payload or _freeze(lab, message)", "_freeze(lab, message)"),
            Change("flows/sending/step.py", "sent_at=message.stated_at,", "sent_at=datetime.now(UTC),"),
            Change(
                "flows/sending/step.py",
                "from datetime import datetime, timedelta\n",
                "from datetime import UTC, datetime, timedelta\n",
            ),
        ),
        _journey_and_kill("worker", "send.after_send:1"),
        "was told in 2 versions",
    ),
    Mutant(
        "a copy gets its name before its bytes are on the disk",
        (Change("connectors/scanners/spool.py", "        os.fsync(copy.fileno())\n", ""),),
        traced_journey,
        "was not on the disk when it got its name",
    ),
)
