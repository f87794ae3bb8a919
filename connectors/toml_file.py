"""A TOML file that people write: read, checked against a model, and refused in one sentence that names the place."""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from models.errors import RefusedError

_Model = TypeVar("_Model", bound=BaseModel)
_PLAINLY = {"extra_forbidden": "is not a setting: check its spelling", "missing": "is missing"}


def read_toml(path: Path, missing: str = "give the path of a TOML file") -> dict[str, Any]:
    """Return what a file says; ``missing`` tells what to do when it is not there.

    Raises
    ------
    RefusedError
        It is missing, can't be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        message = f"{path} is missing: {missing}"
        raise RefusedError(message) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"{path} is no TOML: {error}"
        raise RefusedError(message) from error
    except OSError as error:
        message = f"{path} can't be read: {error.strerror}"
        raise RefusedError(message) from error


def checked(model: type[_Model], said: dict[str, Any], path: Path) -> _Model:
    """Return what a file says as a model.

    Raises
    ------
    RefusedError
        It says something impossible: the sentence names the file, the first such key and its fault.
    """
    try:
        return model(**said)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        fault = _PLAINLY.get(first["type"], first["msg"].removeprefix("Value error, "))
        message = f"{path}: {place}: {fault}"
        raise RefusedError(message) from error
