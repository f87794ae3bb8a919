"""A laboratory in a folder: the real database, ids, spool, archive and steps, with small honest neighbours.

A small slide is a JSON document that says what a real one shows; ``SmallDecoder`` reads it from the spool as the real
one reads pixels. ``SmallLims`` answers as it is told to and keeps what it heard. Nothing here decides anything.
"""

import hashlib
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import time as civil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from connectors.archive.folder import FolderArchive
from connectors.lims.sender import Answer
from connectors.scanners.spool import Spool
from connectors.settings import Settings, Work
from connectors.settings_doors import LimsPeer, Listener, ScannerFolder
from connectors.settings_readers import Hours, Reader
from connectors.settings_site import SiteRules
from connectors.slides.bounded import DEFAULT_LIMITS, Limits
from connectors.slides.header import read_header
from connectors.telemetry import Telemetry
from connectors.wiring import Lab
from flows.archive_upload.correcting import CORRECT
from flows.archive_upload.step import CONVERT
from flows.barcode_matching.step import READ_LABEL
from flows.intake.doors import scanner_door
from flows.intake.inbox import Arrival, Kept, keep
from flows.journey import STAGES, Stage
from flows.people.sync import sync_people
from flows.shift import Shift
from flows.slide_qc.step import EXAMINE
from flows.steps import STEPS
from flows.sweep import sweep
from models.database import database_now
from models.errors import RejectedError, TransientError
from models.opaque import OpaqueIds
from models.tables.scan import ScanFile
from models.tables.step import Step, Worker
from models.uid import instance_uid
from tests.migrated import migrated

