"""Reads follow what the LIMS says: parts, second and trainees' reads, frozen sections, rounds; in any order."""

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

LAST = "20250101150000+0000"


def test_a_case_of_one_subspecialty_is_read_whole(sqlite_lab_of: LabOf) -> None:
    lab = sqlite_lab_of(skin=SPLIT)
    says(lab, divided(("A", "SKIN"), ("B", "SKIN")))

    assert [read[:3] for read in reads_of(lab)] == [("primary", "whole", "AB")]
    assert the_case(lab).reading == Reading.ASSIGNED
    books_balance(lab)


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


def test_without_that_rule_a_case_is_never_split(sqlite_lab_of: LabOf) -> None:
    lab = sqlite_lab_of()
    says(lab, divided(("A", "SKIN"), ("B", "NEURO")))

    assert [read[:3] for read in reads_of(lab)] == [("primary", "whole", "")]
    books_balance(lab)


def test_a_case_is_assigned_only_when_every_part_is(sqlite_lab_of: LabOf) -> None:
    lab = sqlite_lab_of(reader("rosa", "skin"), skin=SPLIT)
    says(lab, divided(("A", "SKIN"), ("B", "NEURO")))

    assert [read[3] for read in reads_of(lab)] == ["rosa", None]
    assert the_case(lab).reading == Reading.UNASSIGNED
    assert alerts(lab) == ["nobody eligible"]
    books_balance(lab)


def test_a_whole_case_that_somebody_has_becomes_a_part_when_another_subspecialty_comes(lab_of: LabOf) -> None:
    lab = lab_of(skin=SPLIT)
    says(lab, divided(("A", "SKIN")))
    ((_, _, _, first, _),) = reads_of(lab)
    says(lab, divided(("B", "NEURO"), sent_at=LATER, control_id="O2"))

    assert reads_of(lab) == [("primary", "part 1", "A", first, True), ("primary", "part 2", "B", "nia", True)]
    books_balance(lab)


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


def test_a_final_report_of_a_part_closes_and_credits_that_part_alone(lab_of: LabOf) -> None:
    lab = lab_of(skin=SPLIT)
    says(lab, divided(("A", "SKIN"), ("B", "NEURO")))
    (_, _, _, first, _), _ = reads_of(lab)
    says(lab, reported("26H1", "F", "26H1-B", sent_at=LATER))

    assert [read[3:] for read in reads_of(lab)] == [(first, True), (None, False)]
    assert credits_of(lab) == [(1, "primary", "part 2", "nia", 1.0)]
    assert the_case(lab).reading == Reading.ASSIGNED
    books_balance(lab)
    says(lab, reported("26H1", "F", "26H1-A", sent_at=LATEST, control_id="R02"))
    assert the_case(lab).round_closed_at is not None
    assert credits_of(lab) == [(1, "primary", "part 1", first, 1.0), (1, "primary", "part 2", "nia", 1.0)]
    books_balance(lab)


def test_a_later_stain_opens_a_round_for_its_own_part_with_the_same_reader(lab_of: LabOf) -> None:
    lab = lab_of(skin=SPLIT)
    says(lab, divided(("A", "SKIN"), ("B", "NEURO")), reported("26H1", "F", sent_at=LATER))
    assert the_case(lab).reading == Reading.NONE
    says(lab, divided(("B", "NEURO"), sent_at=LATEST, control_id="O2", control="XO", slides=2))

    assert reads_of(lab, 2) == [("primary", "part 2", "B", "nia", True)]
    says(lab, reported("26H1", "F", "26H1-B", sent_at=LAST, control_id="R02"))
    assert (the_case(lab).round, the_case(lab).round_closed_at is not None) == (2, True)
    assert credits_of(lab)[2:] == [(2, "primary", "part 2", "nia", 1.0)]
    books_balance(lab)


def test_a_later_round_goes_to_whoever_had_the_case_though_another_has_less_to_do(sqlite_lab_of: LabOf) -> None:
    lab = sqlite_lab_of()
    says(lab, divided(("A", "SKIN")))
    with lab.database.read() as session:
        seen = read_named(session, the_case(lab).id)
    other = {"rosa": "tom", "tom": "rosa"}[str(seen.pathologist_id)]
    override(Desk(lab.database, lab.settings, lab.ids), seen, other, Person("Ann Example", "knows it best"))
    says(lab, reported("26H1", "F", sent_at=LATER))
    says(lab, divided(("A", "SKIN"), sent_at=LATEST, control_id="O2", control="XO", slides=2))

    assert [(read[0], read[3]) for read in reads_of(lab, 2)] == [("primary", other)]


def test_a_stain_for_a_reported_part_is_read_though_the_other_part_is_not_reported_yet(lab_of: LabOf) -> None:
    lab = lab_of(skin=SPLIT)
    says(lab, divided(("A", "SKIN"), ("B", "NEURO")), reported("26H1", "F", "26H1-B", sent_at=LATER))
    says(lab, divided(("B", "NEURO"), sent_at=LATEST, control_id="O2", control="XO", slides=2))

    again = [read for read in reads_of(lab) if read[4] and read[2] == "B"]
    assert [(role, scope, who) for role, scope, _, who, _ in again] == [("primary", "part 3", "nia")]
    assert credits_of(lab) == [(1, "primary", "part 2", "nia", 1.0)]
    books_balance(lab)
    says(lab, reported("26H1", "F", sent_at=LAST, control_id="R02"))
    assert [credit[2:] for credit in credits_of(lab)][1:] == [("part 2", "nia", 1.0), ("part 3", "nia", 1.0)]
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


