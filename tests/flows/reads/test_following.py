"""Reads follow what the LIMS says: parts, second and trainees' reads, frozen sections; in any order."""

from datetime import timedelta
from itertools import permutations
from pathlib import Path

import pytest
from sqlalchemy import select

from flows.actions import Desk, Person, override, read_named
from models.database import database_now
from models.facets import Reading
from models.policy import Policy, Subspecialty
from models.tables.reading import Assignment, Leave, Notice, Read
from tests.flows.looking import LATER, LATEST, alerts, books_balance, says, the_case, told
from tests.flows.reads.life import (
    LAST,
    PEOPLE,
    SPLIT,
    LabOf,
    cancelled,
    credits_of,
    divided,
    policy_is,
    reader,
    reading_lab,
    reads_ahead,
    reads_of,
)
from tests.lims_says import reported, updated
from tests.small_lab import ON_BOTH


def test_a_case_of_one_subspecialty_is_read_whole(lab_of: LabOf) -> None:
    lab = lab_of(skin=SPLIT)
    says(lab, divided(("A", "SKIN"), ("B", "SKIN")))

    assert [read[:3] for read in reads_of(lab)] == [("primary", "whole", "AB")]
    assert the_case(lab).reading == Reading.ASSIGNED
    books_balance(lab)


@ON_BOTH
def test_specimens_of_another_subspecialty_go_to_a_reader_of_their_own(lab_of: LabOf) -> None:
    lab = lab_of(skin=SPLIT)
    says(lab, divided(("A", "SKIN"), ("B", "NEURO"), ("C", "NEURO")))

    mine, other = reads_of(lab)
    assert mine[:3] == ("primary", "part 1", "A")
    assert mine[3] in ("rosa", "tom")
    assert other == ("primary", "part 2", "BC", "nia", True)
    assert the_case(lab).reading == Reading.ASSIGNED
    assert told(lab).count("assigned") == 1
    books_balance(lab)


def test_without_that_rule_a_case_is_never_split(lab_of: LabOf) -> None:
    lab = lab_of()
    says(lab, divided(("A", "SKIN"), ("B", "NEURO")))

    assert [read[:3] for read in reads_of(lab)] == [("primary", "whole", "")]
    books_balance(lab)


def test_a_case_is_assigned_only_when_every_part_is(lab_of: LabOf) -> None:
    lab = lab_of(reader("rosa", "skin"), skin=SPLIT)
    says(lab, divided(("A", "SKIN"), ("B", "NEURO")))

    assert [read[3] for read in reads_of(lab)] == ["rosa", None]
    assert the_case(lab).reading == Reading.UNASSIGNED
    assert alerts(lab) == ["nobody eligible"]
    books_balance(lab)


@ON_BOTH
def test_a_whole_case_that_somebody_has_becomes_a_part_when_another_subspecialty_comes(lab_of: LabOf) -> None:
    lab = lab_of(skin=SPLIT)
    says(lab, divided(("A", "SKIN")))
    ((_, _, _, first, _),) = reads_of(lab)
    says(lab, divided(("B", "NEURO"), sent_at=LATER, control_id="O2"))

    assert reads_of(lab) == [("primary", "part 1", "A", first, True), ("primary", "part 2", "B", "nia", True)]
    books_balance(lab)


@ON_BOTH
def test_a_part_of_which_everything_is_cancelled_is_taken_from_its_reader_who_is_told(lab_of: LabOf) -> None:
    lab = lab_of(skin=SPLIT)
    says(lab, divided(("A", "SKIN"), ("B", "NEURO")))
    says(lab, cancelled("B", sent_at=LATER))

    (first, second) = reads_of(lab)
    assert (first[1], first[4]) == ("part 1", True)
    assert second == ("primary", "part 2", "", None, False) or second[3:] == (None, False)
    with lab.database.read() as session:
        taken = session.scalars(select(Notice).where(Notice.kind == "taken")).all()
        assert [one.pathologist_id for one in taken] == ["nia"]
    says(lab, reported("26H1", "F", sent_at=LATEST))
    assert [who for _, _, _, who, _ in credits_of(lab)] == [first[3]]
    books_balance(lab)


