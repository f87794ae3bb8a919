"""What would become of a message here: the door's answer, and whether anything keeps it from being acted on.

Nothing is stored and nobody is asked: the same code that answers at the door and reads behind it says it beforehand.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from connectors.lims.answers import acknowledge, refuse
from connectors.lims.containers import kind_by_shape
from connectors.lims.message import Message
from connectors.lims.message_file import Piece
from connectors.lims.patient import read_patient
from connectors.lims.places import said_in
from connectors.lims.profile import Profile
from connectors.lims.reading import read
from models.errors import RejectedError
from models.statements import Coded, Identifier, MessageStated, OrderStated, SlideStated

Severity = Literal["error", "warning"]
"""An *error* keeps the message from being acted on; with a *warning* the rest of it counts."""

_BATCH: Final = b"FHS|"
_NO_GUESS: Final = frozenset({"", "utf-8"})
_ACCEPTING: Final = frozenset({"AA", "CA", ""})
# What a line of nothing else is blank by: what Python takes for space in ASCII, NUL and a byte order mark.
_BLANK: Final = b"\r\n \t\v\f\x1c\x1d\x1e\x1f\0\xef\xbb\xbf"
_PLACE: Final = re.compile(
    r"\b(?!LAB)[A-Z][A-Z0-9]{2}-\d{1,2}(?!\d)(?:\.\d+)?|\b(?:MSH|PID|SPM|OBR|ORC|MRG|PV1|OBX|SAC)\b|\bSegment \d+"
)
_TO_DO: Final = (
    (r"^MSH-10", "Have the sender give each message a control id of its own, of at most 199 characters."),
    (r"^MSH-9", "Have the sender say the type in MSH-9, as in OML^O33^OML_O33."),
    (r"^MSH-7", "Have the sender write the time as in 20261122091500+0000; until then our time of receipt counts."),
    (r"^MSH-11", "Have the sender use the processing id of this listener, or set processing_id in the settings."),
    (r"^MSH-13", "Have the sender leave MSH-13 empty, or count in digits."),
    (r"MSH-18|character set", "Have the sender name in MSH-18 the character set that it writes, as in UNICODE UTF-8."),
    (r"16-bit", "Have it written as UTF-8, with MSH-18 UNICODE UTF-8."),
    (r"^MSH-1\b|delimiters", "Have the sender begin with MSH|^~\\&."),
    (r"not begin with MSH|no HL7", "Give a message that begins with MSH: bare, in MLLP frames, or in a batch."),
    (r"batch|header or the trailer", "Send its messages one by one: 'coverslip hl7 send' does that with a file."),
    (r"file is empty", "Give a file that holds a message."),
    (r"file can't be read", "See that the file may be read by you, and that its disk is there."),
    (r"belong to none", "See that they are no part of a message that was cut off."),
    (r"next frame cut off", "Have the sender end each message with 1C 0D before it begins the next."),
    (r"messages: send each", "Have the sender put each message into a frame of its own."),
    (r"MRG|same patient", "Have the sender name the record that goes in MRG-1, after the PID of the one that stays."),
    (r"Instance UID", "Have the sender name one UID, of digits and dots and at most 64 characters."),
    (r"both orders and cancels|more than once|names no container", "Have the sender say of a container one thing."),
    (r"of a group (has|holds)", "Have the sender use an identifier of printable letters, not longer than allowed."),
    (r"has (no|more than one|\d+) SPM", "Have the sender describe one asset in each message, in one SPM group."),
    (r"SPM-20", "Have the sender write Y when there are images of the slide, N when there are none."),
    (r"OBR-25 .* empty", "Have the sender say the result's status in OBR-25 or OBX-11, as in F."),
    (r"ORC-25 .* several", "Have the sender send one message for each state of the report."),
    (r"are allowed", "Have the sender send less in one message, or split it."),
    (
        r"no segments \(a line break",
        "Have the sender write a line break inside a text as \\.br\\ and end segments with CR.",
    ),
    (r"longer than|no separators", "Have the sender end each segment with CR."),
    (r"accession numbers, and one", "Name the field or the pattern of the accession in this peer's profile."),
    (r"accession number", "Have the sender fill it, or name the field that holds it in this peer's profile."),
    (r"container identifier|SPM-2\b|SAC-3", "Have the sender give each container its identifier in SPM-2.1 or SAC-3."),
    (r"SPM-27", "Have the sender write CONTAINER, CASSETTE or GLASS, or add its code to this peer's profile."),
    (r"ORC-1", "Have the sender write NW, XO or CA, or add its code to this peer's profile."),
    (r"NHS number", "Have the patient's record looked at: the number is kept, and names nobody."),
    (r"PID-3", "Have the sender name the patient in PID-3, with who issued the number."),
    (r"PID-7", "Have the sender write the date as in 19640229."),
    (r"no PID|second PID", "Have the sender give the one patient of the message in PID."),
    (r"is not a time", "Have the sender write the time as in 20261122091500+0000."),
    (r"priority", "Have the sender write S, A, T or R, or add its code to this peer's profile."),
    (r"code we do not know", "Add the code to this peer's profile, or have the sender use a known one."),
    (
        r"not a message Coverslip acts on|no message type",
        "Leave such messages out of the interface, or choose a profile that reads them.",
    ),
    (r"MSH-4", "Name the site in this peer's listener, or have the sender fill MSH-4."),
)
"""What to do about a sentence, by the first of these patterns that it holds."""
_ASK: Final = "Have the sender correct it, or say in this peer's profile how it writes this."


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong or odd about a message: where, what, and what to do; the text names no patient."""

    severity: Severity
    place: str
    what: str
    what_to_do: str


