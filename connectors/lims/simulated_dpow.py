"""What a simulated PAWM and a simulated image manager write in IHE PaLM DPOW, as plain lines of text.

Nothing that Coverslip itself reads or writes with is used but the table of DPOW's literals, so that no mistake is made
on both sides. Every patient is invented.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from connectors.lims import dpow
from models.statements import Frozen, Moment

What = Literal["specimen", "block", "slide", "case update", "work done", "images"]
"""LAB-100 in its three flavours, LAB-101, LAB-103 and LAB-104."""

Behaviour = Literal["accept", "refuse", "error", "reject", "silent"]
"""What a peer does with a message: take it; refuse the work it asks for (ORC-1 UA); answer AE or AR; say nothing."""

Fields: TypeAlias = list[str]
"""One segment: its name, then its fields by their numbers; MSH-1 is the separator."""

TRANSACTIONS: dict[What, str] = {
    **{one.registers: name for name, one in dpow.TRANSACTIONS.items() if one.registers},
    "case update": dpow.CASE_UPDATE,
    "work done": dpow.ACCEPT_WORK_ORDER,
    "images": dpow.IMAGE_NOTIFICATION,
}
"""MSH-21.1 of what the two send."""

REFUSAL = "There is no tissue left."
"""Why the simulated PAWM refuses work."""

_KINDS: dict[What, str] = {"specimen": "CONTAINER", "block": "CASSETTE", "slide": "GLASS", "images": "GLASS"}
_STAINED_BY = "397165007^Stain^SCT"
_TISSUE = "119376003^Tissue specimen^SCT"
# What each message to a peer must have, and which values a field may take.
_NEEDED = {
    dpow.CASE_UPDATE: ("PID-3", "ORC-1", "ORC-5", "ORC-38", "OBR-4"),
    dpow.PLACE_WORK_ORDER: ("PID-3", "ORC-1", "ORC-2", "ORC-38", "OBR-4"),
    dpow.IMAGE_NOTIFICATION: ("PID-3", "ORC-1", "ORC-38", "SPM-2", "SPM-20"),
    "OUL^R22": ("PID-3", "SPM-2", "OBX-5"),
    "OUL^R21": ("PID-3", "OBR-4", "OBX-5"),
}
_ALLOWED = {
    (dpow.CASE_UPDATE, "ORC-1"): ("NW", "SC", "XO"),
    (dpow.CASE_UPDATE, "ORC-5"): ("IP", "CM"),
    (dpow.PLACE_WORK_ORDER, "ORC-1"): ("NW",),
    (dpow.IMAGE_NOTIFICATION, "SPM-20"): ("Y", "N"),
}


class Person(Frozen):
    """An invented patient: record number, NHS number from the range for tests, name."""

    record_number: str = "A100234"
    nhs_number: str = "9990048215"
    family_name: str = "Example"
    given_name: str = "Ada"


class Wanted(Frozen):
    """One message that a peer is to send, in the profile's words, and what is to be wrong with it.

    Attributes
    ----------
    case, asset, parent
        SPM-30 and ORC-38; SPM-2; SPM-3.
    temporary
        SPM-2.1, where that is not the asset: what the placer called it before there was one.
    control, order_number, status, report
        ORC-1, ORC-2 with its issuer, ORC-5, ORC-25.
    more
        Further assets, each with an SPM of its own.
    at
        SPM-18: when a specimen was received, or, with images, when the slide was scanned.
    sent_at
        MSH-7, where it is not now.
    but
        Fields, such as ``MSH-21``, and what they are to say instead; they are made when they are missing.
    without
        Segments to leave out.
    """

    what: What
    case: str
    asset: str = ""
    parent: str = ""
    temporary: str = ""
    more: tuple[str, ...] = ()
    control: str = "NW"
    status: str = ""
    report: str = ""
    note: str = ""
    order_number: str = ""
    stains: tuple[str, ...] = ()
    scanned: bool = True
    available: bool = True
    study: str = ""
    series: str = ""
    priority: str = ""
    request: str = ""
    anatomic_site: str = "76752008^Breast structure^SCT"
    reader: str = ""
    reader_in: Literal["PRT", "OBR", "both"] = "both"
    at: str = ""
    patient: Person = Person()
    facility: str = "SITE-A"
    control_id: str = ""
    sent_at: Moment | None = None
    but: tuple[tuple[str, str], ...] = ()
    without: tuple[str, ...] = ()
    encoding: str = "utf-8"
    batch: bool = False
    padding: int = 0


def message(wanted: Wanted, control_id: str, now: datetime) -> bytes:
    """Return the message in the order of segments that the profile gives."""
    control_id = wanted.control_id or control_id
    segments = [one for one in _segments(wanted, control_id, now) if one[0] not in wanted.without]
    for place, instead in wanted.but:
        name, _, number = place.partition("-")
        for one in segments:
            if one[0] == name:
                one.extend([""] * (int(number) + 1 - len(one)))
                one[int(number)] = instead
    if wanted.padding:
        segments.append(["NTE", "2", "", "x" * wanted.padding])
    text = "".join(f"{_line(one)}\r" for one in segments)
    if wanted.batch:
        text = f"FHS|^~\\&|LIMS\rBHS|^~\\&|LIMS\r{text}BTS|1\rFTS|1\r"
    return text.encode(wanted.encoding, "replace")


def answer(heard: bytes, behaviour: Behaviour, control_id: str, now: datetime) -> bytes:
    """Return ORL^O22 to an OML^O21, else a plain ACK; empty when nothing is to be said.

    A message that lacks what the profile asks for is answered AE, however kindly we were told to be.
    """
    if behaviour == "silent":
        return b""
    segments = segments_of(heard)
    asked, fault = said(segments, "MSH-10"), faults(segments)
    order = [one for one in segments if one[0] == "ORC"][:1]
    code = "AE" if fault or behaviour == "error" else "AR" if behaviour == "reject" else "AA"
    kind = "ORL^O22^ORL_O22" if said(segments, "MSH-9", 1) == "OML" else "ACK"
    lines = [_header(kind, "", control_id, now, said(segments, "MSH-6"))]
    lines.append(["MSA", code, asked])
    if code != "AA":
        lines.append(["ERR", "", "", "207^Application internal error^HL70357", "E", *[""] * 3, fault or "as told"])
    elif kind.startswith("ORL") and order:
        placer = said(order, "ORC-2")
        refused = behaviour == "refuse" and transaction_of(segments) == dpow.PLACE_WORK_ORDER
        lines += [["NTE", "1", "", REFUSAL]] if refused else []
        filler = "" if refused else f"F-{placer.partition('^')[0]}^LIMS"
        lines.append(["ORC", dpow.REFUSED if refused else dpow.ACCEPTED, placer, filler])
    return "".join(f"{_line(one)}\r" for one in lines).encode()


def faults(segments: list[Fields]) -> str:
    """Return what a message lacks, as a peer that keeps to the profile sees it; empty when nothing."""
    kind = transaction_of(segments)
    if kind not in _NEEDED:
        return f"{kind} is no transaction that this peer takes"
    for place in ("MSH-7", "MSH-10", "MSH-11", "MSH-12", *_NEEDED[kind]):
        if not said(segments, place):
            return f"{place} is empty"
    if said(segments, "MSH-12") != "2.5.1":
        return "MSH-12 is not 2.5.1"
    for (named, place), allowed in _ALLOWED.items():
        if named == kind and said(segments, place) not in allowed:
            return f"{place} is none of {', '.join(allowed)}"
    return ""


def transaction_of(segments: list[Fields]) -> str:
    """Return MSH-21.1, which tells DPOW's messages apart; the message type where there is none."""
    return said(segments, "MSH-21", 1) or "^".join((said(segments, "MSH-9", 1), said(segments, "MSH-9", 2)))


