"""Kill -9 where an undisturbed journey does not pass: at set-up, at a person's command, at an end, in trouble."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from pydicom import dcmread

from connectors.settings import load
from tests.faults.conftest import Experiments
from tests.faults.experiment import Bench, InTurn, Plan, dies, killed_in_turn
from tests.faults.lab import SLIDES, FaultLab, foreign_order, laboratory, merge
from tests.faults.oracle import audited, breaches, differences, end_of

pytestmark = pytest.mark.faults

_BY: Final = ("--by", "A Tester", "--reason", "a test of what survives")
_PLACES: Final = ("site", "pool", "pathologist", "competence", "reading_session", "slot", "alembic_version")


@dataclass(frozen=True)
class AtSetUp:
    """Set-up is killed and begun again: it ends as if it had gone through at once."""

    failpoint: str

    def __str__(self) -> str:
        return self.failpoint

    def carry_out(self, bench: Bench, home: Path) -> list[str]:
        """Compare with a set-up that nobody killed."""
        with laboratory(bench.template, home, zygote=bench.zygote) as lab:
            for path in (*home.glob("coverslip.db*"), home / "archive" / ".coverslip-archive"):
                path.unlink()
            found = [] if lab.command("migrate", failpoint=self.failpoint) == -9 else ["set-up was not killed"]
            found += [] if lab.command("migrate") == 0 else [f"a second set-up failed:\n{_said(lab)}"]
            for table in _PLACES:
                rows = lab.rows(f'SELECT * FROM "{table}"')  # noqa: S608 - names of our own
                with FaultLab(bench.template, lab.lims, {}).books() as books:
                    wanted = books.execute(f'SELECT * FROM "{table}"').fetchall()  # noqa: S608 - as above
                # A competence is valid from the day on which it was set up.
                found += [] if len(rows) == len(wanted) else [f"{table} has {len(rows)} rows, not {len(wanted)}"]
            return [*found, *breaches(lab)]


@dataclass(frozen=True)
class AtFirstStart:
    """The very first start is killed: the next one finds a whole file of settings or none, and leaves only that."""

    failpoint: str

    def __str__(self) -> str:
        return self.failpoint

    def carry_out(self, bench: Bench, home: Path) -> list[str]:
        """Begin in a folder where nothing is."""
        home.mkdir()
        lab = FaultLab(home, bench.lims, {}, zygote=bench.zygote)
        found = [] if lab.command("migrate", failpoint=self.failpoint) == -9 else ["the first start was not killed"]
        keys = {path: path.read_text("utf-8") for path in home.glob("coverslip.toml")}
        found += [] if lab.command("migrate") == 0 else [f"a second start failed:\n{_said(lab)}"]
        found += [f"{path.name} was written anew" for path, text in keys.items() if path.read_text("utf-8") != text]
        load(home)
        return [*found, *(f"{path.name} is left in the state folder" for path in home.glob(".*"))]


@dataclass(frozen=True)
class OnCommand:
    """A person's command is killed: before its commit it did nothing and can be given again, after it all is done."""

    failpoint: str

    def __str__(self) -> str:
        return self.failpoint

    def carry_out(self, bench: Bench, home: Path) -> list[str]:
        """Compare with the same command in a laboratory like this one, where nobody killed it."""
        with laboratory(bench.asking, home / "whole", zygote=bench.zygote) as whole:
            before = end_of(whole)
            command = _COMMANDS[self.failpoint.split(".")[-2]](whole)
            status = whole.command(*command, *_BY)
            found = [] if status == 0 else [f"the command ended with {status}:\n{_said(whole)}"]
            after = end_of(whole)
        with laboratory(bench.asking, home / "killed", zygote=bench.zygote) as lab:
            found += [] if after != before else ["the command changes nothing: there is nothing to be killed at"]
            found += [] if lab.command(*command, *_BY, failpoint=self.failpoint) == -9 else ["it was not killed"]
            if self.failpoint.endswith(".before_commit"):
                found += differences(before, end_of(lab))
                lab.command(*command, *_BY)
            return [*found, *differences(after, end_of(lab)), *audited(lab)]


