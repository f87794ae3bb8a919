"""Reading Kafka again, on a real one: shown, asked for by name, taken in, and stopped by Ctrl-C."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from connectors.eventlog.topics import opened_cluster, read_topics
from connectors.settings import load
from dashboards.cli.moments import place_in_words, place_said
from infra.kafka.broker import Broker
from models.errors import RefusedError
from models.events.kinds import ScannerStatus
from tests.connectors.eventlog.laboratory import Said, by_password, by_token, laboratory, security
from tests.dashboards.cli.conftest import Run
from tests.dashboards.cli.test_intake import NOW, asked, make_topics, produce, set_kafka, started, until
from tests.flows.intake.eventing import event, hl7
from tests.small_lab import order

COUNT = "SELECT count(*) FROM inbox WHERE origin IS NOT NULL"
ANN = ("--by", "Ann Example", "--reason", "the gateway was set up anew")


def statuses(count: int) -> list[bytes]:
    return [event(f"s{number}", ScannerStatus(state="idle", stated_at=NOW)) for number in range(count)]


@pytest.mark.apache_kafka("the end of a partition is known")
def test_what_the_intake_has_is_a_duplicate_and_the_rest_is_taken_in_by_name(
    home: Path, run: Run, kafka_broker: Broker, kafka_prefix: str
) -> None:
    set_kafka(home, kafka_broker.bootstrap, kafka_prefix)
    make_topics(kafka_broker, kafka_prefix)
    topic = f"{kafka_prefix}lims.hl7v2"
    produce(kafka_broker, topic, event("m1", hl7(order("26H77", "26H000077-A1-1"))))
    with started(home):
        until(lambda: asked(home, COUNT) == [(1,)], "what lies in Kafka was not read")
    positions = asked(home, "SELECT topic, partition, position FROM consumer_position ORDER BY 1, 2")
    produce(kafka_broker, topic, event("m2", hl7(order("26H78", "26H000078-A1-1", control_id="M2"))), b"poison")

    shown = run("kafka", "replay", "lims.hl7v2", "--from", "0", "--dry-run")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith(f"{topic} from offset 0: 3 records in 2 partitions, frozen at ")
    assert [line.split()[:2] for line in shown.out.splitlines()[2:]] == [
        ["new", "1"],
        ["would", "change"],
        ["duplicate", "1"],
        ["poison", "1"],
    ]
    assert asked(home, COUNT) == [(1,)]

    done = run("kafka", "replay", topic, "--from", "2026-01-01T00:00+00:00", *ANN, "--json")
    assert done.code == 0
    told = json.loads(done.out)
    assert told["preview"] == told["done"] == {"new": 1, "would change": 0, "duplicate": 1, "poison": 1}
    assert (told["topic"], told["records"], told["ended_by"]) == (topic, 3, None)
    assert asked(home, COUNT) == [(3,)]
    assert asked(home, "SELECT topic, partition, position FROM consumer_position ORDER BY 1, 2") == positions
    named = "SELECT DISTINCT actor, reason FROM history WHERE cause = 'kafka replay'"
    assert asked(home, named) == [(ANN[1], ANN[3])]

    again = run("kafka", "replay", "lims.hl7v2", "--from", "0", *ANN)
    assert (again.code, again.out.splitlines()[-1]) == (0, "Nothing would change.")
    capped = run("kafka", "replay", "scanner", "--from", "0", *ANN)
    assert "0 records in 2 partitions" in capped.out


@pytest.mark.apache_kafka("the end of a partition is known")
def test_ctrl_c_ends_it_between_two_transactions_and_the_same_again_does_the_rest(
    home: Path, run: Run, kafka_broker: Broker, kafka_prefix: str
) -> None:
    set_kafka(home, kafka_broker.bootstrap, kafka_prefix)
    make_topics(kafka_broker, kafka_prefix)
    produce(kafka_broker, f"{kafka_prefix}scanner", *statuses(12))
    command = [sys.executable, "-m", "dashboards.cli.main", "--home", str(home), "kafka", "replay", "scanner"]
    slow = [*command, "--from", "0", "--per-second", "1", *ANN]
    process = subprocess.Popen(slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: asked(home, COUNT)[0][0] in (1, 2, 3), "nothing was taken in")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    [(count,)] = asked(home, COUNT)
    assert isinstance(count, int)
    assert 0 < count < 12
    assert process.returncode == 1
    assert f"new {count} taken in" in " ".join(out.split())
    assert err == (
        "coverslip: it was stopped: what was taken in stays, and the same command goes on: what is there changes "
        "nothing\n"
    )
    capped = run("kafka", "replay", "scanner", "--from", "0", *ANN, "--at-most", "1")
    assert (capped.code, "of 12 records more than 1 would change something" in capped.err) == (1, True)
    rest = json.loads(run("kafka", "replay", "scanner", "--from", "0", *ANN, "--json").out)
    assert rest["done"] == {"new": 12 - count, "would change": 0, "duplicate": count, "poison": 0}


@pytest.mark.apache_kafka("the end of a partition is known")
def test_whoever_sits_at_a_terminal_is_asked_first(home: Path, kafka_broker: Broker, kafka_prefix: str) -> None:
    set_kafka(home, kafka_broker.bootstrap, kafka_prefix)
    make_topics(kafka_broker, kafka_prefix)
    produce(kafka_broker, f"{kafka_prefix}scanner", *statuses(2))
    command = [sys.executable, "-m", "dashboards.cli.main", "--home", str(home), "kafka", "replay", "scanner"]
    for typed, code, count in ((b"n\n", 1, 0), (b"\x03", 1, 0), (b"y\n", 0, 2)):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*command, "--from", "0", *ANN], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        try:
            said = seen(ours, b"Do this?")
            if typed == b"\x03":
                # Without a controlling terminal nobody makes a signal of it.
                process.send_signal(signal.SIGINT)
            else:
                os.write(ours, typed)
            assert process.wait(20) == code, said
        finally:
            process.kill()
            os.close(ours)
        assert asked(home, COUNT) == [(count,)]


def seen(terminal: int, wanted: bytes) -> bytes:
    """Read a terminal until it shows something."""
    said = b""
    limit = time.monotonic() + 20
    while wanted not in said and time.monotonic() < limit:
        said += os.read(terminal, 4_096)
    assert wanted in said
    return said


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (("slide", "--from", "0"), "the intake reads scanner and lims.hl7v2 only"),
        (("scanner", "--from", "yesterday"), "--from takes an offset, or a time as in 2026-03-02T09:30+00:00"),
        (("scanner", "--from", "5", "--to", "5"), "--to is not after --from"),
        (("scanner", "--from", "0", "--site", "nowhere"), "no site of the settings is called so; there are: site-a"),
        (("scanner", "--from", "2026-10-25T01:30", "--site", "site-a"), "the clocks change then in Europe/London"),
        (("scanner", "--from", "0"), "Kafka at 127.0.0.1:1 refuses connections"),
    ],
)
def test_each_mistake_is_one_sentence(home: Path, run: Run, said: tuple[str, ...], sentence: str) -> None:
    set_kafka(home, "127.0.0.1:1", "coverslip.")
    done = run("kafka", "replay", *said, *ANN)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert sentence in done.err


def test_nobody_replays_without_a_name_or_on_a_gateway_or_without_kafka(home: Path, run: Run) -> None:
    without = run("kafka", "replay", "scanner", "--from", "0", *ANN)
    assert (without.code, "has no [kafka] section" in without.err) == (1, True)
    set_kafka(home, "127.0.0.1:1", "coverslip.")
    nameless = run("kafka", "replay", "scanner", "--from", "0")
    assert (nameless.code, "say who you are" in nameless.err) == (1, True)
    with (home / "coverslip.toml").open("a") as settings:
        settings.write("[gateway]\nforward = true\n")
    gateway = run("kafka", "replay", "scanner", "--from", "0", *ANN)
    assert (gateway.code, "this is a gateway" in gateway.err) == (1, True)


@pytest.mark.apache_kafka("a topic is missing until it is made")
def test_a_topic_that_is_missing_is_one_sentence(home: Path, run: Run, kafka_broker: Broker, kafka_prefix: str) -> None:
    set_kafka(home, kafka_broker.bootstrap, kafka_prefix)
    done = run("kafka", "replay", "scanner", "--from", "0", *ANN)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert f"the event log has no topic {kafka_prefix}scanner: 'coverslip kafka topics apply' makes" in done.err


def test_a_time_without_an_offset_is_the_site_s_and_is_said_back(home: Path) -> None:
    settings = load(home)
    summer = place_said("2026-07-01T10:00", "--from", settings, "site-a")
    assert summer == datetime.fromisoformat("2026-07-01T09:00+00:00")
    assert place_in_words(summer, "Europe/London").startswith("1 Jul 2026, 10:00:00 BST (")
    assert place_said("17", "--to", settings, None) == 17
    zones = tuple(
        one.model_copy(update={"zone": zone})
        for one, zone in zip(settings.sites, ("Europe/London", "Asia/Tokyo"), strict=True)
    )
    apart = settings.model_copy(update={"sites": zones})
    with pytest.raises(RefusedError, match="the sites are in several zones"):
        place_said("2026-07-01T10:00", "--from", apart, None)


RIGHTS = """
replication = 1
min_insync = 1

