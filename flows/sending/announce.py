"""What the LIMS is told, and when: an outbox row and its ``send`` step in the transaction of the change itself.

Messages state a state; each has a key that is unique per peer, so saying it again changes nothing.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows import aliases, ledger
from flows.completeness import Completeness
from flows.journey import SENDING
from flows.people.called import called
from models.announcements import (
    Announcement,
    CaseAnnounced,
    CaseNamed,
    PatientNamed,
    SlideAnnounced,
    SlideState,
    WorkAsked,
)
from models.base import table_of
from models.database import database_now, insert_unless_there
from models.facets import Outcome, Quality, Report, Storage
from models.scan_fold import ScanState
from models.statements import Identifier as StatedIdentifier
from models.tables.books import OutboxMessage
from models.tables.case import Case, Identifier, Patient, Slide, Specimen
from models.tables.reading import Pathologist, Read, ReadSpecimen
from models.tables.scan import Scan
from models.uid import series_uid, study_of, uuid_of
from models.work_fold import WorkOrdered

# More numbers than anybody has would only fill the message.
_MOST_PATIENTS = 20
_WHOLE = "whole"

REPORTING_ROLES = ("primary", "intra-operative")
REPORTED_SCOPES = (_WHOLE, "part 1")
"""What every LIMS is told of: by these roles and scopes, who reports a case."""

_SLIDE, _PATIENT, _IDENTIFIER = table_of(Slide), table_of(Patient), table_of(Identifier)
_NAMES_OF_SLIDE = select(_SLIDE.c.case_id, _SLIDE.c.issuer, _SLIDE.c.container_identifier).where(
    _SLIDE.c.id == bindparam("slide")
)
_NAMES_OF_PATIENT = select(_PATIENT.c.family_name, _PATIENT.c.given_name).where(_PATIENT.c.id == bindparam("patient"))
_READER = table_of(Pathologist)
_NAME_OF_READER = select(_READER.c.name).where(_READER.c.id == bindparam("reader"))
_SPECIMEN, _COVERS = table_of(Specimen), table_of(ReadSpecimen)
_SPECIMENS_OF_READ = (
    select(_SPECIMEN.c.container_identifier)
    .join(_COVERS, _COVERS.c.specimen_id == _SPECIMEN.c.id)
    .where(_COVERS.c.read_id == bindparam("read"))
    .order_by(_SPECIMEN.c.container_identifier)
)
_IDENTIFIERS = (
    select(
        *(_IDENTIFIER.c.subject_kind, _IDENTIFIER.c.subject_id),
        *(_IDENTIFIER.c.kind, _IDENTIFIER.c.issuer, _IDENTIFIER.c.value),
    )
    .where(_IDENTIFIER.c.subject_id.in_(bindparam("subjects", expanding=True)))
    .order_by(_IDENTIFIER.c.id)
)


def scan_changed(session: Session, settings: Settings, scan: Scan, before: ScanState, after: ScanState) -> None:
    """Tell the LIMS what a slide's images have become, where that is news."""
    for slide_id, state, reasons, edition in _news(before, after):
        slide = session.execute(_NAMES_OF_SLIDE, {"slide": slide_id}).one()
        case = session.get_one(Case, slide.case_id)
        with_uids = state in ("archived", "withdrawn")
        announced = SlideAnnounced(
            state=state,
            reasons=reasons,
            container_identifier=slide.container_identifier,
            container_issuer=slide.issuer,
            case=_named(session, case),
            study_instance_uid=study_of(case.study_instance_uid, case.id, slide.issuer) if with_uids else None,
            series_instance_uid=series_uid(scan.id, edition) if with_uids else None,
            scanned_at=scan.scanned_at,
            quality=after.quality if after.quality != Quality.PENDING else "",
        )
        key = f"{state}:{scan.id}:{edition}:{slide_id}"
        _announce(session, settings, case, announced, key, ("scan", scan.id))


def case_released(session: Session, settings: Settings, case: Case, verdict: Completeness) -> None:
    """Tell the LIMS that a case can be read, how many slides it is read without, and how many before their proof."""
    reasons = [f"{len(verdict.ready)} of {len(verdict.ready) + len(verdict.missing)} slides can be read"]
    if verdict.unproven:
        reasons.append(f"{len(verdict.unproven)} of them before the archive has proven them")
    announced = CaseAnnounced(
        state="released",
        reasons=tuple(reasons),
        case=_named(session, case),
        images_complete=not verdict.missing and not verdict.unproven,
    )
    _announce(session, settings, case, announced, f"released:{case.id}:{case.completeness_version}", ("case", case.id))


def case_assigned(
    session: Session, settings: Settings, case: Case, read: Read, pathologist_id: str, assignment_id: int
) -> None:
    """Tell the LIMS who has a case; of the reads beside that of its reporter, only one that can tell them apart."""
    if not (is_of_reporter(read) or settings.peer(settings.site(case.site_id).lims).hears_all_readers):
        return
    name: str = session.execute(_NAME_OF_READER, {"reader": pathologist_id}).scalar_one()
    given, _, family = name.rpartition(" ")
    announced = CaseAnnounced(
        state="assigned",
        case=_named(session, case),
        pathologist_id=called(session, pathologist_id),
        pathologist_family_name=family,
        pathologist_given_name=given,
        role=read.role,  # type: ignore[arg-type] # the column's words are the statement's
        specimens=tuple(session.scalars(_SPECIMENS_OF_READ, {"read": read.id})) if read.scope != _WHOLE else (),
    )
    _announce(session, settings, case, announced, f"assigned:{case.id}:{assignment_id}", ("case", case.id))


