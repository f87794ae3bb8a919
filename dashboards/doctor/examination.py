"""The whole examination: which checks there are, in which order, and what they are made on."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from connectors.first_lab import write_first_lab
from connectors.settings import Settings, load
from dashboards.doctor import books, machine, neighbours, places, wires
from dashboards.doctor.finding import Finding, Findings, Installation
from models.errors import CoverslipError, RefusedError

Check = Callable[[Installation], Findings]

_OF_THE_MACHINE: Final[tuple[Check, ...]] = (
    machine.python,
    machine.sqlite,
    machine.turbojpeg,
    machine.libraries,
    machine.decoding,
    machine.dciodvfy,
)
_OF_THE_INSTALLATION: Final[tuple[Check, ...]] = (
    places.settings_file,
    places.state_folder,
    places.room,
    books.database,
    places.archive,
    places.scanners,
    neighbours.processes,
    neighbours.ports,
    neighbours.lims,
    wires.wires,
    neighbours.prefect,
    neighbours.telemetry,
)


def examine(home: Path) -> Iterator[Finding]:
    """Yield everything that is found about the machine and a state folder, whatever that holds; change nothing."""
    try:
        installation = _installation(home)
    except (RefusedError, OSError) as error:
        for check in _OF_THE_MACHINE:
            yield from _looked(check, _new(home))
        yield _unread(home, error)
        return
    for check in (*_OF_THE_MACHINE, *_OF_THE_INSTALLATION):
        yield from _looked(check, installation)


def converter(home: Path) -> Iterator[Finding]:
    """Yield what is missing of what converting needs from the machine, whatever the laboratory."""
    yield from (one for one in _looked(machine.turbojpeg, _new(home)) if one.level == "missing")


def _looked(check: Check, installation: Installation) -> Findings:
    """Pass on what a check finds; trouble that it met is a finding too."""
    try:
        yield from check(installation)
    except (CoverslipError, SQLAlchemyError, OSError) as error:
        sentence = f"could not be looked at ({getattr(error, 'strerror', None) or type(error).__name__})"
        yield Finding(check.__name__.replace("_", " "), "missing", sentence, "see that this user may look at it")


def _installation(home: Path) -> Installation:
    try:
        (home / "coverslip.toml").stat()
    except FileNotFoundError:
        return _new(home)
    return Installation(load(home), processes=neighbours.started_here(home))


def _unread(home: Path, error: RefusedError | OSError) -> Finding:
    if isinstance(error, RefusedError):
        return Finding("settings", "missing", str(error), "correct it; nothing that it names could be looked at")
    sentence = f"{home} can't be read ({error.strerror}), so nothing in it could be looked at"
    return Finding("settings", "missing", sentence, "start this as its owner, or mount its disk")


def _new(home: Path) -> Installation:
    """Return a state folder as a first start would set it up, without writing anything into it."""
    with tempfile.TemporaryDirectory() as elsewhere:
        write_first_lab(Path(elsewhere))
        settings: Settings = load(Path(elsewhere)).model_copy(update={"home": home})
    return Installation(settings, is_new=True)
