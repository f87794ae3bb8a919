"""Which fields of which segments may stay in a de-identified copy, and how: whatever is not named here goes.

An allow-list on purpose: a field that nobody thought of is blanked, and a segment that nobody knows keeps its name.
"""

from collections.abc import Mapping
from typing import Final, Literal

How = Literal["keep", "identifier", "person identifier", "name", "coded", "date", "uid", "observation", "blank"]
"""*Keep* codes and numbers that say nothing of a person. Each *identifier* becomes an opaque one of the same shape;
of a *person*, its type and a national authority's name are kept. Of a *name* only its type stays. *Coded* keeps code
and scheme, not the words. A *date* is moved by the same number of days everywhere. A *uid* becomes another. An
*observation* goes by its type in OBX-2."""


def _fields(**by_how: str) -> Mapping[int, How]:
    """Return the treatment of each field from the numbers that share one: ``identifier="2 3"``."""
    hows: dict[str, How] = {
        "keep": "keep",
        "identifier": "identifier",
        "person": "person identifier",
        "name": "name",
        "coded": "coded",
        "date": "date",
        "uid": "uid",
        "observation": "observation",
    }
    return {int(number): hows[how] for how, numbers in by_how.items() for number in numbers.split()}


FIELDS: Final[Mapping[str, Mapping[int, How]]] = {
    # MSH-1 and MSH-2 are the delimiters, which are kept before any field is looked at.
    "MSH": _fields(identifier="3 4 5 6 10", date="7", keep="9 11 12 13 15 16 17 18 19 20 21"),
    "MSA": _fields(keep="1", identifier="2"),
    "ERR": _fields(keep="2 4", coded="3"),
    "EVN": _fields(keep="1 4", date="2 3 6"),
    "PID": _fields(keep="1 8", person="2 3 4 18", name="5 9", date="7"),
    "MRG": _fields(person="1 2 3 4 5 6", name="7"),
    "PV1": _fields(keep="1 2", person="19", date="44 45"),
    "ORC": _fields(keep="1 5 6", identifier="2 3 4 8 17 38", date="9 15", coded="16 25"),
    "TQ1": _fields(keep="1 2", date="7 8", coded="9"),
    "OBR": _fields(keep="1 5 11 24 25", identifier="2 3 18 19 20 21 32", coded="4", date="6 7 8 14 22 36"),
    "OBX": _fields(keep="1 2 4 11", coded="3 6", observation="5", date="14 19"),
    "NTE": _fields(keep="1 2"),
    "SPM": _fields(keep="1 13 20", identifier="2 3 30", coded="4 5 6 7 8 9 10 11 21 24 27", date="17 18 19"),
    "SAC": _fields(identifier="3 4", coded="6 8 9", keep="48"),
    "PRT": _fields(keep="1 2", coded="4", identifier="5"),
    "IPC": _fields(identifier="1 2", uid="3"),
    # A Z-segment that DICOM defines (IHE RAD): the study's UID.
    "ZDS": _fields(uid="1"),
    "FHS": {},
    "BHS": {},
}
"""By segment and field number."""

KEPT_COMPONENTS: Final[Mapping[How, frozenset[int]]] = {
    # CWE without its words (2, 5, 9).
    "coded": frozenset({1, 3, 4, 6, 7, 8}),
    # XPN-7, the type of name; CX-5, the type of number.
    "name": frozenset({7}),
    "person identifier": frozenset({5}),
    "keep": frozenset(range(1, 10)),
}
"""Which components of a field are kept as they are, where they look like codes."""

CODED_TYPES: Final = frozenset({"CE", "CWE", "CNE", "CF", "IS", "ID"})
"""Types of OBX-2 whose OBX-5 is coded."""

NATIONAL_AUTHORITIES: Final = frozenset({"NHS", "2.16.840.1.113883.2.1.4.1"})
"""Kept in CX-4, because a number is read otherwise without them; they name no hospital."""

PERSONS: Final = frozenset({"PID", "PD1", "NK1", "MRG", "PV1", "PV2", "GT1", "IN1", "IN2"})
"""Segments about people: of what is taken out of them, each word alone may stand nowhere else."""
