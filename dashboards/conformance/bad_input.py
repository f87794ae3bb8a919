"""N01 to N17: what real interfaces do wrong, each with what is to come of it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from dashboards.conformance.checks import (
    CODES,
    DPOW,
    DURABLE,
    ECHO,
    Bench,
    Check,
    ConformanceTest,
    answered,
    applied,
    assets,
    noted,
    same,
    says,
    set_aside,
    true,
)
from dashboards.conformance.laboratory import FRAME_BYTES
from dashboards.conformance.transactions import EOSIN, HAEMATOXYLIN, RECEIVED

_UNKNOWN: Final = "Coverslip: unknown but well-formed is answered AA and set aside"
_ONE_SPM: Final = f"{DPOW}, LAB-100: exactly one SPM"
_ONE_CASE: Final = f"{DPOW}: the accession number is in SPM-30 and ORC-38; the interface's profile says which rules"
_STUBS: Final = f"{DPOW}, LAB-100: a missing parent becomes a stub"
_TWICE: Final = "Coverslip: the same bytes from the same sender get the stored answer, and no second effect"
_NUMBER_AGAIN: Final = (
    "Coverslip: the same MSH-10 with other bytes is a new message, flagged when MSH-7 is the same too"
)
_ANY_ORDER: Final = "Coverslip: any order of arrival ends the same, by MSH-7"
_PROCESSING: Final = "HL7 2.5.1, 2.9.2.2: a processing id that is not acceptable is answered AR"
_CHARSET: Final = "HL7 2.5.1, 2.15.9.18: MSH-18 says what the text is in; Coverslip keeps the bytes and says so"
_BATCH: Final = "HL7 2.5.1, 2.10.3: a batch is no message; Coverslip asks for its messages one by one"
_FRAME: Final = "Coverslip: a frame beyond the limit is answered AE, not kept, and the connection goes on"
_READER: Final = f"{DPOW}: the reading pathologist is in PRT-4/5, else in OBR-32"
_TIMES: Final = f"{DPOW}: SPM-18 is when an asset was received, and in LAB-104 only when its slide was scanned"


def unknown_profile(bench: Bench) -> Iterator[Check]:
    """MSH-21 names no transaction of the profile."""
    before = bench.books.cases()
    sent = bench.pawm.send("N01", bench.wanted("slide", "-A1-1", but=(("MSH-21", "DPOW-COFFEE^IHE"),)))
    yield from set_aside(bench, sent, "MSH-21", _UNKNOWN)
    yield same("cases", before, bench.books.cases(), _UNKNOWN)


def no_specimen(bench: Bench) -> Iterator[Check]:
    """LAB-100 without SPM registers nothing."""
    before = bench.books.cases()
    sent = bench.pawm.send("N02", bench.wanted("slide", "-A1-1", without=("SPM", "SAC")))
    yield from set_aside(bench, sent, "SPM", _ONE_SPM)
    yield same("cases", before, bench.books.cases(), _ONE_SPM)


def two_specimens(bench: Bench) -> Iterator[Check]:
    """LAB-100 with two SPM is against the profile and no guess: both are registered, with a remark."""
    sent = bench.pawm.send("N03", bench.wanted("slide", "-A1-1", more=(f"{bench.case}-A1-2",)))
    yield from noted(bench, sent, "SPM", _ONE_SPM)
    yield same("slides", ["-A1-1", "-A1-2"], list(assets(bench.books.case(bench.case), "slide")), _ONE_SPM)


def two_accessions(bench: Bench) -> Iterator[Check]:
    """ORC-38 and SPM-30 differ: the one that the profile names first is the case."""
    other = f"{bench.case}X"
    sent = bench.pawm.send("N04", bench.wanted("slide", "-A1-1", but=(("ORC-38", other), ("ORC-3", ""), ("OBR-3", ""))))
    yield from applied(bench, sent)
    yield same("slides of SPM-30's case", ["-A1-1"], list(assets(bench.books.case(bench.case), "slide")), _ONE_CASE)
    yield same("a case of ORC-38's number", "", bench.books.case_at_once(other).get("accession_number", ""), _ONE_CASE)


def no_parent(bench: Bench) -> Iterator[Check]:
    """A slide whose block nobody registered gets a stub for it, which the block's registration fills."""
    yield from applied(bench, bench.pawm.send("N05 slide", bench.wanted("slide", "-A1-1", parent="-A1")))
    case = bench.books.case(bench.case)
    yield same("blocks", ["-A1"], list(assets(case, "block")), _STUBS)
    yield same("the stub's parents", [], list(assets(case, "block").get("-A1", {}).get("parents", ())), _STUBS)
    yield from applied(bench, bench.pawm.send("N05 block", bench.wanted("block", "-A1", parent="-A")))
    case = bench.books.case(bench.case)
    yield same("blocks after the registration", ["-A1"], list(assets(case, "block")), _STUBS)
    parents = list(assets(case, "block").get("-A1", {}).get("parents", ()))
    yield same("the block's parent", [f"{bench.case}-A"], parents, _STUBS)
    yield same("specimens", ["-A"], list(assets(case, "specimen")), _STUBS)


