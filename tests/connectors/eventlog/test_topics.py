from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import TopicAuthorizationFailedError

from connectors.eventlog.connection import client_options
from connectors.eventlog.topics import Cluster, Difference, Wanted, opened_cluster, read_topics
from connectors.settings import Settings
from infra.kafka.broker import Broker
from models.errors import RefusedError
from tests.connectors.eventlog.laboratory import by_password, laboratory

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "infra" / "kafka" / "topics.toml"
SMALL = """
replication = 1
min_insync = 1

[topics.slide]
partitions = 2
retention_days = 7
max_message_bytes = 65536

[roles.us]
principals = ["User:intake"]
writes = ["slide"]
group = true
"""


def asked(tmp_path: Path, text: str = SMALL) -> Wanted:
    path = tmp_path / "topics.toml"
    path.write_text(text)
    return read_topics(path)


def settings(tmp_path: Path, broker: Broker, prefix: str) -> Settings:
    return laboratory(tmp_path, broker.bootstrap, prefix=prefix, group=f"{prefix}group")


def made_good(cluster: Cluster, wanted: Wanted) -> tuple[Difference, ...]:
    """Make every difference good, and return those there were."""
    differences = cluster.compare(wanted).differences
    cluster.apply(wanted, differences)
    return differences


def written(somebody: Settings, topic: str) -> None:
    """Write a record as somebody, or raise what Kafka says."""
    producer = KafkaProducer(**client_options(somebody), max_block_ms=5_000)
    try:
        producer.send(topic, b"here").get(timeout=10)
    finally:
        producer.close(timeout=5)


def test_the_shipped_file_is_sound_and_holds_every_topic_of_ours() -> None:
    shipped = read_topics(SHIPPED)
    assert set(shipped.topics) == {"scanner", "lims.hl7v2", "slide", "case", "dead-letters"}
    assert shipped.topics["lims.hl7v2"].max_message_bytes > shipped.topics["scanner"].max_message_bytes
    readers = {name for name, role in shipped.roles.items() if "lims.hl7v2" in role.reads}
    assert readers == {"coverslip"}, "raw HL7 holds patients' data"


@pytest.mark.apache_kafka("topics have settings and rights")
def test_missing_topics_are_made_as_the_file_asks_and_doing_it_again_changes_nothing(
    kafka_broker: Broker, kafka_prefix: str, tmp_path: Path
) -> None:
    wanted = read_topics(SHIPPED).replicated(1)
    with opened_cluster(settings(tmp_path, kafka_broker, kafka_prefix)) as cluster:
        done = made_good(cluster, wanted)
        assert [one.subject for one in done] == [kafka_prefix + name for name in wanted.topics]
        assert {one.kind for one in done} == {"topic"}
        again = cluster.compare(wanted)
    assert again.differences == ()
    assert not again.has_authorizer


@pytest.mark.apache_kafka("topics have settings and rights")
def test_partitions_are_added_and_settings_changed_but_nothing_is_taken_away(
    kafka_broker: Broker, kafka_prefix: str, tmp_path: Path
) -> None:
    name = f"{kafka_prefix}slide"
    with opened_cluster(settings(tmp_path, kafka_broker, kafka_prefix)) as cluster:
        made_good(cluster, asked(tmp_path))
        grown = asked(tmp_path, SMALL.replace("partitions = 2", "partitions = 3").replace("days = 7", "days = 8"))
        assert made_good(cluster, grown) == (
            Difference("partitions", name, "partitions", "2", "3"),
            Difference("setting", name, "retention.ms", "604800000", "691200000"),
        )
        assert cluster.compare(grown).differences == ()
        shrunk = asked(tmp_path, SMALL.replace("days = 7", "days = 8").replace("replication = 1", "replication = 2"))
        left = made_good(cluster, shrunk)
        assert left == cluster.compare(shrunk).differences
    assert left == (
        Difference("kept", name, "partitions", "3", "2"),
        Difference("kept", name, "replicas", "1", "2"),
    )


