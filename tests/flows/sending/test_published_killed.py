"""Kill -9 around every write into the event log: what leaves, leaves with the same identity and bytes, in order."""

import base64
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import update

from connectors.eventlog.protocol import Acknowledged, Headers
from connectors.settings_kafka import Gateway, Kafka
from connectors.wiring import Lab
from flows.people.sync import sync_people
from models.events.envelope import parse
from models.tables.step import Worker
from tests.faults.zygote import Zygote
from tests.flows.looking import LONG_AGO, A, books_balance
from tests.flows.sending.test_forward import message_comes, numbered
from tests.small_lab import SmallSlide, message_arrives, order, run_until_calm, scan_arrives, small_lab

pytestmark = pytest.mark.faults

FAILPOINTS: Final = [
    *(f"event.{when}_publish:{hit}" for when in ("before", "after") for hit in (1, 3)),
    *(f"sending.end.{when}_commit:{hit}" for when in ("before", "after") for hit in (1, 3)),
]


@dataclass(frozen=True)
class FileSink:
    """A log that outlives its writer: a line a record."""

    path: Path

    def publish(self, topic: str, key: bytes, value: bytes, headers: Headers = ()) -> Acknowledged:
        """Append one record."""
        line = {"topic": topic, "key": key.decode(), "value": base64.b64encode(value).decode(), "headers": len(headers)}
        with self.path.open("a", encoding="ascii") as log:
            log.write(json.dumps(line) + "\n")
        return Acknowledged(topic, 0, 0)

    def close(self, within: timedelta) -> None:
        """Nothing is held."""

    def values(self, key: str = "") -> list[bytes]:
        """Return what was written, with this key or with any."""
        lines = [json.loads(line) for line in self.path.read_text(encoding="ascii").splitlines()]
        return [base64.b64decode(line["value"]) for line in lines if key in ("", line["key"])]


def opened(home: str | Path, *, gateway: bool) -> Lab:
    """Open the laboratory in a folder, which writes into a file."""
    lab = small_lab(Path(home), f"sqlite:///{Path(home) / 'coverslip.db'}")
    said = {"kafka": Kafka(bootstrap=("localhost:9092",)), "gateway": Gateway() if gateway else None}
    settings = lab.settings.model_copy(update=said)
    with lab.database.write("slots") as session:
        sync_people(session, settings)
    return replace(lab, settings=settings, events=FileSink(Path(home) / "log"))


def work(arguments: Sequence[str]) -> None:
    """Work in the laboratory of a folder until all is calm."""
    home, what = arguments
    run_until_calm(opened(home, gateway=what == "gateway"))


Started = Callable[[Path, str, str], int]


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
    """Has a process work until all is calm, or until a failpoint; returns how it ended."""
    with Zygote(f"{__name__}:work") as zygote:
        yield lambda home, what, failpoint: zygote.ended((str(home), what), failpoint, home / "work.log")


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_a_gateway_that_is_killed_hands_on_everything_in_order(
    started: Started, tmp_path: Path, failpoint: str
) -> None:
    lab = opened(tmp_path, gateway=True)
    said = [numbered(number) for number in range(5)]
    for one in said:
        message_comes(lab, one)
    assert started(tmp_path, "gateway", failpoint) == -signal.SIGKILL
    _as_if_the_dead_were_missed(lab)
    run_until_calm(lab)

    values = FileSink(tmp_path / "log").values("lims-a")
    events = [parse(value) for value in dict.fromkeys(values)]
    assert [event.data.as_json()["payload"] for event in events] == [base64.b64encode(one).decode() for one in said]
    assert len({event.id for event in events}) == len(said)
    books_balance(lab)
    lab.database.close()


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_what_a_killed_worker_published_is_published_again_byte_for_byte_or_not_at_all(
    started: Started, tmp_path: Path, failpoint: str
) -> None:
    lab = opened(tmp_path, gateway=False)
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SmallSlide(codes=(A,)))
    assert started(tmp_path, "lab", failpoint) == -signal.SIGKILL
    _as_if_the_dead_were_missed(lab)
    run_until_calm(lab)

    once = [parse(value) for value in dict.fromkeys(FileSink(tmp_path / "log").values())]
    assert len({event.id for event in once}) == len(once) == 5
    assert [event.type for event in once if event.subject == scan_id][-1] == "slide.archived"
    assert [event.type for event in once if event.subject != scan_id] == ["case.completed", "case.assigned"]
    books_balance(lab)
    lab.database.close()


def _as_if_the_dead_were_missed(lab: Lab) -> None:
    with lab.database.write("long ago") as session:
        session.execute(update(Worker).values(heartbeat_at=LONG_AGO))