def same_bytes(bench: Bench) -> Iterator[Check]:
    """The same bytes once more get the same answer, byte for byte."""
    first = bench.pawm.send("N06", bench.wanted("slide", "-A1-1", stains=(EOSIN,)))
    yield from applied(bench, first)
    changes = len(bench.books.case(bench.case).get("changes", ()))
    second = bench.pawm.again("N06", "N06 again")
    yield from answered(second)
    yield same("SHA-256 of the second answer", first.answer.sha256, second.answer.sha256, _TWICE)
    yield same("messages kept", 1, bench.books.kept(first.sent.control_id).count, _TWICE)
    after = bench.books.case(bench.case)
    yield same("changes of the case", changes, len(after.get("changes", ())), _TWICE)
    yield same("slides", ["-A1-1"], list(assets(after, "slide")), _TWICE)


def same_number(bench: Bench) -> Iterator[Check]:
    """Another message under the same MSH-10 counts as another message."""
    now = datetime.now(UTC).replace(microsecond=0)
    first = bench.pawm.send("N07", bench.wanted("slide", "-A1-1", sent_at=now, control_id="SAME-NUMBER-1"))
    yield from applied(bench, first)
    other = bench.wanted("slide", "-A1-2", sent_at=now, control_id="SAME-NUMBER-1")
    second = bench.pawm.send("N07 other", other)
    yield from answered(second)
    kept = bench.books.kept(second.sent.control_id)
    yield same("messages kept", 2, kept.count, _NUMBER_AGAIN)
    yield same("what became of them", "applied, applied", kept.state, _NUMBER_AGAIN)
    yield true("a remark names MSH-10", kept.problem, _NUMBER_AGAIN, passed="MSH-10" in kept.problem)
    yield same("slides", ["-A1-1", "-A1-2"], list(assets(bench.books.case(bench.case), "slide")), _NUMBER_AGAIN)


def cancel_first(bench: Bench) -> Iterator[Check]:
    """A cancel that overtook its order holds when the order comes."""
    now = datetime.now(UTC)
    cancel = bench.wanted("slide", "-A1-1", control="CA", sent_at=now)
    order = bench.wanted("slide", "-A1-1", stains=(EOSIN,), sent_at=now - timedelta(minutes=1))
    yield from applied(bench, bench.pawm.send("N08 CA", cancel), bench.pawm.send("N08 NW", order))
    case = bench.books.case(bench.case)
    yield same("slides that are not cancelled", [], list(assets(case, "slide")), _ANY_ORDER)
    known = [one["container_identifier"] for one in case.get("assets", ()) if one["kind"] == "slide"]
    yield same("slides in all", [f"{bench.case}-A1-1"], known, _ANY_ORDER)


def change_first(bench: Bench) -> Iterator[Check]:
    """A change that overtook its registration makes the slide, and the registration no second one."""
    now = datetime.now(UTC)
    change = bench.wanted("slide", "-A1-1", control="XO", stains=(HAEMATOXYLIN,), sent_at=now)
    order = bench.wanted("slide", "-A1-1", parent="-A1", stains=(EOSIN,), sent_at=now - timedelta(minutes=1))
    yield from applied(bench, bench.pawm.send("N09 XO", change), bench.pawm.send("N09 NW", order))
    found = assets(bench.books.case(bench.case), "slide")
    yield same("slides", ["-A1-1"], list(found), _ANY_ORDER)
    yield same("stains, which XO said later", ["12710003"], list(found.get("-A1-1", {}).get("stains", ())), _ANY_ORDER)
    yield same(
        "parents, which only NW said", [f"{bench.case}-A1"], list(found.get("-A1-1", {}).get("parents", ())), _ANY_ORDER
    )


