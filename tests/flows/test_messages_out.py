"""What went out and was not answered is seen: to whom, since when, how often it was tried, what happens next."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from flows.standing.messages import unanswered, unanswered_by_peer
from tests.dashboards.web.laboratory import MINUTE, NOW, Laboratory
from tests.migrated import migrated
from tests.small_lab import ON_BOTH


@pytest.fixture
def laboratory(database_url: str) -> Iterator[Laboratory]:
    database = migrated(database_url)
    yield Laboratory(database)
    database.close()


@ON_BOTH
def test_a_message_that_nobody_answers_says_to_whom_since_when_and_how_often_it_was_tried(
    laboratory: Laboratory,
) -> None:
    case = laboratory.case("26S1")
    answered = laboratory.message_out("a", ("case", case), "released", state="answered", answer_code="AA", tries=1)
    laboratory.step("send", "sending", ("message", answered), "done")
    tried = laboratory.message_out("b", ("case", case), "assigned", tries=3)
    laboratory.wait("send", "sending", ("message", tried), "the LIMS", problem="Nobody can be reached.", tries=3)
    behind = laboratory.message_out("c", ("case", case), "withdrawn", at=NOW + MINUTE)
    laboratory.step("send", "sending", ("message", behind), "ready")
    with laboratory.database.read() as session:
        first, second = unanswered(session)
        (peer,) = unanswered_by_peer(session)
    assert (first.peer, first.what, first.since, first.tries) == ("lims-a", "assigned", NOW, 3)
    assert (first.state, first.problem) == ("tried again", "Nobody can be reached.")
    assert first.next_try_at == NOW + timedelta(hours=4)
    assert (second.state, second.tries, second.about, second.about_id) == ("waits its turn", 0, "case", case)
    assert (peer.peer, peer.count, peer.since, peer.tries) == ("lims-a", 2, NOW, 3)


def test_a_message_that_was_refused_waits_for_a_person_and_says_what_was_answered(laboratory: Laboratory) -> None:
    case = laboratory.case("26S1")
    refused = laboratory.message_out("a", ("case", case), "assigned", state="refused", answer_code="AE", tries=1)
    laboratory.wait("send", "sending", ("message", refused), "a person")
    with laboratory.database.read() as session:
        (one,) = unanswered(session)
    assert (one.state, one.problem, one.next_try_at) == ("refused", "answered AE", None)


def test_a_message_that_was_stated_a_moment_ago_is_no_news_and_one_that_was_tried_is(laboratory: Laboratory) -> None:
    case = laboratory.case("26S1")
    with laboratory.database.read() as session:
        assert not unanswered_by_peer(session)
    just_now = laboratory.message_out("a", ("case", case), "released", at=NOW + timedelta(days=36_500))
    laboratory.step("send", "sending", ("message", just_now), "ready")
    with laboratory.database.read() as session:
        assert len(unanswered(session)) == 1
        assert not unanswered_by_peer(session)
