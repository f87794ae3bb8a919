"""What no row may say, whoever writes it: each promise that the database itself keeps, on SQLite and on PostgreSQL."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.base import Base
from models.database import Database
from models.tables.books import Alert, Fact, InboxMessage, OutboxMessage
from models.tables.case import Case, Slide
from models.tables.place import Site
from models.tables.reading import Assignment, Pathologist, Pool, Read
from models.tables.scan import Instance, Scan, ScanFile
from models.tables.step import Step
from tests.migrated import migrated

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DIGEST = "a" * 64


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def laboratory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A laboratory with one case, its slide, a scan of it, and a read for two pathologists."""
    with ExitStack() as ends:
        url = f"sqlite:///{tmp_path_factory.mktemp('constraints') / 'coverslip.db'}"
        if request.param == "postgresql":
            url = ends.enter_context(request.getfixturevalue("postgres_cluster").unmade_database())
        database = migrated(url)
        ends.callback(database.close)
        with database.write("furnish") as session:
            furnish(session)
        yield database


@pytest.fixture
def books(laboratory: Database) -> Iterator[Session]:
    """A transaction that is taken back after the test."""
    with Session(laboratory.engine, autoflush=False) as session:
        yield session
        session.rollback()


def furnish(session: Session) -> None:
    put(session, Site(id="north", name="North", zone="Europe/London"), Pool(id="all"))
    put(session, case("case"), case("other"), pathologist("ada"), pathologist("ben"))
    put(session, slide("slide", "H26-1-A1"), read("read"))
    put(session, scan(id="scan", identity="matched", slide_id="slide", case_id="case"))


def put(session: Session, *rows: Base) -> None:
    session.add_all(rows)
    session.flush()


def refused(session: Session, *rows: Base) -> str:
    """Return what the database said when it refused these rows."""
    with pytest.raises(IntegrityError) as caught, session.begin_nested():
        put(session, *rows)
    return str(caught.value.orig)


def case(name: str, **values: Any) -> Case:  # noqa: ANN401 - columns
    return Case(**{"id": name, "site_id": "north", "registered_at": NOW, "orders_changed_at": NOW} | values)


def slide(name: str, container: str) -> Slide:
    return Slide(id=name, case_id="case", container_identifier=container, issuer="north")


def read(name: str, **values: Any) -> Read:  # noqa: ANN401 - columns
    return Read(
        **{"id": name, "case_id": "case", "round": 1, "role": "primary", "points": 1, "created_at": NOW} | values
    )


def pathologist(name: str) -> Pathologist:
    return Pathologist(id=name, name=name, site_id="north", pool_id="all", points_a_week=10)


def scan(**values: Any) -> Scan:  # noqa: ANN401 - columns
    return Scan(**{"id": str(uuid4()), "site_id": "north", "scanner": "scanner-1", "received_at": NOW} | values)


def scan_file(path: str, modified_ns: int, **values: Any) -> ScanFile:  # noqa: ANN401 - columns
    given = {"relative_path": path, "bytes": 1, "modified_ns": modified_ns, "first_seen_at": NOW, "changed_at": NOW}
    given |= {"id": str(uuid4()), "site_id": "north", "root": "scanner-1", "state": "arriving"}
    return ScanFile(**given | values)


def assignment(reader: str, **values: Any) -> Assignment:  # noqa: ANN401 - columns
    given = {"read_id": "read", "pathologist_id": reader, "started_at": NOW, "decided_by": "rule", "explanation": {}}
    return Assignment(**given | values)


def instance(uid: str, role: str = "volume", **values: Any) -> Instance:  # noqa: ANN401 - columns
    given = {"scan_id": "scan", "edition": 1, "role": role, "sop_instance_uid": uid, "sha256": DIGEST, "bytes": 1}
    return Instance(**given | {"study_instance_uid": "1.2", "series_instance_uid": "1.2.3"} | values)


def step(**values: Any) -> Step:  # noqa: ANN401 - columns
    given = {"kind": "convert", "stage": "archive_upload", "subject_kind": "scan", "subject_id": "scan"}
    return Step(**given | {"rank_at": NOW, "created_at": NOW} | values)


