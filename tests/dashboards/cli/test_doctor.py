import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text, update
from typer.testing import CliRunner

from connectors.first_lab import FirstPorts, write_first_lab
from connectors.settings import Settings, load
from connectors.settings_kafka import Gateway, Kafka
from connectors.settings_wire import is_loopback
from connectors.wiring import open_archive, open_database
from dashboards.cli.commands import application
from dashboards.doctor import books, machine, neighbours, places, wires
from dashboards.doctor.examination import examine
from dashboards.doctor.finding import Finding, Findings, Installation
from infra.kafka.credentials import Authority
from models.database import Database, database_now
from models.migrate import migrate
from models.tables.intake import Consumer
from models.tables.step import Worker
from tests.dashboards.web.laboratory import Laboratory


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The state folder of a first laboratory whose ports nobody uses."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(4)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        mllp, page, lims, engine = (probe.getsockname()[1] for probe in probes)
    write_first_lab(tmp_path / "home", FirstPorts(mllp=mllp, page=page, lims=lims, engine=engine))
    return tmp_path / "home"


@pytest.fixture
def settings(home: Path) -> Settings:
    return load(home)


@pytest.fixture
def installed(settings: Settings) -> Installation:
    """What a first start leaves: a database with tables, and an archive."""
    database = Database(settings.database, checkpoints=True)
    migrate(database)
    database.close()
    open_archive(settings).prepare()
    return Installation(settings)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def only(findings: Iterable[Finding], what: str) -> Finding:
    [found] = [one for one in findings if one.what == what]
    return found


def of_the_folder(home: Path) -> list[Finding]:
    """What depends on the state folder alone, and not on what else runs on this machine."""
    machines = ("Python", "SQLite", "libturbojpeg", "OpenSlide", "decoding", "dciodvfy", "page", "room")
    found = [one for one in examine(home) if one.what not in machines]
    return [one for one in found if "port" not in one.sentence]


def edited(home: Path, before: str, after: str) -> None:
    file = home / "coverslip.toml"
    said = file.read_text(encoding="utf-8")
    assert before in said
    file.write_text(said.replace(before, after), encoding="utf-8")


def test_before_a_first_start_nothing_is_missing_and_nothing_is_made(tmp_path: Path) -> None:
    found = of_the_folder(tmp_path / "new")
    assert {one.level for one in found} <= {"ok", "note"}
    assert "'coverslip up' writes a first one" in only(found, "settings").line
    assert not (tmp_path / "new").exists()


def test_after_a_first_start_the_folder_is_as_it_should_be(home: Path, installed: Installation) -> None:
    found = of_the_folder(home)
    assert [one for one in found if one.level == "missing"] == []
    assert only(found, "database").sentence.endswith("at revision 0004")
    assert only(found, "archive").level == "ok"
    assert installed.settings.home == home


def test_looking_changes_nothing(home: Path) -> None:
    before = sorted(path.name for path in home.rglob("*"))
    list(examine(home))
    assert sorted(path.name for path in home.rglob("*")) == before


def test_settings_that_say_something_impossible_are_named_and_the_machine_is_looked_at_all_the_same(home: Path) -> None:
    edited(home, 'zone = "Europe/London"', 'zone = "Europe/Nowhere"')
    found = list(examine(home))
    assert "Europe/Nowhere" in only(found, "settings").sentence
    assert only(found, "settings").level == "missing"
    assert only(found, "SQLite").level == "ok"


def test_a_state_folder_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    found = only(examine(tmp_path / "file"), "settings")
    assert (found.level, found.fix) == ("missing", "start this as its owner, or mount its disk")
    assert "can't be read (Not a directory)" in found.sentence


def test_a_key_that_others_may_read_is_missing_its_lock(home: Path, settings: Settings) -> None:
    (home / "coverslip.toml").chmod(0o644)
    [found] = places.settings_file(Installation(settings))
    assert (found.level, found.fix) == ("missing", f"chmod 600 {home}/coverslip.toml")


def test_a_state_folder_that_others_may_look_into_is_said(home: Path, settings: Settings) -> None:
    home.chmod(0o755)
    [found] = places.state_folder(Installation(settings))
    assert (found.level, found.fix) == ("note", f"chmod 700 {home}")


