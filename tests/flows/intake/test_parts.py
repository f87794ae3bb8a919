"""Parts of large messages never stay for ever without a word, whatever becomes of their siblings."""

import pytest
from sqlalchemy import select, update

from connectors.eventlog.memory import MemoryLog
from connectors.wiring import Lab
from flows import actions
from flows.actions import Desk
from flows.intake.parts import raise_missing
from models.database import database_now
from models.events.kinds import Hl7Part
from models.events.parts import split
from models.tables.books import History
from models.tables.intake import MessagePart
from tests.flows.actions.life import ANN
from tests.flows.intake.eventing import LIMS, a_log, event, hl7, rows, sentences, take_all, written
from tests.flows.looking import LONG_AGO, A, alerts
from tests.small_lab import ON_BOTH, order, run_until_calm

WHOLE = hl7(order("26H1", A, stain="H" * 3_000))
PARTS = tuple(split(WHOLE, 700))


@pytest.fixture
def log() -> MemoryLog:
    return a_log()


def told(lab: Lab, log: MemoryLog, *parts: Hl7Part, called: str = "p") -> None:
    written(log, LIMS, *(event(f"{called}{part.number}", part) for part in parts), key=b"lims-a")
    take_all(lab, log)
    run_until_calm(lab)


def kept_parts(lab: Lab) -> int:
    with lab.database.read() as session:
        return len(session.scalars(select(MessagePart)).all())


def time_passes(lab: Lab) -> None:
    """Have the parts that are here wait for long, and the door keep house."""
    with lab.database.write("time passes") as session:
        session.execute(update(MessagePart).values(received_at=LONG_AGO))
        raise_missing(session, lab.ids, database_now(session))


def test_parts_that_make_no_whole_are_set_aside_and_the_same_message_may_come_again(lab: Lab, log: MemoryLog) -> None:
    forged = PARTS[0].model_copy(update={"payload": b"x" * len(PARTS[0].payload)})
    told(lab, log, forged, *PARTS[1:])

    assert kept_parts(lab) == 0
    made = b"".join((forged.payload, *(part.payload for part in PARTS[1:])))
    assert [(row.state, row.payload) for row in rows(lab)] == [("set aside", made)]
    assert alerts(lab) == ["parts do not fit", "set aside"]

    told(lab, log, *PARTS, called="again")
    assert [row.state for row in rows(lab) if row.payload == WHOLE.payload] == ["applied"]
    assert (kept_parts(lab), alerts(lab)) == (0, ["set aside"])


@ON_BOTH
def test_parts_that_are_more_than_they_say_are_not_put_together(lab: Lab, log: MemoryLog) -> None:
    grown = PARTS[0].model_copy(update={"payload": b"x" * WHOLE.bytes})
    told(lab, log, grown, *PARTS[1:])

    assert [(row.state, row.payload) for row in rows(lab)] == [("set aside", PARTS[-1].payload)]
    assert kept_parts(lab) == 0


@ON_BOTH
def test_parts_whose_siblings_never_come_are_raised_until_a_person_gives_them_up(lab: Lab, log: MemoryLog) -> None:
    told(lab, log, *PARTS[:-1])
    time_passes(lab)
    assert len(sentences(lab, "parts missing")) == 1
    desk = Desk(lab.database, lab.settings, lab.ids)
    with lab.database.read() as session:
        [alert] = actions.acknowledgeable_alerts(session)
    acted = actions.acknowledge(desk, alert.number, ANN)

    assert acted.follows[0].startswith(f"the {len(PARTS) - 1} parts that are here are let go")
    time_passes(lab)
    assert (kept_parts(lab), alerts(lab)) == (0, [])
    with lab.database.read() as session:
        said = session.scalars(select(History).where(History.what == "parts")).one()
    assert (said.before, said.after, said.actor, said.reason) == (str(len(PARTS) - 1), "0", ANN.name, ANN.reason)

    told(lab, log, *PARTS, called="again")
    assert [row.state for row in rows(lab)] == ["applied"]


def test_parts_go_when_their_message_came_in_one_piece(lab: Lab, log: MemoryLog) -> None:
    told(lab, log, *PARTS[:2])
    time_passes(lab)
    written(log, LIMS, event("whole", WHOLE), key=b"lims-a")
    take_all(lab, log)
    time_passes(lab)

    assert (kept_parts(lab), sentences(lab, "parts missing")) == (0, [])
