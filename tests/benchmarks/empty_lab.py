"""A laboratory whose every neighbour does nothing, at once: what is left is the orchestration."""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from connectors.archive.protocol import Holding, RejectionReason, StoredInstance
from connectors.lims.sender import Answer
from connectors.settings import Engine as EngineSettings
from connectors.settings import Settings, Work
from connectors.settings_doors import LimsPeer, Listener
from connectors.settings_readers import Hours, Reader
from connectors.settings_site import SiteRules
from connectors.telemetry import Telemetry
from connectors.wiring import Lab
from flows.archive_upload.step import CONVERT
from flows.barcode_matching.step import READ_LABEL
from flows.intake.inbox import Arrival, keep
from flows.journey import STAGES
from flows.ledger import Claim
from flows.people.sync import sync_people
from flows.sending.step import _FREEZE, _answered, message_of
from flows.shift import Shift
from flows.slide_qc.step import EXAMINE
from flows.step import End
from flows.steps import STEPS
from models.database import Database, database_now
from models.migrate import migrate
from models.opaque import OpaqueIds
from models.tables.scan import ScanFile
from models.uid import instance_uid

SLIDES_A_CASE = 10  # Ohio State 2022: 9.8
_ROLES = ("level-0", "level-1", "level-2", "label", "overview")
_EVERY_DAY = Hours(days=("mon", "tue", "wed", "thu", "fri", "sat", "sun"), starts="00:00", ends="00:00")  # type: ignore[arg-type] # pydantic reads the text


def settings_of(home: Path, prefect_port: int | None) -> Settings:
    """Return the settings of the empty laboratory."""
    return Settings(
        home=home,
        installation_key=SecretStr("0f" * 32),
        sites=(SiteRules(id="site-a", name="Site A", lims="lims", settle_after=timedelta(milliseconds=1)),),
        lims=(LimsPeer(name="lims"),),
        listeners=(Listener(peer="lims", site="site-a", issuer="SITEA"),),
        scanners=(),
        readers=tuple(
            Reader(id=f"reader-{n}", name=f"Reader {n}", site="site-a", leads=("breast",), hours=(_EVERY_DAY,))
            for n in range(20)
        ),
        # A step that does nothing holds its slot for nothing: the limit on uploads is not what is measured.
        work=Work(archive_upload=16),
        engine=EngineSettings(enabled=prefect_port is not None, port=prefect_port or 4200),
    )


def empty_lab(home: Path, prefect_port: int | None = None) -> Lab:
    """Return a laboratory on a new SQLite database."""
    settings = settings_of(home, prefect_port)
    database = Database(settings.database, checkpoints=True)
    migrate(database)
    with database.write("people") as session:
        sync_people(session, settings)
    return Lab(
        settings=settings,
        database=database,
        ids=OpaqueIds(b"benchmark key of sufficient size"),
        spool=NoSpool(),  # type: ignore[arg-type] # does nothing, as all here
        decoder=NoDecoder(database),
        archive=NoArchive(),
        senders={"lims": NoLims()},
        telemetry=Telemetry.off(),
    )