@dataclass(frozen=True, slots=True)
class SlideNamed:
    """A slide that a message orders or speaks of: codes of its stains, and what it was cut from where that is said."""

    container_identifier: str
    issuer: str
    block: str | None
    specimen: str | None
    stain: tuple[str, ...]
    stain_meaning: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """What would become of one message; ``accepted`` when it would be answered well and nothing stops it after that."""

    accepted: bool
    ack_code: str
    type: str
    version: str
    charset: str
    charset_declared: str
    control_id: str
    segments_in: int
    segments_kept: int
    accession_numbers: tuple[str, ...]
    slides: tuple[SlideNamed, ...]
    patient_id: str | None
    problems: tuple[Problem, ...]


def check(piece: Piece, profile: Profile, received_at: datetime) -> Checked:
    """Return what would become of a piece of a file if it came in by this profile at that time."""
    if piece.fault:
        return _nothing("", (_problem("error", piece.fault),))
    if piece.refused is not None:
        answer = refuse(piece.refused, profile, received_at)
        too_large = f"The message has {piece.refused.size} bytes; {piece.refused.limit} are allowed."
        return _nothing(answer.code, (_problem("error", too_large),))
    message = Message(piece.raw, profile.limits, profile.charset)
    answer = acknowledge(_BATCH if piece.framed_batch else piece.raw, profile, received_at)
    stated, problems = _read(message, profile)
    header = message.header
    charset = message.segments[0].notation.charset if header.fields else ""
    problems = [*_about_the_piece(piece), *_about_the_text(header.text(18) or profile.charset, charset), *problems]
    return Checked(
        accepted=answer.code in _ACCEPTING and all(one.severity != "error" for one in problems),
        ack_code=answer.code,
        type=header.message_type,
        version=header.text(12),
        charset=charset,
        charset_declared=header.text(18),
        control_id=header.control_id.decode("utf-8", "replace").strip(),
        segments_in=_lines_in(piece.raw) if header.fields else 0,
        segments_kept=len(message.segments) if header.fields else 0,
        accession_numbers=_accession_numbers(stated) or _accession_numbers_in(message, profile),
        slides=_slides(stated, profile),
        patient_id=_patient_id(stated, message, profile),
        problems=tuple(dict.fromkeys(problems)),
    )


def _nothing(ack_code: str, problems: tuple[Problem, ...]) -> Checked:
    return Checked(
        accepted=False,
        ack_code=ack_code,
        **dict.fromkeys(("type", "version", "charset", "charset_declared", "control_id"), ""),
        segments_in=0,
        segments_kept=0,
        accession_numbers=(),
        slides=(),
        patient_id=None,
        problems=problems,
    )


def _read(message: Message, profile: Profile) -> tuple[MessageStated | None, list[Problem]]:
    """Return what the message states, with what is wrong with it; nothing stated is an error, as for ``apply``."""
    try:
        stated = read(message, profile)
    except RejectedError as error:
        return None, [_problem("error", str(error))]
    # An order of which only the patient is left was not acted on, whatever is done with the patient.
    is_order = profile.reads.get(stated.message_type) == "order"
    of_a_case = (stated.order, stated.report, stated.case_update, stated.images, stated.work_done)
    is_left_out = is_order and all(part is None for part in of_a_case)
    severity: Severity = "warning" if stated.acts and not is_left_out else "error"
    problems = [_problem(severity, sentence) for sentence in stated.problems]
    if not stated.acts and not problems:
        problems.append(_problem("error", "The message states nothing that Coverslip acts on."))
    return stated, problems


