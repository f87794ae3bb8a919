"""The command ``hl7 check``: what would become of messages here, without storing or asking anything."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, TypeAlias

import typer

from connectors.lims.message_file import Piece, pieces
from dashboards.cli.hl7_words import clean, counted
from dashboards.cli.home import home_of
from models.errors import RefusedError

if TYPE_CHECKING:
    from connectors.lims.check import Checked, Problem
    from connectors.lims.profile import Profile

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for machines: one object a line.")]
Files: TypeAlias = Annotated[
    list[Path], typer.Argument(metavar="FILE", help="Files or folders of HL7; - for what comes in.")
]
WhichProfile: TypeAlias = Annotated[
    str | None, typer.Option("--profile", metavar="NAME|FILE", help="How messages are read.", show_default="plain")
]
OfPeer: TypeAlias = Annotated[
    str | None, typer.Option("--peer", metavar="NAME", help="Read as the settings say for this peer's listener.")
]

# A door's settings name the site of its messages; here there are none, and no message is to blame for it.
_SOME_SITE = "some-site"


def check_command(
    context: typer.Context, files: Files, profile: WhichProfile = None, peer: OfPeer = None, as_json: AsJson = False
) -> None:
    """Say what would become of messages here, and why; nothing is stored.

    It ends with 0 when all are accepted, else with 1.
    """
    from connectors.lims.check import check

    if profile is not None and peer is not None:
        raise typer.BadParameter("a peer's listener names its profile: give --profile or --peer", param_hint="--peer")
    by = profile_for(context, profile, peer)
    verdicts = []
    for name, piece in _pieces_of(walked(files)):
        checked = check(piece, by, datetime.now(UTC))
        verdicts.append(checked.accepted)
        if as_json:
            print(json.dumps({"file": name, **asdict(checked)}, ensure_ascii=True))
        else:
            _print(name, checked)
    refused = verdicts.count(False)
    if not as_json:
        print(f"{counted(len(verdicts), 'message')}: {len(verdicts) - refused} accepted, {refused} not.")
    if refused:
        raise typer.Exit(1)


def profile_for(context: typer.Context, profile: str | None, peer: str | None) -> "Profile":
    """Return the profile that a command was asked to read by."""
    from connectors.lims.profile import profile_named
    from connectors.lims.profile_file import DEFAULT

    if peer is not None:
        # Only who wants a listener's needs settings.
        from connectors.settings import load
        from flows.intake.profiles import profile_of

        settings = load(home_of(context))
        if peer not in (known := {one.peer for one in settings.listeners}):
            there_are = ", ".join(sorted(known)) or "none"
            raise RefusedError(f"no listener of the settings has the peer {peer}; there are: {there_are}")
        return profile_of(settings, peer)
    try:
        return profile_named(profile or DEFAULT, Path.cwd(), site=_SOME_SITE)
    except RefusedError as error:
        raise typer.BadParameter(str(error), param_hint="--profile") from error


@contextmanager
def opened_file(file: Path) -> Iterator[BinaryIO]:
    """Open what a person named; ``-`` is what comes in."""
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    if file.is_dir():
        raise RefusedError(f"{file} is a folder: name a file in it")
    try:
        stream = file.open("rb")
    except OSError as error:
        raise RefusedError(f"{file} can't be read: {error.strerror or type(error).__name__}") from error
    with stream:
        yield stream


def walked(files: Iterable[Path]) -> list[Path]:
    """Return the files that a person named, and all those in and below the folders that they named."""
    found: list[Path] = []
    for file in files:
        if str(file) != "-" and not file.exists():
            raise typer.BadParameter(f"there is no file {file}", param_hint="FILE")
        below = [one for one in sorted(file.rglob("*")) if one.is_file()] if file.is_dir() else [file]
        if not below:
            raise typer.BadParameter(f"there is no file in the folder {file}", param_hint="FILE")
        found += below
    return found


def _pieces_of(files: Iterable[Path]) -> Iterator[tuple[str, Piece]]:
    """Yield the messages of all files."""
    for file in files:
        try:
            with opened_file(file) as stream:
                for piece in pieces(stream):
                    yield str(file), piece
        except RefusedError as error:
            # One of many that can't be opened keeps nobody from hearing of the others.
            why = error.__cause__.strerror if isinstance(error.__cause__, OSError) else None
            yield str(file), Piece(b"", fault=f"The file can't be read ({why or 'it is no file'}).")
        except OSError as error:
            yield str(file), Piece(b"", fault=f"The file can't be read ({error.strerror or type(error).__name__}).")


def _print(name: str, checked: "Checked") -> None:
    verdict = "accepted" if checked.accepted else "NOT ACCEPTED"
    answer = f"answered {checked.ack_code}" if checked.ack_code else "not answered"
    print(clean(f"{name}: {verdict}, {answer}"))
    known = (checked.type or "no type", f"version {checked.version or 'not said'}", checked.charset)
    if checked.control_id or checked.type:
        kept = f"{checked.segments_kept} of {checked.segments_in} segments kept"
        print(clean(f"  {', '.join(filter(None, known))}; MSH-10 {checked.control_id or 'not said'}; {kept}"))
    if checked.accession_numbers or checked.patient_id:
        accession = ", ".join(checked.accession_numbers) or "none"
        print(clean(f"  accession {accession}; patient {checked.patient_id or 'not said'}"))
    for slide in checked.slides:
        above = "".join(
            f", {what} {value}" for what, value in (("block", slide.block), ("specimen", slide.specimen)) if value
        )
        stain = f", {' + '.join(slide.stain_meaning)}" if slide.stain_meaning else ""
        print(clean(f"  slide {slide.container_identifier}{above}{stain}"))
    for problem in checked.problems:
        print(clean(f"  {_sentence(problem)}"))


def _sentence(problem: "Problem") -> str:
    return f"{problem.severity} at {problem.place}: {problem.what} {problem.what_to_do}"
