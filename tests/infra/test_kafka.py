import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from infra.kafka.broker import Broker, tool
from tests import kafka_broker as kafka

ROOT = Path(__file__).resolve().parents[2]
A_RUN_THAT_WAITS = """
import time
from tests import kafka_broker

with kafka_broker.running() as broker:
    print(broker.folder.parent, broker.pid, flush=True)
    time.sleep(60)
"""


def topic_of_one_partition(broker: Broker, name: str) -> str:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1}})
    admin.close()
    return name


def records(broker: Broker, topic: str) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest")
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    [end] = consumer.end_offsets([partition]).values()
    read: list[bytes] = []
    while consumer.position(partition) < end:
        read += [record.value for batch in consumer.poll(1_000).values() for record in batch]
    consumer.close()
    return read


@pytest.mark.apache_kafka("Kafka brings tools of its own")
def test_kafkas_own_console_producer_is_heard(kafka_broker: Broker, kafka_prefix: str) -> None:
    topic = topic_of_one_partition(kafka_broker, f"{kafka_prefix}console")
    arguments = ("--bootstrap-server", kafka_broker.bootstrap, "--topic", topic)
    command = tool("org.apache.kafka.tools.ConsoleProducer", *arguments)
    subprocess.run(command, input=b"one\ntwo\n", capture_output=True, timeout=60, check=True)
    assert records(kafka_broker, topic) == [b"one", b"two"]


@pytest.mark.faults
def test_what_was_acknowledged_is_there_after_a_kill_a_freeze_and_a_clean_end(own_kafka_broker: Broker) -> None:
    topic = topic_of_one_partition(own_kafka_broker, "kept")
    address = own_kafka_broker.bootstrap
    for end in (own_kafka_broker.kill, own_kafka_broker.freeze, own_kafka_broker.stop):
        producer = KafkaProducer(bootstrap_servers=address)
        producer.send(topic, end.__name__.encode()).get(timeout=20)
        producer.close()
        end()
        own_kafka_broker.stop()
        own_kafka_broker.start()
    assert own_kafka_broker.bootstrap == address
    assert records(own_kafka_broker, topic) == [b"kill", b"freeze", b"stop"]


@pytest.mark.apache_kafka("a node ends with its run")
@pytest.mark.usefixtures("kafka_broker")
def test_the_broker_ends_with_a_test_run_that_is_killed() -> None:
    run = subprocess.Popen([sys.executable, "-c", A_RUN_THAT_WAITS], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    folder, pid = run.stdout.readline().split()
    process = Path("/proc") / pid
    was_running = process.exists()
    run.kill()
    run.communicate(timeout=10)
    limit = time.monotonic() + 20
    while process.exists() and time.monotonic() < limit:
        time.sleep(0.05)
    shutil.rmtree(folder)  # nobody else is left to do it
    assert was_running
    assert not process.exists()


def test_without_java_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(kafka.WANTED, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert kafka.why_not() == (
        "Apache Kafka needs Java: apt-get install openjdk-17-jre-headless, which `make test` does when it may"
    )
