"""What the ledger promises beyond its verbs' states, which ``test_ledger_machine.py`` holds against a model."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from connectors.wiring import Lab
from flows import ledger
from flows.ledger import LostClaimError, NewStep, Wanted
from models.database import database_now
from models.facets import Lane
from models.tables.step import Slot, Step
from tests.flows.looking import LONG_AGO
from tests.small_lab import ON_BOTH

HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def wanted(limit: int = 10, **more: object) -> Wanted:
    return Wanted("stage", ("do",), limit, HOUR, **more)  # type: ignore[arg-type] # any field


def add(lab: Lab, *subjects: str, **said: object) -> None:
    with lab.database.write("add") as session:
        steps = [NewStep("do", "stage", "message", one, NOON, **said) for one in subjects]  # type: ignore[arg-type] # columns
        ledger.add(session, steps)


def claim(lab: Lab, want: Wanted | None = None, worker: str = "worker") -> list[ledger.Claim]:
    with lab.database.write("claim") as session:
        return list(ledger.claim(session, worker, want or wanted()))


@ON_BOTH
def test_a_lost_claim_gives_up_the_whole_transaction_that_it_was_to_end(lab: Lab) -> None:
    add(lab, "one")
    (first,) = claim(lab)
    with lab.database.write("taken over") as session:
        session.execute(update(Step).values(state="ready", worker_id=None))
    claim(lab, worker="another")

    def finish_with_a_follower() -> None:
        with lab.database.write("late") as session:
            ledger.add(session, [NewStep("do", "stage", "message", "follower", NOON)])
            ledger.finish(session, first)

    with pytest.raises(LostClaimError, match="attempt 1 of step"):
        finish_with_a_follower()
    with lab.database.read() as session:
        assert session.scalars(select(Step.subject_id)).all() == ["one"]


@ON_BOTH
def test_a_worker_that_claims_its_own_lost_step_again_can_end_only_the_newer_attempt(lab: Lab) -> None:
    add(lab, "one")
    (first,) = claim(lab)
    with lab.database.write("deadline") as session:
        session.execute(update(Step).values(state="ready", worker_id=None))
    (second,) = claim(lab)

    with pytest.raises(LostClaimError), lab.database.write("late") as session:
        ledger.finish(session, first)
    with lab.database.write("in time") as session:
        ledger.finish(session, second)
    assert first.run_number != second.run_number


@ON_BOTH
def test_three_claims_without_an_end_set_a_step_aside_and_from_the_second_on_it_runs_alone(lab: Lab) -> None:
    add(lab, "one")
    alone = []
    for _ in range(3):
        (held,) = claim(lab)
        alone.append(held.alone)
        with lab.database.write("its worker dies") as session:
            session.execute(update(Step).values(state="ready", worker_id=None))
    assert alone == [False, True, True]
    assert claim(lab) == []

    with lab.database.read() as session:
        row = session.scalars(select(Step)).one()
    assert (row.state, row.attempt) == ("set aside", 3)
    assert "stopped its worker" in str(row.problem)


@ON_BOTH
def test_an_end_of_any_kind_forgets_the_claims_that_were_lost(lab: Lab) -> None:
    add(lab, "one")
    for _ in range(4):
        claim(lab)
        with lab.database.write("its worker dies") as session:
            session.execute(update(Step).values(state="ready", worker_id=None))
        (held,) = claim(lab)
        assert held.alone
        with lab.database.write("it is through") as session:
            ledger.give_back(session, held, retry_after=timedelta(0), problem="away")
            session.execute(update(Step).values(state="ready", waiting_for=None, waiting_until=None))


@ON_BOTH
def test_urgent_steps_are_claimed_first_then_those_due_first_then_the_oldest(lab: Lab) -> None:
    with lab.database.write("add") as session:
        for subject, lane, rank in (
            ("routine early", Lane.ROUTINE, 0),
            ("urgent late", Lane.URGENT, 9),
            ("urgent early, second", Lane.URGENT, 1),
            ("frozen section", Lane.INTRA_OPERATIVE, 99),
            ("urgent early, third", Lane.URGENT, 1),
        ):
            ledger.add(session, [NewStep("do", "stage", "message", subject, NOON + rank * HOUR, lane=lane)])

    taken = [one.subject_id for _ in range(5) for one in claim(lab, wanted(1))]
    assert taken == ["frozen section", "urgent early, second", "urgent early, third", "urgent late", "routine early"]


@ON_BOTH
def test_a_worker_claims_only_kinds_that_it_knows_and_places_that_it_mounts(lab: Lab) -> None:
    add(lab, "here", place="local")
    add(lab, "elsewhere", place="remote")
    add(lab, "anywhere")
    with lab.database.write("add") as session:
        ledger.add(session, [NewStep("unknown", "stage", "message", "unknown", NOON)])
        ledger.add(session, [NewStep("do", "another stage", "message", "other", NOON)])

    assert {one.subject_id for one in claim(lab, wanted(places=("", "local")))} == {"here", "anywhere"}


@ON_BOTH
def test_a_silent_neighbour_is_left_alone_by_all_until_its_pause_is_over(lab: Lab) -> None:
    with lab.database.write("slots") as session:
        session.execute(insert(Slot).values(name="peer", number=1))
    add(lab, "one", slot="peer")
    add(lab, "free")
    with lab.database.write("silent") as session:
        ledger.pause_slot(session, "peer", HOUR, "nobody answers")
    assert [one.subject_id for one in claim(lab, wanted(slotted=True))] == ["free"]
    with lab.database.read() as session:
        assert ledger.next_subject(session, wanted(slotted=True)) is None
        first = session.scalars(select(Slot.silent_since).where(Slot.name == "peer")).one()

    with lab.database.write("the pause is over, and it is silent again") as session:
        session.execute(update(Slot).values(paused_until=LONG_AGO))
        ledger.pause_slot(session, "peer", HOUR, "nobody answers")
    with lab.database.read() as session:
        assert session.scalars(select(Slot.silent_since).where(Slot.name == "peer")).one() == first
    with lab.database.write("it talks") as session:
        ledger.open_slot(session, "peer")
    with lab.database.read() as session:
        assert ledger.next_subject(session, wanted(slotted=True)) == "one"
    assert [one.subject_id for one in claim(lab, wanted(slotted=True))] == ["one"]


@ON_BOTH
def test_looking_for_work_claims_and_locks_nothing(lab: Lab) -> None:
    with lab.database.write("slots") as session:
        session.execute(insert(Slot).values(name="peer", number=1))
    add(lab, "one", slot="peer")
    with lab.database.read() as looking:
        assert ledger.next_subject(looking, wanted(slotted=True)) == "one"
        assert [one.subject_id for one in claim(lab, wanted(slotted=True))] == ["one"]


@ON_BOTH
def test_what_is_looked_for_is_what_a_claim_would_get(lab: Lab) -> None:
    with lab.database.write("slots") as session:
        session.execute(insert(Slot).values(name="peer", number=1))
    for number in range(3):
        add(lab, f"step {number}", slot="peer", order_key="case")
    want = wanted(slotted=True, ordered=True)
    for expected in ("step 0", "step 1", "step 2"):
        with lab.database.read() as session:
            assert ledger.next_subject(session, want) == expected
        (held,) = claim(lab, want)
        assert held.subject_id == expected
        with lab.database.read() as session:
            assert ledger.next_subject(session, want) is None
        with lab.database.write("done") as session:
            ledger.finish(session, held)


@ON_BOTH
def test_the_same_step_is_added_once(lab: Lab) -> None:
    add(lab, "one", lane=Lane.URGENT)
    add(lab, "one", lane=Lane.ROUTINE)

    assert [one.lane for one in claim(lab)] == [Lane.URGENT]


@ON_BOTH
def test_a_step_may_begin_as_a_wait(lab: Lab) -> None:
    with lab.database.write("add") as session:
        until = database_now(session) + HOUR
        wait = ledger.Wait("an order", "key", until, "goes to a person")
        ledger.add(session, [NewStep("do", "stage", "message", "one", NOON, wait=wait)])
    assert claim(lab) == []
    with lab.database.read() as session:
        row = session.scalars(select(Step)).one()
    assert (row.waiting_for, row.waiting_key, row.waiting_then) == ("an order", "key", "goes to a person")
    assert row.waiting_since is not None
    with lab.database.write("wake") as session:
        assert ledger.wake(session, "an order", "key") == 1

    assert len(claim(lab)) == 1


@ON_BOTH
def test_a_due_time_moves_open_steps_forward_and_never_back(lab: Lab) -> None:
    add(lab, "one")
    with lab.database.write("due") as session:
        ledger.reprioritise(session, ("one",), Lane.URGENT, NOON - HOUR)
    with lab.database.write("later") as session:
        ledger.reprioritise(session, ("one",), Lane.URGENT, NOON + HOUR)
    with lab.database.write("no due time") as session:
        ledger.reprioritise(session, ("one",), Lane.ROUTINE, None)

    with lab.database.read() as session:
        row = session.scalars(select(Step)).one()
    assert (row.lane, row.rank_at) == (Lane.ROUTINE, NOON - HOUR)


@ON_BOTH
def test_a_step_that_has_ended_keeps_its_lane(lab: Lab) -> None:
    add(lab, "one")
    (held,) = claim(lab)
    with lab.database.write("done") as session:
        ledger.finish(session, held)
        ledger.reprioritise(session, ("one",), Lane.URGENT, None)

    with lab.database.read() as session:
        assert session.scalars(select(Step.lane)).one() == Lane.ROUTINE


@given(st.lists(st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)), min_size=2, max_size=2))  # noqa: DTZ001 - given their zone below
def test_a_step_ranks_by_its_age_and_a_due_time_only_helps(moments: list[datetime]) -> None:
    older, younger = sorted(moment.replace(tzinfo=UTC) for moment in moments)

    assert ledger.rank_at(older, None) <= ledger.rank_at(younger, None)
    assert ledger.rank_at(older, younger) <= ledger.rank_at(older, None)
    assert ledger.rank_at(younger, older) == older


@ON_BOTH
def test_a_claim_says_when_its_wait_ended_by_its_time_until_the_step_has_ended(lab: Lab) -> None:
    add(lab, "one")
    with lab.database.write("expired") as session:
        session.execute(update(Step).values(expired=True))
    (held,) = claim(lab)
    assert held.expired
    with lab.database.write("wait") as session:
        ledger.wait(session, held, ledger.Wait("an order", "key", database_now(session) + HOUR, "then"))
        ledger.wake(session, "an order", "key")
    assert not claim(lab)[0].expired


@ON_BOTH
def test_every_attempt_works_in_a_folder_of_its_own(lab: Lab) -> None:
    add(lab, *(str(uuid.uuid4()) for _ in range(5)))
    seen = set()
    for _ in range(3):
        held = claim(lab)
        seen |= {one.run_number for one in held}
        with lab.database.write("back") as session:
            for one in held:
                ledger.give_back(session, one)

    assert len(seen) == 15