def test_too_little_room_is_missing_with_both_sizes(home: Path) -> None:
    edited(home, "# [work]", f"[work]\nspool_reserve_bytes = {1 << 62}")
    found = next(places.room(Installation(load(home))))
    assert found.level == "missing"
    assert "GB free for the spool, 4611686018.4 GB of it kept for the database, so no slide is taken" in found.sentence


def test_an_archive_that_was_used_and_is_not_there_is_a_disk_that_is_not_mounted(
    settings: Settings, installed: Installation
) -> None:
    database = Database(settings.database)
    laboratory = Laboratory(database)
    case_id = laboratory.case("26A1001")
    slide_id = laboratory.slide("26A1001-A1-1", case_id)
    laboratory.object(laboratory.scan("a scan", slide_id, case_id, storage="proven", quality="pass"))
    database.close()
    assert only(places.archive(installed), "archive").level == "ok"
    (settings.resolved(settings.archive_folder) / ".coverslip-archive").unlink()
    found = only(places.archive(installed), "archive")
    assert found.level == "missing"
    assert "mount it" in found.sentence


def test_a_scanner_folder_elsewhere_that_is_not_there_has_to_be_mounted(home: Path, tmp_path: Path) -> None:
    edited(home, 'path = "scanners/site-a"', f'path = "{tmp_path}/share"')
    [found] = places.scanners(Installation(load(home)))
    assert (found.level, found.sentence) == ("missing", f"{tmp_path}/share is not there")
    (tmp_path / "share").write_text("no folder")
    [found] = places.scanners(Installation(load(home)))
    assert "can't be read (Not a directory)" in found.sentence


def test_the_kind_of_file_system_is_told_apart() -> None:
    assert places.file_system_of(Path("/proc/self")) == "proc"


def test_a_free_port_is_right_and_one_of_another_program_is_missing(
    settings: Settings, listening: socket.socket
) -> None:
    taken = listening.getsockname()[1]
    page = settings.page.model_copy(update={"port": taken})
    found = list(neighbours.ports(Installation(settings.model_copy(update={"page": page}))))
    assert only(found, "MLLP lims").level == "ok"
    assert only(found, "page").level == "missing"
    assert f"port {taken} of 127.0.0.1 can't be opened (used by process {os.getpid()})" in only(found, "page").sentence


def test_a_port_that_a_process_of_this_state_folder_holds_is_right(
    settings: Settings, listening: socket.socket
) -> None:
    page = settings.page.model_copy(update={"port": listening.getsockname()[1]})
    with (settings.home / "its.log").open("ab"):
        found = only(neighbours.ports(Installation(settings.model_copy(update={"page": page}))), "page")
    assert found.level == "ok"
    assert f"open, by our process {os.getpid()}" in found.sentence


def test_hl7_in_plain_text_beyond_this_machine_is_noted_for_as_long_as_it_is_allowed(settings: Settings) -> None:
    open_to_all = {"host": "0.0.0.0", "insecure_allow": True}  # noqa: S104 - what is to be warned of
    listener = settings.listeners[0].model_copy(update=open_to_all)
    peer = settings.lims[0].model_copy(update={"host": "lims.example", "insecure_allow": True})
    found = list(wires.wires(Installation(settings.model_copy(update={"listeners": (listener,), "lims": (peer,)}))))
    assert [(one.what, one.level) for one in found] == [
        (f"MLLP {listener.peer}", "note"),
        (f"LIMS {peer.name}", "note"),
    ]
    assert all("in plain text" in one.sentence for one in found)


def test_the_doctor_looks_at_each_certificate(settings: Settings, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path, "hospital")

    def told(valid_for: timedelta, ca: Path | None = authority.file) -> list[tuple[str, str]]:
        certificate, key = authority.issue("ours", valid_for)
        files = {"ca_file": ca, "certificate_file": certificate, "key_file": key}
        listener, peer = (one.model_copy(update=files) for one in (settings.listeners[0], settings.lims[0]))
        changed = settings.model_copy(update={"listeners": (listener,), "lims": (peer,)})
        return [(one.level, one.sentence.split()[0]) for one in wires.wires(Installation(changed))]

    assert told(timedelta(days=90)) == [("ok", "TLS;"), ("ok", "TLS;")]
    assert told(timedelta(days=9)) == [("note", "TLS;"), ("note", "TLS;")]
    assert told(timedelta(minutes=-1)) == [("missing", "listeners"), ("missing", "our")]
    assert told(timedelta(days=90), tmp_path / "gone") == [("missing", "listeners"), ("missing", "lims")]