def test_rights_are_given_where_the_cluster_has_an_authorizer(
    secure_kafka_broker: Broker, kafka_prefix: str, tmp_path: Path
) -> None:
    broker, wanted = secure_kafka_broker, asked(tmp_path)
    admin = by_password(broker, "admin") | {"prefix": kafka_prefix, "group": f"{kafka_prefix}group"}
    with opened_cluster(laboratory(tmp_path, broker.address("SASL_SSL"), **admin)) as cluster:
        done = made_good(cluster, wanted)
        assert [(one.subject, one.what, one.wanted) for one in done if one.kind == "right"] == [
            (f"{kafka_prefix}slide", "write", "User:intake"),
            (f"{kafka_prefix}group", "read group", "User:intake"),
        ]
        again = cluster.compare(wanted)
    assert again.differences == ()
    assert again.has_authorizer
    name = f"{kafka_prefix}slide"
    written(laboratory(tmp_path, broker.address("SASL_SSL"), **by_password(broker, "intake")), name)
    with pytest.raises(TopicAuthorizationFailedError):
        written(laboratory(tmp_path, broker.address("SASL_SSL"), **by_password(broker, "stranger")), name)


def test_whoever_has_no_right_to_arrange_is_told_so(
    secure_kafka_broker: Broker, kafka_prefix: str, tmp_path: Path
) -> None:
    broker, wanted = secure_kafka_broker, asked(tmp_path)
    address, user = broker.address("SASL_SSL"), by_password(broker, "stranger")
    stranger = laboratory(tmp_path, address, **user, prefix=kafka_prefix)
    with (
        pytest.raises(RefusedError, match=r"^Kafka does not let user stranger use a topic: its ACL has to allow it"),
        opened_cluster(stranger) as cluster,
    ):
        cluster.compare(wanted)


@pytest.mark.apache_kafka("topics have settings and rights")
def test_more_copies_than_brokers_are_refused_and_it_is_said_how_far_it_came(
    kafka_broker: Broker, kafka_prefix: str, tmp_path: Path
) -> None:
    wanted = asked(tmp_path).replicated(3)
    with (
        pytest.raises(RefusedError) as refused,
        opened_cluster(settings(tmp_path, kafka_broker, kafka_prefix)) as cluster,
    ):
        made_good(cluster, wanted)
    told = f"Kafka at {kafka_broker.bootstrap} has fewer brokers than copies were asked for"
    where = f"(topic of {kafka_prefix}slide); 0 of 1 differences were made good before it: apply again"
    assert str(refused.value) == f"{told} {where}"


@pytest.mark.apache_kafka("topics have settings and rights")
def test_a_topic_that_somebody_else_makes_meanwhile_is_no_failure(
    kafka_broker: Broker, kafka_prefix: str, tmp_path: Path
) -> None:
    wanted = asked(tmp_path)
    with opened_cluster(settings(tmp_path, kafka_broker, kafka_prefix)) as cluster:
        differences = cluster.compare(wanted).differences
        admin = KafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap)
        admin.create_topics({f"{kafka_prefix}slide": {"num_partitions": 1, "replication_factor": 1}})
        admin.close()
        cluster.apply(wanted, differences)
        made_good(cluster, wanted)
        assert cluster.compare(wanted).differences == ()


@pytest.mark.parametrize(
    ("said", "instead", "sentence"),
    [
        ("replication = 1", "replication = ", "is no TOML: "),
        ("replication = 1", "", ": replication: Field required"),
        ("min_insync = 1", "min_insync = 2", ": the file: min_insync is 2, but replication only 1"),
        ("[topics.slide]", "[topics.Slide]", ": topics.Slide.[key]: String should match pattern"),
        ("partitions = 2", "partitions = 0", ": topics.slide.partitions: Input should be greater than or equal to 1"),
        ("days = 7", "hours = 7", ": topics.slide.retention_days: Field required"),
        ('["slide"]', '["slides"]', ": the file: a role names slides, which is no topic here"),
        ("User:intake", "intake", ": roles.us.principals.0: String should match pattern"),
    ],
)
def test_a_file_that_says_something_impossible_is_refused_in_one_sentence(
    tmp_path: Path, said: str, instead: str, sentence: str
) -> None:
    assert said in SMALL
    with pytest.raises(RefusedError) as refused:
        asked(tmp_path, SMALL.replace(said, instead))
    told = str(refused.value)
    assert told.removeprefix(str(tmp_path / "topics.toml")).lstrip(" ").startswith(sentence)
    assert "\n" not in told


def test_a_file_that_is_not_there_is_told_with_the_option_that_names_another(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"topics\.toml can't be read: No such file or directory; --file names"):
        read_topics(tmp_path / "topics.toml")