[topics.scanner]
partitions = 2
retention_days = 7
max_message_bytes = 65536

[topics."lims.hl7v2"]
partitions = 2
retention_days = 7
max_message_bytes = 65536

[roles.reader]
principals = ["User:intake"]
reads = ["scanner"]
"""


def test_who_signs_in_reads_again_over_tls_what_an_acl_allows_and_nothing_else(
    home: Path, run: Run, secure_kafka_broker: Broker, kafka_prefix: str, tmp_path: Path
) -> None:
    broker = secure_kafka_broker
    (tmp_path / "topics.toml").write_text(RIGHTS)
    wanted = read_topics(tmp_path / "topics.toml")
    admin = laboratory(
        tmp_path / "admin", broker.address("SASL_SSL"), prefix=kafka_prefix, **by_password(broker, "admin")
    )
    with opened_cluster(admin) as cluster:
        cluster.apply(wanted, cluster.compare(wanted).differences)
    produce(broker, f"{kafka_prefix}scanner", *statuses(4))
    told = (home / "coverslip.toml").read_text()

    def signed_in(said: Said) -> None:
        lines = {"prefix": kafka_prefix, "group": "nobody-may-use-it", **said}
        kafka = "".join(f'{name} = "{value}"\n' for name, value in lines.items())
        address = broker.address("SASL_SSL")
        (home / "coverslip.toml").write_text(f'{told}\n[kafka]\nbootstrap = ["{address}"]\n{kafka}')

    signed_in(by_password(broker, "intake"))
    shown = json.loads(run("kafka", "replay", "scanner", "--from", "0", "--dry-run", "--json").out)
    assert shown["preview"] == {"new": 4, "would change": 0, "duplicate": 0, "poison": 0}
    signed_in(by_token(broker, security(broker).token_file("intake")))
    done = json.loads(run("kafka", "replay", "scanner", "--from", "2026-01-01T00:00+00:00", *ANN, "--json").out)
    assert done["done"] == {"new": 4, "would change": 0, "duplicate": 0, "poison": 0}
    assert asked(home, COUNT) == [(4,)]

    forbidden = run("kafka", "replay", "lims.hl7v2", "--from", "0", *ANN)
    assert (forbidden.code, forbidden.err.count("\n")) == (1, 1)
    assert "use a topic: its ACL has to allow it" in forbidden.err
    signed_in(by_password(broker, "stranger"))
    stranger = run("kafka", "replay", "scanner", "--from", "0", *ANN)
    assert (stranger.code, stranger.err.count("\n")) == (1, 1)
    assert "Kafka does not let user stranger use a topic: its ACL has to allow it" in stranger.err
    signed_in(by_password(broker, "intake") | {"password_file": str(security(broker).password_file("stranger"))})
    wrong = run("kafka", "replay", "scanner", "--from", "0", *ANN)
    assert (wrong.code, "does not believe user intake" in wrong.err) == (1, True)
    assert asked(home, COUNT) == [(4,)]
