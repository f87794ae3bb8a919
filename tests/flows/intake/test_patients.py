"""What a message says of its patient, kept as far as there is room for it."""

import pytest
from sqlalchemy import select

from connectors.wiring import Lab
from models.tables.books import InboxMessage
from models.tables.case import Patient
from tests.flows.looking import A, books_balance, slides
from tests.small_lab import message_arrives, order, run_until_calm


def test_words_about_a_patient_that_no_column_holds_are_cut_and_the_order_counts(lab: Lab) -> None:
    said = order("26H1", A).replace(b"^^^NET^MR", b"^^^NET^National unique individual identifier")
    message_arrives(
        lab, said.replace(b"Example^Ada^^^^^L||19640229|F", b"E" * 300 + b"^Ada||19640229|not yet determined")
    )
    run_until_calm(lab)

    with lab.database.read() as session:
        patient = session.scalars(select(Patient)).one()
        assert (patient.family_name, patient.sex) == ("E" * 200, "not yet determin")
    assert slides(lab) == {A: True}
    books_balance(lab)


@pytest.mark.parametrize("said", [b"9" * 201 + b"^^^NET^MR", b"A1^^^" + b"N" * 201 + b"^MR"])
def test_a_number_of_a_patient_that_is_too_long_to_be_one_goes_to_a_person(lab: Lab, said: bytes) -> None:
    message_arrives(lab, order("26H1", A).replace(b"A100234^^^NET^MR", said))
    run_until_calm(lab)

    with lab.database.read() as session:
        message = session.scalars(select(InboxMessage)).one()
    assert message.state == "set aside"
    assert "201 characters; 200 are allowed" in str(message.problem)