_COMMANDS: Final[dict[str, Callable[[FaultLab], tuple[str, ...]]]] = {
    "match": lambda lab: ("match", _scan(lab, "slide_id IS NULL"), _slide(lab, SLIDES[0])),
    "review": lambda lab: ("review", _scan(lab, "quality = 'review'"), "pass"),
    "order_work": lambda lab: ("order-work", _slide(lab, SLIDES[0]), "recut"),
    "release": lambda lab: ("release", _case(lab)),
    "pause_deadlines": lambda lab: ("deadline", "pause", _case(lab)),
    "set_mdt": lambda lab: ("deadline", "mdt", _case(lab), "2036-12-05T14:00+00:00"),
    "ask_for_look": lambda _lab: ("assign", "rebalance"),
    "site_cut_off": lambda _lab: ("assign", "cut-off", "site-a"),
    "rerun": lambda lab: ("rerun", _scan(lab, "quality = 'review'"), "--from", "slide_qc"),
    "replay": lambda lab: ("replay", _set_aside(lab)),
    "edit": lambda lab: ("hl7", "edit", _set_aside(lab), "--set", "MSH-10=EDITED"),
    "withdraw": lambda lab: ("withdraw", _scan(lab, "slide_id IS NOT NULL")),
}


def _case(lab: FaultLab) -> str:
    return str(lab.rows('SELECT id FROM "case"')[0][0])


def _set_aside(lab: FaultLab) -> str:
    return str(lab.rows("SELECT id FROM inbox WHERE state = 'set aside'")[0][0])


@dataclass(frozen=True)
class OnWithdrawal:
    """A worker is killed while it hides an archived scan's objects: in the end all of them are hidden and kept."""

    failpoint: str
    hit: int = 1

    def __str__(self) -> str:
        return f"{self.failpoint}-{self.hit}"

    def carry_out(self, bench: Bench, home: Path) -> list[str]:
        """Withdraw one of the two scans of a finished journey."""
        with laboratory(bench.finished, home, known=bench.lims, zygote=bench.zygote) as lab:
            scan = _scan(lab, f"slide_id = '{_slide(lab, SLIDES[0])}'")
            found = [] if lab.command("withdraw", scan, *_BY) == 0 else [f"it was refused:\n{_said(lab)}"]
            lab.start("worker", f"{self.failpoint}:{self.hit}")
            dies(lab, "worker")
            lab.start("worker")
            lab.until_still()
            lab.kill()
            states = lab.rows("SELECT state, count(*) FROM instance GROUP BY state ORDER BY state")
            found += [] if states == [("proven", 6), ("rejected", 6)] else [f"the objects are {states}"]
            found += _told(lab, "withdrawn", 1)
            return [*found, *breaches(lab)]


@dataclass(frozen=True)
class OnCorrection:
    """A worker is killed while archived scans are corrected: in the end each is, once, and none is converted again."""

    failpoint: str
    hit: int = 1

    def __str__(self) -> str:
        return f"correction-{self.failpoint}-{self.hit}"

    def carry_out(self, bench: Bench, home: Path) -> list[str]:
        """Merge the patient of a finished case, whose work folders were tidied, into another."""
        with laboratory(bench.finished, home, known=bench.lims, zygote=bench.zygote) as lab:
            lab.start("doors")
            lab.start("worker", f"{self.failpoint}:{self.hit}")
            lab.lims.send(merge(), lab.mllp)
            dies(lab, "worker")
            lab.start("worker")
            lab.until_still()
            lab.kill()
            states = lab.rows("SELECT edition, state, count(*) FROM instance GROUP BY edition, state ORDER BY edition")
            found = [] if states == [(1, "rejected", 12), (2, "proven", 12)] else [f"the objects are {states}"]
            steps = lab.rows(
                "SELECT kind, state, count(*) FROM step WHERE kind IN ('convert', 'correct') GROUP BY kind, state"
            )
            found += [] if sorted(steps) == _CORRECTED_ONCE else [f"objects were made by {steps}"]
            found += _told(lab, "archived", 4)
            return [*found, *_names_another(lab), *breaches(lab)]


_CORRECTED_ONCE: Final = [("convert", "done", 2), ("correct", "done", 2)]


def _names_another(lab: FaultLab) -> list[str]:
    """Return which of the objects that the archive offers don't name the patient that stays."""
    offered = [path for path in lab.archive.rglob("*.dcm") if "rejected" not in path.parts]
    named = {str(dcmread(path, stop_before_pixels=True).PatientID) for path in offered}
    return [] if named == {"B700001"} else [f"the archive offers objects of {len(named)} patients, or of the wrong one"]


@dataclass(frozen=True)
class OnDuplicate:
    """The doors are killed while they remove a copy that they need not keep."""

    failpoint: str

    def __str__(self) -> str:
        return self.failpoint

    def carry_out(self, bench: Bench, home: Path) -> list[str]:
        """Deliver a finished slide again under another name."""
        with laboratory(bench.finished, home, known=bench.lims, zygote=bench.zygote) as lab:
            lab.start("doors", self.failpoint)
            lab.scan(f"{SLIDES[0]}.svs", "again.svs")
            dies(lab, "doors")
            lab.start("doors")
            lab.wait(lambda: len([*(lab.spool / "scans").iterdir()]) == len(SLIDES), "the copy is still there")
            lab.kill()
            states = lab.rows("SELECT state FROM scan_file WHERE relative_path = 'again.svs'")
            found = [] if states == [("duplicate",)] else [f"the second file is {states}"]
            return [*found, *breaches(lab)]


