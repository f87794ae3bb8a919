"""What only a person ends is ticked off by name and with a reason, and nothing else is."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from connectors.eventlog.protocol import Partition, Trouble
from connectors.wiring import Lab
from flows import actions
from flows.actions import Acknowledgeable, Desk
from flows.books import Subject, raise_alert
from flows.intake.positions import note_troubles, raise_made_anew
from models.errors import RefusedError
from models.tables.books import History
from tests.flows.actions.life import ANN, NOBODY
from tests.flows.looking import alerts

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
LOST = Trouble(Partition("scanner", "one", 3), 5, 9, "4 records of the topic were deleted unread")


def happens(lab: Lab) -> None:
    """Have a topic be another, and records of one be lost."""
    with lab.database.write("happens") as session:
        raise_made_anew(session, lab.ids, "cluster", ["scanner"], NOW)
        note_troubles(session, lab.ids, "cluster", [LOST], NOW)


def listed(lab: Lab) -> list[Acknowledgeable]:
    with lab.database.read() as session:
        return actions.acknowledgeable_alerts(session)


def test_what_happened_to_a_topic_is_ticked_off_by_name_and_raised_if_it_happens_again(lab: Lab, desk: Desk) -> None:
    happens(lab)
    anew, lost = listed(lab)
    assert (anew.kind, lost.kind, lost.sentence) == ("topic made anew", "records lost", LOST.sentence)
    actions.acknowledge(desk, anew.number, ANN)
    actions.acknowledge(desk, lost.number, ANN)

    assert (listed(lab), alerts(lab)) == ([], [])
    with lab.database.read() as session:
        said = session.scalars(select(History).where(History.cause == "acknowledge").order_by(History.id)).all()
    assert [(one.before, one.after, one.actor, one.reason) for one in said] == [
        (kind, "acknowledged", ANN.name, ANN.reason) for kind in ("topic made anew", "records lost")
    ]
    happens(lab)
    assert alerts(lab) == ["records lost", "topic made anew"]


def test_what_is_still_so_is_not_ticked_off_nor_anything_twice(lab: Lab, desk: Desk) -> None:
    happens(lab)
    [first, _] = listed(lab)
    with lab.database.write("another") as session:
        raise_alert(session, Subject("scan", NOBODY), "waits too long", "has waited for a person", NOW)
    actions.acknowledge(desk, first.number, ANN)
    for number, sentence in (
        (first.number, "is over since"),
        (first.number + 2, "ends by itself when what it tells of is no longer so"),
        (9_999, "there is no alert 9999"),
    ):
        with pytest.raises(RefusedError, match=sentence):
            actions.acknowledge(desk, number, ANN)

    assert alerts(lab) == ["records lost", "waits too long"]
