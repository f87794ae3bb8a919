"""The command ``hl7 edit``: a message that was set aside is corrected, and applied in place of the original."""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from connectors.lims.differences import Difference
from connectors.lims.editable_text import from_readable, readable, with_value
from connectors.lims.message_file import pieces
from dashboards.cli.hl7_check import opened_file
from dashboards.cli.hl7_words import clean
from dashboards.cli.options import By, Reason
from models.errors import RefusedError

if TYPE_CHECKING:
    from flows.actions import Desk, Person
    from flows.actions.editing import Draft

MessageName: TypeAlias = Annotated[
    str, typer.Argument(metavar="MESSAGE", help="A message's id, or at least its first six characters.")
]
Set: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PLACE=VALUE", help="What one place is to say, as in PID-3.1=A100234 or SPM[2]-27=GLASS."
    ),
]
From: TypeAlias = Annotated[
    Path | None, typer.Option("--from", metavar="FILE", help="A file that holds the whole corrected message.")
]

_SHOWN: Final = 200


def edit(
    context: typer.Context,
    message: MessageName,
    by: By = "",
    reason: Reason = "",
    values: Set = None,
    file: From = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be changed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before it is done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Correct a message that was set aside, in $EDITOR or with --set or --from, and have it applied in its place."""
    from dashboards.cli.desk import opened
    from flows.actions import Person, editing, message_named

    if values and file:
        raise typer.BadParameter("a whole file leaves nothing to be set: give --set or --from", param_hint="--from")
    person = None if dry_run else Person(by, reason)
    with opened(context) as desk:
        with desk.database.read() as session:
            message_id = message_named(session, message)
        original = editing.payload_of(desk, message_id)
        draft = editing.drafted(desk, message_id, _made_of(original, values or (), file))
        if not as_json:
            _print(draft.differences)
        _finish(desk, draft, person, asks=not (yes or as_json) and sys.stdin.isatty(), as_json=as_json)


def _finish(desk: "Desk", draft: "Draft", person: "Person | None", *, asks: bool, as_json: bool) -> None:
    from dashboards.cli.desk import print_json
    from dashboards.cli.replay import show_preview
    from flows.actions import editing

    seen = editing.preview_draft(desk, draft)
    differs = [asdict(one) for one in draft.differences]
    if person is None and as_json:
        print_json({"differences": differs, "preview": asdict(seen)})
        return
    if not as_json:
        show_preview(seen, as_json=False)
    if person is None:
        return
    if asks and not typer.confirm("Have it applied in place of the original?"):
        raise RefusedError("you said no: nothing was changed")
    acted = editing.edit(desk, draft, person)
    if as_json:
        print_json({"differences": differs, "preview": asdict(seen), **asdict(acted)})
    else:
        print(clean("; ".join((acted.what, *acted.follows)) + "."))


def _made_of(original: bytes, values: Iterable[str], file: Path | None) -> bytes:
    """Return what a person makes of a message: by a file, by values, or in their editor."""
    if file is not None:
        return _of_file(file)
    raw, said = original, False
    for one in values:
        place, equals, value = one.partition("=")
        if not equals:
            raise typer.BadParameter("say PLACE=VALUE, as in PID-3.1=A100234", param_hint="--set")
        raw, said = with_value(raw, place, value), True
    return raw if said else _in_an_editor(original)


def _of_file(file: Path) -> bytes:
    with opened_file(file) as stream:
        found = list(pieces(stream))
    if len(found) != 1 or found[0].fault or found[0].refused is not None:
        raise RefusedError("the file must hold exactly one message: 'coverslip hl7 check' says what it holds")
    return found[0].raw


def _in_an_editor(original: bytes) -> bytes:
    """Return what somebody wrote in their editor; the file is theirs alone and is gone afterwards."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not command or not sys.stdin.isatty():
        raise RefusedError("nobody can edit here: say --set PLACE=VALUE or --from FILE, or set EDITOR at a terminal")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "message.hl7"
        file.write_text(readable(original), encoding="utf-8", newline="")
        try:
            ended = subprocess.run([*shlex.split(command), str(file)], check=False).returncode
        except OSError as error:
            message = f"the editor {command} can't be started ({error.strerror}): set EDITOR to another"
            raise RefusedError(message) from error
        if ended:
            raise RefusedError("the editor ended with a fault: nothing was changed")
        written = file.read_bytes()
    try:
        return from_readable(_as_it_ended(written.decode(), readable(original)), original)
    except UnicodeDecodeError as error:
        message = "the editor did not write UTF-8: nothing was changed"
        raise RefusedError(message) from error


def _as_it_ended(written: str, before: str) -> str:
    """Return the text with the end that it had: editors add a line end of their own."""
    text = written.replace("\r\n", "\n")
    return text.rstrip("\n") + before[len(before.rstrip("\n")) :]


def _print(differs: Iterable[Difference]) -> None:
    print("What differs:")
    for one in differs:
        print(clean(f"  {one.place}: {_short(one.before)} → {_short(one.after)}"))


def _short(text: str | None) -> str:
    if text is None:
        return "nothing"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