@dataclass(frozen=True)
class OnSetAside:
    """A step that stops its worker three times is set aside once, whatever is killed while people are told."""

    failpoint: str

    def __str__(self) -> str:
        return self.failpoint

    def carry_out(self, bench: Bench, home: Path) -> list[str]:
        """Have the judgement of the one scan's quality kill its worker again and again."""
        deadly = ("slide_qc.end.before_commit",) * 3
        with laboratory(bench.template, home, zygote=bench.zygote) as lab:
            deaths = killed_in_turn(lab, "worker", (*deadly, self.failpoint), begin=_order_and_scan_one)
            lab.until_still()
            lab.kill()
            found = [] if deaths == len(deadly) + 1 else [f"only {deaths} workers were killed"]
            for what, query in (
                ("scans that are set aside", "SELECT count(*) FROM scan WHERE outcome = 'set aside'"),
                ("alerts", "SELECT count(*) FROM alert WHERE kind = 'set aside'"),
                ("changes", "SELECT count(*) FROM history WHERE what = 'outcome' AND after = 'set aside'"),
            ):
                [(count,)] = lab.rows(query)
                found += [] if count == 1 else [f"there are {count} {what}"]
            found += _told(lab, "set aside", 1)
            return [*found, *breaches(lab)]


@dataclass(frozen=True)
class OnEndedAlert:
    """A worker is killed while it clears an alert about what is over."""

    failpoint: str

    def __str__(self) -> str:
        return self.failpoint

    def carry_out(self, bench: Bench, home: Path) -> list[str]:
        """Leave an alert open about a scan that waits for nobody any more."""
        with laboratory(bench.finished, home, known=bench.lims, zygote=bench.zygote) as lab:
            _write(
                lab,
                "INSERT INTO alert (subject_kind, subject_id, kind, sentence, raised_at)"
                " SELECT 'scan', id, 'waits too long', 'waited', received_at FROM scan LIMIT 1",
            )
            lab.start("worker", self.failpoint)
            dies(lab, "worker")
            lab.start("worker")
            lab.wait(lambda: lab.rows("SELECT id FROM alert WHERE cleared_at IS NULL") == [], "the alert stays")
            lab.kill()
            return breaches(lab)


@dataclass(frozen=True)
class AtStop:
    """A worker is killed while it ends cleanly."""

    failpoint: str

    def __str__(self) -> str:
        return self.failpoint

    def carry_out(self, bench: Bench, home: Path) -> list[str]:
        """Stop a worker that has nothing to do, twice."""
        with laboratory(bench.finished, home, known=bench.lims, zygote=bench.zygote) as lab:
            ended = []
            for failpoint in (self.failpoint, None):
                _until_another_worker(lab, failpoint)
                ended.append(lab.stop()["worker"])
            found = [] if ended == [-9, 0] else [f"the workers ended with {ended}"]
            return [*found, *breaches(lab, bench.end)]


@dataclass(frozen=True)
class OnGivingBack:
    """A worker that is told to end is killed while it gives back what it had claimed and not begun."""

    failpoint: str

    def __str__(self) -> str:
        return self.failpoint

    def carry_out(self, bench: Bench, home: Path) -> list[str]:
        """Have both conversions done again, each alone, as after a death: one is begun, the other given back."""
        with laboratory(bench.finished, home, known=bench.lims, zygote=bench.zygote) as lab:
            _write(lab, "UPDATE step SET state = 'ready', lost = 1, result = NULL WHERE kind = 'convert'")
            lab.start("worker", self.failpoint)
            lab.wait(lambda: len(lab.rows("SELECT id FROM step WHERE state = 'running'")) == len(SLIDES), "not claimed")
            lab.running["worker"].process.terminate()
            dies(lab, "worker")
            lab.start("worker")
            lab.until_still()
            lab.kill()
            return breaches(lab, bench.end)


