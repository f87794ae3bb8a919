"""What must hold after any fault: our own audit, what our neighbours saw, and the end of an undisturbed run.

The books are read here with plain SQL, and the neighbours' side comes from the neighbours: an oracle that asked our
own code alone would believe it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from connectors.settings import Settings, load
from connectors.slides.bounded import Decoder
from connectors.telemetry import Telemetry
from connectors.wiring import Lab, open_archive, open_database, open_ids, open_spool
from flows.audit.oracle import audit
from flows.audit.snapshots import Books
from flows.sweep import tidy
from models.database import Database
from tests.faults.lab import FaultLab
from tests.faults.lims import control_id

# Everything but what depends on time, on the number of a try, or on a random id.
_TABLES: Final = {
    "patient": "SELECT id, family_name, given_name, birth_date, sex, nhs_number_status FROM patient",
    "identifier": "SELECT subject_kind, subject_id, kind, issuer, value FROM identifier",
    "case": (
        "SELECT id, site_id, patient_id, subspecialty, lane, due_kind, cancelled, released, images, reading, report,"
        ' round, completeness_version, identity_digest, expected_closed_at IS NULL FROM "case"'
    ),
    "deadline": "SELECT id, case_id, round, kind, basis, ended_at IS NULL FROM deadline",
    "specimen": "SELECT id, case_id, issuer, container_identifier, cancelled FROM specimen",
    "block": "SELECT id, case_id, issuer, container_identifier, cancelled FROM block",
    "slide": (
        "SELECT id, case_id, issuer, container_identifier, route, cancelled, preferred_scan_id, readable_at IS NULL"
        " FROM slide"
    ),
    "derivation": "SELECT child_id, parent_id, case_id FROM derivation",
    "scan": (
        "SELECT id, site_id, scanner, slide_id, case_id, purpose, edition, quality, quality_by_person, identity,"
        " storage, outcome, reason, superseded_by_id FROM scan"
    ),
    "scan_file": "SELECT site_id, root, relative_path, bytes, state, problem, sha256, place, scan_id FROM scan_file",
    "instance": (
        # Not the digest: an object names the second in which its case was registered.
        "SELECT scan_id, edition, role, study_instance_uid, series_instance_uid, sop_instance_uid, state FROM instance"
    ),
    "read": "SELECT id, case_id, round, scope, role, points, closed_at IS NULL FROM read",
    "assignment": "SELECT read_id, pathologist_id, decided_by, ended_at IS NULL FROM assignment",
    "inbox": (
        "SELECT source, peer, CASE source WHEN 'hl7' THEN sha256 END, message_control_id, message_type, state, problem"
        " FROM inbox"
    ),
    "outbox": "SELECT id, peer, event_key, announcement, message_control_id, state, answer_code FROM outbox",
    "step": (
        "SELECT step.kind, stage, CASE subject_kind WHEN 'inbox' THEN message_type ELSE subject_id END, generation,"
        " edition, step.state FROM step LEFT JOIN inbox ON inbox.id = subject_id"
    ),
    "fact": "SELECT subject_kind, subject_id, kind, body, actor, reason FROM fact",
    "history": "SELECT subject_kind, subject_id, what, before, after, actor, reason FROM history",
    "alert": "SELECT subject_kind, subject_id, kind, sentence FROM alert",
    "slot": "SELECT name, number, step_id, silent_since FROM slot",
}

End = dict[str, list[tuple[Any, ...]]]
"""The rows of every table that counts, sorted."""


@dataclass(frozen=True)
class Object:
    """A file of the archive."""

    path: str
    sha256: str


def end_of(lab: FaultLab) -> End:
    """Return what an end state is compared by: twice the same row is two rows."""
    return {table: sorted(lab.rows(query), key=repr) for table, query in _TABLES.items()}


def objects_of(lab: FaultLab) -> list[Object]:
    """Return every object that lies in the archive, by path below it."""
    return [
        Object(path.relative_to(lab.archive).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(lab.archive.rglob("*.dcm"))
    ]


def breaches(lab: FaultLab, expected: End | None = None) -> list[str]:
    """Return every promise that was broken, a sentence each; nothing of ours may run meanwhile.

    ``expected`` is the end of the undisturbed run.
    """
    settings = load(lab.home)
    database = open_database(settings)
    try:
        # What the worker tidies now and then is tidied before anybody looks for what was left over.
        tidy(_steps_see(settings, database))
        found = [
            *acknowledged_is_kept(lab),
            *_archive_is_what_was_made(lab),
            *_one_owner(lab),
            *_told_once_and_in_order(lab),
            *_nothing_left_over(lab),
            *_audited(settings, database),
        ]
    finally:
        database.close()
    if expected is not None:
        found += differences(expected, end_of(lab))
    return found


def audited(lab: FaultLab) -> list[str]:
    """Return what our own audit of the books finds, which must be nothing at any time."""
    settings = load(lab.home)
    database = open_database(settings)
    try:
        return list(_audited(settings, database))
    finally:
        database.close()


def acknowledged_is_kept(lab: FaultLab) -> Iterator[str]:
    """Whatever a client saw acknowledged is in the inbox with the same bytes, once, and always with the same answer."""
    for name, answers in lab.lims.answers.items():
        digest = hashlib.sha256(lab.lims.sent[name]).hexdigest()
        kept = [row for row in _inbox(lab) if hashlib.sha256(row[0]).hexdigest() == digest]
        if answers and len(kept) != 1:
            yield f"message {name} was acknowledged and is {len(kept)} times in the inbox"
        for answer in answers:
            if _acknowledges(answer) != name:
                yield f"message {name} was answered for {_acknowledges(answer)}"
            if kept and answer != kept[0][1]:
                yield f"message {name} was given another answer than the one that is kept with it"


def _inbox(lab: FaultLab) -> list[tuple[bytes, bytes]]:
    return [(payload, answer) for payload, answer in lab.rows("SELECT payload, answer FROM inbox WHERE source = 'hl7'")]


def _acknowledges(answer: bytes) -> str:
    fields = next(one for one in answer.split(b"\r") if one.startswith(b"MSA|")).split(b"|")
    return fields[2].decode() if fields[1] == b"AA" else "nothing"


def _archive_is_what_was_made(lab: FaultLab) -> Iterator[str]:
    """The archive holds each object that the books say is proven, once, with its bytes, and no other."""
    query = (
        "SELECT CASE state WHEN 'rejected' THEN 'rejected/' ELSE '' END || study_instance_uid || '/'"
        " || series_instance_uid || '/' || sop_instance_uid || '.dcm', sha256 FROM instance"
    )
    ours = {Object(path, sha256) for path, sha256 in lab.rows(query)}
    theirs = objects_of(lab)
    names = Counter(Path(one.path).name for one in theirs)
    yield from (f"the archive holds {name} {count} times" for name, count in names.items() if count > 1)
    yield from (f"the archive holds {one.path} with bytes that the books don't know" for one in set(theirs) - ours)
    yield from (f"the archive does not hold {one.path} as the books know it" for one in ours - set(theirs))


def _one_owner(lab: FaultLab) -> Iterator[str]:
    for read_id, count in lab.rows("SELECT read_id, count(*) FROM assignment GROUP BY read_id"):
        if count != 1:
            yield f"read {read_id} was assigned {count} times"
    for case_id, count in lab.rows(
        "SELECT subject_id, count(*) FROM history WHERE what = 'reader' GROUP BY subject_id"
    ):
        if count != 1:
            yield f"case {case_id} changed its reader {count} times"


def _told_once_and_in_order(lab: FaultLab) -> Iterator[str]:
    """Each message was told at least once, always in the same bytes, and none before the one that it follows."""
    told: dict[str, set[bytes]] = {}
    for message in lab.lims.told:
        told.setdefault(control_id(message), set()).add(message)
    in_order = lab.rows(
        "SELECT message_control_id, payload FROM outbox JOIN step ON step.subject_id = outbox.id"
        " WHERE step.kind = 'send' ORDER BY step.id"
    )
    for name, payload in in_order:
        if told.get(name, set()) != {payload}:
            yield f"message {name} was told in {len(told.get(name, set()))} versions, or not as it is kept"
    expected = [name for name, _payload in in_order]
    for stranger in sorted(set(told) - set(expected)):
        yield f"message {stranger} was told and is not in the books"
    heard = [expected.index(name) for name in map(control_id, lab.lims.told) if name in expected]
    if heard != sorted(heard):
        yield f"the messages of the case were told in the order {heard}"


def _nothing_left_over(lab: FaultLab) -> Iterator[str]:
    """No file is left that nothing refers to."""
    yield from (
        f"{path.name} is left in the archive"
        for path in _files(lab.archive)
        if path.suffix != ".dcm" and path.name != "rejection.json"
    )
    yield from (f"{path} is left in the spool" for path in _files(lab.spool / "incoming"))
    yield from (f"{path} is left in the spool" for path in (lab.spool / "work").iterdir())
    taken = {file_id for (file_id,) in lab.rows("SELECT id FROM scan_file WHERE state = 'taken'")}
    yield from (f"{path} is no file of ours" for path in (lab.spool / "scans").iterdir() if path.name not in taken)
    yield from (f"the spool lost {one}" for one in taken if not [*(lab.spool / "scans" / one).iterdir()])
    yield from (
        f"{path} is left among the pictures" for path in _files(lab.home / "pictures") if path.suffix == ".part"
    )
    yield from (f"{path.name} is left in the state folder" for path in lab.home.glob(".*"))


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".coverslip-archive"]


def _audited(settings: Settings, database: Database) -> Iterator[str]:
    books = Books(settings, database, open_ids(settings), open_spool(settings), open_archive(settings), full=True)
    for finding in audit(books):
        yield from (f"audit, {finding.check.name}: {sentence}" for sentence in finding.sentences)


def _steps_see(settings: Settings, database: Database) -> Lab:
    return Lab(
        settings=settings,
        database=database,
        ids=open_ids(settings),
        spool=open_spool(settings),
        decoder=Decoder(()),
        archive=open_archive(settings),
        senders={},
        telemetry=Telemetry.off(),
    )


def differences(expected: End, found: End) -> Iterator[str]:
    """Yield each row that is there once too often or once too few."""
    for table, rows in expected.items():
        wanted, got = Counter(map(_plain, rows)), Counter(map(_plain, found[table]))
        yield from (f"{table}: {count} x too few: {row}" for row, count in (wanted - got).items())
        yield from (f"{table}: {count} x too many: {row}" for row, count in (got - wanted).items())


def _plain(row: tuple[Any, ...]) -> str:
    return json.dumps(row, default=repr)