def images_first(bench: Bench) -> Iterator[Check]:
    """Images of a slide that nobody registered count as soon as it is."""
    early = datetime.now(UTC) - timedelta(minutes=1)
    yield from applied(bench, bench.ima.send("N10 Y", bench.wanted("images", "-A1-1", at=RECEIVED, sent_at=early)))
    yield from applied(bench, bench.pawm.send("N10 NW", bench.wanted("slide", "-A1-1", stains=(EOSIN,))))
    case = bench.books.case(bench.case, lambda case: bool(case.get("reader")))
    yield same("slides", ["-A1-1"], list(assets(case, "slide")), _ANY_ORDER)
    seen = str(case.get("completeness"))
    yield true("its one slide can be read", seen, _ANY_ORDER, passed=seen.startswith("1 of 1 "))


def unknown_work(bench: Bench) -> Iterator[Check]:
    """Work that nobody ordered changes nothing, and somebody hears of it."""
    yield from applied(bench, bench.pawm.send("N11 slide", bench.wanted("slide", "-A1-1")))
    before = bench.books.case(bench.case)
    done = bench.wanted("work done", "-A1-9", status="CM", order_number="NEVER-ORDERED^COVERSLIP")
    sent = bench.pawm.send("N11 done", done)
    yield from answered(sent)
    clause = f"{DPOW}, LAB-103: it answers a work order of ours; one that nobody placed changes nothing"
    kept = bench.books.kept(sent.sent.control_id)
    told = kept.problem or "; ".join(bench.books.alerts("work order"))
    yield true("somebody is told of the unknown work order", told, clause, passed="work order" in told)
    after = assets(bench.books.case(bench.case), "slide")
    yield same("slides", list(assets(before, "slide")), list(after), clause)


def wrong_processing(bench: Bench) -> Iterator[Check]:
    """A message for training is refused by an interface in production."""
    before = bench.books.cases()
    sent = bench.pawm.send("N12", bench.wanted("slide", "-A1-1", but=(("MSH-11", "T"),)))
    yield from answered(sent, "AR")
    yield same("ERR-3", "202", sent.answer.said("ERR-3", 1), _PROCESSING)
    yield same("in the inbox", "set aside", bench.books.kept(sent.sent.control_id).state, DURABLE)
    yield same("cases", before, bench.books.cases(), _PROCESSING)


def wrong_charset(bench: Bench) -> Iterator[Check]:
    """Text in Latin-1 that MSH-18 calls UTF-8 is applied, with a remark."""
    wanted = bench.wanted("slide", "-A1-1", stains=("12710003^Färbung^L",), encoding="iso-8859-1")
    yield from noted(bench, bench.pawm.send("N13", wanted), "MSH-18", _CHARSET)
    yield same("slides", ["-A1-1"], list(assets(bench.books.case(bench.case), "slide")), _CHARSET)


def batch(bench: Bench) -> Iterator[Check]:
    """A batch is refused with the reason; what it holds is not applied in part."""
    before = bench.books.cases()
    sent = bench.pawm.send("N14", bench.wanted("slide", "-A1-1", batch=True))
    answer = sent.answer
    yield same("MSA-1", "AE", answer.said("MSA-1") or answer.problem, CODES)
    text = answer.said("ERR-8") or answer.said("MSA-3")
    yield true("the answer names the batch", text, _BATCH, passed="batch" in text)
    yield same("cases", before, bench.books.cases(), _BATCH)
    yield from applied(bench, bench.pawm.send("N14 alone", bench.wanted("slide", "-A1-1")))