def test_a_lims_that_can_tell_readers_apart_hears_of_the_second_one_too(sqlite_lab_of: LabOf) -> None:
    lab = sqlite_lab_of(skin={"double": True}, hears_all=True)
    says(lab, divided(("A", "SKIN")))

    heard = [one.decode() for one in lab.senders["lims-a"].heard if b"ASSIGNED" in one]  # type: ignore[attr-defined] # a SmallLims
    assert len(heard) == 2
    assert "|PI^Primary interpreter^HL70912|" in heard[0]
    assert "|AI^Assistant/Alternate Interpreter^HL70912|" in heard[1]
    books_balance(lab)


def test_a_trainee_reads_ahead_of_whoever_has_the_primary_read(lab_of: LabOf) -> None:
    lab = lab_of(*PEOPLE, reader("pat", "skin"), skin={"trainees": True})
    reads_ahead(lab, "pat", "skin")
    says(lab, divided(("A", "SKIN")))

    first, ahead = reads_of(lab)
    assert ahead == ("trainee", "whole", "", "pat", True)
    with lab.database.read() as session:
        assert session.scalars(select(Read.supervisor_id).where(Read.role == "trainee")).one() == first[3]
    books_balance(lab)


def test_a_trainee_who_comes_to_a_case_later_is_supervised_by_whoever_has_it(sqlite_lab_of: LabOf) -> None:
    lab = sqlite_lab_of(reader("rosa", "skin"), reader("tia", "skin"))
    reads_ahead(lab, "tia", "skin")
    says(lab, divided(("A", "SKIN")))
    policy_is(lab, Policy(subspecialties={"skin": Subspecialty(trainees=True)}))
    says(lab, divided(("A", "SKIN"), slides=2, sent_at=LATER, control_id="O2"))

    assert [(read[0], read[3]) for read in reads_of(lab)] == [("primary", "rosa"), ("trainee", "tia")]
    with lab.database.read() as session:
        assert session.scalars(select(Read.supervisor_id).where(Read.role == "trainee")).one() == "rosa"


def test_what_nobody_could_read_is_raised_no_more_once_somebody_has_it_though_its_trainee_is_away(
    sqlite_lab_of: LabOf,
) -> None:
    lab = sqlite_lab_of(reader("nia", "neuro"), reader("tia", "skin"), skin={"trainees": True})
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


def test_a_laboratory_without_a_trainee_of_the_site_has_its_cases_assigned_all_the_same(sqlite_lab_of: LabOf) -> None:
    lab = sqlite_lab_of(skin={"trainees": True})
    says(lab, divided(("A", "SKIN")))

    assert the_case(lab).reading == Reading.ASSIGNED
    assert alerts(lab) == []
    books_balance(lab)


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


def test_paraffin_that_comes_before_any_word_of_the_frozen_section_is_read_too(sqlite_lab_of: LabOf) -> None:
    lab = sqlite_lab_of()
    says(lab, divided(("A", "SKIN"), priority="FS"))
    says(lab, divided(("A", "SKIN"), sent_at=LATER, control_id="O2", control="XO", slides=3))

    assert [(read[0], read[4]) for read in reads_of(lab)] == [("intra-operative", True), ("primary", True)]
    books_balance(lab)


def test_a_preliminary_report_credits_nothing_and_a_final_one_said_twice_credits_once(sqlite_lab_of: LabOf) -> None:
    lab = sqlite_lab_of()
    says(lab, divided(("A", "SKIN")), reported("26H1", "P", sent_at=LATER))
    assert credits_of(lab) == []
    final = reported("26H1", "F", sent_at=LATEST, control_id="R02")
    says(lab, final, final, reported("26H1", "F", sent_at=LAST, control_id="R03"))

    assert len(credits_of(lab)) == 1
    books_balance(lab)


def test_dpows_final_credits_and_its_ended_does_not(sqlite_lab_of: LabOf) -> None:
    lab = sqlite_lab_of()
    says(lab, divided(("A", "SKIN")), updated("26H1", says="Ended", sent_at=LATER))
    assert (the_case(lab).reading, credits_of(lab)) == (Reading.NONE, [])
    says(lab, divided(("B", "SKIN"), sent_at=LATEST, control_id="O2"))
    says(lab, updated("26H1", says="Final", sent_at=LAST, control_id="L102"))

    assert [credit[:3] for credit in credits_of(lab)] == [(2, "primary", "whole")]
    books_balance(lab)


