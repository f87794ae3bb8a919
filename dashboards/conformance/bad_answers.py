"""N18 to N20: a PAWM that does not take what Coverslip tells it. Nothing is lost, nothing changes on its way."""

import json
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final

from connectors.lims.simulated_dpow import Behaviour
from dashboards.conformance.checks import Bench, Check, ConformanceTest, applied, heard, same, true
from dashboards.conformance.neighbour import Seen

_REJECTED: Final = "Coverslip, as sender: AR is tried again, AE goes to a person (each peer can be set otherwise)"
_SAME: Final = "Coverslip: what is sent again is the same message, byte for byte"
_SEEN: Final = "Coverslip: a message that stays unanswered is seen, with its peer, since when, how often it was tried"
_TWICE: Final = 2


def rejected(bench: Bench) -> Iterator[Check]:
    """A message that is answered AR is sent again."""
    yield from _sent_again(bench, "reject", "AR")


def silent(bench: Bench) -> Iterator[Check]:
    """A message that is not answered is sent again, and seen meanwhile."""
    yield from _sent_again(bench, "silent", "no answer")


def refused(bench: Bench) -> Iterator[Check]:
    """A message that is answered AE waits for a person, visibly."""
    told = yield from _told(bench, "error")
    entry = _entry(bench, told, lambda entry: entry.get("state") == "refused")
    yield same("its place in 'coverslip list --messages'", "refused", entry.get("state", "not there"), _REJECTED)
    yield same("why", "answered AE", entry.get("problem"), _REJECTED)
    yield same("times it was heard", 1, len(bench.pawm.heard(_is(told))), _REJECTED)
    bench.pawm.behave("accept")


def _sent_again(bench: Bench, behaviour: Behaviour, answer: str) -> Iterator[Check]:
    told = yield from _told(bench, behaviour)
    entry = _entry(bench, told, lambda entry: bool(entry.get("tries")))
    yield same(f"its peer in 'coverslip list --messages' after {answer}", "pawm", entry.get("peer", "not there"), _SEEN)
    yield true("it says since when and how often", entry, _SEEN, passed=bool(entry.get("since") and entry.get("tries")))
    bench.pawm.behave("accept")
    copies = bench.pawm.heard(_is(told), at_least=_TWICE)
    yield true(f"it is sent again after {answer}", len(copies), _REJECTED, passed=len(copies) >= _TWICE)
    yield same("different bytes of it", 1, len({one.sha256 for one in copies}), _SAME)
    yield same("what is kept of its answer in the end", "AA", bench.books.told(told.control_id), _REJECTED)


def _told(bench: Bench, behaviour: Behaviour) -> Generator[Check, None, Seen]:
    """Have Coverslip tell a PAWM something that behaves so; return what it heard."""
    yield from applied(bench, bench.pawm.send(f"{bench.case} slide", bench.wanted("slide", "-A1-1", parent="-A1")))
    bench.pawm.behave(behaviour)
    bench.act("order-work", f"{bench.case}-A1-1", "rescan", "--by", "Ada Tester", "--because", "to see more")
    told = heard(bench.pawm.heard(lambda one: one.said("ORC-38") == bench.case))
    yield same("the PAWM heard the order", bench.case, told.said("ORC-38"), _REJECTED)
    return told


def _is(told: Seen) -> Callable[[Seen], bool]:
    return lambda one: one.control_id == told.control_id


def _entry(bench: Bench, told: Seen, so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return a message as the list of those without an answer has it, once it is so or when patience ends."""

    def look() -> dict[str, Any]:
        printed = bench.act("list", "--messages", "--json")
        listed = json.loads(printed) if printed.startswith("[") else []
        return next((one for one in listed if one["message_control_id"] == told.control_id), {})

    return bench.books.until(look, so)


BAD_ANSWERS: Final = (
    ConformanceTest("N18", "LAB-102", "what the PAWM answers AR is sent again, the same bytes", rejected),
    ConformanceTest("N19", "LAB-102", "what the PAWM does not answer is seen, and sent again", silent),
    ConformanceTest("N20", "LAB-102", "what the PAWM answers AE waits for a person, visibly", refused),
)
