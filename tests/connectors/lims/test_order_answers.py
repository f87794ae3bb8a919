"""What answers say of the orders that we placed."""

import pytest

from connectors.lims.order_answers import OrderAnswered, orders_answered

HEAD = "MSH|^~\\&|LIMS|NET|||20250101||ORL^O22^ORL_O22|A1|P|2.5.1\rMSA|{msa}|X1|{text}\r"


def answer(*lines: str, msa: str = "AA", text: str = "") -> bytes:
    return (HEAD.format(msa=msa, text=text) + "".join(f"{line}\r" for line in lines)).encode()


def test_each_order_is_taken_or_refused_for_itself() -> None:
    assert orders_answered(answer("ORC|OK|W1|F1", "ORC|UA|W2")) == (
        OrderAnswered(number="W1", accepted=True, filler_number="F1"),
        OrderAnswered(number="W2", accepted=False),
    )


@pytest.mark.parametrize(
    ("lines", "text", "why"),
    [
        (("ORC|UA|W1||||||||||||||NO^no tissue is left",), "", "no tissue is left"),
        (("ORC|UA|W1", "NTE|1||the block was sent away"), "", "the block was sent away"),
        (("ERR|||207|E|||closed today|ask tomorrow", "ORC|UA|W1"), "", "ask tomorrow"),
        (("ORC|UA|W1",), "not here", "not here"),
        (("ORC|UA|W1",), "", ""),
    ],
)
def test_the_reason_of_a_refusal_is_the_peer_s_own_wherever_it_stands(
    lines: tuple[str, ...], text: str, why: str
) -> None:
    (refused,) = orders_answered(answer(*lines, text=text))

    assert (refused.accepted, refused.reason) == (False, why)


@pytest.mark.parametrize(
    "raw",
    [b"", b"nothing of HL7", answer(), answer("ORC|SC|W1"), answer("ORC|OK|"), b"MSH|^~\\&|\rMSA|AA|X1\r"],
)
def test_an_answer_that_speaks_of_no_order_says_nothing(raw: bytes) -> None:
    assert orders_answered(raw) == ()