def inbox(sha256: str, peer: str = "lims") -> InboxMessage:
    return InboxMessage(id=str(uuid4()), source="mllp", peer=peer, sha256=sha256, payload=b"MSH|", received_at=NOW)


def outbox(event_key: str, control_id: str, **values: Any) -> OutboxMessage:  # noqa: ANN401 - columns
    given: dict[str, Any] = {
        "id": str(uuid4()),
        "peer": "lims",
        "event_key": event_key,
        "subject_kind": "scan",
        "subject_id": "scan",
    }
    given |= {"announcement": {}, "message_control_id": control_id, "stated_at": NOW}
    return OutboxMessage(**given | values)


def test_a_read_never_has_two_open_owners(books: Session) -> None:
    put(books, assignment("ada"))
    assert "assignment" in refused(books, assignment("ben"))
    assert "assignment" in refused(books, assignment("ada"))


def test_a_read_may_have_had_many_owners(books: Session) -> None:
    put(books, assignment("ada", ended_at=NOW), assignment("ada", ended_at=NOW), assignment("ben"))


def test_an_owner_is_closed_and_another_opened_in_one_transaction(books: Session) -> None:
    put(books, assignment("ada"))
    books.execute(update(Assignment).values(ended_at=NOW))
    put(books, assignment("ben"))


def test_a_case_has_one_read_of_each_scope_and_role_in_a_round(books: Session) -> None:
    assert "read" in refused(books, read("2"))
    put(books, read("3", round=2), read("4", role="second"), read("5", scope="A"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"identity": "matched"},
        {"identity": "matched", "case_id": "case"},
        {"identity": "pending", "slide_id": "slide", "case_id": "case"},
        {"identity": "unmatched", "slide_id": "slide", "case_id": "case"},
    ],
    ids=str,
)
def test_a_scan_is_matched_if_and_only_if_it_has_a_slide(books: Session, wrong: dict[str, str]) -> None:
    refused(books, scan(**wrong))


def test_a_scan_with_a_slide_has_a_case(books: Session) -> None:
    assert "slide_has_a_case" in refused(books, scan(identity="matched", slide_id="slide"))


@pytest.mark.parametrize("storage", ["stored", "proven", "purged"])
def test_what_is_in_the_archive_is_known_to_be_somebodys_slide(books: Session, storage: str) -> None:
    assert "stored_is_matched" in refused(books, scan(storage=storage))
    assert "stored_is_matched" in refused(books, scan(storage=storage, identity="unmatched"))


@pytest.mark.parametrize("facet", ["quality", "identity", "storage", "outcome"])
def test_a_scan_is_described_by_known_words_only(books: Session, facet: str) -> None:
    # Storage beyond *received* asks for a slide too: with one, only the word itself is wrong.
    matched = {"identity": "matched", "slide_id": "slide", "case_id": "case"} if facet == "storage" else {}
    assert f"ck_scan_{facet}" in refused(books, scan(**matched | {facet: "lost"}))


def test_an_edition_of_a_scan_has_one_object_of_each_role(books: Session) -> None:
    put(books, instance("1.2.3.1"), instance("1.2.3.2", role="label"), instance("1.2.3.3", edition=2))
    assert "instance" in refused(books, instance("1.2.3.4"))


def test_no_two_objects_share_a_uid(books: Session) -> None:
    put(books, instance("1.2.3.1"))
    assert "sop_instance_uid" in refused(books, instance("1.2.3.1", role="label"))


def test_a_waiting_step_says_for_what_and_until_when(books: Session) -> None:
    put(books, step(state="waiting", waiting_for="a person", waiting_until=NOW))
    assert "waiting_says_for_what" in refused(books, step(kind="a", state="waiting", waiting_until=NOW))
    assert "waiting_ends" in refused(books, step(kind="b", state="waiting", waiting_for="a person"))


def test_a_step_that_does_not_wait_waits_for_nothing(books: Session) -> None:
    assert "waiting_says_for_what" in refused(books, step(waiting_for="a person"))


