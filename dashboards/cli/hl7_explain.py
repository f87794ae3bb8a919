"""The command ``hl7 explain``: hl7apy's conformance report of messages, and what hl7apy would lose of them."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from connectors.lims.header import read_header
from connectors.lims.message_file import Piece, pieces
from dashboards.cli.hl7_check import AsJson, Files, opened_file, walked
from dashboards.cli.hl7_words import clean, counted
from models.errors import CoverslipError, RejectedError

if TYPE_CHECKING:
    from connectors.slides.bounded import Decoder

_MEMORY_BYTES: Final = 512 * 1024 * 1024
_SHOWN: Final = 20


def explain(
    files: Files,
    *,
    seconds: Annotated[
        int, typer.Option(min=1, max=3600, help="Processor time for each message: hl7apy takes 20 s for 220 kB.")
    ] = 30,
    structure: Annotated[bool, typer.Option("--structure", help="Show the groups that hl7apy saw.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show hl7apy's conformance report, and what it would drop: 0 when it finds no error, else 1.

    Coverslip does not need hl7apy's consent: it keeps and reads what hl7apy drops.
    Each message is looked at in a child process with limits.
    """
    faults, named_files = 0, walked(files)
    with _child() as child:
        for file in named_files:
            with opened_file(file) as stream:
                for number, piece in enumerate(pieces(stream), start=1):
                    said = _explained(child, piece, seconds)
                    faults += bool(said.get("problem") or said.get("errors"))
                    named = {"file": str(file), "message": number, "type": read_header(piece.raw).message_type}
                    if as_json:
                        print(json.dumps({**named, **said}, ensure_ascii=True))
                    else:
                        _print(f"{file}, message {number}, {named['type'] or 'no type'}", said, structure=structure)
    if faults:
        raise typer.Exit(1)


@contextmanager
def _child() -> Iterator["Decoder"]:
    from connectors.slides.bounded import Decoder

    with Decoder(("connectors.lims.conformance:report",)) as decoder:
        yield decoder


def _explained(child: "Decoder", piece: Piece, seconds: int) -> dict[str, Any]:
    """Return the report on one message, or the problem that there was with it."""
    from connectors.slides.bounded import Limits

    if piece.fault or piece.refused is not None:
        return {"problem": piece.fault or "The message is larger than any may be."}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "message.hl7"
        path.write_bytes(piece.raw)
        limits = Limits(_MEMORY_BYTES, seconds, timedelta(seconds=3 * seconds))
        try:
            return dict(child.run("connectors.lims.conformance:report", {"path": str(path), "folder": folder}, limits))
        except RejectedError as error:
            return {"problem": _in_words(error, len(piece.raw))}


def _in_words(error: CoverslipError, size: int) -> str:
    said = str(error).replace("decoding", "hl7apy").replace("the decoder", "hl7apy").replace("this file", "it")
    if "limit of" in said:
        return f"{said}: the message has {size} bytes, and hl7apy takes 20 s for 220 kB; --seconds allows more"
    return said


def _print(what: str, said: dict[str, Any], *, structure: bool) -> None:
    if problem := said.get("problem"):
        print(clean(f"{what}: no report. {problem}"))
        return
    found = ", ".join(counted(len(said[f"{kind}s"]), kind) for kind in ("error", "warning"))
    print(clean(f"{what}, by hl7apy {said['hl7apy']}: {found}"))
    print(f"  segments in {said['segments_in']}, kept by hl7apy {said['segments_kept']}; Coverslip keeps all of them")
    for how in ("dropped", "changed"):
        if said[how]:
            print(clean(f"  {how} by hl7apy: {_some(said[how], ', ')}"))
    for kind in ("errors", "warnings"):
        for finding in said[kind][:_SHOWN]:
            print(clean(f"  {kind.removesuffix('s')}: {finding}"))
        if len(said[kind]) > _SHOWN:
            print(f"  and {len(said[kind]) - _SHOWN} more {kind}: --json shows all")
    if structure:
        print("\n".join(clean(f"  {line}") for line in said["structure"]))


def _some(texts: list[str], mark: str) -> str:
    return mark.join(texts[:_SHOWN]) + (f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else "")