KEY = bytes(range(32))
PLACE = "local"
SITES = ("site-a", "site-b")
PEERS = {"site-a": "lims-a", "site-b": "lims-b"}
ON_BOTH = pytest.mark.parametrize(
    "database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)
"""For locks, races and queries: the test runs on SQLite and on PostgreSQL.

The rules are the same on each. A test that has statements of its own wants the mark too: every statement meets both.
"""
_EVERY_DAY = Hours(days=("mon", "tue", "wed", "thu", "fri", "sat", "sun"), starts=civil(0), ends=civil(0))
_MOST_ROUNDS = 500


@dataclass(frozen=True)
class SmallSlide:
    """What a scan shows: the codes on its label, its quality, and whether decoding it is possible at all.

    ``quality`` is one of pass, review, rescan and cannot judge. ``trouble`` names the class of error that every look
    at it ends with. Two scans of one glass differ in ``made``.
    """

    codes: tuple[str, ...] = ()
    quality: str = "pass"
    scanner_barcode: str | None = None
    trouble: str | None = None
    made: int = 1


class SmallDecoder:
    """Answers for each slide with what its document says, and counts how often it was asked for what."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def run(self, job: str, arguments: Mapping[str, Any], limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
        """Do one of the four jobs."""
        assert limits.memory_bytes > 0
        self.asked.append(job)
        if job == CORRECT:
            return _correct(arguments)
        slide = SmallSlide(**json.loads(Path(arguments["path"]).read_bytes()))
        if slide.trouble is not None:
            raise _TROUBLE[slide.trouble](f"this slide is a test of {slide.trouble}")
        return _JOBS[job](slide, arguments)


@dataclass
class SmallLims:
    """A laboratory system: takes every message, or says and does what ``answers`` holds for the next ones.

    An entry is a code of HL7 table 0008, or ``silent``.
    """

    answers: list[str] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)

    def send(self, payload: bytes, control_id: str) -> Answer:
        """Hear one message."""
        said = self.answers.pop(0) if self.answers else "AA"
        if said == "silent":
            raise TransientError("nobody answers")
        self.heard.append(payload)
        return Answer(said, "", f"MSH|^~\\&\rMSA|{said}|{control_id}\r".encode())


def small_settings(home: Path, database_url: str, **rules: Any) -> Settings:  # noqa: ANN401 - any field of SiteRules
    """Return a laboratory of two sites, each with a LIMS and a scanner, and two pathologists who always read."""
    said: dict[str, Any] = {"settle_after": timedelta(milliseconds=20), "zone": "UTC", **rules}
    reads = ("general", "breast", "skin")
    return Settings(
        home=home,
        installation_key=KEY.hex(),  # type: ignore[arg-type] # pydantic makes it a secret
        database_url=database_url,
        sites=tuple(SiteRules(id=site, name=site.upper(), lims=PEERS[site], **said) for site in SITES),
        lims=tuple(LimsPeer(name=PEERS[site], facility=site) for site in SITES),
        listeners=tuple(Listener(peer=PEERS[site], site=site, issuer="NET", port=0) for site in SITES),
        scanners=tuple(ScannerFolder(name=f"scanner-{site}", site=site, path=home / "in" / site) for site in SITES),
        readers=tuple(
            Reader(id=name, name=f"Dr {name.title()} Example", site="site-a", leads=reads, hours=(_EVERY_DAY,))
            for name in ("rosa", "tom")
        ),
        work=Work(spool_reserve_bytes=0),
    )


def small_lab(folder: Path, database_url: str, **rules: Any) -> Lab:  # noqa: ANN401 - any field of SiteRules
    """Open the laboratory in this folder, made when it is new; close its ``database`` at the end."""
    settings = small_settings(folder, database_url, **rules)
    database = migrated(settings.database)
    with database.write("small_lab") as session:
        sync_people(session, settings)
    archive = FolderArchive(settings.resolved(settings.archive_folder))
    archive.prepare()
    return Lab(
        settings=settings,
        database=database,
        ids=OpaqueIds(KEY),
        spool=Spool(folder / "spool", PLACE, 0),
        decoder=SmallDecoder(),
        archive=archive,
        senders={peer.name: SmallLims() for peer in settings.lims},
        telemetry=Telemetry.off(),
        decode_within=timedelta(seconds=10),
    )


def scan_arrives(lab: Lab, slide: SmallSlide, *, site: str = "site-a", name: str = "") -> str:
    """Put a slide into the spool, its file and its event into the books; return the id that its scan will have."""
    content = json.dumps(asdict(slide)).encode()
    digest = hashlib.sha256(content).hexdigest()
    file_id = str(uuid.UUID(bytes=hashlib.sha256(f"{site}{name}{digest}".encode()).digest()[:16]))
    scan_id = lab.ids.scan(site, (digest,))
    descriptor = os.memfd_create("slide")
    try:
        os.write(descriptor, content)
        lab.spool.take(descriptor, len(content), file_id, ".svs")
    finally:
        os.close(descriptor)
    with lab.database.write("scan_arrives") as session:
        if session.get(ScanFile, file_id) is not None:
            return scan_id
        now = database_now(session)
        file = ScanFile(
            id=file_id,
            site_id=site,
            root=f"scanner-{site}",
            relative_path=name or f"{file_id}.svs",
            bytes=len(content),
            modified_ns=1,
            state="taken",
            first_seen_at=now,
            changed_at=now,
            taken_at=now,
            sha256=digest,
            place=lab.spool.place,
        )
        session.add(file)
        session.flush()
        scanner_door(lab.ids, forward=lab.settings.forwards)(session, file)
    return scan_id


def event_again(lab: Lab, scan_id: str) -> None:
    """Have a scan's event come in once more under another guise: other bytes, the same file."""
    with lab.database.write("event_again") as session:
        for one in session.scalars(select(ScanFile).where(ScanFile.sha256.is_not(None))).all():
            if lab.ids.scan(one.site_id, (str(one.sha256),)) == scan_id:
                said = {
                    "site_id": one.site_id,
                    "root": one.root,
                    "file_id": one.id,
                    "sha256": one.sha256,
                    "again": True,
                }
                payload = json.dumps(said, sort_keys=True).encode()
                keep(session, lab.ids, Arrival("scanner", one.root, payload), database_now(session))


def order(
    accession: str,
    *slides: str,
    control: str = "NW",
    cancel: Sequence[str] = (),
    sent_at: str = "20250101120000+0000",
    control_id: str = "M1",
    priority: str = "",
    due: str = "",
    stain: str = "",
    parent: str = "",
    route: str = "",
    patient: str = "A100234",
    sequence: str = "",
    placer: str = "P1",
) -> bytes:
    """Return an OML^O21 about slides of one case; ``cancel`` names the slides whose own order is cancelled.

    Without any slide it speaks of the case itself.
    """
    lines = [
        f"MSH|^~\\&|LIMS|NET|COVERSLIP|NET|{sent_at}||OML^O21^OML_O21|{control_id}|P|2.5.1|{sequence}",
        f"PID|1||{patient}^^^NET^MR||Example^Ada^^^^^L||19640229|F",
    ]
    runs = [(control, slides)] if slides or not cancel else []
    for each, identifiers in (*runs, *([("CA", cancel)] if cancel else [])):
        lines.append(f"ORC|{each}|{placer}|{accession}")
        lines += [f"TQ1|1|||||||{due}|{priority}"] if priority or due else []
        lines.append("OBR|1|||SLIDE")
        for number, identifier in enumerate(identifiers, start=1):
            lines.append(f"SPM|{number}|{identifier}|{parent}" + "|" * 24 + "GLASS")
            lines += [f"OBX|1|CWE|397165007^Stain^SCT|1|{stain}^{stain}^L||||||F"] if stain else []
            lines += ["SAC|||" + identifier + "|" * 45 + route] if route else []
    return "".join(f"{line}\r" for line in lines).encode()


def message_arrives(lab: Lab, payload: bytes, *, peer: str = "lims-a") -> Kept:
    """Put a message into the inbox, as the door of its peer does."""
    control_id = payload.split(b"|", 10)[9].decode()
    arrival = Arrival("hl7", peer, payload, answer=b"AA", message_control_id=control_id, message_type="OML^O21")
    with lab.database.write("message_arrives") as session:
        return keep(session, lab.ids, arrival, database_now(session))


def run_until_calm(
    lab: Lab, stages: Sequence[Stage] = STAGES, *, threads: int = 1, patience: timedelta = timedelta(seconds=0.3)
) -> None:
    """Run stages bare, and the sweeper, until nothing is ready; a wait that ends within ``patience`` is waited for."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            _work_until_calm(lab, stages, patience)
        except BaseException as error:  # noqa: BLE001 - told to the caller below
            failed.append(error)

    if threads == 1:
        _work_until_calm(lab, stages, patience)
        return
    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failed:
        raise failed[0]


@contextmanager
def shifts_of(lab: Lab, stages: Sequence[Stage] = STAGES) -> Iterator[list[Shift]]:
    """Give one worker's shifts, registered as a worker that lives; let them go at the end."""
    worker_id = begin_worker(lab)
    shifts = [Shift(lab, stage, STEPS, worker_id, 2, threading.Event()) for stage in stages]
    try:
        yield shifts
    finally:
        for shift in shifts:
            shift.close()


def begin_worker(lab: Lab) -> str:
    """Register a worker of this process and return its id."""
    worker_id = str(uuid.uuid4())
    with lab.database.write("small_worker") as session:
        now = database_now(session)
        values = {"id": worker_id, "host": "here", "pid": os.getpid(), "started_at": now, "heartbeat_at": now}
        session.execute(insert(Worker).values(**values, engine=""))
    return worker_id


def _work_until_calm(lab: Lab, stages: Sequence[Stage], patience: timedelta) -> None:
    with shifts_of(lab, stages) as shifts:
        for _ in range(_MOST_ROUNDS):
            moved = sweep(lab)
            for shift in shifts:
                while shift.has_work() is not None:
                    moved += 1
                    shift.run()
            _beat(lab, shifts[0].worker_id)
            if moved == 0 and not _waited(lab, stages, patience):
                return
    raise AssertionError("the laboratory did not become calm: some step is ready again and again")


def _beat(lab: Lab, worker_id: str) -> None:
    with lab.database.write("small_beat") as session:
        now = database_now(session)
        session.execute(update(Worker).where(Worker.id == worker_id).values(heartbeat_at=now))


def _waited(lab: Lab, stages: Sequence[Stage], patience: timedelta) -> bool:
    """Wait for the next wait that ends soon, or for a step that another thread still runs; whether there was one."""
    ours = Step.stage.in_([stage.name for stage in stages])
    with lab.database.read() as session:
        now = database_now(session)
        until = session.scalar(select(func.min(Step.waiting_until)).where(Step.state == "waiting", ours))
        running = session.scalar(select(Step.id).where(Step.state == "running", ours).limit(1))
    if running is not None:
        time.sleep(0.01)
        return True
    soon = until is not None and until <= now + patience
    if soon and until is not None:
        time.sleep(max(0.0, (until - now).total_seconds()) + 0.001)
    return soon


def _examine(slide: SmallSlide, _arguments: Mapping[str, Any]) -> dict[str, Any]:
    return dict(_MEASURED[slide.quality])


def _read_label(slide: SmallSlide, arguments: Mapping[str, Any]) -> dict[str, Any]:
    (Path(arguments["folder"]) / "label.png").write_bytes(b"a picture of " + "".join(slide.codes).encode())
    codes = [{"symbology": "DataMatrix", "text": code, "attempt": "plain"} for code in slide.codes]
    return {"codes": codes, "label": "label.png", "scanner_barcode": slide.scanner_barcode}


def _convert(slide: SmallSlide, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Make two objects whose bytes depend on the slide, the header and the edition, and on nothing else."""
    (Path(arguments["folder"]) / "dicom").mkdir()
    pixels = json.dumps(asdict(slide))
    return {"converter": "small 1", "instances": [_make(arguments, role, pixels) for role in ("label", "level-0")]}


def _correct(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Make one object from a former one: its last line is copied, all else is stated anew."""
    former = Path(arguments["path"]).read_bytes()
    if hashlib.sha256(former).hexdigest() != arguments["sha256"]:
        return {"instance": None}
    (Path(arguments["folder"]) / "dicom").mkdir(exist_ok=True)
    pixels = former.decode().splitlines()[2]
    digest = hashlib.sha256(pixels.encode()).hexdigest()
    return {"instance": {**_make(arguments, arguments["role"], pixels), "pixels_sha256": digest}}


def _make(arguments: Mapping[str, Any], role: str, pixels: str) -> dict[str, Any]:
    """Write one object: its UID, its header and its pixels, a line each."""
    uid = instance_uid(arguments["scan_id"], arguments["edition"], role)
    header = read_header(arguments["header"]).model_dump_json()
    content = f"{uid}\n{header}\n{pixels}\n".encode()
    (Path(arguments["folder"]) / "dicom" / f"{role}.dcm").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return {"role": role, "sop_instance_uid": uid, "sha256": digest, "bytes": len(content)}


_TROUBLE: dict[str, type[Exception]] = {
    "rejected": RejectedError,
    "transient": TransientError,
    "bug": ZeroDivisionError,
}
_JOBS: dict[str, Callable[[SmallSlide, Mapping[str, Any]], dict[str, Any]]] = {
    EXAMINE: _examine,
    READ_LABEL: _read_label,
    CONVERT: _convert,
}
_SHARP = {
    "glass": (240, 240, 240),
    "tissue_share": 0.2,
    "tissue_tiles": 10,
    "damaged_tiles": 0,
    "reblur_ratios": (0.4,) * 10,
}
_MEASURED: dict[str, dict[str, Any]] = {
    "pass": _SHARP,
    "review": _SHARP | {"glass": (150, 150, 150)},
    "rescan": _SHARP | {"reblur_ratios": (0.9,) * 10},
    "cannot judge": _SHARP | {"glass": None},
}
