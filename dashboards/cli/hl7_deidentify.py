"""The command ``hl7 deidentify``: a copy of messages for a bug report, without what names a person."""

import os
import secrets
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from connectors.lims.deidentify import Deidentifier
from connectors.lims.framing import frame
from connectors.lims.message_file import Piece, pieces
from dashboards.cli.hl7_check import opened_file
from dashboards.cli.hl7_words import counted
from models.errors import CoverslipError, RefusedError, RejectedError

_KINDS = ("kept", "replaced", "moved", "blanked")
_WORDS = {
    "kept": "kept as they were: codes and numbers that name nobody",
    "replaced": "identifiers replaced by others of the same shape",
    "moved": "dates and times moved by the same number of days",
    "blanked": "blanked: names, addresses, words, and whatever nobody knows",
}
_LEAST_KEY = 16


def deidentify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Messages; - for what comes in.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the copy goes; it must not be there yet.")],
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file",
            metavar="FILE",
            help="A secret of at least 16 bytes: with the same one, later copies have the same replacements.",
            show_default="a new one, forgotten at once",
        ),
    ] = None,
) -> None:
    """Copy messages without what names a person: same structure, same faults, nothing left of what was taken out."""
    if out.exists():
        raise RefusedError("the file for the copy is there already: name one that is not")
    by = Deidentifier(_key(key_file))
    counts = {kind: Counter[str]() for kind in _KINDS}
    copies = []
    with opened_file(file) as stream:
        for number, piece in enumerate(pieces(stream), start=1):
            copies.append(_copied(by, piece, number, counts))
    _write(out, b"".join(copies))
    messages = counted(len(copies), "message")
    print(f"{messages} copied to {out}; searched for everything that was taken out: nothing of it is left.")
    for kind, by_field in counts.items():
        fields = ", ".join(field for field, count in sorted(by_field.items()) if count > 0)
        print(f"  {counted(by_field.total(), 'value')} {_WORDS[kind]}" + (f" ({fields})" if fields else ""))
    print("Look at the copy before you hand it on: what a code means to your laboratory, no program knows.")


def _key(file: Path | None) -> bytes:
    if file is None:
        return secrets.token_bytes(32)
    key = file.read_bytes().strip()
    if len(key) < _LEAST_KEY:
        raise RefusedError(
            f"the key has {len(key)} bytes, and {_LEAST_KEY} is the least: 'openssl rand -hex 32' makes one"
        )
    return key


def _copied(by: Deidentifier, piece: Piece, number: int, counts: dict[str, Counter[str]]) -> bytes:
    try:
        if piece.fault or piece.refused is not None:
            raise RejectedError(piece.fault or "It is larger than any message may be.")
        copy = by.copy(piece.raw)
    except CoverslipError as error:
        raise RefusedError(f"message {number} can't be copied, so nothing was written. {error}") from error
    for kind in _KINDS:
        counts[kind].update(getattr(copy, kind))
    return frame(copy.raw) if piece.framed else copy.raw


def _write(out: Path, copied: bytes) -> None:
    try:
        # Exclusive: what somebody put there meanwhile is not written over.
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    except OSError as error:
        raise RefusedError(f"{out} can't be written: {error.strerror or type(error).__name__}") from error
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(copied)
