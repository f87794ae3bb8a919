"""A wire that fails at any byte, either way: no message has two effects, and no answer counts for another message."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from connectors.lims.sender import MllpSender, SenderLimits
from models.errors import TransientError
from tests.faults.experiment import Bench
from tests.faults.lab import FaultLab, laboratory, wait_for_port
from tests.faults.lims import Lims, accepted, control_id, exchange, framed
from tests.faults.oracle import acknowledged_is_kept, breaches
from tests.faults.proxy import Fault, FaultProxy

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

# The first fails as planned; the others only when this machine is slower than a peer is patient.
_TRIES: Final = 20
_ENDS: Final = [pytest.param(False, id="closed"), pytest.param(True, id="reset")]


@pytest.fixture
def doors(bench: Bench, tmp_path: Path) -> Iterator[FaultLab]:
    """A laboratory of which only the doors are open: nothing is applied, so the inbox shows each effect."""
    with laboratory(bench.template, tmp_path / "home", zygote=bench.zygote) as lab:
        lab.start("doors")
        wait_for_port(lab.mllp)
        yield lab


@pytest.mark.parametrize("reset", _ENDS)
def test_a_message_cut_after_any_byte_is_kept_once(doors: FaultLab, reset: bool) -> None:  # noqa: FBT001
    with FaultProxy(doors.mllp) as wire:
        for cut in range(len(framed(_message(0))) + 1):
            wire.plan(Fault(cut_there=cut, reset=reset))
            _say(doors, wire, _message(cut))

    _each_is_kept_once(doors)


@pytest.mark.parametrize("reset", _ENDS)
def test_an_answer_cut_after_any_byte_is_given_again(doors: FaultLab, reset: bool) -> None:  # noqa: FBT001
    with FaultProxy(doors.mllp) as wire:
        _say(doors, wire, _message(9999))
        for cut in range(len(framed(doors.lims.answers["W9999"][0])) + 1):
            wire.plan(Fault(cut_back=cut, reset=reset))
            _say(doors, wire, _message(cut))

    _each_is_kept_once(doors)


@pytest.mark.parametrize(
    "fault",
    [Fault(delay_s=0.4), Fault(swallow="back"), Fault(swallow="there"), Fault(twice_there=True)],
    ids=["late", "answer swallowed", "message swallowed", "said twice"],
)
def test_a_peer_that_asks_again_gets_the_same_answer(doors: FaultLab, fault: Fault) -> None:
    with FaultProxy(doors.mllp) as wire:
        for number in range(3):
            wire.plan(fault)
            _say(doors, wire, _message(number), patience_s=0.3)

    _each_is_kept_once(doors)


@pytest.mark.parametrize("reset", _ENDS)
def test_what_we_tell_is_told_whole_whatever_byte_the_wire_is_cut_at(reset: bool) -> None:  # noqa: FBT001
    whole = framed(_message(0))
    answer = framed(accepted(_message(0)))
    faults = [Fault(cut_there=cut, reset=reset) for cut in range(len(whole) + 1)]
    faults += [Fault(cut_back=cut, reset=reset) for cut in range(len(answer) + 1)]
    with Lims() as lims, FaultProxy(lims.port) as wire:
        for number, fault in enumerate(faults):
            wire.plan(fault)
            # A connection of its own, so that each fault meets one message.
            with MllpSender("127.0.0.1", wire.port, SenderLimits(answer_seconds=5.0)) as sender:
                _tell(sender, _message(number))

    assert {control_id(message) for message in lims.told} == {f"W{number}" for number in range(len(faults))}
    assert all(message == _message(int(control_id(message)[1:])) for message in lims.told)


def test_an_answer_that_comes_too_late_is_never_taken_for_the_next_one() -> None:
    limits = SenderLimits(answer_seconds=0.3)
    with (
        Lims() as lims,
        FaultProxy(lims.port, [Fault(delay_s=0.4), Fault()]) as wire,
        MllpSender("127.0.0.1", wire.port, limits) as sender,
    ):
        with pytest.raises(TransientError):
            sender.send(_message(1), "W1")
        answer = sender.send(_message(2), "W2")

    assert (answer.code, answer.raw) == ("AA", accepted(_message(2)))


def test_a_journey_over_a_bad_wire_to_the_lims_ends_the_same(bench: Bench, tmp_path: Path) -> None:
    faults = (Fault(cut_back=0), Fault(cut_there=100, reset=True), Fault(cut_back=40))
    with (
        laboratory(bench.template, tmp_path / "home", zygote=bench.zygote) as lab,
        FaultProxy(lab.lims.port, faults) as wire,
    ):
        lab.tell_by_way_of(wire.port)
        for process in ("doors", "worker"):
            lab.start(process)
        lab.deliver()
        lab.until_quiet()
        lab.kill()

        assert breaches(lab, bench.end) == []
        assert wire.connections > len(faults)
        assert len(lab.lims.told) > len({control_id(message) for message in lab.lims.told})


def _message(number: int) -> bytes:
    header = f"MSH|^~\\&|LIMS|SITEA|COVERSLIP|NET|20261122091500+0000||ADT^A08^ADT_A01|W{number}|P|2.5.1"
    return "".join(f"{one}\r" for one in (header, "EVN|A08", "PID|1||A100234^^^SITEA^MR||Example^Ada")).encode()


def _say(lab: FaultLab, wire: FaultProxy, message: bytes, patience_s: float = 5.0) -> None:
    """Say a message over a wire whose next connection fails, until it is acknowledged."""
    name = control_id(message)
    lab.lims.sent[name] = message
    for _try in range(_TRIES):
        answer = exchange(message, wire.port, patience_s)
        if answer:
            lab.lims.answers[name].append(answer)
            # Once more over a whole wire: the peer forgot that it had been answered.
            lab.lims.answers[name].append(exchange(message, lab.mllp))
            return


def _tell(sender: MllpSender, message: bytes) -> None:
    """Tell a message until it is accepted, in the same bytes."""
    for _try in range(3):
        try:
            answer = sender.send(message, control_id(message))
        except TransientError:
            continue
        assert (answer.code, answer.raw) == ("AA", accepted(message))
        return
    pytest.fail(f"{control_id(message)} was never accepted")


def _each_is_kept_once(lab: FaultLab) -> None:
    kept = sorted(digest for (digest,) in lab.rows("SELECT sha256 FROM inbox"))
    assert lab.lims.waits == []
    assert list(acknowledged_is_kept(lab)) == []
    assert kept == sorted(hashlib.sha256(message).hexdigest() for message in lab.lims.sent.values())
    assert lab.rows("SELECT count(*), count(DISTINCT subject_id) FROM step") == [(len(kept), len(kept))]
