"""Points are forecast when a read is assigned and corrected once after its report; no case moves for them."""

from pathlib import Path

import pytest
from sqlalchemy import select, update

from connectors.wiring import Lab
from models.policy import Policy
from models.tables.books import Alert, InboxMessage
from models.tables.case import Specimen
from models.tables.reading import Assignment, Credit, Read
from tests.flows.looking import LATER, LATEST, alerts, books_balance, says
from tests.flows.reads.life import SPLIT, LabOf, credits_of, divided, policy_is, reading_lab, reads_of
from tests.lims_says import reported
from tests.small_lab import ON_BOTH

LAST = "20250101150000+0000"


def weights(lab: Lab) -> list[tuple[float, str]]:
    with lab.database.read() as session:
        return [(read.points, read.weights) for read in session.scalars(select(Read).order_by(Read.created_at))]


def credits_in_full(lab: Lab) -> list[tuple[float, float, bool]]:
    """Return forecast, points, and whether they were corrected."""
    with lab.database.read() as session:
        return [(one.forecast, one.points, one.corrected_at is not None) for one in session.scalars(select(Credit))]


def of_points(points: str, message: bytes) -> bytes:
    return message + f"OBX|9|NM|WORKLOAD-POINTS^Points^L||{points}||||||F\r".encode()


def test_a_policy_picks_the_model_and_the_read_keeps_which_it_was(lab_of: LabOf) -> None:
    lab = lab_of(weight_model="specimen table/1", specimen_points={"m1": 9.5})
    says(lab, divided(("A", "SKIN"), kind="M1^Something^L"))
    assert weights(lab) == [(9.5, "specimen table/1")]
    policy_is(lab, Policy(weight_model="weights/1", specimen_points={"m1": 4.0}))
    says(lab, reported("26H1", "F", sent_at=LATER))

    # The model is the same, and knows another figure of this type.
    assert credits_in_full(lab) == [(9.5, 4.0, True)]
    books_balance(lab)


def test_points_that_change_after_the_read_was_given_move_nothing_and_are_credited(lab_of: LabOf) -> None:
    lab = lab_of()
    says(lab, divided(("A", "SKIN")))
    before = reads_of(lab)
    says(lab, divided(("A", "SKIN"), sent_at=LATER, control_id="O2", control="XO", slides=12))

    assert reads_of(lab) == before
    assert weights(lab) == [(1.0, "weights/1")]
    with lab.database.read() as session:
        assert len(session.scalars(select(Assignment)).all()) == 1
    says(lab, reported("26H1", "F", sent_at=LATEST))
    assert credits_in_full(lab) == [(1.0, 6.0, True)]
    books_balance(lab)


@ON_BOTH
def test_what_the_lims_says_of_points_after_the_report_corrects_the_credit_once(lab_of: LabOf) -> None:
    lab = lab_of(weight_model="lims events/1")
    says(lab, divided(("A", "SKIN")), reported("26H1", "F", sent_at=LATER))
    assert credits_in_full(lab) == [(1.0, 1.0, False)]
    says(lab, of_points("7.5", reported("26H1", "F", sent_at=LATEST, control_id="R02")))
    assert credits_in_full(lab) == [(1.0, 7.5, True)]
    says(lab, of_points("99", reported("26H1", "F", sent_at=LAST, control_id="R03")))

    assert credits_in_full(lab) == [(1.0, 7.5, True)]
    books_balance(lab)


@pytest.mark.parametrize(
    "said", ["NaN", "nan", "-1", "-0.5", "1e3", "inf", "1000.5", "12345678901234567890", "1_0", "two"]
)
def test_points_that_are_no_weight_are_left_out_with_a_sentence_and_the_former_stand(tmp_path: Path, said: str) -> None:
    lab = reading_lab(tmp_path, f"sqlite:///{tmp_path / 'coverslip.db'}", weight_model="lims events/1")
    says(lab, of_points("4", divided(("A", "SKIN"))))
    says(lab, of_points(said, divided(("A", "SKIN"), sent_at=LATER, control_id="O2")))

    assert weights(lab) == [(4.0, "lims events/1")]
    with lab.database.read() as session:
        problems = session.scalars(select(InboxMessage.problem).order_by(InboxMessage.received_at)).all()
    assert problems[0] is None
    assert problems[1] is not None
    assert "the case keeps the weight that it has" in problems[1]
    says(lab, reported("26H1", "F", sent_at=LATEST))
    assert credits_in_full(lab) == [(4.0, 4.0, False)]
    books_balance(lab)


def test_a_model_that_nobody_knows_weighs_as_ever_and_people_are_told(lab_of: LabOf) -> None:
    lab = lab_of(weight_model="weights/99")
    says(lab, divided(("A", "SKIN")))

    assert weights(lab) == [(1.0, "weights/1")]
    assert alerts(lab) == ["weight refused"]
    with lab.database.read() as session:
        assert "choose one of weights/1" in session.scalars(select(Alert.sentence)).one()


@ON_BOTH
def test_a_part_weighs_what_is_of_it_and_shares_what_the_lims_says_of_the_case(lab_of: LabOf) -> None:
    lab = lab_of(weight_model="lims events/1", skin=SPLIT)
    says(lab, of_points("8", divided(("A", "SKIN"), ("B", "NEURO"), ("C", "NEURO"), ("D", "NEURO"))))

    assert sorted(weights(lab)) == [(2.0, "lims events/1"), (6.0, "lims events/1")]
    books_balance(lab)


def test_duplicates_of_every_message_credit_once(lab_of: LabOf) -> None:
    lab = lab_of(skin={"double": True})
    story = [divided(("A", "SKIN")), reported("26H1", "F", sent_at=LATER)]
    again = [one.replace(b"|O1|", b"|O9|").replace(b"|R01|", b"|R09|") for one in story]
    says(lab, *story, *story, *again, *reversed(again))

    assert [credit[:2] for credit in credits_of(lab)] == [(1, "primary"), (1, "second")]
    books_balance(lab)


def test_a_read_that_nobody_ever_had_credits_nobody(lab_of: LabOf) -> None:
    lab = lab_of()
    says(lab, divided(("A", "RENAL")), reported("26H1", "F", sent_at=LATER))

    assert credits_of(lab) == []
    assert [read[4] for read in reads_of(lab)] == [False]
    books_balance(lab)


def test_weights_stay_when_a_specimen_s_type_is_no_longer_what_it_was(lab_of: LabOf) -> None:
    lab = lab_of(weight_model="specimen table/1")
    says(lab, divided(("A", "SKIN"), kind="X^Mastectomy^L"))
    assert weights(lab) == [(12.0, "specimen table/1")]
    with lab.database.write("its type") as session:
        session.execute(update(Specimen).values(specimen_type={"code": "", "meaning": "Core biopsy", "scheme": ""}))
    assert weights(lab) == [(12.0, "specimen table/1")]
