"""What a LIMS, a hospital's patient index or an image manager says beside orders, as HL7; every person is invented."""

from collections.abc import Sequence

from tests.small_lab import order

SOON = "20250101123000+0000"


def _message(*lines: str) -> bytes:
    return "".join(f"{line}\r" for line in lines).encode()


def _header(kind: str, sent_at: str, control_id: str, profile: str = "", sequence: str = "") -> str:
    last = f"||||||||{profile}^IHE" if profile else ""
    return f"MSH|^~\\&|LIMS|NET|COVERSLIP|NET|{sent_at}||{kind}|{control_id}|P|2.5.1|{sequence}{last}"


def _patient(number: str) -> str:
    return f"PID|1||{number}^^^NET^MR"


def merged(survivor: str, goes: str, *, sent_at: str = SOON, control_id: str = "A40") -> bytes:
    """Return ADT^A40: one patient's record goes into another's."""
    return _message(
        _header("ADT^A40^ADT_A39", sent_at, control_id),
        "EVN|A40",
        f"{_patient(survivor)}||Example^Ada^^^^^L||19640229|F",
        f"MRG|{goes}^^^NET^MR",
    )


def visit_moved(visit: str, goes_from: str, goes_to: str, *, sent_at: str = SOON, control_id: str = "A45") -> bytes:
    """Return ADT^A45: a visit becomes another patient's."""
    return _message(
        _header("ADT^A45^ADT_A45", sent_at, control_id),
        "EVN|A45",
        f"{_patient(goes_to)}||Example^Ada^^^^^L",
        f"MRG|{goes_from}^^^NET^MR||||{visit}^^^NET^VN",
        "PV1|1|I" + "|" * 17 + f"{visit}^^^NET^VN",
    )


def in_visit(message: bytes, visit: str) -> bytes:
    """Return an order that names the visit it was requested in."""
    head, orc, rest = message.partition(b"\rORC|")
    return head + b"\rPV1|1|I" + b"|" * 17 + f"{visit}^^^NET^VN".encode() + orc + rest


def reported(
    accession: str,
    status: str,
    *specimens: str,
    sent_at: str = SOON,
    control_id: str = "R01",
    patient: str = "A100234",
) -> bytes:
    """Return ORU^R01 of one status (OBR-25); without specimens it covers the case."""
    lines = [_header("ORU^R01^ORU_R01", sent_at, control_id), _patient(patient)]
    for number, specimen in enumerate(specimens or ("",), start=1):
        lines.append(f"ORC|RE|P1|{accession}")
        lines.append(f"OBR|{number}|P1|{accession}|22637-3^Pathology report^LN" + "|" * 21 + status)
        lines.append("OBX|1|TX|22634-0^Report^LN||Words||||||" + status)
        lines += [f"SPM|1|{specimen}" + "|" * 25 + "CONTAINER"] if specimen else []
    return _message(*lines)


def updated(
    accession: str, *, says: str = "", reader: str = "", sent_at: str = SOON, control_id: str = "L101"
) -> bytes:
    """Return DPOW LAB-101: ORC-25 says what became of the case, PRT who reads it."""
    lines = [
        _header("OML^O21^OML_O21", sent_at, control_id, "DPOW-CASE-UPDATE"),
        _patient("A100234"),
        f"ORC|SC|P1|{accession}||IP" + "|" * 20 + says + "|" * 13 + accession,
        f"OBR|1|P1|{accession}|CASE^Case^L",
    ]
    lines += [f"PRT|1|UC||PI^Primary interpreter^HL70912|{reader}^Reader^Rosa"] if reader else []
    return _message(*lines)


def imaged(
    accession: str,
    slide: str,
    *,
    available: bool = True,
    series: str = "",
    sent_at: str = SOON,
    control_id: str = "L104",
) -> bytes:
    """Return DPOW LAB-104: whether an image manager has a slide's images."""
    state = "Y" if available else "N"
    lines = [
        _header("OML^O21^OML_O21", sent_at, control_id, "DPOW-IMAGE-NOTIF"),
        _patient("A100234"),
        f"ORC|NW|P1|{accession}" + "|" * 35 + accession,
        f"OBR|1|P1|{accession}|SLIDE^Slide^L",
        f"SPM|1|{slide}^{slide}" + "|" * 18 + state + "|" * 7 + "GLASS" + f"|||{accession}",
    ]
    lines += [f"OBX|1|RP|0020000E^SeriesInstanceUID^DCM||{series}||||||F"] if series else []
    return _message(*lines)


def work_done(accession: str, number: str, made: str, *, sent_at: str = SOON, control_id: str = "L103") -> bytes:
    """Return DPOW LAB-103: a work order of ours is done, and what was made has the laboratory's number."""
    return _message(
        _header("OML^O21^OML_O21", sent_at, control_id, "DPOW-ACCEPT-WO"),
        _patient("A100234"),
        f"ORC|NW|{number}|{accession}||CM" + "|" * 33 + accession,
        f"OBR|1|{number}|{accession}|SLIDE^Slide^L",
        f"SPM|1|{number}^{made}" + "|" * 25 + f"GLASS|||{accession}",
    )


def replaced(accession: str, *slides: str, sent_at: str = SOON, control_id: str = "RP", placer: str = "P1") -> bytes:
    """Return an order that replaces one of the same placer number (ORC-1 RP)."""
    return order(accession, *slides, control="RP", sent_at=sent_at, control_id=control_id, placer=placer)


def registered(accession: str, specimens: Sequence[str], *, sent_at: str = "20250101120000+0000") -> bytes:
    """Return an order that registers specimens in their containers."""
    return order(accession, *specimens, sent_at=sent_at, control_id="SPM").replace(b"GLASS", b"CONTAINER")
