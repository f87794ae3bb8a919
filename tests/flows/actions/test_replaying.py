"""A message that was set aside is read again when a person asks for it, and never otherwise."""

from pathlib import Path

import pytest
from sqlalchemy import select

from flows import actions
from flows.actions import Desk
from models.errors import RefusedError
from models.tables.books import Alert, History, InboxMessage
from tests.flows.actions.life import ANN, NOBODY
from tests.small_lab import message_arrives, order, run_until_calm, small_lab

UNKNOWN = b"MSH|^~\\&|LIMS|A|COVERSLIP|NET|20261122091500+0000||ZZZ^Z01|U1|P|2.5.1\r"


def test_a_message_set_aside_is_kept_listed_and_read_again_with_a_name_on_it(tmp_path: Path) -> None:
    lab = small_lab(tmp_path, f"sqlite:///{tmp_path / 'coverslip.db'}")
    desk = Desk(lab.database, lab.settings, lab.ids)
    kept = message_arrives(lab, UNKNOWN)
    run_until_calm(lab)
    with lab.database.read() as session:
        assert [one.id for one in actions.set_aside_messages(session)] == [kept.inbox_id]

    actions.replay(desk, kept.inbox_id, ANN)
    with lab.database.read() as session:
        assert actions.set_aside_messages(session) == []
    run_until_calm(lab)

    with lab.database.read() as session:
        again = session.get_one(InboxMessage, kept.inbox_id)
        assert (again.state, again.payload) == ("set aside", UNKNOWN)
        assert again.problem
        said = session.scalars(select(History).where(History.subject_id == kept.inbox_id)).all()
        assert [one.actor for one in said if one.cause == "replay"] == [ANN.name]
        open_alerts = select(Alert).where(Alert.subject_id == kept.inbox_id, Alert.cleared_at.is_(None))
        assert len(session.scalars(open_alerts).all()) == 1


def test_only_what_was_set_aside_is_replayed(tmp_path: Path) -> None:
    lab = small_lab(tmp_path, f"sqlite:///{tmp_path / 'coverslip.db'}")
    desk = Desk(lab.database, lab.settings, lab.ids)
    kept = message_arrives(lab, order("26B0001", "26B0001-A1-1", stain="HE"))
    run_until_calm(lab)
    with pytest.raises(RefusedError, match="was applied"):
        actions.replay(desk, kept.inbox_id, ANN)
    with pytest.raises(RefusedError, match="no such message"):
        actions.replay(desk, NOBODY, ANN)