def test_only_this_machine_is_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("10.1.2.3", "0.0.0.0", "::", "lims")))  # noqa: S104 - no address to open


def test_a_lims_that_nobody_plays_is_a_note_since_messages_wait(settings: Settings, listening: socket.socket) -> None:
    [silent] = neighbours.lims(Installation(settings))
    assert silent.level == "note"
    assert "messages to it wait" in silent.fix
    peer = settings.lims[0].model_copy(update={"port": listening.getsockname()[1]})
    [answering] = neighbours.lims(Installation(settings.model_copy(update={"lims": (peer,)})))
    assert answering.level == "ok"


def test_a_collector_that_is_away_is_a_note(home: Path, settings: Settings) -> None:
    assert only(neighbours.telemetry(Installation(settings)), "telemetry").sentence == "off"
    edited(home, "# [telemetry]", '[telemetry]\nto = "otlp"\nendpoint = "http://127.0.0.1:1"')
    assert only(neighbours.telemetry(Installation(load(home))), "telemetry").level == "note"


def test_what_up_has_started_is_known_only_while_it_holds_its_lock(home: Path) -> None:
    (home / "pids").write_text("doors 12\nworker None\n")
    with (home / "up.lock").open("a") as lock:
        assert neighbours.started_here(home) is None
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert neighbours.started_here(home) == {"doors": 12, "worker": None}


def test_a_process_that_keeps_ending_is_missing(settings: Settings) -> None:
    [found] = neighbours.processes(Installation(settings, processes={"doors": 12, "worker": None}))
    assert (found.level, found.sentence) == ("missing", "worker ended and is started again and again")


@pytest.fixture
def on_database(settings: Settings, empty_database_url: str) -> Installation:
    """The laboratory on an empty database of each kind."""
    return Installation(settings.model_copy(update={"database_url": empty_database_url}))


def looked(on_database: Installation, change: Callable[[Database], object]) -> Findings:
    database = Database(on_database.settings.database)
    change(database)
    database.close()
    return books.database(on_database)


def test_a_database_without_tables_gets_them_at_a_start_and_the_archive_is_prepared_then(
    on_database: Installation,
) -> None:
    found = looked(on_database, lambda database: database.engine.connect().close())
    assert only(found, "database").level == "note"
    assert only(places.archive(on_database), "archive").level == "note"


def test_a_database_of_a_newer_version_is_not_for_this_one(on_database: Installation) -> None:
    def newer(database: Database) -> None:
        migrate(database)
        with database.write("newer") as session:
            session.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    found = only(looked(on_database, newer), "database")
    assert (found.level, found.fix) == ("missing", "install the newer Coverslip that wrote it")


def test_a_worker_that_beats_is_well_and_a_silent_one_is_missed_while_up_runs(on_database: Installation) -> None:
    def beat(database: Database) -> None:
        laboratory = Laboratory(database)
        with database.read() as session:
            laboratory.worker("Prefect runs and shows the flows", database_now(session))

    assert only(looked(on_database, beat), "workers").level == "ok"

    def fall_silent(database: Database) -> None:
        with database.write("silence") as session:
            session.execute(update(Worker).values(heartbeat_at=database_now(session) - timedelta(hours=1)))

    is_up = Installation(on_database.settings, processes={"worker": 12})
    assert only(looked(is_up, fall_silent), "workers").level == "missing"


def test_a_clock_that_was_set_back_is_said(on_database: Installation) -> None:
    def from_the_future(database: Database) -> None:
        laboratory = Laboratory(database)
        with database.read() as session:
            laboratory.worker("", database_now(session) + timedelta(hours=1))

    found = only(looked(on_database, from_the_future), "clock")
    assert found.level == "note"
    assert "the clock was set back" in found.sentence


