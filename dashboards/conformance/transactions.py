"""T01 to T05: physical assets are registered (LAB-100), and cases are spoken of in both directions (LAB-101)."""

from collections.abc import Iterator
from typing import Final

from connectors.lims.dpow import CASE_UPDATE, NAMESPACE
from dashboards.conformance.checks import DPOW, Bench, Check, ConformanceTest, applied, assets, heard, same, says, true
from dashboards.conformance.neighbour import Seen

HAEMATOXYLIN: Final = "12710003^Hematoxylin stain^SCT"
EOSIN: Final = "36879007^Eosin stain^SCT"
RECEIVED: Final = "20261120101000+0000"
_RECEIVED_AT: Final = "2026-11-20T10:10:00+00:00"

_PLACEHOLDER: Final = f"{DPOW}, LAB-100: the registration of a specimen makes the case's placeholder"
_ATTACHES: Final = f"{DPOW}, LAB-100: block and slide attach to their parent by SPM-3"
_STAINS: Final = f"{DPOW}, LAB-100: one OBX 397165007 for each stain, after the SPM of its slide"
_UNSTAINED: Final = (
    f"{DPOW}, LAB-100: a slide without stain is a placeholder that a later XO updates, never a second slide"
)
_SCANNED: Final = f"{DPOW}, LAB-100: SAC-48 says whether a slide is to be scanned"
_REPORT: Final = f"{DPOW}, LAB-101: ORC-25 says where the report stands"
_TELLS: Final = f"{DPOW}, LAB-101: the workflow manager tells of the case when it is assigned"


def specimen(bench: Bench) -> Iterator[Check]:
    """A specimen is registered, changed and cancelled."""
    wanted = bench.wanted("specimen", "-A", at=RECEIVED)
    yield from applied(bench, bench.pawm.send("T01 NW", wanted))
    case = bench.books.case(bench.case)
    yield same("the case is there", bench.case, case.get("accession_number"), _PLACEHOLDER)
    yield same("its specimens", ["-A"], list(assets(case, "specimen")), _PLACEHOLDER)
    yield same("its slides", [], list(assets(case, "slide")), _PLACEHOLDER)
    yield same("its set of slides is closed", "False", str(case.get("is_closed")), _PLACEHOLDER)
    found = assets(case, "specimen").get("-A", {})
    received = found.get("received_at")
    yield same(
        "SPM-18 is when it was received", _RECEIVED_AT, received and received.isoformat(), f"{DPOW}, LAB-100: SPM-18"
    )
    yield same("SPM-8", "76752008", found.get("anatomic_site"), f"{DPOW}, LAB-100: SPM-8")
    changed = bench.wanted("specimen", "-A", control="XO", anatomic_site="39937001^Skin structure^SCT")
    yield from applied(bench, bench.pawm.send("T01 XO", changed))
    found = assets(bench.books.case(bench.case), "specimen").get("-A", {})
    yield same("SPM-8 after XO", "39937001", found.get("anatomic_site"), f"{DPOW}, LAB-100: XO changes")
    yield from applied(bench, bench.pawm.send("T01 CA", bench.wanted("specimen", "-A", control="CA")))
    left = list(assets(bench.books.case(bench.case), "specimen"))
    yield same("specimens after CA", [], left, f"{DPOW}, LAB-100: CA cancels")


def block(bench: Bench) -> Iterator[Check]:
    """A block is registered below its specimen."""
    yield from applied(
        bench,
        bench.pawm.send("T02 specimen", bench.wanted("specimen", "-A")),
        bench.pawm.send("T02 block", bench.wanted("block", "-A1", parent="-A")),
    )
    case = bench.books.case(bench.case)
    found = assets(case, "block")
    yield same("blocks", ["-A1"], list(found), _ATTACHES)
    yield same("the block's parent", [f"{bench.case}-A"], list(found.get("-A1", {}).get("parents", ())), _ATTACHES)
    yield same("specimens", ["-A"], list(assets(case, "specimen")), _ATTACHES)
    yield same("slides", [], list(assets(case, "slide")), _ATTACHES)


