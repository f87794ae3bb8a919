import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra.kafka.broker import Broker
from infra.kafka.credentials import Authority
from tests.connectors.eventlog.laboratory import by_password, laboratory

ROOT = Path(__file__).resolve().parents[3]


def coverslip(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `coverslip kafka topics`, as a person would; ``more`` goes into its environment."""
    command = [sys.executable, "-m", "dashboards.cli.main", "--home", str(home), "kafka", "topics", *arguments]
    wide = os.environ | {"COLUMNS": "160"} | more
    return subprocess.run(command, cwd=ROOT, env=wide, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.apache_kafka("topics have settings and rights")
def test_topics_are_looked_at_shown_made_and_looked_at_again(
    kafka_broker: Broker, kafka_prefix: str, tmp_path: Path
) -> None:
    laboratory(tmp_path, kafka_broker.bootstrap, prefix=kafka_prefix)
    missing = coverslip(tmp_path, "check", "--replication", "1", "--json")
    assert missing.returncode == 1
    told = json.loads(missing.stdout)
    assert {one["kind"] for one in told["differences"]} == {"topic"}
    assert not told["changed"]
    shown = coverslip(tmp_path, "apply", "--replication", "1", "--dry-run")
    assert shown.returncode == 0
    assert f"{kafka_prefix}lims.hl7v2" in shown.stdout
    assert "12 partitions, one copy, 30 days, messages of 8.25 MiB" in shown.stdout
    assert "5 differences: 'coverslip kafka topics apply' makes them good." in shown.stdout
    done = coverslip(tmp_path, "apply", "--replication", "1")
    assert done.returncode == 0
    assert done.stdout.count(" made") == 5
    assert "no authorizer" in done.stdout
    good = coverslip(tmp_path, "check", "--replication", "1")
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.startswith("Kafka is as the file asks for.")


@pytest.mark.apache_kafka("topics have settings and rights")
@pytest.mark.faults
@pytest.mark.parametrize("place", ["topics.before_apply:1", "topics.after_apply:1", "topics.after_apply:3"])
def test_killed_on_the_way_the_same_again_does_the_rest(
    kafka_broker: Broker, kafka_prefix: str, tmp_path: Path, place: str
) -> None:
    laboratory(tmp_path, kafka_broker.bootstrap, prefix=kafka_prefix)
    killed = coverslip(tmp_path, "apply", "--replication", "1", COVERSLIP_FAILPOINT=place)
    assert killed.returncode == -signal.SIGKILL
    assert coverslip(tmp_path, "apply", "--replication", "1").returncode == 0
    assert coverslip(tmp_path, "check", "--replication", "1").stdout.startswith("Kafka is as the file asks for.")


@pytest.mark.parametrize("fault", ["host", "password", "certificate", "right"])
def test_each_mistake_is_one_sentence_and_exit_code_1(secure_kafka_broker: Broker, tmp_path: Path, fault: str) -> None:
    broker = secure_kafka_broker
    address, said = broker.address("SASL_SSL"), by_password(broker, "stranger")
    if fault == "host":
        address = "kafka.invalid:9093"
    elif fault == "password":
        said["password_file"] = by_password(broker, "admin")["password_file"]
    elif fault == "certificate":
        said["ca_file"] = str(Authority.make(tmp_path / "other", "other").file)
    laboratory(tmp_path, address, **said)
    done = coverslip(tmp_path, "check")
    where = f"coverslip: Kafka at {address}"
    sentence = {
        "host": f"{where} can't be found: nobody knows a host of that name (kafka.bootstrap)",
        "password": f"{where} does not believe user stranger: see kafka.username and kafka.password_file",
        "certificate": f"{where} shows a certificate that is not believed (unable to get local issuer certificate): "
        "see kafka.ca_file",
        "right": "coverslip: Kafka does not let user stranger use a topic: its ACL has to allow it",
    }[fault]
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{sentence}\n")