@pytest.mark.parametrize("arrival", list(permutations(range(3))))
def test_any_order_of_messages_makes_the_same_reads(tmp_path: Path, arrival: tuple[int, ...]) -> None:
    story = (
        divided(("A", "SKIN")),
        divided(("B", "NEURO"), ("C", "BREAST"), sent_at=LATER, control_id="O2", control="XO"),
        cancelled("C", sent_at=LATEST),
    )
    lab = reading_lab(
        tmp_path,
        f"sqlite:///{tmp_path / 'coverslip.db'}",
        reader("ann", "renal"),
        skin=SPLIT,
        site={"settle_after": 0.02},
    )
    says(lab, *(story[number] for number in arrival))
    says(lab, *(story[number] for number in arrival))

    open_ones = [read for read in reads_of(lab) if read[4]]
    assert open_ones == [("primary", "part 1", "A", None, True), ("primary", "part 2", "B", None, True)]
    books_balance(lab)


def test_a_case_that_is_read_twice_has_a_second_read_of_half_the_points_by_another_lead(lab_of: LabOf) -> None:
    lab = lab_of(skin={"double": True})
    says(lab, divided(("A", "SKIN"), slides=12))

    first, second = reads_of(lab)
    assert (first[0], second[0]) == ("primary", "second")
    assert {first[3], second[3]} == {"rosa", "tom"}
    with lab.database.read() as session:
        assert {read.role: read.points for read in session.scalars(select(Read))} == {"primary": 6.0, "second": 3.0}
    assert told(lab).count("assigned") == 1
    says(lab, reported("26H1", "F", sent_at=LATER))
    assert [(role, points) for _, role, _, _, points in credits_of(lab)] == [("primary", 6.0), ("second", 3.0)]
    books_balance(lab)


def test_a_lims_that_can_tell_readers_apart_hears_of_the_second_one_too(lab_of: LabOf) -> None:
    lab = lab_of(skin={"double": True}, hears_all=True)
    says(lab, divided(("A", "SKIN")))

    heard = [one.decode() for one in lab.senders["lims-a"].heard if b"ASSIGNED" in one]  # type: ignore[attr-defined] # a SmallLims
    assert len(heard) == 2
    assert "|PI^Primary interpreter^HL70912|" in heard[0]
    assert "|AI^Assistant/Alternate Interpreter^HL70912|" in heard[1]
    books_balance(lab)


@ON_BOTH
def test_a_trainee_reads_ahead_of_whoever_has_the_primary_read(lab_of: LabOf) -> None:
    lab = lab_of(*PEOPLE, reader("pat", "skin"), skin={"trainees": True})
    reads_ahead(lab, "pat", "skin")
    says(lab, divided(("A", "SKIN")))

    first, ahead = reads_of(lab)
    assert ahead == ("trainee", "whole", "", "pat", True)
    with lab.database.read() as session:
        assert session.scalars(select(Read.supervisor_id).where(Read.role == "trainee")).one() == first[3]
    books_balance(lab)


def test_a_trainee_who_comes_to_a_case_later_is_supervised_by_whoever_has_it(lab_of: LabOf) -> None:
    lab = lab_of(reader("rosa", "skin"), reader("tia", "skin"))
    reads_ahead(lab, "tia", "skin")
    says(lab, divided(("A", "SKIN")))
    policy_is(lab, Policy(subspecialties={"skin": Subspecialty(trainees=True)}))
    says(lab, divided(("A", "SKIN"), slides=2, sent_at=LATER, control_id="O2"))

    assert [(read[0], read[3]) for read in reads_of(lab)] == [("primary", "rosa"), ("trainee", "tia")]
    with lab.database.read() as session:
        assert session.scalars(select(Read.supervisor_id).where(Read.role == "trainee")).one() == "rosa"


def test_what_nobody_could_read_is_raised_no_more_once_somebody_has_it_though_its_trainee_is_away(
    lab_of: LabOf,
) -> None:
    lab = lab_of(reader("nia", "neuro"), reader("tia", "skin"), skin={"trainees": True})
    reads_ahead(lab, "tia", "skin")
    with lab.database.write("away") as session:
        today = database_now(session).date()
        session.add(Leave(pathologist_id="tia", first_day=today, last_day=today + timedelta(days=9)))
    says(lab, divided(("A", "SKIN")))
    assert alerts(lab) == ["nobody eligible"]

    with lab.database.read() as session:
        seen = read_named(session, the_case(lab).id, role="primary")
    override(Desk(lab.database, lab.settings, lab.ids), seen, "nia", Person("Ann Example", "nobody else is here"))
    assert [(read[0], read[3]) for read in reads_of(lab)] == [("primary", "nia"), ("trainee", None)]
    assert alerts(lab) == []


