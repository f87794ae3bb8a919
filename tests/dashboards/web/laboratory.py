"""Rows for tests of what people see: a laboratory written straight into the tables, one thing at a time."""

# ruff: noqa: ANN401 - what a test says about a row goes through to its columns

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from pydantic import SecretStr
from sqlalchemy.orm import DeclarativeBase, Session

from connectors.settings import Settings
from connectors.settings_doors import LimsPeer
from connectors.settings_site import SiteRules
from connectors.telemetry import traceparent_of
from models.database import Database
from models.migrate import migrate
from models.tables.books import Alert, History, InboxMessage, OutboxMessage
from models.tables.case import Case, Identifier, Slide
from models.tables.place import Site
from models.tables.reading import Assignment, Pathologist, Pool, Read
from models.tables.scan import Instance, Scan, ScanFile
from models.tables.step import Slot, Step, Worker

NOW = datetime(2026, 11, 2, 10, 42, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def opaque(name: str) -> str:
    """An id as ours look, the same for the same name."""
    return str(uuid5(NAMESPACE_URL, name))


def settings_of(home: Path, database_url: str, sites: dict[str, str]) -> Settings:
    """The settings of a laboratory with these sites and their zones."""
    return Settings(
        home=home,
        installation_key=SecretStr("00" * 32),
        database_url=database_url,
        sites=tuple(
            SiteRules(id=site, name=site.replace("-", " ").title(), zone=zone, lims="lims-a")
            for site, zone in sites.items()
        ),
        lims=(LimsPeer(name="lims-a"),),
        listeners=(),
        scanners=(),
        readers=(),
    )


@dataclass
class Laboratory:
    """A database with sites, filled by the methods below; each returns the id of what it made."""

    database: Database
    sites: dict[str, str] = field(default_factory=lambda: {"site-a": "Europe/London"})
    issuer: str = "LAB"
    _session: Session | None = None
    _has_pool: bool = False

    def __post_init__(self) -> None:
        migrate(self.database)
        self.write(
            *(Site(id=site, name=site.replace("-", " ").title(), zone=zone) for site, zone in self.sites.items())
        )

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Write everything in this block in one transaction: a day's rows in the time of one."""
        with self.database.write("laboratory") as session:
            self._session = session
            try:
                yield
            finally:
                self._session = None

    def write(self, *rows: DeclarativeBase) -> None:
        """Write rows, in this order."""
        if self._session is None:
            with self.at_once():
                self.write(*rows)
            return
        for row in rows:
            self._session.add(row)
            self._session.flush()

    def case(self, accession: str, site: str = "site-a", at: datetime = NOW, **facets: Any) -> str:
        case_id = opaque(f"case {accession}")
        closed = at + MINUTE if facets.pop("closed", True) else None
        values = {"images": "awaiting", "reading": "none", "subspecialty": "gastrointestinal", **facets}
        self.write(
            Case(id=case_id, site_id=site, registered_at=at, orders_changed_at=at, expected_closed_at=closed, **values),
            Identifier(subject_kind="case", subject_id=case_id, kind="accession", issuer=self.issuer, value=accession),
        )
        self.history("case", case_id, "case", None, "registered", at=at, cause="apply hl7")
        return case_id

    def slide(self, name: str, case_id: str, **facets: Any) -> str:
        slide_id = opaque(f"slide {name}")
        self.write(
            Slide(id=slide_id, case_id=case_id, container_identifier=name, issuer=self.issuer, stains=[], **facets)
        )
        return slide_id

    def scan(
        self,
        name: str,
        slide_id: str | None = None,
        case_id: str | None = None,
        site: str = "site-a",
        at: datetime = NOW,
        **facets: Any,
    ) -> str:
        scan_id = opaque(f"scan {name}")
        values = {"identity": "matched" if slide_id else "pending", "quality": "pending", **facets}
        file_id = opaque(f"file {name}")
        self.write(
            Scan(
                id=scan_id,
                site_id=site,
                scanner="scanner-1",
                slide_id=slide_id,
                case_id=case_id,
                received_at=at,
                traceparent=traceparent_of(scan_id),
                **values,
            ),
            ScanFile(
                id=file_id,
                site_id=site,
                root="scanner-1",
                relative_path=f"{name}.svs",
                bytes=1_938_955,
                modified_ns=1,
                state="taken",
                first_seen_at=at - MINUTE,
                changed_at=at,
                taken_at=at,
                sha256=file_id.replace("-", "") * 2,
                place="here",
                scan_id=scan_id,
            ),
        )
        return scan_id

    def file(self, name: str, state: str, problem: str | None = None, site: str = "site-a", at: datetime = NOW) -> str:
        file_id = opaque(f"file {name}")
        self.write(
            ScanFile(
                id=file_id,
                site_id=site,
                root="scanner-1",
                relative_path=name,
                bytes=10,
                modified_ns=1,
                state=state,
                problem=problem,
                first_seen_at=at,
                changed_at=at + MINUTE,
                sha256="0" * 64 if state == "taken" else None,
            )
        )
        return file_id

    def write_problem(self, name: str, problem: str, at: datetime) -> None:
        """Say something new about a file that is no scan yet."""
        with self.database.write("laboratory") as session:
            file = session.get_one(ScanFile, opaque(f"file {name}"))
            file.problem, file.changed_at = problem, at

    def step(self, kind: str, stage: str, subject: tuple[str, str], state: str = "ready", **values: Any) -> None:
        at = values.pop("at", NOW)
        if state == "running":
            values = {"worker_id": opaque("worker"), "attempt": 1, **values}
        self.write(
            Step(
                kind=kind,
                stage=stage,
                subject_kind=subject[0],
                subject_id=subject[1],
                state=state,
                rank_at=at,
                created_at=at,
                **values,
            )
        )

    def wait(self, kind: str, stage: str, subject: tuple[str, str], waiting_for: str, **values: Any) -> None:
        """A step that waits."""
        at = values.pop("at", NOW)
        hours = timedelta(hours=values.pop("hours", 4))
        then = values.pop("then", "raised")
        self.step(
            kind,
            stage,
            subject,
            "waiting",
            at=at,
            waiting_for=waiting_for,
            waiting_key=values.pop("key", f"{kind} {subject[1]}"),
            waiting_since=at,
            waiting_until=at + hours,
            waiting_then=then,
            attempt=1,
            **values,
        )

    def history(
        self, kind: str, subject_id: str, what: str, before: str | None, after: str | None, **values: Any
    ) -> None:
        at, cause = values.pop("at", NOW), values.pop("cause", "a step")
        self.write(
            History(
                at=at,
                subject_kind=kind,
                subject_id=subject_id,
                what=what,
                before=before,
                after=after,
                cause=cause,
                **values,
            )
        )

    def alert(self, subject: tuple[str, str], kind: str, sentence: str, at: datetime = NOW) -> None:
        self.write(Alert(subject_kind=subject[0], subject_id=subject[1], kind=kind, sentence=sentence, raised_at=at))

    def reader(self, reader_id: str, name: str, site: str = "site-a") -> str:
        if not self._has_pool:
            self.write(Pool(id="network"))
            self._has_pool = True
        self.write(Pathologist(id=reader_id, name=name, site_id=site, pool_id="network", points_a_week=100.0))
        return reader_id

    def assign(self, case_id: str, reader_id: str, sentence: str, at: datetime = NOW) -> str:
        read_id = opaque(f"read {case_id}")
        self.write(
            Read(id=read_id, case_id=case_id, round=1, role="primary", points=3.0, created_at=at),
            Assignment(
                read_id=read_id,
                pathologist_id=reader_id,
                started_at=at,
                decided_by="coverslip",
                explanation={"sentence": sentence},
            ),
        )
        self.history("case", case_id, "reader", None, reader_id, at=at, cause="case_assignment 1.1")
        return read_id

    def read(self, case_id: str, at: datetime = NOW) -> str:
        read_id = opaque(f"read {case_id}")
        self.write(Read(id=read_id, case_id=case_id, round=1, role="primary", points=3.0, created_at=at))
        return read_id

    def message_out(self, key: str, subject: tuple[str, str], said: str, at: datetime = NOW, **values: Any) -> str:
        message_id = opaque(f"message {key}")
        self.write(
            OutboxMessage(
                id=message_id,
                peer="lims-a",
                event_key=key,
                subject_kind=subject[0],
                subject_id=subject[1],
                announcement={"kind": "SlideAnnounced", "state": said},
                message_control_id=message_id[:20].upper(),
                stated_at=at,
                payload=b"MSH|",
                **values,
            )
        )
        return message_id

    def message_in(self, key: str, state: str = "kept", problem: str | None = None, at: datetime = NOW) -> str:
        inbox_id = opaque(f"inbox {key}")
        self.write(
            InboxMessage(
                id=inbox_id,
                source="hl7",
                peer="lims-a",
                sha256=inbox_id.replace("-", "") * 2,
                payload=key.encode(),
                message_control_id=key,
                message_type="OML^O33",
                state=state,
                problem=problem,
                received_at=at,
            )
        )
        return inbox_id

    def object(self, scan_id: str, role: str = "level-0", state: str = "proven") -> None:
        uid = f"2.25.{int(opaque(scan_id + role).replace('-', '')[:20], 16)}"
        self.write(
            Instance(
                scan_id=scan_id,
                edition=1,
                role=role,
                study_instance_uid="2.25.1",
                series_instance_uid="2.25.2",
                sop_instance_uid=uid,
                sha256=opaque(uid).replace("-", "") * 2,
                bytes=1_234_567,
                state=state,
            )
        )

    def worker(
        self, engine: str, heartbeat_at: datetime, name: str = "worker", ended_at: datetime | None = None
    ) -> None:
        self.write(
            Worker(
                id=opaque(name),
                host="here",
                pid=1,
                engine=engine,
                started_at=heartbeat_at - MINUTE,
                heartbeat_at=heartbeat_at,
                ended_at=ended_at,
            )
        )

    def silent(self, slot: str, since: datetime, because: str) -> None:
        self.write(
            Slot(name=slot, number=1, silent_since=since, paused_until=since + 5 * MINUTE, paused_because=because)
        )
