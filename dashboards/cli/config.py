"""The command ``config check``: the settings as they are read, and where each of them comes from."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from dashboards.cli.home import home_of
from models.errors import TransientError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from connectors.settings import Settings

_MASK: Final = "********"
_NAMES: Final = ("id", "name", "peer")
_PASSWORD_IN_AN_ADDRESS: Final = re.compile(r"(://[^/@\s]*?):[^/@\s]*@")


@dataclass(frozen=True)
class Said:
    """One setting: what it is called, what it is, and whether the file says so."""

    setting: str
    value: object
    source: Literal["file", "default"]


def register(app: typer.Typer) -> None:
    """Add this group of commands."""
    group = typer.Typer(help="The settings; nothing is changed.", no_args_is_help=True)
    group.callback()(_group)
    group.command(name="check")(check)
    app.add_typer(group, name="config")


def _group() -> None:
    """Keep ``check`` a word of its own, though it is the only one."""


def check(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the settings as they are read, each with whether the file says so; 0 when they can be used, else 1.

    Secrets are masked. Whether what they name is there, is what 'coverslip doctor' says.
    """
    from connectors.settings import load

    home = home_of(context)
    settings = load(home)
    if any(one.secure for one in (*settings.listeners, *settings.lims)):
        from dashboards.doctor.wires import refuse_bad_certificates

        refuse_bad_certificates(settings)
    found = tuple(said_of(settings))
    if as_json:
        print(json.dumps({"file": str(home / "coverslip.toml"), "settings": [asdict(one) for one in found]}))
        return
    print(f"# {home / 'coverslip.toml'}")
    for one in found:
        note = "" if one.source == "file" else "  # default"
        print(f"{one.setting} = {_as_written(one.value)}{note}")
    for sentence in _overruled(settings):
        print(f"# {sentence}")
    print("# These settings can be used. Whether what they name is there: 'coverslip doctor'.")


def _overruled(settings: "Settings") -> Iterator[str]:
    """Yield whom the database knows better, as far as it can be asked."""
    from sqlalchemy.exc import SQLAlchemyError

    from connectors.wiring import open_database
    from dashboards.doctor.books import sqlite_file
    from flows.people.sync import kept_as_data

    file = sqlite_file(settings)
    if file is not None and not file.exists():
        return
    database = open_database(settings)
    try:
        with database.read() as session:
            kept = kept_as_data(session, settings)
    except (TransientError, SQLAlchemyError):
        return
    finally:
        database.close()
    if kept:
        yield f"Kept as data, whatever is said of them above: {', '.join(kept)} ('coverslip people list')."


def said_of(settings: "Settings") -> Iterator[Said]:
    """Yield every setting in the order of the table in the README, without any secret."""
    for one in _said(settings, ""):
        if one.setting != "home":
            yield one


def _said(part: "BaseModel", above: str) -> Iterator[Said]:
    from pydantic import BaseModel

    # What a part is called comes first, wherever its class has it.
    for name in sorted(type(part).model_fields, key=lambda name: name not in _NAMES):
        value, setting = getattr(part, name), f"{above}{name}"
        if isinstance(value, BaseModel):
            yield from _said(value, f"{setting}.")
        elif isinstance(value, tuple) and value and all(isinstance(one, BaseModel) for one in value):
            for label, one in zip(_labels(value), value, strict=True):
                yield from _said(one, f"{setting}.{label}.")
        else:
            source: Literal["file", "default"] = "file" if name in part.model_fields_set else "default"
            yield Said(setting, _masked(_plain(value), setting), source)


def _labels(parts: "Sequence[BaseModel]") -> Sequence[str]:
    """Return what tells them apart: their names, where each has one of its own, else their numbers."""
    named = [next((str(getattr(one, name)) for name in _NAMES if hasattr(one, name)), "") for one in parts]
    if all(named) and len(set(named)) == len(named):
        return named
    return [str(number) for number in range(1, len(parts) + 1)]


def _plain(value: object) -> object:
    """Return a value as the file would hold it."""
    from pydantic import SecretStr

    match value:
        case SecretStr():
            return _MASK
        case timedelta():
            seconds = value.total_seconds()
            return int(seconds) if seconds.is_integer() else seconds
        case Path() | time():
            return str(value)
        case tuple():
            return [_plain(one) for one in value]
        case _:
            return value


def _masked(value: object, setting: str) -> object:
    if not isinstance(value, str):
        return value
    if setting == "database_url" and value:
        from sqlalchemy import make_url

        url = make_url(value)
        hidden = {name: _MASK if "pass" in name.lower() else said for name, said in url.query.items()}
        return url.set(query=hidden).render_as_string(hide_password=True)
    return _PASSWORD_IN_AN_ADDRESS.sub(rf"\1:{_MASK}@", value)


def _as_written(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_as_written(one)}" for key, one in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