def test_a_step_runs_if_and_only_if_a_worker_has_it(books: Session) -> None:
    put(books, step(state="running", worker_id="worker"))
    assert "running_has_a_worker" in refused(books, step(kind="a", state="running"))
    assert "running_has_a_worker" in refused(books, step(kind="b", state="done", worker_id="worker"))


def test_a_step_is_there_once_per_generation(books: Session) -> None:
    put(books, step(), step(generation=2), step(kind="store"))
    assert "step" in refused(books, step(state="done"))


def test_the_same_bytes_of_a_peer_are_in_the_inbox_once(books: Session) -> None:
    put(books, inbox(DIGEST), inbox(DIGEST, peer="another"))
    assert "inbox" in refused(books, inbox(DIGEST))


def test_an_event_is_told_to_a_peer_once(books: Session) -> None:
    put(books, outbox("archived:1", "C1"), outbox("archived:1", "C1", peer="another"))
    assert "event_key" in refused(books, outbox("archived:1", "C2"))
    assert "message_control_id" in refused(books, outbox("archived:2", "C1"))


@pytest.mark.parametrize("state", ["answered", "refused"])
def test_what_was_answered_had_been_frozen(books: Session, state: str) -> None:
    assert "answered_was_frozen" in refused(books, outbox("archived:1", "C1", state=state))


def test_a_file_arrives_once_at_a_time(books: Session) -> None:
    put(books, scan_file("a.svs", 1), scan_file("a.svs", 2, state="refused"), scan_file("b.svs", 1))
    assert "scan_file" in refused(books, scan_file("a.svs", 3))


def test_a_version_of_a_file_is_known_once(books: Session) -> None:
    put(books, scan_file("a.svs", 1, state="refused"))
    assert "scan_file" in refused(books, scan_file("a.svs", 1, state="duplicate"))


def test_a_taken_file_is_hashed(books: Session) -> None:
    put(books, scan_file("a.svs", 1, state="taken", sha256=DIGEST))
    assert "taken_is_hashed" in refused(books, scan_file("b.svs", 1, state="taken"))


def test_a_container_number_of_an_issuer_is_one_slide(books: Session) -> None:
    assert "slide" in refused(books, slide("2", "H26-1-A1"))


def test_a_case_is_ready_only_when_its_set_is_closed_or_somebody_released_it(books: Session) -> None:
    put(books, case("closed", images="ready", expected_closed_at=NOW), case("let go", images="ready", released=True))
    assert "ready_is_closed" in refused(books, case("open", images="ready"))


def test_a_fact_is_kept_once_however_often_it_is_told(books: Session) -> None:
    def fact() -> Fact:
        given = {"subject_kind": "case", "subject_id": "case", "kind": "registered", "effective_at": NOW}
        return Fact(**given, digest=DIGEST, body={}, received_at=NOW)

    put(books, fact())
    assert "fact" in refused(books, fact())


def test_a_trouble_is_raised_once_until_it_is_cleared(books: Session) -> None:
    def alert(**values: Any) -> Alert:  # noqa: ANN401 - columns
        return Alert(subject_kind="scan", subject_id="scan", kind="late", sentence="s", raised_at=NOW, **values)

    put(books, alert(cleared_at=NOW), alert(cleared_at=NOW), alert())
    assert "alert" in refused(books, alert())


@pytest.mark.parametrize(
    ("make", "parent"),
    [
        (scan, {"site_id": "nowhere"}),
        (scan, {"identity": "matched", "slide_id": "nothing", "case_id": "case"}),
        (partial(case, "2"), {"site_id": "nowhere"}),
        (partial(case, "2"), {"patient_id": "nobody"}),
        (partial(scan_file, "a.svs", 1), {"site_id": "nowhere"}),
        (partial(instance, "1.2.3.1"), {"scan_id": "nothing"}),
        (partial(assignment, "ada"), {"read_id": "nothing"}),
        (partial(assignment, "nobody"), {}),
    ],
)
def test_nothing_hangs_below_what_is_not_there(
    books: Session, make: Callable[..., Base], parent: dict[str, str]
) -> None:
    assert "foreign key" in refused(books, make(**parent)).lower()