@pytest.mark.postgres
def test_a_postgresql_that_may_forget_commits_is_missing_its_durability(
    settings: Settings, postgres_database: str
) -> None:
    on_it = Installation(settings.model_copy(update={"database_url": postgres_database}))
    forgetful = only(books.database(on_it), "durability")
    assert forgetful.level == "missing"
    assert "synchronous_commit off, so what was acknowledged may be lost" in forgetful.sentence
    database = Database(postgres_database)
    with database.write("durable") as session:
        name = session.connection().engine.url.database
        session.execute(text(f'ALTER DATABASE "{name}" SET synchronous_commit = on'))
    database.close()
    assert "synchronous_commit" not in only(books.database(on_it), "durability").sentence


def test_a_database_that_is_away_is_missing_and_its_password_is_not_shown(settings: Settings) -> None:
    away = "postgresql+psycopg://lab:secret@127.0.0.1:1/coverslip"
    [found] = books.database(Installation(settings.model_copy(update={"database_url": away})))
    assert found.level == "missing"
    assert "does not answer" in found.sentence
    assert "secret" not in found.line


def test_a_file_that_is_no_database_is_missing(settings: Settings) -> None:
    (settings.home / "coverslip.db").write_bytes(b"no database, but long enough to look like one" * 100)
    [found] = books.database(Installation(settings))
    assert found.level == "missing"


def test_the_wal_reset_bug_is_in_some_versions_of_sqlite() -> None:
    assert all(map(machine.has_wal_reset_bug, ((3, 40, 1), (3, 44, 5), (3, 51, 0), (3, 51, 2))))
    assert not any(map(machine.has_wal_reset_bug, ((3, 44, 6), (3, 50, 7), (3, 51, 3), (3, 53, 0))))


def test_the_command_ends_with_one_when_something_is_missing_and_says_the_same_to_machines(home: Path) -> None:
    (home / "coverslip.toml").chmod(0o644)
    for_people = CliRunner().invoke(application(), ["--home", str(home), "doctor"])
    assert for_people.exit_code == 1
    [line] = [line for line in for_people.stdout.splitlines() if line.startswith("missing settings")]
    assert f"chmod 600 {home}/coverslip.toml" in line
    for_machines = CliRunner().invoke(application(), ["--home", str(home), "doctor", "--json"])
    assert for_machines.exit_code == 1
    said = json.loads(for_machines.stdout)
    assert said["ok"] is False
    assert only((Finding(**one) for one in said["findings"]), "settings").level == "missing"


def test_the_command_ends_with_nought_when_nothing_is_missing(home: Path, installed: Installation) -> None:
    done = CliRunner().invoke(application(), ["--home", str(installed.settings.home), "doctor"])
    machines = [line for line in done.stdout.splitlines() if line.startswith("missing")]
    assert done.exit_code == bool(machines)
    assert not any(str(home) in line for line in machines)


def test_a_gateway_says_what_it_has_still_to_hand_on(installed: Installation) -> None:
    said = {"kafka": Kafka(bootstrap=("localhost:9092",)), "gateway": Gateway()}
    gateway = Installation(installed.settings.model_copy(update=said))

    found = only(books.database(gateway), "gateway")

    assert (found.level, found.sentence) == (
        "ok",
        "everything that came in was handed on; nothing came in during the last 15 min",
    )
    assert "gateway" not in [one.what for one in books.database(installed)]


def test_an_installation_that_reads_kafka_says_how_it_stands(installed: Installation) -> None:
    reads = Installation(installed.settings.model_copy(update={"kafka": Kafka(bootstrap=("localhost:9092",))}))
    before = only(books.database(reads), "intake")
    opened = open_database(installed.settings)
    with opened.write("consumer") as session:
        now = database_now(session)
        beat = {"started_at": now, "heartbeat_at": now, "partitions": 3, "lag": 0}
        session.add(Consumer(id="c", host="here", pid=1, **beat, away_since=now, away_because="it is away"))
    away = only(books.database(reads), "intake")
    with opened.write("consumer") as session:
        session.execute(update(Consumer).values(away_since=None, away_because=None))
    after = only(books.database(reads), "intake")
    opened.close()

    assert (before.level, before.sentence.startswith("Nobody has read")) == ("note", True)
    assert (away.level, away.sentence.endswith(": it is away")) == ("missing", True)
    assert (after.level, after.sentence) == ("ok", "1 process reads the event log: 3 partitions, 0 records to come")
    assert "intake" not in [one.what for one in books.database(installed)]