def segments_of(raw: bytes) -> list[Fields]:
    """Return the segments of a message that uses the usual delimiters."""
    text = raw.decode("utf-8", "replace")
    found = [line.split("|") for line in text.replace("\n", "\r").split("\r") if line]
    return [["MSH", "|", *one[1:]] if one[0] == "MSH" else one for one in found]


def said(segments: list[Fields], place: str, component: int = 0) -> str:
    """Return one field, such as ``ORC-38``, of the first segment of its name; or one component of it."""
    name, _, number = place.partition("-")
    for one in segments:
        if one[0] == name:
            field = one[int(number)] if int(number) < len(one) else ""
            parts = field.split("~")[0].split("^")
            return field if not component else parts[component - 1] if component <= len(parts) else ""
    return ""


def _segments(wanted: Wanted, control_id: str, now: datetime) -> Iterator[Fields]:
    yield _header("OML^O21^OML_O21", TRANSACTIONS[wanted.what], control_id, wanted.sent_at or now, wanted.facility)
    yield _patient(wanted)
    numbers = {2: wanted.order_number or f"P-{wanted.asset or wanted.case}^LIMS", 3: f"{wanted.case}^LIMS"}
    yield _fields("ORC", {1: wanted.control, **numbers, 5: wanted.status, 25: wanted.report, 38: wanted.case})
    if wanted.priority:
        yield _fields("TQ1", {1: "1", 9: wanted.priority})
    person = f"{wanted.reader}&Reader&Rosa" if wanted.reader and wanted.reader_in != "PRT" else ""
    request = wanted.request or f"{wanted.what.upper()}^{wanted.what.title()}^L"
    yield _fields("OBR", {1: "1", **numbers, 4: request, 32: person})
    if wanted.note:
        yield _fields("NTE", {1: "1", 3: wanted.note})
    if wanted.reader and wanted.reader_in != "OBR":
        yield _fields("PRT", {1: "1", 2: "UC", 4: "PI^Primary interpreter^HL70912", 5: f"{wanted.reader}^Reader^Rosa"})
    if wanted.what != "case update":
        for number, asset in enumerate((wanted.asset, *wanted.more), start=1):
            yield from _asset(wanted, number, asset)