def too_large(bench: Bench) -> Iterator[Check]:
    """A frame that is too large is refused without being kept, and the next message is taken."""
    sent = bench.pawm.send("N15", bench.wanted("slide", "-A1-1", padding=FRAME_BYTES))
    answer = sent.answer
    yield same("MSA-1", "AE", answer.said("MSA-1") or answer.problem, _FRAME)
    yield same("MSA-2", sent.sent.control_id, answer.said("MSA-2"), ECHO)
    yield same("ERR-3", "207", answer.said("ERR-3", 1), _FRAME)
    yield same("messages kept", 0, bench.books.kept_at_once(sent.sent.control_id).count, _FRAME)
    yield from applied(bench, bench.pawm.send("N15 next", bench.wanted("slide", "-A1-1")))


def reader_without_prt(bench: Bench) -> Iterator[Check]:
    """Without PRT the reader is taken from OBR-32."""
    for field, number, where in (("PRT", "1", "both"), ("OBR", "2", "OBR")):
        wanted = bench.wanted("slide", f"-A1-{number}", reader=f"C{number}", reader_in=where)
        if field == "PRT":
            wanted = wanted.model_copy(update={"but": (("OBR-32", "C9&Other&Otto"),)})
        sent = bench.pawm.send(f"N16 {field}", wanted)
        yield from applied(bench, sent)
        case = bench.books.case(bench.case, says("reader_stated", f"C{number}"))
        yield same(f"the reader by {field}", f"C{number}", case.get("reader_stated"), _READER)


def two_times(bench: Bench) -> Iterator[Check]:
    """SPM-18 in LAB-104 is the time of the scan and leaves alone when the specimen was received."""
    received, scanned = "2026-11-20T10:10:00+00:00", "20261122084512+0000"
    yield from applied(
        bench,
        bench.pawm.send("N17 specimen", bench.wanted("specimen", "-A", at=RECEIVED)),
        bench.pawm.send("N17 slide", bench.wanted("slide", "-A1-1", parent="-A", at=RECEIVED)),
        bench.ima.send("N17 images", bench.wanted("images", "-A1-1", at=scanned)),
    )
    case = bench.books.case(bench.case, lambda case: bool(_scanned_at(case)))
    at = assets(case, "specimen").get("-A", {}).get("received_at")
    yield same("the specimen was received", received, at and at.isoformat(), _TIMES)
    yield same("the slide was scanned", "2026-11-22T08:45:12+00:00", _scanned_at(case), _TIMES)


def _scanned_at(case: dict[str, Any]) -> str:
    at = assets(case, "slide").get("-A1-1", {}).get("scanned_at")
    return at.isoformat() if at else ""


BAD_INPUT: Final = (
    ConformanceTest("N01", "LAB-100", "an unknown MSH-21 is kept and set aside", unknown_profile),
    ConformanceTest("N02", "LAB-100", "no SPM: set aside, nothing is registered", no_specimen),
    ConformanceTest("N03", "LAB-100", "two SPM: both are registered, with a remark", two_specimens),
    ConformanceTest("N04", "LAB-100", "ORC-38 and SPM-30 differ: the profile's choice is the case", two_accessions),
    ConformanceTest("N05", "LAB-100", "an unknown parent becomes a stub", no_parent),
    ConformanceTest("N06", "LAB-100", "the same bytes twice have one effect and one answer", same_bytes),
    ConformanceTest("N07", "LAB-100", "the same MSH-10 with other bytes is another message", same_number),
    ConformanceTest("N08", "LAB-100", "a cancel before its order holds", cancel_first),
    ConformanceTest("N09", "LAB-100", "a change before its registration makes one slide", change_first),
    ConformanceTest("N10", "LAB-104", "images of an unknown slide count when it is registered", images_first),
    ConformanceTest("N11", "LAB-103", "work that nobody ordered changes nothing, visibly", unknown_work),
    ConformanceTest("N12", "LAB-100", "a message for training is answered AR", wrong_processing),
    ConformanceTest("N13", "LAB-100", "Latin-1 called UTF-8 is applied with a remark", wrong_charset),
    ConformanceTest("N14", "LAB-100", "a batch is answered AE with the reason", batch),
    ConformanceTest("N15", "LAB-100", "a frame beyond the limit is answered AE and not kept", too_large),
    ConformanceTest("N16", "LAB-100", "without PRT the reader is OBR-32's", reader_without_prt),
    ConformanceTest("N17", "LAB-104", "SPM-18 is the scan's time in LAB-104 only", two_times),
)
