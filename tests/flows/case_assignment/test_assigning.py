"""The whole step in a small laboratory: what comes by the doors ends with one owner for each read, and a reason."""

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from connectors.wiring import Lab
from flows.case_assignment.replaying import replay
from flows.people.policies import policy_in_force
from models.database import database_now
from models.facets import Reading
from models.policy import Policy, Subspecialty
from models.tables.case import Case
from models.tables.reading import (
    Assignment,
    Competence,
    Leave,
    Notice,
    Pathologist,
    PolicyVersion,
    Read,
    ReadingConflict,
)
from models.tables.step import Step
from tests.flows.looking import alerts, books_balance, says, steps, time_passes
from tests.lims_says import merged
from tests.small_lab import ON_BOTH, SmallSlide, message_arrives, order, run_until_calm, scan_arrives

OTHER = {"rosa": "tom", "tom": "rosa"}


def slide_of(case: int) -> str:
    return f"26H{case:06d}-A1-1"


def arrives(lab: Lab, case: int, patient: str = "A100234") -> None:
    """Have a case ordered and scanned."""
    said = order(f"26H{case}", slide_of(case), control_id=f"M{case}").replace(b"A100234", patient.encode())
    message_arrives(lab, said)
    scan_arrives(lab, SmallSlide(codes=(slide_of(case),)))
    run_until_calm(lab)


def owners(lab: Lab) -> list[tuple[str, str]]:
    """Return who has the reads that somebody has, with their roles, in the order in which they were given."""
    with lab.database.read() as session:
        rows = session.execute(
            select(Read.role, Assignment.pathologist_id)
            .join(Assignment, Assignment.read_id == Read.id)
            .where(Assignment.ended_at.is_(None))
            .order_by(Assignment.id)
        )
        return [(role, person) for role, person in rows]


def changed(lab: Lab, entity: type[Any], **values: Any) -> None:  # noqa: ANN401 - columns
    with lab.database.write("test") as session:
        session.execute(update(entity).values(**values))


def ruled_by(lab: Lab, policy: Policy) -> None:
    with lab.database.write("test") as session:
        begun = {"version": 1, "digest": "0" * 64, "begins_at": datetime(2026, 1, 1, tzinfo=UTC)}
        session.add(PolicyVersion(body=policy.model_dump(mode="json"), by="Ann", because="a test", **begun))


@ON_BOTH
def test_whoever_gets_a_read_is_told_and_the_record_names_policy_and_winner(lab: Lab) -> None:
    ruled_by(lab, Policy())
    arrives(lab, 1)
    with lab.database.read() as session:
        given = session.scalars(select(Assignment)).one()
        notice = session.scalars(select(Notice)).one()
        in_force = policy_in_force(session, database_now(session))
    assert (given.policy_version, given.explanation["policy_version"], in_force.version) == (1, 1, 1)
    assert replay(given.explanation) == given.explanation["winner"] == given.pathologist_id
    assert (notice.pathologist_id, notice.kind, notice.read_id) == (given.pathologist_id, "given", given.read_id)
    books_balance(lab)


@ON_BOTH
def test_a_patient_s_second_case_of_a_day_goes_to_the_same_reader(lab: Lab) -> None:
    arrives(lab, 1, "P1")
    arrives(lab, 2, "P1")
    arrives(lab, 3, "P2")
    (_, first), (_, second), (_, other) = owners(lab)
    assert (first, first, OTHER[first]) == (second, first, other)


@ON_BOTH
def test_whom_a_merge_shows_to_be_one_patient_keeps_one_reader(lab: Lab) -> None:
    arrives(lab, 1, "P1")
    says(lab, merged("P1", "P9"))
    arrives(lab, 2, "P9")
    (_, first), (_, second) = owners(lab)
    assert first == second


@ON_BOTH
@pytest.mark.parametrize("merges", [[("B200", "A100234")], [("P7", "A100234"), ("B200", "P7"), ("P7", "B200")]])
def test_who_may_read_no_case_of_a_patient_reads_none_of_whom_that_one_was_merged_into(
    lab: Lab, merges: list[tuple[str, str]]
) -> None:
    says(lab, order("26H1", slide_of(1)))
    with lab.database.write("test") as session:
        theirs = {"subject_kind": "patient", "subject_id": session.scalars(select(Case.patient_id)).one()}
        session.add(ReadingConflict(pathologist_id="rosa", because="their own", **theirs))
    for number, (survivor, goes) in enumerate(merges):
        says(lab, merged(survivor, goes, control_id=f"A40{number}", sent_at=f"20250101123{number}00+0000"))
    scan_arrives(lab, SmallSlide(codes=(slide_of(1),)))
    run_until_calm(lab)
    assert owners(lab) == [("primary", "tom")]


@ON_BOTH
@pytest.mark.parametrize(
    ("slides", "who"),
    [
        ((("1", ""),), "tom"),
        ((("1", "OTH"),), "rosa"),
        ((("1", ""), ("2", "OTH")), None),
    ],
    ids=["on a screen", "on glass", "on both"],
)
def test_a_case_goes_to_whoever_reads_what_it_is_read_on(
    lab: Lab, slides: tuple[tuple[str, str], ...], who: str | None
) -> None:
    with lab.database.write("test") as session:
        session.execute(update(Competence).where(Competence.pathologist_id == "rosa").values(digital=False))
        session.execute(update(Competence).where(Competence.pathologist_id == "tom").values(glass=False))
    says(lab, *(order("26H1", f"26H000001-A1-{name}", route=route, control_id=f"M{name}") for name, route in slides))
    for name, route in slides:
        if not route:
            scan_arrives(lab, SmallSlide(codes=(f"26H000001-A1-{name}",)))
    run_until_calm(lab)
    assert owners(lab) == ([] if who is None else [("primary", who)])
    assert alerts(lab) == (["nobody eligible"] if who is None else [])


