"""T07, T08 and our own T10: that a slide has images, and that it has none any more (LAB-104), in and out."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from connectors.lims.dpow import IMAGE_NOTIFICATION, NAMESPACE
from connectors.slides.simulator import SlideScript, write_slide
from dashboards.conformance.checks import DPOW, Bench, Check, ConformanceTest, applied, heard, same, true
from dashboards.conformance.neighbour import Seen
from dashboards.conformance.transactions import EOSIN, HAEMATOXYLIN, assigned

_SCANNED: Final = "20261122084512+0000"
_STUDY: Final = "2.25.329800735698586629295641978511506172918"
_READY: Final = f"{DPOW}, LAB-104: when every expected slide is imaged the case may become ready"
_CLEARS: Final = f"{DPOW}, LAB-104: SPM-20 N says that no image is left, and clears what Y said"
_OURS: Final = f"{DPOW}, LAB-104: whoever keeps the images tells the PAWM"
_GLASS: Final = f"{DPOW}: SAC-48 drives the expected slides of a case"


def available(bench: Bench) -> Iterator[Check]:
    """A case is ready when its last expected slide has images."""
    yield from applied(bench, *_two_slides_and_one_glass(bench))
    yield from applied(bench, bench.ima.send("T07 first", bench.wanted("images", "-A1-1", at=_SCANNED, study=_STUDY)))
    case = _case_with(bench, readable=2)
    yield same("slides that can be read after one Y, the glass among them", 2, _readable(case), _GLASS)
    yield true("the case is not ready yet", case.get("completeness"), _READY, passed=not _is_ready(case))
    last = bench.wanted("images", "-A1-2", at=_SCANNED, study=_STUDY, series=f"{_STUDY}1")
    yield from applied(bench, bench.ima.send("T07 last", last))
    case = bench.books.case(bench.case, lambda case: bool(case.get("reader")))
    yield same("slides that can be read after both Y", 3, _readable(case), _READY)
    yield true("the case is ready and assigned", _state(case), _READY, passed=_state(case) == "assigned")
    yield from assigned(bench)


def taken_away(bench: Bench) -> Iterator[Check]:
    """A case whose slide lost its images is not ready."""
    yield from applied(bench, *_two_slides_and_one_glass(bench))
    yield from applied(
        bench,
        bench.ima.send("T08 first", bench.wanted("images", "-A1-1", at=_SCANNED)),
        bench.ima.send("T08 gone", bench.wanted("images", "-A1-1", at=_SCANNED, available=False)),
        bench.ima.send("T08 last", bench.wanted("images", "-A1-2", at=_SCANNED)),
    )
    case = _case_with(bench, readable=2, closed=True)
    yield same("its set of slides is closed", "True", str(case.get("is_closed")), _CLEARS)
    yield same("slides that can be read after Y, N and another's Y", 2, _readable(case), _CLEARS)
    yield true("the case is not ready", case.get("completeness"), _CLEARS, passed=not _is_ready(case))
    yield from applied(bench, bench.ima.send("T08 again", bench.wanted("images", "-A1-1", at=_SCANNED)))
    case = bench.books.case(bench.case, lambda case: bool(case.get("reader")))
    yield same("slides that can be read after Y once more", 3, _readable(case), _CLEARS)
    yield true("the case is ready and assigned", _state(case), _CLEARS, passed=_state(case) == "assigned")
    gone = bench.ima.send("T08 gone late", bench.wanted("images", "-A1-2", at=_SCANNED, available=False))
    yield from applied(bench, gone)
    case = _case_with(bench, readable=2)
    yield same("slides that can be read after N to an assigned case", 2, _readable(case), _CLEARS)


def our_own(bench: Bench) -> Iterator[Check]:
    """What Coverslip archives itself is told to the PAWM as an image manager would, and taken back with its match."""
    wanted = bench.wanted("slide", "-A1-1", parent="-A1", stains=(HAEMATOXYLIN,))
    yield from applied(bench, bench.pawm.send("T10 slide", wanted))
    name = f"{bench.case}-A1-1"
    write_slide(bench.scans / f"{name}.svs", SlideScript(name, width=1536, height=1024))
    told = heard(bench.pawm.heard(_tells_of(name, "Y")))
    yield from _as_lab_104(told, name)
    yield same("SPM-20", "Y", told.said("SPM-20"), _OURS)
    uids = [one[5] for one in told.segments if one[0] == "OBX" and one[2] == "RP"]
    yield true("OBX RP names study and series", uids, _OURS, passed=len(set(uids)) == _STUDY_AND_SERIES)
    yield same("what is kept of its answer", "AA", bench.books.told(told.control_id), _OURS)
    rows = bench.books.case(bench.case).get("rows", ())
    scans = [row["scan"] for row in rows if row["scan"]]
    yield same("scans of the case", 1, len(scans), _OURS)
    for scan in scans[:1]:
        who = ("--by", "Ada Tester", "--reason", "it shows another slide")
        yield true("it is withdrawn", said := bench.act("withdraw", scan, *who), _OURS, passed="withdrawn" in said)
    gone = heard(bench.pawm.heard(_tells_of(name, "N")))
    yield from _as_lab_104(gone, name)
    yield same("SPM-20 after it was withdrawn", "N", gone.said("SPM-20"), _CLEARS)


def _tells_of(name: str, state: str) -> Callable[[Seen], bool]:
    return lambda one: (one.transaction, _slide_of(one), one.said("SPM-20")) == (IMAGE_NOTIFICATION, name, state)


def _slide_of(one: Seen) -> str:
    return one.said("SPM-2", 1).partition("&")[0]


def _as_lab_104(told: Seen, name: str) -> Iterator[Check]:
    """Expect the shape of LAB-104 in a message that the PAWM heard."""
    yield same("the PAWM heard MSH-9", "OML^O21", "^".join(told.said("MSH-9").split("^")[:2]), _OURS)
    yield same("MSH-21", f"{IMAGE_NOTIFICATION}^{NAMESPACE}", told.said("MSH-21"), _OURS)
    order = [one[0] for one in told.segments if one[0] != "OBX"]
    yield same("its segments", ["MSH", "PID", "ORC", "OBR", "SPM"], order, _OURS)
    yield same("SPM-2", name, _slide_of(told), _OURS)


def _two_slides_and_one_glass(bench: Bench) -> Iterator[Any]:
    for number, stain, scanned in ((1, HAEMATOXYLIN, True), (2, EOSIN, True), (3, EOSIN, False)):
        wanted = bench.wanted("slide", f"-A1-{number}", parent="-A1", stains=(stain,), scanned=scanned)
        yield bench.pawm.send(f"{bench.case} slide {number}", wanted)


def _case_with(bench: Bench, *, readable: int, closed: bool = False) -> dict[str, Any]:
    """Return the case once so many of its slides can be read, and its set is closed where that is wanted."""
    return bench.books.case(
        bench.case, lambda case: _readable(case) == readable and bool(case.get("is_closed")) >= closed
    )


def _readable(case: dict[str, Any]) -> int:
    """Return the first number of a sentence such as "2 of 3 slides can be read"."""
    first = str(case.get("completeness", "")).partition(" ")[0]
    return int(first) if first.isdigit() else 0


def _state(case: dict[str, Any]) -> str:
    return str(case["standing"]["state"]) if case else "no case"


def _is_ready(case: dict[str, Any]) -> bool:
    return _state(case) in {"being assigned", "assigned"} or bool(case.get("reader"))


_STUDY_AND_SERIES: Final = 2

IMAGES: Final = (
    ConformanceTest("T07", "LAB-104", "a case is ready when all its slides to be scanned have images", available),
    ConformanceTest("T08", "LAB-104", "a case whose slide lost its images is not ready", taken_away),
    ConformanceTest("T10", "LAB-104", "images that Coverslip archives itself are told, and taken back", our_own),
)
