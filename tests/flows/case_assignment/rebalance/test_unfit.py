"""Reads that their reader may not have any more, and that no look moves: people are told until it is put right."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from connectors.wiring import Lab
from flows.actions import Desk as ActingDesk
from flows.actions import Person, override, read_named
from flows.alerts import READER_UNFIT
from flows.sweep import sweep
from models.database import database_now
from models.tables.books import Alert
from models.tables.case import Slide
from models.tables.reading import Competence, Read, ReadingConflict
from tests.flows.case_assignment.rebalance.desks import Desk, Given, lay, look, only, owners
from tests.small_lab import ON_BOTH

MANAGER = Person("Mia Manager", "it was said today")


def told(lab: Lab) -> list[tuple[str, str]]:
    with lab.database.read() as session:
        wanted = select(Alert.subject_id, Alert.sentence).where(Alert.kind == READER_UNFIT, Alert.cleared_at.is_(None))
        return [(read, sentence.partition(",")[0]) for read, sentence in session.execute(wanted)]


def a_conflict(session: Any, case: str) -> None:  # noqa: ANN401 - a session
    session.execute(
        insert(ReadingConflict).values(pathologist_id="ann", subject_kind="case", subject_id=case, because="")
    )


def it_ends(session: Any, _case: str) -> None:  # noqa: ANN401 - a session
    ended = {"valid_from": date(2020, 1, 1), "valid_to": database_now(session).date() - timedelta(days=2)}
    session.execute(update(Competence).where(Competence.pathologist_id == "ann").values(**ended))


def a_slide_on_glass(session: Any, case: str) -> None:  # noqa: ANN401 - a session
    session.execute(update(Competence).where(Competence.pathologist_id == "ann").values(glass=False))
    slide = {"id": case, "case_id": case, "container_identifier": case, "issuer": "NET", "route": "glass only"}
    session.execute(insert(Slide).values(**slide, cancelled=False, stains=[]))


@ON_BOTH
@pytest.mark.parametrize(
    ("happens", "sentence"),
    [
        (a_conflict, "its reader may not have this read: a conflict is recorded"),
        (it_ends, "its reader has no valid competence to read general digitally"),
        (a_slide_on_glass, "its reader has no valid competence to read general on glass"),
    ],
)
def test_what_its_reader_may_not_have_any_more_and_has_open_is_raised_until_a_person_decides(
    lab: Lab, happens: Callable[[Any, str], None], sentence: str
) -> None:
    only(lab, Desk("ann"), Desk("bob"))
    read, decided = lay(lab, Given("ann", opened=True), Given("ann", manual=True))
    look(lab)
    assert told(lab) == []
    with lab.database.write("happens") as session:
        for one in (read, decided):
            happens(session, session.get_one(Read, one).case_id)
    look(lab)
    sweep(lab)
    assert (told(lab), owners(lab)[read]) == ([(read, sentence)], "ann")

    with lab.database.read() as session:
        seen = read_named(session, session.get_one(Read, read).case_id)
    override(ActingDesk(lab.database, lab.settings, lab.ids), seen, "ann", MANAGER)
    sweep(lab)
    look(lab)
    assert (told(lab), owners(lab)[read]) == ([], "ann")


@ON_BOTH
def test_what_its_reader_may_have_again_is_raised_no_more(lab: Lab) -> None:
    only(lab, Desk("ann"), Desk("bob"))
    (read,) = lay(lab, Given("ann", accepted=True))
    with lab.database.write("happens") as session:
        a_conflict(session, session.get_one(Read, read).case_id)
    look(lab)
    assert [one for one, _ in told(lab)] == [read]
    with lab.database.write("over") as session:
        session.execute(delete(ReadingConflict))
    look(lab)
    assert told(lab) == []
