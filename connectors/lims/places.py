"""Where in a message something stands, as people write it: SPM-30, ORC-7.6, SPM-2.1.2."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from connectors.lims.message import Segment

_WRITTEN = re.compile(r"([A-Z][A-Z0-9]{2})-([1-9][0-9]?)(?:\.([1-9][0-9]?)(?:\.([1-9][0-9]?))?)?", re.ASCII)
# What may stand in orders, results and patients' records (HL7 2.9, appendix A); others begin with Z.
_SEGMENTS = frozenset(
    {"MSH", "SFT", "UAC", "EVN", "PID", "PD1", "ARV", "NK1", "MRG", "PV1", "PV2", "AL1", "IAM", "DG1", "IN1", "IN2"}
    | {"GT1", "ORC", "OBR", "TQ1", "TQ2", "TCD", "NTE", "PRT", "OBX", "SPM", "SAC", "SID", "IPC", "CTI", "CTD", "BLG"}
    | {"FT1", "ROL", "TXA", "OH1", "OH2", "OH3", "OH4", "BPO", "SHP", "PAC", "INV", "REL", "DSC", "DSP", "CON", "AUT"}
)


@dataclass(frozen=True, slots=True)
class Place:
    """A subcomponent of a field; the first one of the first component where the text names neither."""

    segment: str
    field: int
    component: int = 1
    subcomponent: int = 1

    @property
    def whole_field(self) -> bool:
        """Whether no component was named but the first."""
        return self.component == 1 and self.subcomponent == 1

    def __str__(self) -> str:
        if self.whole_field:
            return f"{self.segment}-{self.field}"
        below = f".{self.subcomponent}" if self.subcomponent > 1 else ""
        return f"{self.segment}-{self.field}.{self.component}{below}"


def place(written: str) -> Place:
    """Return the place that a text like ``SPM-2.1.2`` names; ``ValueError`` when it names none."""
    found = _WRITTEN.fullmatch(written)
    if found is None:
        message = "must name a field, as in SPM-30, ORC-7.6 or SPM-2.1.2"
        raise ValueError(message)
    segment, *numbers = found.groups(default="1")
    if segment not in _SEGMENTS and segment[0] != "Z":
        message = f"names {segment}, which is no segment of HL7's, and none of a laboratory's own, which begin with Z"
        raise ValueError(message)
    return Place(segment, *map(int, numbers))


def said_in(segments: Sequence[Segment], places: Iterable[Place]) -> Iterator[tuple[Place, Segment, str]]:
    """Yield what these places say, place by place, and in each every segment of that name in the order sent."""
    for one in places:
        name, field, component, subcomponent = one.segment, one.field, one.component, one.subcomponent
        for segment in segments:
            if segment.name == name and (said := segment.value(field, component, subcomponent)):
                yield one, segment, said


def first_said(segments: Sequence[Segment], places: Iterable[Place]) -> str:
    """Return what the first of these places to say anything says, else an empty text."""
    for one in places:
        for segment in segments:
            if segment.name == one.segment and (said := segment.value(one.field, one.component, one.subcomponent)):
                return said
    return ""