def _asset(wanted: Wanted, number: int, asset: str) -> Iterator[Fields]:
    with_images = wanted.what == "images"
    yield _fields(
        "SPM",
        {
            1: str(number),
            2: f"{wanted.temporary or asset}^{asset}",
            3: wanted.parent,
            4: _TISSUE,
            8: "" if with_images else wanted.anatomic_site,
            18: wanted.at,
            20: ("Y" if wanted.available else "N") if with_images else "",
            27: _KINDS.get(wanted.what, "GLASS"),
            30: wanted.case,
        },
    )
    found = [("CWE", _STAINED_BY, stain) for stain in wanted.stains]
    for name, uid in (
        ("0020000D^StudyInstanceUID^DCM", wanted.study),
        ("0020000E^SeriesInstanceUID^DCM", wanted.series),
    ):
        found += [("RP", name, uid)] if uid else []
    for place, (kind, what, value) in enumerate(found, start=1):
        yield _fields("OBX", {1: str(place), 2: kind, 3: what, 4: "1" if kind == "CWE" else "", 5: value, 11: "F"})
    if wanted.what == "slide":
        yield _fields("SAC", {3: asset, 48: "WSI" if wanted.scanned else "OTH"})


def _header(kind: str, transaction: str, control_id: str, sent_at: datetime, facility: str) -> Fields:
    # With milliseconds: what is said twice within a second has an order.
    sent = f"{sent_at.astimezone(UTC):%Y%m%d%H%M%S}.{sent_at.microsecond // 1000:03}+0000"
    sender = "VNA" if transaction == dpow.IMAGE_NOTIFICATION else "LIMS"
    fields = {2: "^~\\&", 3: sender, 4: facility, 5: "COVERSLIP", 6: "NET", 7: sent, 9: kind, 10: control_id}
    profile = f"{transaction}^{dpow.NAMESPACE}" if transaction else ""
    return _fields(
        "MSH", {1: "|", **fields, 11: "P", 12: "2.5.1", 15: "AL", 16: "NE", 18: "UNICODE UTF-8", 21: profile}
    )


def _patient(wanted: Wanted) -> Fields:
    one = wanted.patient
    nhs = f"{one.nhs_number}^^^NHS^NH~" if one.nhs_number else ""
    numbers = f"{nhs}{one.record_number}^^^{wanted.facility}^MR"
    return _fields("PID", {1: "1", 3: numbers, 5: f"{one.family_name}^{one.given_name}^^^^^L", 7: "19640229", 8: "F"})


def _fields(name: str, values: dict[int, str]) -> Fields:
    return [name, *(values.get(number, "") for number in range(1, max(values) + 1))]


def _line(fields: Fields) -> str:
    """Return a segment as it is sent; trailing empty fields are left away."""
    return "MSH|" + "|".join(fields[2:]).rstrip("|") if fields[0] == "MSH" else "|".join(fields).rstrip("|")