def test_a_laboratory_without_a_trainee_of_the_site_has_its_cases_assigned_all_the_same(lab_of: LabOf) -> None:
    lab = lab_of(skin={"trainees": True})
    says(lab, divided(("A", "SKIN")))

    assert the_case(lab).reading == Reading.ASSIGNED
    assert alerts(lab) == []
    books_balance(lab)


@ON_BOTH
def test_a_frozen_section_is_read_at_once_and_its_paraffin_later(lab_of: LabOf) -> None:
    lab = lab_of()
    says(lab, divided(("A", "SKIN"), priority="FS"))
    ((role, _, _, who, _),) = reads_of(lab)
    assert role == "intra-operative"
    assert the_case(lab).reading == Reading.ASSIGNED
    assert told(lab).count("assigned") == 1
    books_balance(lab)

    says(lab, reported("26H1", "P", sent_at=LATER))
    answered, primary = reads_of(lab)
    assert (answered[0], answered[4]) == ("intra-operative", False)
    assert (primary[0], primary[4]) == ("primary", True)
    assert credits_of(lab) == []
    says(lab, reported("26H1", "F", sent_at=LATEST, control_id="R02"))
    assert [(role, who) for _, role, _, who, _ in credits_of(lab)] == [
        ("intra-operative", who),
        ("primary", primary[3]),
    ]
    books_balance(lab)
    says(lab, divided(("A", "SKIN"), sent_at=LAST, control_id="O2", control="XO", slides=2))
    assert reads_of(lab, 2) == [("primary", "whole", "", primary[3], True)]
    books_balance(lab)


def test_paraffin_that_comes_before_any_word_of_the_frozen_section_is_read_too(lab_of: LabOf) -> None:
    lab = lab_of()
    says(lab, divided(("A", "SKIN"), priority="FS"))
    says(lab, divided(("A", "SKIN"), sent_at=LATER, control_id="O2", control="XO", slides=3))

    assert [(read[0], read[4]) for read in reads_of(lab)] == [("intra-operative", True), ("primary", True)]
    books_balance(lab)


@pytest.mark.parametrize("who", ["lims", "pacs"])
def test_where_others_allocate_a_case_is_neither_split_nor_read_twice_by_us(lab_of: LabOf, who: str) -> None:
    lab = lab_of(skin={"split": True, "double": True, "trainees": True}, site={"allocation": who})
    says(lab, divided(("A", "SKIN"), ("B", "NEURO"), priority="FS"))

    assert [read[:2] for read in reads_of(lab)] == [("primary", "whole")]
    says(lab, updated("26H1", reader="tom", sent_at=LATER))
    assert [read[3] for read in reads_of(lab)] == ["tom"]
    books_balance(lab)


def test_a_policy_that_is_changed_takes_nothing_from_who_has_it(lab_of: LabOf) -> None:
    lab = lab_of(skin={"double": True, "split": True})
    says(lab, divided(("A", "SKIN"), ("B", "NEURO")))
    before = [read for read in reads_of(lab) if read[3]]
    policy_is(lab, Policy(subspecialties={"skin": Subspecialty()}))
    says(lab, divided(("A", "SKIN"), ("B", "NEURO"), sent_at=LATER, control_id="O2"))

    assert [read for read in reads_of(lab) if read[3]] == before
    books_balance(lab)


def test_a_stated_reader_of_any_part_is_no_difference(lab_of: LabOf) -> None:
    lab = lab_of(skin=SPLIT)
    says(lab, divided(("A", "SKIN"), ("B", "NEURO")), updated("26H1", reader="nia", sent_at=LATER))
    assert alerts(lab) == []
    says(lab, updated("26H1", reader="bea", sent_at=LATEST, control_id="L102"))

    assert alerts(lab) == ["another reader stated"]
    with lab.database.read() as session:
        assert (
            session.scalars(select(Assignment.pathologist_id).where(Assignment.ended_at.is_(None))).all().count("nia")
        )
    books_balance(lab)