def stained_slide(bench: Bench) -> Iterator[Check]:
    """A stained slide is registered below its block."""
    yield from applied(
        bench,
        bench.pawm.send("T03 specimen", bench.wanted("specimen", "-A")),
        bench.pawm.send("T03 block", bench.wanted("block", "-A1", parent="-A")),
        bench.pawm.send(
            "T03 slide",
            bench.wanted("slide", "-A1-1", parent="-A1", stains=(HAEMATOXYLIN, EOSIN), priority="S"),
        ),
        bench.pawm.send("T03 glass", bench.wanted("slide", "-A1-2", parent="-A1", stains=(EOSIN,), scanned=False)),
    )
    case = bench.books.case(bench.case)
    found = assets(case, "slide")
    first, second = found.get("-A1-1", {}), found.get("-A1-2", {})
    yield same("slides", ["-A1-1", "-A1-2"], list(found), _ATTACHES)
    yield same("the slide's parent", [f"{bench.case}-A1"], list(first.get("parents", ())), _ATTACHES)
    yield same("its stains", ["12710003", "36879007"], list(first.get("stains", ())), _STAINS)
    yield same("SAC-48 WSI", "scan", first.get("route"), _SCANNED)
    yield same("SAC-48 OTH", "glass only", second.get("route"), _SCANNED)
    yield same("TQ1-9 S", "urgent", case.get("lane"), f"{DPOW}, LAB-100: TQ1-9 is the priority")
    yield from applied(bench, bench.pawm.send("T03 CA", bench.wanted("slide", "-A1-2", control="CA")))
    left = list(assets(bench.books.case(bench.case), "slide"))
    yield same("slides after CA", ["-A1-1"], left, f"{DPOW}, LAB-100: CA cancels")


def stained_later(bench: Bench) -> Iterator[Check]:
    """A slide that is registered without stain gets it by a change."""
    yield from applied(bench, bench.pawm.send("T04 NW", bench.wanted("slide", "-A1-1", parent="-A1")))
    found = assets(bench.books.case(bench.case), "slide")
    yield same("slides", ["-A1-1"], list(found), _UNSTAINED)
    yield same("stains", [], list(found.get("-A1-1", {}).get("stains", ())), _UNSTAINED)
    stained = bench.wanted("slide", "-A1-1", parent="-A1", control="XO", stains=(HAEMATOXYLIN, EOSIN))
    yield from applied(bench, bench.pawm.send("T04 XO", stained))
    found = assets(bench.books.case(bench.case), "slide")
    yield same("slides after XO", ["-A1-1"], list(found), _UNSTAINED)
    yield same("stains after XO", ["12710003", "36879007"], list(found.get("-A1-1", {}).get("stains", ())), _UNSTAINED)


def status_both_ways(bench: Bench) -> Iterator[Check]:
    """The PAWM hears that a case is assigned, and tells where its report stands."""
    yield from applied(
        bench,
        bench.pawm.send("T05 slide", bench.wanted("slide", "-A1-1", parent="-A1", stains=(HAEMATOXYLIN,))),
        bench.ima.send("T05 images", bench.wanted("images", "-A1-1", at=RECEIVED)),
    )
    yield from assigned(bench)
    for report, status, stands in (("Preliminary", "IP", "preliminary"), ("Final", "CM", "final")):
        said = bench.wanted("case update", control="SC", status=status, report=report, note=f"Report {report}")
        yield from applied(bench, bench.pawm.send(f"T05 {report}", said))
        case = bench.books.case(bench.case, says("report", stands))
        yield same(f"the report after ORC-25 {report}", stands, case.get("report"), _REPORT)


def assigned(bench: Bench) -> Iterator[Check]:
    """Expect that the PAWM is told of the assignment by LAB-101, and that its answer is kept."""

    def says_who(one: Seen) -> bool:
        who = one.said("PRT-5", 1) or one.said("OBR-32")
        return one.transaction == CASE_UPDATE and one.said("ORC-38") == bench.case and bool(who)

    told = heard(bench.pawm.heard(says_who))
    yield same("the PAWM heard MSH-9", "OML^O21", "^".join(told.said("MSH-9").split("^")[:2]), _TELLS)
    yield same("MSH-21", f"{CASE_UPDATE}^{NAMESPACE}", told.said("MSH-21"), _TELLS)
    yield same("MSH-12", "2.5.1", told.said("MSH-12"), f"{DPOW}: HL7 2.5.1")
    yield true("ORC-1 is NW, SC or XO", told.said("ORC-1"), _TELLS, passed=told.said("ORC-1") in {"NW", "SC", "XO"})
    yield same("ORC-5", "IP", told.said("ORC-5"), _TELLS)
    yield same("ORC-38", bench.case, told.said("ORC-38"), f"{DPOW}: ORC-38 is the case's accession number")
    number = told.said("PID-3", 1)
    yield same("PID-3", f"MR-{bench.case}", number, f"{DPOW}: PID-3 names the patient")
    yield same("what is kept of its answer", "AA", bench.books.told(told.control_id), _TELLS)


REGISTRATION: Final = (
    ConformanceTest("T01", "LAB-100", "a specimen is registered, changed and cancelled", specimen),
    ConformanceTest("T02", "LAB-100", "a block is registered below its specimen", block),
    ConformanceTest("T03", "LAB-100", "a stained slide is registered below its block", stained_slide),
    ConformanceTest("T04", "LAB-100", "an unstained slide is stained later", stained_later),
    ConformanceTest("T05", "LAB-101", "the state of a case is told both ways", status_both_ways),
)
