"""The patient that a message names (PID)."""

import re
from collections.abc import Iterable

from connectors.lims.message import Field, Segment
from connectors.lims.moments import read_date
from connectors.lims.nhs_number import is_valid, normalised
from connectors.lims.places import Place
from connectors.lims.profile import Profile
from models.errors import RejectedError
from models.statements import Identifier, PatientStated

_LEGAL_NAME = "L"
_NHS_TYPE = "NH"
_VISIT = "VN"
# What divides a PN of DICOM cannot stand in it.
_DIVIDING = re.compile(r"[\^=\\\s]+")
_LONGEST_NUMBER = 200
_LONGEST_KIND = 32


def read_patient(pid: Segment, profile: Profile, problems: list[str]) -> PatientStated:
    """Return what PID says of the patient, adding a sentence for each part that makes no sense."""
    identifiers, status = identifiers_of(pid, profile.patient_fields, profile)
    if status in {"invalid", "conflicting"}:
        problems.append(f"The NHS number in PID-3 is {status}: it identifies nobody until a person looks at it.")
    if not identifiers:
        problems.append("PID-3 names no patient identifier.")
    names = pid.repetitions(5)
    name = next((one for one in names if one.value(7) == _LEGAL_NAME), names[0] if names else pid.field(5))
    born = pid.stated(7)
    birth_date = read_date(born)
    if born and birth_date is None:
        problems.append("PID-7 (date of birth) is not a date.")
    return PatientStated(
        identifiers=identifiers,
        nhs_number_status=status,
        family_name=name.value(1),
        given_name=name.value(2),
        name_text=_name_text(name),
        birth_date=birth_date,
        sex=pid.value(8),
    )


def identifiers_of(segment: Segment, places: Iterable[Place], profile: Profile) -> tuple[tuple[Identifier, ...], str]:
    """Return the identifiers (CX) in the first of these fields that holds any, and the status of the NHS number.

    Raises
    ------
    RejectedError
        One is too long to be anybody's number: cut, it could be somebody else's.
    """
    found: dict[tuple[str, str, str], Identifier] = {}
    for place in places:
        for one in segment.repetitions(place.field) if segment.name == place.segment and not found else ():
            value, kind = one.stated(1), (one.stated(5) or "MR")[:_LONGEST_KIND]
            issuer = _issuer(one, profile)
            if value and (kind == _NHS_TYPE or issuer.upper() in profile.nhs_authorities):
                number = normalised(value)
                value, issuer, kind = number, "NHS", "NHS" if is_valid(number) else "NHS?"
            if value:
                _refuse_too_long(place, value, issuer)
                found[value, issuer, kind] = Identifier(value=value, issuer=issuer, kind=kind)
    return _with_one_nhs_number(list(found.values()))


def visits_of(segments: Iterable[Segment], places: Iterable[Place], profile: Profile) -> tuple[Identifier, ...]:
    """Return the visit numbers (CX) in these fields, each once."""
    places = tuple(places)
    found = [
        Identifier(value=value, issuer=_issuer(one, profile), kind=_VISIT)
        for segment in segments
        for place in places
        if segment.name == place.segment
        for one in segment.repetitions(place.field)[:1]
        if (value := one.stated(1))
    ]
    return tuple(dict.fromkeys(found))


def _refuse_too_long(place: Place, *parts: str) -> None:
    longest = max(map(len, parts))
    if longest > _LONGEST_NUMBER:
        raise RejectedError(
            f"A patient's number ({place}) or who issued it has {longest} characters; {_LONGEST_NUMBER} are allowed: "
            "correct it at its sender."
        )


def _issuer(one: Field, profile: Profile) -> str:
    """Return CX-4: the name, else the universal id, of who assigned a number."""
    return one.stated(4, 1) or one.stated(4, 2) or profile.issuer


def _with_one_nhs_number(found: list[Identifier]) -> tuple[tuple[Identifier, ...], str]:
    """Return the identifiers with at most one of kind NHS, and the status of the NHS number."""
    valid = [one for one in found if one.kind == "NHS"]
    if len(valid) > 1:
        doubted = (one.model_copy(update={"kind": "NHS?"}) if one.kind == "NHS" else one for one in found)
        return tuple(doubted), "conflicting"
    if valid:
        return tuple(found), "valid"
    return tuple(found), "invalid" if any(one.kind == "NHS?" for one in found) else "missing"


def _name_text(name: Field) -> str | None:
    """Return the whole name in the order of DICOM's PN: family, given, middle, prefix, suffix.

    HL7's XPN has the suffix (4) before the prefix (5). Characters that divide a PN cannot stand in it.
    """
    parts = [name.value(number) for number in (1, 2, 3, 5, 4)]
    if all(part is None for part in parts):
        return None
    return "^".join(_DIVIDING.sub(" ", part) if part else "" for part in parts).rstrip("^")
