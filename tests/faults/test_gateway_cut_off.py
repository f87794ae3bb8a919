"""A gateway whose Kafka is killed, frozen and comes back: it takes what comes, and all of it arrives in its order."""

import gc
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from confluent_kafka import Consumer
from sqlalchemy import func, select, update

from connectors.eventlog.kafka import KafkaSink
from connectors.settings_kafka import Gateway, Kafka
from connectors.wiring import Lab
from flows.people.sync import sync_people
from infra.kafka.broker import Broker
from models.events.envelope import parse
from models.events.kinds import Hl7Received, SlideScanned
from models.tables.books import InboxMessage
from models.tables.step import Slot, Step
from tests.contracts.event_logs import KafkaSite
from tests.flows.looking import LONG_AGO, books_balance
from tests.flows.sending.test_forward import message_comes, numbered
from tests.small_lab import SmallSlide, run_until_calm, scan_arrives, small_lab

pytestmark = [
    pytest.mark.faults,
    # kafka-python leaves the sockets of refused connections to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PREFIX = "cut-off."
TOPICS = (f"{PREFIX}scanner", f"{PREFIX}lims.hl7v2")
_PATIENCE_S = 60.0


@pytest.fixture
def gateway(tmp_path: Path, own_kafka_broker: Broker) -> Iterator[Lab]:
    site = KafkaSite(own_kafka_broker.bootstrap)
    for topic in TOPICS:
        site.create(topic, partitions=3, most_bytes=9 << 20)
    lab = small_lab(tmp_path, f"sqlite:///{tmp_path / 'gateway.db'}")
    kafka = Kafka(bootstrap=(own_kafka_broker.bootstrap,), prefix=PREFIX)
    settings = lab.settings.model_copy(update={"kafka": kafka, "gateway": Gateway()})
    with lab.database.write("slots") as session:
        sync_people(session, settings)
    sink = KafkaSink({"bootstrap_servers": own_kafka_broker.bootstrap}, timedelta(seconds=3))
    yield replace(lab, settings=settings, events=sink)
    sink.close(timedelta(seconds=1))
    lab.database.close()
    gc.collect()


def waiting(lab: Lab) -> int:
    with lab.database.read() as session:
        return session.scalars(select(func.count()).where(InboxMessage.state == "kept")).one()


def all_is_handed_on(lab: Lab) -> None:
    """Let time pass until nothing waits."""
    deadline = time.monotonic() + _PATIENCE_S
    while waiting(lab):
        assert time.monotonic() < deadline, f"{waiting(lab)} messages still wait"
        with lab.database.write("time passes") as session:
            session.execute(update(Slot).where(Slot.paused_until.is_not(None)).values(paused_until=LONG_AGO))
            session.execute(update(Step).where(Step.state == "waiting").values(waiting_until=LONG_AGO))
        run_until_calm(lab)


def heard(broker: Broker, at_least: int) -> list[bytes]:
    """Return what a client that is not ours finds in the topics, in the order of each partition."""
    onlooker = Consumer(
        {"bootstrap.servers": broker.bootstrap, "group.id": "onlooker", "auto.offset.reset": "earliest"}
    )
    onlooker.subscribe(list(TOPICS))
    found: list[bytes] = []
    deadline = time.monotonic() + _PATIENCE_S
    quiet = 0
    while quiet < 3 or len(found) < at_least:
        assert time.monotonic() < deadline, f"only {len(found)} events were found"
        records = onlooker.consume(500, timeout=1.0)
        quiet = 0 if records else quiet + 1
        found += [one.value() or b"" for one in records]
    onlooker.close()
    return found


def test_nothing_is_lost_or_out_of_order_whatever_happens_to_the_broker(gateway: Lab, own_kafka_broker: Broker) -> None:
    said = [numbered(number) for number in range(120)]
    scans = []
    for number, one in enumerate(said):
        message_comes(gateway, one)
        if number % 30 == 0:
            scans.append(scan_arrives(gateway, SmallSlide(made=number)))
        match number:
            case 20:
                run_until_calm(gateway)
                own_kafka_broker.kill()
            case 40:
                # One try against a broker that is gone; the rest waits without asking.
                run_until_calm(gateway)
                assert waiting(gateway) > 0
                own_kafka_broker.start()
                all_is_handed_on(gateway)
            case 60:
                own_kafka_broker.freeze()
            case 80:
                run_until_calm(gateway)
                own_kafka_broker.thaw()
    all_is_handed_on(gateway)
    books_balance(gateway)

    values = heard(own_kafka_broker, len(said) + len(scans))
    once = [parse(value) for value in dict.fromkeys(values)]
    assert [one.data.payload for one in once if isinstance(one.data, Hl7Received)] == said
    assert len([one for one in once if isinstance(one.data, SlideScanned)]) == len(scans)
    # What was sent again was sent byte for byte.
    assert len({event.id for event in once}) == len(once)
