"""Work that the laboratory is asked for: LAB-102 out, taken or refused in the answer, LAB-103 and LAB-100 back."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy import select

from connectors.lims.message import Message
from connectors.lims.sender import Answer
from connectors.settings import Settings
from connectors.wiring import Lab
from flows.actions import Desk, Person, cancel_work, order_work, preview_resend, resend_of_case
from models.errors import RefusedError
from models.tables.books import OutboxMessage
from models.tables.work import WorkOrder
from tests.flows.looking import LATER, A, B, alerts, books_balance, says, steps, time_passes, told
from tests.lims_says import work_done
from tests.small_lab import ON_BOTH, SmallSlide, order, run_until_calm, scan_arrives

ANN = Person("Ann Example", "the section is folded")


@dataclass
class AnswersOrders:
    """A LIMS that answers an order with ORL^O22: taken under its own number, or refused."""

    code: str = "OK"
    msa: str = "AA"
    heard: list[bytes] = field(default_factory=list)

    def send(self, payload: bytes, control_id: str) -> Answer:
        self.heard.append(payload)
        lines = [f"MSH|^~\\&|LIMS|NET|||20250101||ORL^O22^ORL_O22|A1|P|2.5.1\rMSA|{self.msa}|{control_id}\r"]
        asked = Message(payload)
        if self.msa != "AA":
            lines.append("ERR|||207^Application internal error^HL70357|E||||no tissue is left\r")
        lines += [f"ORC|{self.code}|{one.stated(2)}|F-1\r" for one in asked.named("ORC")]
        return Answer(self.msa, "", "".join(lines).encode())


def desk(lab: Lab) -> Desk:
    return Desk(lab.database, lab.settings, lab.ids)


def answering(lab: Lab, peer: AnswersOrders) -> Lab:
    return replace(lab, senders=dict.fromkeys(lab.senders, peer))


def work(lab: Lab) -> WorkOrder:
    with lab.database.read() as session:
        return session.scalars(select(WorkOrder)).one()


def asked(lab: Lab, kind: Any = "recut", **more: Any) -> str:  # noqa: ANN401 - what order_work takes
    """Order a slide and work on it; return our number for the work."""
    says(lab, order("26H1", A))
    order_work(desk(lab), A, kind, ANN, **more)
    run_until_calm(lab)
    return work(lab).number


def test_work_is_asked_for_by_lab_102_which_names_the_slide_and_why(lab: Lab) -> None:
    peer = AnswersOrders()
    number = asked(answering(lab, peer), "stain", stain="Ki-67")

    message = Message(peer.heard[-1])
    (orc,), (obr,), (spm,) = (message.named(name) for name in ("ORC", "OBR", "SPM"))
    assert message.header.raw(21) == b"DPOW-PLACE-WO^IHE"
    assert (orc.stated(1), orc.stated(2), orc.stated(38)) == ("NW", number, "26H1")
    assert (obr.stated(4), obr.stated(13)) == ("STAIN", "Ki-67")
    assert (spm.stated(2), spm.stated(3)) == (number, A)
    assert [note.stated(3) for note in message.named("NTE")] == [ANN.reason, f"Asked by {ANN.name}"]
    books_balance(lab)


def test_work_that_is_taken_waits_to_be_done(lab: Lab) -> None:
    asked(answering(lab, AnswersOrders()))

    assert (work(lab).state, work(lab).filler_number) == ("accepted", "F-1")
    assert steps(lab, "expect_work") == ["waiting for the LIMS"]
    assert alerts(lab) == []
    books_balance(lab)


@ON_BOTH
@pytest.mark.parametrize("msa", ["AA", "AE"])
def test_work_that_is_refused_is_told_with_its_reason_and_holds_no_later_message_up(lab: Lab, msa: str) -> None:
    lab = answering(lab, AnswersOrders(code="UA", msa=msa))
    asked(lab)

    assert work(lab).state == "refused"
    assert work(lab).refusal == ("no tissue is left" if msa == "AE" else "")
    assert alerts(lab) == ["work refused"]
    assert steps(lab, "expect_work") == ["done"]
    assert steps(lab, "send") == ["done"]
    books_balance(lab)


def test_work_that_was_refused_may_be_asked_for_again_and_is_raised_no_more(lab: Lab) -> None:
    asked(answering(lab, AnswersOrders(code="UA")))
    assert alerts(lab) == ["work refused"]
    order_work(desk(lab), A, "recut", ANN)

    assert alerts(lab) == []
    run_until_calm(lab)
    books_balance(lab)


def test_work_that_is_done_waits_for_what_was_made_to_be_registered(lab: Lab) -> None:
    number = asked(answering(lab, AnswersOrders()))
    says(lab, work_done("26H1", number, B))
    assert (work(lab).state, work(lab).made_container) == ("fulfilled", B)
    assert steps(lab, "expect_work") == ["waiting for the LIMS"]
    books_balance(lab)

    says(lab, order("26H1", B, sent_at=LATER, control_id="M2"))
    assert steps(lab, "expect_work") == ["done"]
    books_balance(lab)


@ON_BOTH
def test_work_that_is_done_may_be_registered_before_it_is_said_to_be_done(lab: Lab) -> None:
    number = asked(answering(lab, AnswersOrders()))
    says(lab, order("26H1", B, sent_at=LATER, control_id="M2"), work_done("26H1", number, B))

    assert work(lab).state == "fulfilled"
    assert steps(lab, "expect_work") == ["done"]
    books_balance(lab)


def test_work_that_nobody_does_in_time_is_raised_and_waited_for_on(lab: Lab) -> None:
    asked(answering(lab, AnswersOrders()))
    time_passes(lab, "expect_work")
    run_until_calm(lab)

    assert alerts(lab) == ["waits too long"]
    assert steps(lab, "expect_work") == ["waiting for the LIMS"]
    books_balance(lab)


def test_work_that_was_never_asked_for_changes_nothing(lab: Lab) -> None:
    says(lab, order("26H1", A), work_done("26H1", "W-NEVER", B))

    with lab.database.read() as session:
        assert session.scalars(select(WorkOrder)).all() == []
    books_balance(lab)


@ON_BOTH
def test_the_same_work_is_not_asked_for_twice_and_other_work_is(lab: Lab) -> None:
    asked(lab)
    with pytest.raises(RefusedError, match="was asked for a recut of it already"):
        order_work(desk(lab), A, "recut", ANN)
    order_work(desk(lab), A, "re-coverslip", ANN)
    run_until_calm(lab)

    with lab.database.read() as session:
        assert len(set(session.scalars(select(WorkOrder.number)))) == 2
    books_balance(lab)


@ON_BOTH
@pytest.mark.parametrize(
    ("name", "kind", "stain", "why"),
    [
        ("nothing-so", "recut", "", "no order has named such a slide"),
        (A, "stain", "", "say which stain"),
        (A, "recut", "Ki-67", "a recut has no stain"),
        ("26H000001-A1", "rescan", "", "a block can't have a rescan"),
        (B, "recut", "", "has cancelled it"),
    ],
)
def test_what_can_t_be_asked_for_is_refused_and_nothing_is_sent(
    lab: Lab,
    name: str,
    kind: Any,  # noqa: ANN401 - one of the kinds
    stain: str,
    why: str,
) -> None:
    says(lab, order("26H1", A, parent="26H000001-A1"), order("26H1", cancel=(B,), control_id="M2", sent_at=LATER))
    with pytest.raises(RefusedError, match=why):
        order_work(desk(lab), name, kind, ANN, stain=stain)
    assert told(lab) == []


@ON_BOTH
def test_a_block_is_asked_for_by_its_own_name(lab: Lab) -> None:
    says(lab, order("26H1", A, parent="26H000001-A1"))
    order_work(desk(lab), "26H000001-A1", "recut", ANN)

    assert work(lab).subject_id == lab.ids.of("block", "NET", "26H000001-A1")
    run_until_calm(lab)
    books_balance(lab)


@ON_BOTH
def test_a_person_may_take_work_back_and_nobody_waits_for_it(lab: Lab) -> None:
    number = asked(lab)
    cancel_work(desk(lab), number.lower(), ANN)

    assert work(lab).state == "cancelled"
    assert steps(lab, "expect_work") == ["done"]
    with pytest.raises(RefusedError, match="is cancelled: there is nothing to take back"):
        cancel_work(desk(lab), number, ANN)
    books_balance(lab)


def test_a_cancelled_case_expects_no_work(lab: Lab) -> None:
    asked(lab)
    says(lab, order("26H1", control="CA", sent_at=LATER, control_id="M2"))

    assert work(lab).state == "cancelled"
    assert steps(lab, "expect_work") == ["done"]
    books_balance(lab)


@ON_BOTH
def test_a_rescan_is_work_where_the_lims_wants_it_and_over_when_the_next_scan_is_there(lab: Lab) -> None:
    said = lab.settings.model_dump()
    for peer in said["lims"]:
        peer["rescans_as_work"] = True
    lab = replace(lab, settings=Settings(**said))
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,), quality="rescan"))
    run_until_calm(lab)
    assert (work(lab).kind, work(lab).state, work(lab).asked_by) == ("rescan", "asked", "coverslip")
    assert sorted(told(lab)) == ["to be rescanned", "work"]

    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    assert work(lab).state == "fulfilled"
    assert steps(lab, "expect_work") == ["done"]
    books_balance(lab)


def test_a_rescan_is_no_work_by_default(lab: Lab) -> None:
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,), quality="rescan"))
    run_until_calm(lab)

    assert told(lab) == ["to be rescanned"]
    with lab.database.read() as session:
        (said,) = session.scalars(select(OutboxMessage)).all()
    assert said.announcement["quality"] == "rescan"


@dataclass
class UnderstandsLate(AnswersOrders):
    """A LIMS whose interface refuses the first message as such, before anybody there decides on the work."""

    def send(self, payload: bytes, control_id: str) -> Answer:
        if self.heard:
            return super().send(payload, control_id)
        self.heard.append(payload)
        return Answer("AE", "", f"MSH|^~\\&|LIMS|NET|||20250101||ACK|A1|P|2.5.1\rMSA|AE|{control_id}\r".encode())


@ON_BOTH
def test_a_message_of_a_case_that_was_refused_before_anything_was_scanned_is_sent_again_when_somebody_says_so(
    lab: Lab,
) -> None:
    peer = UnderstandsLate()
    lab = answering(lab, peer)
    asked(lab)
    case_id = work(lab).case_id
    assert (work(lab).state, alerts(lab)) == ("asked", ["refused"])

    (seen,) = preview_resend(desk(lab), case_id)
    acted = resend_of_case(desk(lab), case_id, ANN)
    assert (acted.follows, acted.case) == ((seen,), case_id)
    run_until_calm(lab)

    first, second = peer.heard
    assert first == second
    assert (work(lab).state, alerts(lab)) == ("accepted", [])
    for nothing in (case_id, "nobody's"):
        with pytest.raises(RefusedError, match=r"nothing to send again|there is no case"):
            resend_of_case(desk(lab), nothing, ANN)