def _about_the_piece(piece: Piece) -> Iterable[Problem]:
    if piece.framed_batch:
        yield _problem("error", "FHS or BHS begins the frame: a door refuses a batch, and reads none of its messages.")
    elif piece.batch:
        yield _problem("warning", "The message stands in a batch (FHS, BHS): it was checked by itself.")
    if piece.left_out:
        before = f"{piece.left_out} bytes beside the message belong to none: they were left out."
        yield _problem("warning", before)


def _about_the_text(declared: str, charset: str) -> Iterable[Problem]:
    """Say what was guessed; where MSH-18 says something else, reading has said so."""
    if not declared and charset not in _NO_GUESS:
        yield _problem("warning", f"MSH-18 names no character set, and the text is no UTF-8: it was read as {charset}.")


def _problem(severity: Severity, sentence: str) -> Problem:
    place = _PLACE.search(sentence)
    to_do = next((advice for pattern, advice in _TO_DO if re.search(pattern, sentence)), _ASK)
    return Problem(severity, place.group() if place else "message", sentence, to_do)


def _lines_in(raw: bytes) -> int:
    """Count the lines that are not blank, by the first line end, without reading any of them."""
    first = re.search(rb"[\r\n]", raw.lstrip(b"\r\n"))
    parts = raw.split(first.group() if first else b"\r")
    return sum(1 for part in parts if part.strip(_BLANK))


def _accession_numbers(stated: MessageStated | None) -> tuple[str, ...]:
    if stated is None:
        return ()
    meant = [one.case for one in (stated.report, stated.case_update, stated.images, stated.work_done) if one]
    numbers = [one.accession_number for one in (stated.order, *meant) if one]
    return tuple(dict.fromkeys(number for number in numbers if number))


def _accession_numbers_in(message: Message, profile: Profile) -> tuple[str, ...]:
    """Return what the first field that may hold an accession says, of a message that could not be read."""
    for place in profile.accession_fields if not message.problem else ():
        if found := tuple(dict.fromkeys(said for _, _, said in said_in(message.segments, (place,)))):
            return found
    return ()


def _slides(stated: MessageStated | None, profile: Profile) -> tuple[SlideNamed, ...]:
    if stated is None:
        return ()
    ordered = [_slide(one, stated.order, profile) for one in stated.order.slides] if stated.order else []
    if stated.images is not None:
        ordered.append(SlideNamed(stated.images.container_identifier, stated.images.issuer, None, None, (), ()))
    return tuple(ordered)


def _slide(slide: SlideStated, order: OrderStated, profile: Profile) -> SlideNamed:
    """Return a slide with its first block and specimen; where the message names only a parent, its shape decides."""
    specimens = {one.container_identifier for one in order.specimens}
    blocks = {one.container_identifier: one.parents for one in order.blocks}

    def is_specimen(parent: str) -> bool:
        return parent in specimens or (parent not in blocks and kind_by_shape(parent, profile) == "specimen")

    block = next((parent for parent in slide.parents if not is_specimen(parent)), None)
    above = (*filter(is_specimen, slide.parents), *blocks.get(block or "", ()))
    specimen = next(iter(above), None)
    codes = slide.stains or ((Coded(code=slide.stain_text),) if slide.stain_text else ())
    return SlideNamed(
        container_identifier=slide.container_identifier,
        issuer=slide.issuer,
        block=block,
        specimen=specimen,
        stain=tuple(one.code for one in codes),
        stain_meaning=tuple(one.meaning or one.code for one in codes),
    )


def _patient_id(stated: MessageStated | None, message: Message, profile: Profile) -> str | None:
    """Return the laboratory's own number before the national one; of a merge, the patient that stays."""
    named: list[Identifier] = []
    if stated is not None:
        named += stated.patient.identifiers if stated.patient else ()
        named += [one for merge in stated.merges for one in merge.survivor]
        named += [one for move in stated.moves for one in move.to_patient]
    if not named and not message.problem:
        named += [one for pid in message.named("PID")[:1] for one in read_patient(pid, profile, []).identifiers]
    ours = [one.value for one in named if not one.kind.startswith("NHS")]
    return next(iter((*ours, *(one.value for one in named))), None)