def is_of_reporter(read: Read) -> bool:
    """Whether who has a read reports the case: of one that was split, its first part."""
    return read.role in REPORTING_ROLES and read.scope in REPORTED_SCOPES


def case_reported(session: Session, settings: Settings, case: Case, stated_at: datetime) -> None:
    """Tell the LIMS where a case's report stands that another stated."""
    if case.report == Report.NONE:
        return
    report = CaseAnnounced(state="reported", case=_named(session, case), report=case.report)  # type: ignore[arg-type] # the facet's words are the statement's
    key = f"reported:{case.id}:{case.round}:{case.report}:{stated_at:%Y%m%d%H%M%S%f}"
    _announce(session, settings, case, report, key, ("case", case.id))


def work_asked(session: Session, settings: Settings, case: Case, ordered: WorkOrdered) -> None:
    """Ask the LIMS for work."""
    asked = WorkAsked(
        number=ordered.number,
        work=ordered.kind,
        subject_kind=ordered.subject_kind,
        container_identifier=ordered.container_identifier,
        container_issuer=ordered.issuer,
        stain=ordered.stain,
        because=ordered.because,
        asked_by=ordered.asked_by,
        case=_named(session, case),
    )
    _announce(session, settings, case, asked, f"work:{ordered.number}", ("case", case.id))


def _news(before: ScanState, after: ScanState) -> Iterator[tuple[str, SlideState, tuple[str, ...], int]]:
    """Yield (slide, state, reasons, edition) for each state that has just become true."""
    reasons = (after.reason,) if after.reason else ()
    if before.slide_id and before.storage != Storage.RECEIVED and after.slide_id != before.slide_id:
        yield before.slide_id, "withdrawn", ("the match was wrong",), before.edition
    if after.slide_id is None:
        return
    if after.storage == Storage.PROVEN and _is_new(before, after, "storage"):
        yield after.slide_id, "archived", (), after.edition
    if after.outcome == Outcome.ACTIVE and after.quality == Quality.RESCAN and _is_new(before, after, "quality"):
        yield after.slide_id, "to be rescanned", reasons, after.edition
    if after.outcome == Outcome.SET_ASIDE and _is_new(before, after, "outcome"):
        yield after.slide_id, "set aside", reasons, after.edition
    if after.outcome == Outcome.WITHDRAWN and _is_new(before, after, "outcome"):
        yield after.slide_id, "withdrawn", reasons, after.edition


def _is_new(before: ScanState, after: ScanState, name: str) -> bool:
    return before.slide_id != after.slide_id or getattr(before, name) != getattr(after, name)


def _named(session: Session, case: Case) -> CaseNamed:
    # Whoever was merged into the patient is the patient, so the receiver may know them by those numbers.
    patients = aliases.merged_into(session, case.patient_id, _MOST_PATIENTS) if case.patient_id else ()
    numbers = session.execute(_IDENTIFIERS, {"subjects": [case.id, *patients]}).all()
    first = {one.kind: one for one in reversed(numbers) if one.subject_kind == "case"}
    accession = first.get("accession")
    theirs = [one for one in numbers if one.subject_kind == "patient"]
    theirs.sort(key=lambda one: one.subject_id != case.patient_id)
    return CaseNamed(
        accession_number=accession.value if accession else "",
        accession_issuer=accession.issuer if accession else "",
        placer_order_number=first["placer"].value if "placer" in first else "",
        filler_order_number=first["filler"].value if "filler" in first else "",
        patient=_patient(session, case.patient_id, theirs) if case.patient_id else PatientNamed(),
        site=case.site_id,
    )


def _patient(session: Session, patient_id: str, numbers: Sequence[Row[str, str, str, str, str]]) -> PatientNamed:
    family_name, given_name = session.execute(_NAMES_OF_PATIENT, {"patient": patient_id}).one()
    return PatientNamed(
        identifiers=tuple(StatedIdentifier(value=one.value, issuer=one.issuer, kind=one.kind) for one in numbers),
        family_name=family_name or "",
        given_name=given_name or "",
    )


def _announce(
    session: Session,
    settings: Settings,
    case: Case,
    announced: Announcement,
    event_key: str,
    about: tuple[str, str],
) -> None:
    now = database_now(session)
    peer = settings.site(case.site_id).lims
    digest = hashlib.sha256(f"{peer}\x1f{event_key}".encode()).digest()
    message_id = str(uuid_of(digest))
    row = {
        "id": message_id,
        "peer": peer,
        "event_key": event_key,
        "subject_kind": about[0],
        "subject_id": about[1],
        "announcement": {"kind": type(announced).__name__, **announced.model_dump(mode="json")},
        # MSH-10 holds 20 characters (HL7 2.5.1, 2.A.74): 100 bits in base 32.
        "message_control_id": base64.b32encode(digest)[:20].decode(),
        "stated_at": now,
    }
    if not insert_unless_there(session, OutboxMessage, [row]):
        return
    step = ledger.NewStep(
        kind="send",
        stage=SENDING,
        subject_kind="message",
        subject_id=message_id,
        rank_at=now,
        lane=case.lane,
        slot=f"lims:{peer}",
        order_key=f"{peer}:{case.id}",
    )
    ledger.add(session, [step])