def order(lab: Lab, first: int, slides: int) -> None:
    """Register the cases of so many slides, and let everything settle that waits for no scan."""
    for case in range(first // SLIDES_A_CASE, (first + slides + SLIDES_A_CASE - 1) // SLIDES_A_CASE):
        with lab.database.write("order") as session:
            arrival = Arrival(source="hl7", peer="lims", payload=_order_message(case))
            keep(session, lab.ids, arrival, database_now(session))
    run_bare(lab, ("intake",))


def scan(lab: Lab, number: int) -> str:
    """Let one slide's file be taken, as the watcher does; return the scan's id."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    with lab.database.write("scan") as session:
        now = database_now(session)
        file_id = lab.ids.of("scan-file", "scanner", str(number))
        row = {"id": file_id, "site_id": "site-a", "root": "scanner", "relative_path": f"{name_of(number)}.svs"}
        times = {"first_seen_at": now, "changed_at": now, "taken_at": now, "bytes": 1, "modified_ns": number}
        session.execute(insert(ScanFile).values(**row, **times, state="taken", sha256=digest))
        event = f'{{"file_id":"{file_id}","root":"scanner","sha256":"{digest}","site_id":"site-a"}}'
        keep(session, lab.ids, Arrival(source="scanner", peer="scanner", payload=event.encode()), now)
    return lab.ids.scan("site-a", (digest,))


def name_of(number: int) -> str:
    """Return a slide's container identifier."""
    case, slide = divmod(number, SLIDES_A_CASE)
    return f"26B{case:06d}-A1-{slide + 1}"


def run_bare(lab: Lab, stages: tuple[str, ...]) -> None:
    """Run these stages one after the other until none has anything to do."""
    import threading  # noqa: PLC0415

    stop = threading.Event()
    for stage in STAGES:
        if stage.name in stages:
            shift = Shift(lab, stage, STEPS, lab.ids.of("worker", "set-up", "1"), 1, stop)
            while shift.has_work() is not None:
                shift.run()
            shift.close()


def _order_message(case: int) -> bytes:
    accession = f"26B{case:06d}"
    sent = (datetime(2026, 11, 20, tzinfo=UTC) + timedelta(seconds=case)).strftime("%Y%m%d%H%M%S+0000")
    lines = [
        f"MSH|^~\\&|LIMS|SITEA|COVERSLIP|NET|{sent}||OML^O33^OML_O33|B{case}|P|2.5.1",
        f"PID|1||B{case}^^^SITEA^MR||Example^Ben{case}^^^^^L||19700101|F",
        f"SPM|1|{accession}-A||119376003^Tissue^SCT||||76752008^Breast structure^SCT|||||||||||||||||||CONTAINER",
        f"ORC|NW|P{case}^LIMS|{accession}^LIMS",
        f"OBR|1|P{case}^LIMS|{accession}^LIMS|BREAST^Breast histology^L",
    ]
    for slide in range(SLIDES_A_CASE):
        name = name_of(case * SLIDES_A_CASE + slide)
        lines += [
            f"SPM|{slide + 2}|{name}|{accession}-A|119376003^Tissue specimen^SCT|||||||||||||||||||||||GLASS",
            f"SAC|||{name}",
            f"ORC|NW|P{case}^LIMS|{accession}^LIMS",
            f"OBR|1|P{case}^LIMS|{accession}^LIMS|SLIDE^Slide^L",
        ]
    return ("\r".join(lines) + "\r").encode()


def send_nothing(lab: Lab, claimed: Claim) -> End:
    """Do as the step ``send`` does, but for building the message: that is work, and no orchestration."""
    message = message_of(lab, claimed)

    def end(session: Session) -> None:
        session.execute(_FREEZE, {"message_id": message.id, "frozen": b"nothing"})
        _answered(lab, session, claimed, message, lab.senders[message.peer].send(b"nothing", ""))

    return end


class NoSpool:
    """Holds nothing."""

    place = "local"

    def path_of(self, file_id: str) -> Path:
        """Return where nothing lies."""
        return Path("/nonexistent") / file_id

    def work_folder(self, scan_id: str, attempt: int) -> Path:
        """Make nothing."""
        return Path("/nonexistent") / scan_id / str(attempt)

    made_in = work_folder

    def discard(self, scan_id: str) -> None:
        """Remove nothing."""

    def files(self) -> tuple[()]:
        """Return nothing."""
        return ()


class NoDecoder:
    """Answers at once what a good slide would answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self, job: str, arguments: Mapping[str, Any], limits: object = None) -> dict[str, Any]:  # noqa: ARG002
        """Return what the job would."""
        if job == EXAMINE:
            return GOOD
        if job == READ_LABEL:
            file_id = Path(str(arguments["path"])).name
            with self._database.read() as session:
                name = session.scalar(select(ScanFile.relative_path).where(ScanFile.id == file_id)) or ""
            return {"codes": [{"symbology": "DataMatrix", "text": Path(name).stem}], "scanner_barcode": None}
        assert job == CONVERT
        scan_id, edition = str(arguments["scan_id"]), int(arguments["edition"])
        instances = [
            {
                "role": role,
                "sop_instance_uid": instance_uid(scan_id, edition, role),
                "sha256": hashlib.sha256(f"{scan_id}{role}".encode()).hexdigest(),
                "bytes": 1,
            }
            for role in _ROLES
        ]
        return {"instances": instances, "converter": "none"}


class NoArchive:
    """Remembers names, so that a proof has something to ask for."""

    name = "none"

    def __init__(self) -> None:
        self._listed: dict[str, set[str]] = {}

    def store(self, instance: StoredInstance, path: Path) -> None:  # noqa: ARG002
        """Remember the name."""
        self._listed.setdefault(instance.series_instance_uid, set()).add(instance.sop_instance_uid)

    def listed(self, study_instance_uid: str, series_instance_uid: str) -> frozenset[str]:  # noqa: ARG002
        """Return the names of a series."""
        return frozenset(self._listed.get(series_instance_uid, ()))

    def digest(self, instance: StoredInstance) -> str:
        """Return what is expected."""
        return instance.sha256

    def fetch(self, instance: StoredInstance, path: Path) -> bool:  # noqa: ARG002
        """Hold nothing."""
        return False

    def reject(self, study_instance_uid: str, series_instance_uid: str, reason: RejectionReason) -> None:
        """Do nothing."""

    def holdings(self) -> Iterator[Holding]:
        """Return nothing."""
        return iter(())


class NoLims:
    """Accepts everything at once."""

    def send(self, payload: bytes, control_id: str) -> Answer:  # noqa: ARG002
        """Answer AA."""
        return Answer("AA", "", b"")


GOOD: dict[str, Any] = {
    "glass": [240, 240, 240],
    "tissue_share": 0.3,
    "tissue_tiles": 100,
    "damaged_tiles": 0,
    "reblur_ratios": [0.4] * 100,
}
"""Measurements of a slide that passes."""