def test_an_addendum_opens_a_round_with_a_small_credit_of_its_own(sqlite_lab_of: LabOf) -> None:
    lab = sqlite_lab_of()
    says(lab, divided(("A", "SKIN"), slides=12), reported("26H1", "F", sent_at=LATER))
    ((_, _, _, who, points),) = credits_of(lab)
    says(lab, reported("26H1", "C", sent_at=LATEST, control_id="R02"))
    assert reads_of(lab, 2) == [("primary", "whole", "", who, True)]
    says(lab, reported("26H1", "F", sent_at=LAST, control_id="R03"))

    assert points == 6.0
    assert credits_of(lab)[1:] == [(2, "primary", "whole", who, 1.0)]
    books_balance(lab)


def test_a_report_that_an_older_order_turns_out_to_precede_credits_nobody_until_it_is_final_again(
    lab_of: LabOf,
) -> None:
    lab = lab_of()
    says(lab, divided(("A", "SKIN"), slides=12), reported("26H1", "F", "26H1-A", sent_at=LATEST))
    ((_, _, _, who, _),) = credits_of(lab)
    says(lab, divided(("B", "SKIN"), sent_at=LATER, control_id="O2", control="XO"))
    assert credits_of(lab) == []
    assert reads_of(lab) == [("primary", "whole", "", who, True)]
    books_balance(lab)
    says(lab, reported("26H1", "F", "26H1-B", sent_at=LAST, control_id="R02"))

    ((_, _, _, again, points),) = credits_of(lab)
    assert (again, points) == (who, 11.0)
    books_balance(lab)


CANCEL = b"MSH|^~\\&|LIMS|NET|COVERSLIP|NET|%b||OML^O33^OML_O33|CA|P|2.5.1\rPID|1||A100234^^^NET^MR\rORC|CA|P1|26H1\r"


def test_a_cancelled_case_is_taken_from_everybody_and_credits_nobody(lab_of: LabOf) -> None:
    lab = lab_of(skin={"double": True})
    says(lab, divided(("A", "SKIN")), CANCEL % LATER.encode())
    assert [read[3:] for read in reads_of(lab)] == [(None, False), (None, False)]
    assert the_case(lab).reading == Reading.NONE
    says(lab, reported("26H1", "F", sent_at=LATEST))

    assert credits_of(lab) == []
    books_balance(lab)


def test_a_cancelled_case_that_is_ordered_again_comes_back_to_whoever_had_it(sqlite_lab_of: LabOf) -> None:
    lab = sqlite_lab_of(skin={"double": True})
    says(lab, divided(("A", "SKIN")))
    before = reads_of(lab)
    says(lab, CANCEL % LATER.encode(), divided(("A", "SKIN"), sent_at=LATEST, control_id="O2"))

    assert reads_of(lab) == before
    assert the_case(lab).reading == Reading.ASSIGNED
    books_balance(lab)


def test_a_frozen_section_that_is_cancelled_and_ordered_again_is_read_first_again(sqlite_lab_of: LabOf) -> None:
    lab = sqlite_lab_of()
    says(lab, divided(("A", "SKIN"), priority="FS"))
    before = reads_of(lab)
    assert [read[0] for read in before] == ["intra-operative"]
    says(lab, CANCEL % LATER.encode(), divided(("A", "SKIN"), priority="FS", sent_at=LATEST, control_id="O2"))

    assert reads_of(lab) == before
    books_balance(lab)


@pytest.mark.parametrize("who", ["lims", "pacs"])
def test_where_others_allocate_a_case_is_neither_split_nor_read_twice_by_us(lab_of: LabOf, who: str) -> None:
    lab = lab_of(skin={"split": True, "double": True, "trainees": True}, site={"allocation": who})
    says(lab, divided(("A", "SKIN"), ("B", "NEURO"), priority="FS"))

    assert [read[:2] for read in reads_of(lab)] == [("primary", "whole")]
    says(lab, updated("26H1", reader="tom", sent_at=LATER))
    assert [read[3] for read in reads_of(lab)] == ["tom"]
    books_balance(lab)


def test_a_policy_that_is_changed_takes_nothing_from_who_has_it(sqlite_lab_of: LabOf) -> None:
    lab = sqlite_lab_of(skin={"double": True, "split": True})
    says(lab, divided(("A", "SKIN"), ("B", "NEURO")))
    before = [read for read in reads_of(lab) if read[3]]
    policy_is(lab, Policy(subspecialties={"skin": Subspecialty()}))
    says(lab, divided(("A", "SKIN"), ("B", "NEURO"), sent_at=LATER, control_id="O2"))

    assert [read for read in reads_of(lab) if read[3]] == before
    books_balance(lab)


def test_a_stated_reader_of_any_part_is_no_difference(sqlite_lab_of: LabOf) -> None:
    lab = sqlite_lab_of(skin=SPLIT)
    says(lab, divided(("A", "SKIN"), ("B", "NEURO")), updated("26H1", reader="nia", sent_at=LATER))
    assert alerts(lab) == []
    says(lab, updated("26H1", reader="bea", sent_at=LATEST, control_id="L102"))

    assert alerts(lab) == ["another reader stated"]
    with lab.database.read() as session:
        assert (
            session.scalars(select(Assignment.pathologist_id).where(Assignment.ended_at.is_(None))).all().count("nia")
        )
    books_balance(lab)
