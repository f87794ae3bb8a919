"""Kill -9 at every failpoint of the event log's door: each record is in the inbox once, and none is missing."""

import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import func, select

from connectors.wiring import Lab
from flows.intake import storm
from models.database import database_now
from models.events.kinds import ScannerStatus
from models.events.parts import split
from models.tables.books import Alert
from models.tables.intake import ConsumerPosition, MessagePart
from tests.faults.survey import survey
from tests.faults.zygote import Zygote
from tests.flows.intake.eventing import NOW, SCANNER, a_log, event, hl7, rows, take_all, written
from tests.flows.intake.full_log import EVENTS, WHOLE, full_log
from tests.flows.looking import books_balance
from tests.small_lab import run_until_calm, small_lab

pytestmark = pytest.mark.faults

AT_THE_DOOR: Final = [
    *(f"{name}:{hit}" for name in survey().names if name.startswith("events.") for hit in (1, 2)),
    *(f"{name}:1" for name in survey().names if name.startswith("events_anew.")),
]
# Each of these is one statement about nobody's message: SQLite is enough.
BESIDE_IT: Final = [f"{name}:1" for name in survey().names if name.startswith(("events_house.", "consumer_"))]


def work(arguments: Sequence[str]) -> None:
    """Read the log into a laboratory, or apply what is in its books."""
    home, url, what, generation = arguments
    lab = small_lab(Path(home), url)
    if what == "read":
        take_all(lab, full_log(generation))
    else:
        run_until_calm(lab)


Started = Callable[..., int]


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
    """Has a process work to its end, or until a failpoint; returns how it ended."""
    with Zygote(f"{__name__}:work") as zygote:

        def to_its_end(home: Path, url: str, what: str, failpoint: str = "", generation: str = "first") -> int:
            return zygote.ended((str(home), url, what, generation), failpoint, home / "work.log")

        yield to_its_end


@pytest.fixture
def url(lab: Lab) -> str:
    return lab.database.url.render_as_string(hide_password=False)


@pytest.mark.parametrize(
    ("database_url", "failpoint"),
    [
        *(pytest.param("sqlite", name, id=f"sqlite-{name}") for name in (*AT_THE_DOOR, *BESIDE_IT)),
        *(
            pytest.param("postgresql", name, id=f"postgresql-{name}", marks=pytest.mark.postgres)
            for name in AT_THE_DOOR
        ),
    ],
    indirect=["database_url"],
)
def test_each_record_is_kept_once_wherever_its_reader_is_killed(
    started: Started, lab: Lab, url: str, tmp_path: Path, failpoint: str
) -> None:
    is_anew = failpoint.startswith("events_anew")
    if is_anew:
        assert started(tmp_path, url, "read", generation="older") == 0
    assert started(tmp_path, url, "read", failpoint) == -signal.SIGKILL
    assert started(tmp_path, url, "read") == 0

    found = rows(lab)
    assert sorted(row.event_id for row in found if row.event_id) == sorted(f"s{number}" for number in range(EVENTS))
    assert sorted((row.source, row.payload) for row in found if not row.event_id) == [
        ("event", b"poison"),
        ("hl7", WHOLE),
    ]
    with lab.database.read() as session:
        ends = select(func.sum(ConsumerPosition.position)).where(ConsumerPosition.topic_id.endswith("first"))
        assert session.scalar(ends) == EVENTS + 1 + len(split(hl7(WHOLE), 700))
        assert session.scalars(select(MessagePart)).all() == []
        raised = session.scalar(select(func.count()).select_from(Alert).where(Alert.kind == "topic made anew"))
    assert raised == (2 if is_anew else 0)


@pytest.mark.parametrize("when", ["before_commit", "after_commit"])
def test_a_storms_messages_are_let_out_once_wherever_a_worker_is_killed(
    started: Started, lab: Lab, url: str, tmp_path: Path, when: str
) -> None:
    log = a_log(1)
    written(log, SCANNER, *(b"nonsense %d" % number for number in range(storm.MOST_IN_A_ROW)))
    take_all(lab, log)
    run_until_calm(lab)
    written(log, SCANNER, *(event(f"s{n}", ScannerStatus(state="idle", stated_at=NOW)) for n in range(9)))
    take_all(lab, log)
    with lab.database.write("over") as session:
        storm.message_applied(session, lab.ids, "scanner-site-a", database_now(session))

    assert started(tmp_path, url, "work", f"sweep_storms.{when}") == -signal.SIGKILL
    assert started(tmp_path, url, "work") == 0
    assert [row.state for row in rows(lab) if row.event_id] == ["applied"] * 9
    books_balance(lab)


def test_the_log_of_these_tests_is_the_same_in_every_process(tmp_path: Path) -> None:
    lab = small_lab(tmp_path, f"sqlite:///{tmp_path / 'coverslip.db'}")
    take_all(lab, full_log("first"))
    take_all(lab, full_log("first"))
    lab.database.close()
    assert len(rows(lab)) == EVENTS + 2