@dataclass(frozen=True)
class InTrouble:
    """A worker is killed while it sorts out, one by one, what could not be written together."""

    failpoint: str

    def __str__(self) -> str:
        return self.failpoint

    def carry_out(self, bench: Bench, home: Path) -> list[str]:
        """Send an order that claims another case's slides: only writing its end finds that out."""
        with laboratory(bench.finished, home, known=bench.lims, zygote=bench.zygote) as lab:
            lab.start("doors")
            lab.start("worker", self.failpoint)
            lab.lims.send(foreign_order(), lab.mllp)
            dies(lab, "worker")
            lab.start("worker")
            lab.until_still()
            lab.kill()
            states = lab.rows("SELECT state FROM inbox WHERE message_control_id = 'M3'")
            found = [] if states == [("set aside",)] else [f"the message is {states}"]
            steps = lab.rows("SELECT state, count(*) FROM step WHERE kind = 'apply' GROUP BY state ORDER BY state")
            found += [] if steps == [("done", 4), ("set aside", 1)] else [f"messages were applied: {steps}"]
            return [*found, *breaches(lab)]


_COMMITS: Final = ("before_commit", "after_commit")
_OF_MESSAGES: Final = ("replay", "edit")
_WHEN: Final = ("before", "after")
_OF_A_CORRECTION: Final = (("store", "put"), ("reject", "reject"), ("archive", "reject"))
PLANS: Final[list[Plan]] = [
    *(AtSetUp(f"{name}.{when}") for name in ("migrate", "people") for when in _COMMITS),
    *(AtSetUp(f"archive.{when}_prepare") for when in ("before", "after")),
    *(AtFirstStart(f"first_lab.{when}_link") for when in ("before", "after")),
    *(OnCommand(f"people.{what}.{when}") for what in _COMMANDS if what not in _OF_MESSAGES for when in _COMMITS),
    *(OnCommand(f"{what}.{when}") for what in _OF_MESSAGES for when in _COMMITS),
    *(OnWithdrawal(f"reject.{when}_reject") for when in ("before", "after")),
    *(OnWithdrawal(f"archive.{when}_reject") for when in ("before", "after")),
    *(OnWithdrawal("archive.after_move", hit) for hit in (1, 2)),
    *(OnCorrection(f"correct.{when}_{what}", hit) for what in ("fetch", "copy") for when in _WHEN for hit in (1, 9)),
    *(OnCorrection(f"archive_upload.end.{when}", hit) for when in _COMMITS for hit in range(1, 5)),
    *(OnCorrection(f"{effect}.{when}_{what}") for effect, what in _OF_A_CORRECTION for when in _WHEN),
    *(OnDuplicate(f"spool.{when}_remove") for when in ("before", "after")),
    *(InTurn(("slide_qc.claim.after_commit", f"sweep_lost.{when}")) for when in _COMMITS),
    *(OnSetAside(f"sweep_set_aside.{when}") for when in _COMMITS),
    *(OnEndedAlert(f"sweep_alerts.{when}") for when in _COMMITS),
    *(AtStop(f"worker.end.{when}") for when in _COMMITS),
    *(OnGivingBack(f"archive_upload.give_back.{when}") for when in _COMMITS),
    *(InTrouble(f"intake.{verb}.{when}") for verb in ("claim_alone", "end_alone") for when in _COMMITS),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_no_promise_is_broken_by_a_kill(plan: Plan, experiments: Experiments) -> None:
    assert experiments[plan] == []


def _order_and_scan_one(lab: FaultLab) -> None:
    lab.order()
    lab.scan(f"{SLIDES[0]}.svs")


def _write(lab: FaultLab, change: str) -> None:
    """Change the books by hand, while nothing of ours runs."""
    books = sqlite3.connect(lab.home / "coverslip.db")
    with books:
        books.execute(change)
    books.close()


def _until_another_worker(lab: FaultLab, failpoint: str | None) -> None:
    count = "SELECT count(*) FROM worker"
    known = lab.rows(count)
    lab.start("worker", failpoint)
    lab.wait(lambda: lab.rows(count) > known, "no worker began")


def _scan(lab: FaultLab, which: str) -> str:
    [(scan_id,)] = lab.rows(f"SELECT id FROM scan WHERE {which}")  # noqa: S608 - words of our own
    return str(scan_id)


def _slide(lab: FaultLab, container: str) -> str:
    [(slide_id,)] = lab.rows(f"SELECT id FROM slide WHERE container_identifier = '{container}'")  # noqa: S608 - as above
    return str(slide_id)


def _told(lab: FaultLab, state: str, wanted: int) -> list[str]:
    """Return what is wrong with how often the LIMS is to be told that a slide is in this state."""
    [(count,)] = lab.rows(f"SELECT count(*) FROM outbox WHERE event_key LIKE '{state}:%'")  # noqa: S608 - as above
    return [] if count == wanted else [f"the LIMS is told {count} times that a slide is {state}"]


def _said(lab: FaultLab) -> str:
    return (lab.home / "command.log").read_text("utf-8", "replace")[-2000:]
