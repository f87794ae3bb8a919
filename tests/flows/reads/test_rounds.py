"""Reads follow a case's rounds: a report ends one and is credited, what comes later opens another, a cancel ends it."""

from flows.actions import Desk, Person, override, read_named
from models.facets import Reading
from tests.flows.looking import LATER, LATEST, books_balance, says, the_case
from tests.flows.reads.life import LAST, SPLIT, LabOf, credits_of, divided, reads_of
from tests.lims_says import reported, updated
from tests.small_lab import ON_BOTH


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


@ON_BOTH
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


def test_a_later_round_goes_to_whoever_had_the_case_though_another_has_less_to_do(lab_of: LabOf) -> None:
    lab = lab_of()
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


def test_a_preliminary_report_credits_nothing_and_a_final_one_said_twice_credits_once(lab_of: LabOf) -> None:
    lab = lab_of()
    says(lab, divided(("A", "SKIN")), reported("26H1", "P", sent_at=LATER))
    assert credits_of(lab) == []
    final = reported("26H1", "F", sent_at=LATEST, control_id="R02")
    says(lab, final, final, reported("26H1", "F", sent_at=LAST, control_id="R03"))

    assert len(credits_of(lab)) == 1
    books_balance(lab)


def test_dpows_final_credits_and_its_ended_does_not(lab_of: LabOf) -> None:
    lab = lab_of()
    says(lab, divided(("A", "SKIN")), updated("26H1", says="Ended", sent_at=LATER))
    assert (the_case(lab).reading, credits_of(lab)) == (Reading.NONE, [])
    says(lab, divided(("B", "SKIN"), sent_at=LATEST, control_id="O2"))
    says(lab, updated("26H1", says="Final", sent_at=LAST, control_id="L102"))

    assert [credit[:3] for credit in credits_of(lab)] == [(2, "primary", "whole")]
    books_balance(lab)


def test_an_addendum_opens_a_round_with_a_small_credit_of_its_own(lab_of: LabOf) -> None:
    lab = lab_of()
    says(lab, divided(("A", "SKIN"), slides=12), reported("26H1", "F", sent_at=LATER))
    ((_, _, _, who, points),) = credits_of(lab)
    says(lab, reported("26H1", "C", sent_at=LATEST, control_id="R02"))
    assert reads_of(lab, 2) == [("primary", "whole", "", who, True)]
    says(lab, reported("26H1", "F", sent_at=LAST, control_id="R03"))

    assert points == 6.0
    assert credits_of(lab)[1:] == [(2, "primary", "whole", who, 1.0)]
    books_balance(lab)


@ON_BOTH
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


def test_a_cancelled_case_that_is_ordered_again_comes_back_to_whoever_had_it(lab_of: LabOf) -> None:
    lab = lab_of(skin={"double": True})
    says(lab, divided(("A", "SKIN")))
    before = reads_of(lab)
    says(lab, CANCEL % LATER.encode(), divided(("A", "SKIN"), sent_at=LATEST, control_id="O2"))

    assert reads_of(lab) == before
    assert the_case(lab).reading == Reading.ASSIGNED
    books_balance(lab)


def test_a_frozen_section_that_is_cancelled_and_ordered_again_is_read_first_again(lab_of: LabOf) -> None:
    lab = lab_of()
    says(lab, divided(("A", "SKIN"), priority="FS"))
    before = reads_of(lab)
    assert [read[0] for read in before] == ["intra-operative"]
    says(lab, CANCEL % LATER.encode(), divided(("A", "SKIN"), priority="FS", sent_at=LATEST, control_id="O2"))

    assert reads_of(lab) == before
    books_balance(lab)