@ON_BOTH
def test_messages_that_come_twice_and_in_any_order_give_each_read_one_owner(lab: Lab) -> None:
    chance = random.Random(5)
    said = [order(f"26H{case}", slide_of(case), control_id=f"M{case}") for case in (1, 2, 3)]
    coming: list[bytes | SmallSlide] = [*said, *said, *(SmallSlide(codes=(slide_of(case),)) for case in (1, 2, 3))]
    for one in chance.sample(coming, len(coming)):
        if isinstance(one, bytes):
            message_arrives(lab, one)
        else:
            scan_arrives(lab, one)
        if chance.random() < 0.5:
            run_until_calm(lab)
    run_until_calm(lab)
    with lab.database.read() as session:
        assert len(session.scalars(select(Assignment)).all()) == 3
    assert len(owners(lab)) == 3
    books_balance(lab)


@ON_BOTH
def test_points_that_change_later_move_no_case_and_count_from_the_next_decision_on(lab: Lab) -> None:
    arrives(lab, 1, "P1")
    ((_, first),) = owners(lab)
    changed(lab, Read, points=400.0)
    run_until_calm(lab)
    assert owners(lab) == [("primary", first)]
    with lab.database.read() as session:
        assert session.scalars(select(Assignment)).one().explanation["read"]["points"] < 400.0
    arrives(lab, 2, "P2")
    arrives(lab, 3, "P3")
    assert [person for _, person in owners(lab)] == [first, OTHER[first], OTHER[first]]


@ON_BOTH
def test_points_that_are_no_weight_are_set_aside_with_their_read_and_nobody_else_s(lab: Lab) -> None:
    arrives(lab, 1, "P1")
    changed(lab, Read, points=-3.0)
    with lab.database.write("test") as session:
        given = session.scalars(select(Assignment)).one()
        given.ended_at = given.started_at
        session.execute(update(Step).where(Step.kind == "case_assignment").values(state="ready", ended_at=None))
        session.execute(update(Case).values(reading=Reading.UNASSIGNED))
    run_until_calm(lab)
    assert steps(lab, "case_assignment") == ["set aside"]
    arrives(lab, 2, "P2")
    assert len(owners(lab)) == 1


@ON_BOTH
def test_with_everyone_on_leave_a_read_waits_is_raised_and_goes_to_whoever_is_back_first(lab: Lab) -> None:
    today = database_today(lab)
    with lab.database.write("test") as session:
        for person in ("rosa", "tom"):
            session.add(Leave(pathologist_id=person, first_day=today, last_day=today + timedelta(days=3)))
    arrives(lab, 1)
    assert (owners(lab), steps(lab, "case_assignment")) == ([], ["waiting for an eligible pathologist"])
    assert alerts(lab) == ["nobody eligible"]
    books_balance(lab)
    with lab.database.write("test") as session:
        session.execute(update(Leave).where(Leave.pathologist_id == "tom").values(last_day=today - timedelta(days=1)))
    time_passes(lab, "case_assignment")
    run_until_calm(lab)
    assert (owners(lab), alerts(lab)) == ([("primary", "tom")], [])
    books_balance(lab)


@ON_BOTH
def test_nobody_passes_their_maximum_whatever_comes(lab: Lab) -> None:
    changed(lab, Pathologist, max_points=2.0)
    for case in range(1, 7):
        arrives(lab, case, f"P{case}")
    held = [person for _, person in owners(lab)]
    assert {person: held.count(person) for person in OTHER} == {"rosa": 2, "tom": 2}
    assert alerts(lab).count("nobody eligible") == 2
    books_balance(lab)


@ON_BOTH
def test_a_case_that_is_read_twice_has_two_readers_who_may(lab: Lab) -> None:
    with lab.database.write("test") as session:
        session.execute(update(Competence).where(Competence.pathologist_id == "rosa").values(level=2))
    ruled_by(lab, Policy(subspecialties={"general": Subspecialty(double=True)}))
    arrives(lab, 1)
    # Only Tom leads, as a second reader must.
    assert sorted(owners(lab)) == [("primary", "rosa"), ("second", "tom")]
    books_balance(lab)


def database_today(lab: Lab) -> date:
    with lab.database.read() as session:
        return database_now(session).date()


@ON_BOTH
@pytest.mark.parametrize("told_first", ["policy", "case"])
def test_a_policy_of_later_decides_later_and_undoes_nothing(lab: Lab, told_first: str) -> None:
    if told_first == "policy":
        ruled_by(lab, Policy(subspecialties={"general": Subspecialty(scope="national")}))
    arrives(lab, 1)
    if told_first == "case":
        ruled_by(lab, Policy(subspecialties={"general": Subspecialty(scope="national")}))
    run_until_calm(lab)
    with lab.database.read() as session:
        given = session.scalars(select(Assignment)).one()
    assert given.policy_version == (1 if told_first == "policy" else None)
