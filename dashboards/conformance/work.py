"""T06 and T09: work is ordered, refused, accepted and fulfilled (LAB-102, LAB-103); and everything in sequence."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from connectors.lims.dpow import NAMESPACE, PLACE_WORK_ORDER
from connectors.lims.simulated_dpow import REFUSAL
from dashboards.conformance.checks import DPOW, Bench, Check, ConformanceTest, applied, assets, heard, same, says, true
from dashboards.conformance.neighbour import Seen
from dashboards.conformance.transactions import EOSIN, HAEMATOXYLIN, RECEIVED, assigned

_PLACED: Final = f"{DPOW}, LAB-102: a user asks the PAWM for a recut, stain, new block, re-coverslip or rescan"
_WITH_SPM: Final = f"{DPOW}, LAB-102: its semantics need an SPM that its tree lacks; it is sent"
_REFUSED: Final = f"{DPOW}, LAB-102: what can't be done is refused in the ORL with ORC-1 UA, and no LAB-103 follows"
_ACCEPTED: Final = f"{DPOW}, LAB-102: ORC-1 OK says that the work will be done"
_DONE: Final = (
    f"{DPOW}, LAB-103: accepted and fulfilled; our number gives way to the filler's, and the slide's LAB-100 follows"
)
_SEQUENCE: Final = f"{DPOW}, draft test list: all in sequence"


def work_order(bench: Bench) -> Iterator[Check]:
    """Work is refused once, then accepted and fulfilled."""
    slide = bench.wanted("slide", "-A1-1", parent="-A1", stains=(HAEMATOXYLIN,))
    yield from applied(bench, bench.pawm.send("T06 slide", slide))
    bench.pawm.behave("refuse")
    yield from _asked(bench, "re-coverslip")
    case = _with_work(bench, "re-coverslip", "refused")
    yield same("the refused work order", "refused", _work(case, "re-coverslip").get("state"), _REFUSED)
    yield same("the reason that is kept", REFUSAL, _work(case, "re-coverslip").get("refusal"), _REFUSED)
    told = "; ".join(bench.books.alerts("refuses the re-coverslip"))
    yield true("somebody is told of the refusal", told, _REFUSED, passed="refuses the re-coverslip" in told)
    bench.pawm.behave("accept")
    yield from fulfilled(bench, "-A1-2")


def fulfilled(bench: Bench, made: str, *, with_number: bool = True) -> Iterator[Check]:
    """Expect a recut to be asked for, accepted and done, and the slide that comes of it to be expected then.

    The PAWM gives our number back in SPM-2.1 and ORC-2, or in ORC-2 alone.
    """
    yield from _asked(bench, "recut")
    case = _with_work(bench, "recut", "accepted")
    work = _work(case, "recut")
    yield same("the accepted work order", "accepted", work.get("state"), _ACCEPTED)
    number = heard(bench.pawm.heard(_asks(bench, "recut"))).said("ORC-2")
    yield same("the PAWM's own number for it", f"F-{number.partition('^')[0]}", work.get("filler_number"), _ACCEPTED)
    placer = {"temporary": number.replace("^", "&")} if with_number else {}
    done = bench.wanted("work done", made, status="CM", order_number=number, **placer)
    yield from applied(bench, bench.pawm.send(f"{bench.case} done", done))
    case = _with_work(bench, "recut", "fulfilled")
    yield same("the work order after LAB-103", "fulfilled", _work(case, "recut").get("state"), _DONE)
    yield same("what was made", f"{bench.case}{made}", _work(case, "recut").get("made"), _DONE)
    new = bench.wanted("slide", made, parent="-A1", stains=(EOSIN,))
    yield from applied(bench, bench.pawm.send(f"{bench.case} made", new))
    found = list(assets(bench.books.case(bench.case), "slide"))
    yield true(f"the slide {made} is expected once it is registered", found, _DONE, passed=found.count(made) == 1)


def sequence(bench: Bench) -> Iterator[Check]:
    """A case from its specimen to its final report, with one recut on its way."""
    yield from applied(
        bench,
        bench.pawm.send("T09 specimen", bench.wanted("specimen", "-A", at=RECEIVED)),
        bench.pawm.send("T09 block", bench.wanted("block", "-A1", parent="-A")),
        bench.pawm.send("T09 grossed", bench.wanted("case update", control="SC", status="IP", note="Grossing done")),
        bench.pawm.send("T09 slide", bench.wanted("slide", "-A1-1", parent="-A1")),
        bench.pawm.send("T09 stain", bench.wanted("slide", "-A1-1", control="XO", stains=(HAEMATOXYLIN,))),
        bench.ima.send("T09 images", bench.wanted("images", "-A1-1", at=RECEIVED)),
    )
    yield from assigned(bench)
    yield from fulfilled(bench, "-A1-2", with_number=False)
    case = bench.books.case(bench.case)
    yield true("the new slide has no images yet", case.get("completeness"), _SEQUENCE, passed=not _all_imaged(case))
    yield from applied(bench, bench.ima.send("T09 new images", bench.wanted("images", "-A1-2", at=RECEIVED)))
    case = bench.books.case(bench.case, _all_imaged)
    yield true("both slides can be read", case.get("completeness"), _SEQUENCE, passed=_all_imaged(case))
    final = bench.wanted("case update", control="SC", status="CM", report="Final", note="Report authorised")
    yield from applied(bench, bench.pawm.send("T09 final", final))
    case = bench.books.case(bench.case, says("report", "final"))
    yield same("the report", "final", case.get("report"), _SEQUENCE)
    yield same("specimens, blocks, slides", (["-A"], ["-A1"], ["-A1-1", "-A1-2"]), _all_assets(case), _SEQUENCE)


def _asked(bench: Bench, kind: str) -> Iterator[Check]:
    """Have a person ask for work, and expect that the PAWM hears it by LAB-102."""
    who = ("--by", "Ada Tester", "--because", "to see more", "--json")
    printed = bench.act("order-work", f"{bench.case}-A1-1", kind, *who)
    yield true(f"a person orders a {kind}", printed, _PLACED, passed=f"asked for: {kind}" in printed)
    told = heard(bench.pawm.heard(_asks(bench, kind)))
    yield same("the PAWM heard MSH-9", "OML^O21", "^".join(told.said("MSH-9").split("^")[:2]), _PLACED)
    yield same("MSH-21", f"{PLACE_WORK_ORDER}^{NAMESPACE}", told.said("MSH-21"), _PLACED)
    yield same("ORC-1", "NW", told.said("ORC-1"), _PLACED)
    yield true("ORC-2 is a number of ours", told.said("ORC-2"), _PLACED, passed=bool(told.said("ORC-2")))
    yield same("PID-3", f"MR-{bench.case}", told.said("PID-3", 1), f"{DPOW}: PID-3 names the patient")
    number, named = told.said("SPM-2", 1).partition("&")[0], told.said("SPM-3", 1).partition("&")[0]
    yield same("SPM-2.1, our number as in ORC-2", told.said("ORC-2", 1), number, _WITH_SPM)
    yield same("SPM-3, what is to be worked on", f"{bench.case}-A1-1", named, _WITH_SPM)
    yield same("what is kept of its answer", "AA", bench.books.told(told.control_id), _PLACED)


def _asks(bench: Bench, kind: str) -> Callable[[Seen], bool]:
    """Return whether a message asks for this work on this test's case."""
    words = kind.upper().replace(" ", "-")

    def asks(one: Seen) -> bool:
        named = one.said("OBR-4").upper().replace(" ", "-")
        return one.transaction == PLACE_WORK_ORDER and one.said("ORC-38") == bench.case and words in named

    return asks


def _work(case: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((one for one in case.get("work_orders", ()) if one["kind"] == kind), {})


def _with_work(bench: Bench, kind: str, state: str) -> dict[str, Any]:
    """Return the case once its work order stands so."""
    return bench.books.case(bench.case, lambda case: _work(case, kind).get("state") == state)


def _all_imaged(case: dict[str, Any]) -> bool:
    return str(case.get("completeness", "")).startswith("2 of 2 ")


def _all_assets(case: dict[str, Any]) -> tuple[list[str], ...]:
    return tuple(list(assets(case, kind)) for kind in ("specimen", "block", "slide"))


WORK: Final = (ConformanceTest("T06", "LAB-102/3", "work is refused once, then accepted and fulfilled", work_order),)
SEQUENCE: Final = (ConformanceTest("T09", "all", "a case from specimen to final report, with a recut", sequence),)
