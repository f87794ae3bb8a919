"""The command ``hl7 send``: messages of a file go to a peer, one after the other, and its answers are shown."""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from connectors.lims.header import read_header
from connectors.lims.message import Message
from connectors.lims.message_file import Piece, pieces
from dashboards.cli.hl7_check import AsJson, opened_file
from dashboards.cli.hl7_words import clean, counted
from models.errors import CoverslipError, TransientError

if TYPE_CHECKING:
    from connectors.lims.sender import Answer, MllpSender

_ADDRESS: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:]+)\]|(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*)):(?P<port>[0-9]{1,5})")
_MEANINGS: Final = {
    "AA": "accepted",
    "CA": "stored",
    "AE": "refused: the message is at fault",
    "CE": "not stored: the message is at fault",
    "AR": "refused: not now, or not this kind of message",
    "CR": "not stored: not now, or not this kind of message",
}


def send(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Messages; - for what comes in.")],
    to: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Where to.")],
    *,
    repeat: Annotated[int, typer.Option(min=1, metavar="N", help="Send all of it so often, the same bytes.")] = 1,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How long an answer may take.")] = 30.0,
    tls: Annotated[bool, typer.Option("--tls", help="Speak TLS; --ca says whom to believe.")] = False,
    ca: Annotated[Path | None, typer.Option("--ca", metavar="FILE", help="The authority of the other side.")] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", metavar="FILE", help="Our own certificate, with --key.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", metavar="FILE", help="The key of our own certificate.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send messages one after the other, each when the one before is answered; 0 when all were accepted, else 1."""
    from connectors.lims.sender import MllpSender, SenderLimits
    from connectors.lims.tls import Credentials, peer_context

    host, port = _address(to)
    if tls != (ca is not None) or (certificate is None) != (key is None) or (certificate is not None and not tls):
        raise typer.BadParameter("--tls needs --ca; --certificate and --key go with both", param_hint="--tls")
    secured = peer_context(Credentials("--tls", ca, certificate, key)) if tls else None
    said: Counter[bool] = Counter()
    with MllpSender(host, port, SenderLimits(answer_seconds=timeout), secured) as sender:
        for piece in _again(file, repeat):
            sent = _send(sender, piece)
            _tell(sent, as_json=as_json)
            said[sent.accepted] += 1
            if sent.gone:
                break
    if not as_json:
        print(f"{counted(said.total(), 'message')}: {said[True]} accepted, {said[False]} not.")
    if said[False]:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Sent:
    """What became of one message: its answer, or why there is none; ``gone`` when nobody answers any more."""

    piece: Piece
    answer: "Answer | None"
    problem: str
    took: float
    gone: bool = False

    @property
    def accepted(self) -> bool:
        return self.answer is not None and self.answer.accepted


def _again(file: Path, times: int) -> Iterator[Piece]:
    if times > 1 and str(file) == "-":
        raise typer.BadParameter("what comes in is there only once", param_hint="--repeat")
    for _ in range(times):
        with opened_file(file) as stream:
            yield from pieces(stream)


def _send(sender: "MllpSender", piece: Piece) -> _Sent:
    if piece.fault or piece.refused is not None:
        return _Sent(piece, None, piece.fault or "It is larger than any message may be: it was not sent.", 0.0)
    began = time.monotonic()
    try:
        answer = sender.send(piece.raw, read_header(piece.raw).control_id.decode("utf-8", "replace"))
    except CoverslipError as error:
        gone = isinstance(error, TransientError)
        return _Sent(piece, None, str(error), time.monotonic() - began, gone=gone)
    return _Sent(piece, answer, "", time.monotonic() - began)


def _tell(sent: _Sent, *, as_json: bool) -> None:
    header, answer = read_header(sent.piece.raw), sent.answer
    control_id = header.control_id.decode("utf-8", "replace")
    if as_json:
        said = {
            "control_id": control_id,
            "type": header.message_type,
            "bytes": len(sent.piece.raw),
            "accepted": sent.accepted,
            "ack_code": answer.code if answer else "",
            "text": answer.text if answer else "",
            "answer": answer.raw.decode("utf-8", "replace") if answer else "",
            "problem": sent.problem,
            "seconds": round(sent.took, 4),
        }
        print(json.dumps(said, ensure_ascii=True))
        return
    if not sent.piece.raw:
        print(f"Not sent: {sent.problem}")
        return
    what = f"{control_id or 'no MSH-10'}, {header.message_type or 'no type'}, {len(sent.piece.raw)} bytes"
    if answer is None:
        print(clean(f"{what}: {sent.problem}"))
        return
    meaning = _MEANINGS.get(answer.code, "no code that HL7 knows")
    print(clean(f"{what}: {answer.code} ({meaning}) after {1000 * sent.took:.0f} ms"))
    for segment in Message(answer.raw).segments:
        print(clean(f"  {segment.line}"))


def _address(to: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(to)
    if found is None or not 0 < int(found["port"]) < 1 << 16:
        raise typer.BadParameter("say HOST:PORT, as in 127.0.0.1:2575", param_hint="HOST:PORT")
    return found["six"] or found["host"], int(found["port"])
