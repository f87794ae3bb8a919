"""The files that profiles lie in: the shipped ones, and a laboratory's own, which extend them.

Everything in a file is text, a list or a table, whatever it looks like: a code 0020000D, N or 12:30 stays what it is.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

import yaml

from models.errors import RefusedError

DEFAULT = "plain"

_FOLDER = files("connectors.lims") / "profiles"
_SUFFIX = ".yaml"
_EXTENDS = "extends"
_LARGEST_BYTES = 256 * 1024
_DEEPEST = 10


def shipped_profiles() -> tuple[str, ...]:
    """Return the names of the profiles that come with Coverslip."""
    return tuple(sorted(one.name.removesuffix(_SUFFIX) for one in _FOLDER.iterdir() if one.name.endswith(_SUFFIX)))


def profile_source(name: str, folder: Path) -> str:
    """Return how people call the file that a profile comes from: its path, or ``profile NAME``."""
    return f"profile {name}" if name in shipped_profiles() else str(folder / name)


def read_profile_file(name: str, folder: Path) -> dict[str, object]:
    """Return everything that a profile says, laid over what it extends.

    Parameters
    ----------
    name
        One of ``shipped_profiles``, else a path; a relative one is below ``folder``.

    Raises
    ------
    RefusedError
        There is no such profile, it is no table in YAML, or it extends itself: one sentence that names the file.
    """
    said: dict[str, object] = {}
    chain: list[str] = []
    wanted: str | None = name
    while wanted is not None:
        if wanted in chain or len(chain) > _DEEPEST:
            message = f"{profile_source(name, folder)}: extends: leads back to {wanted}: let one of them extend plain"
            raise RefusedError(message)
        chain.append(wanted)
        layer = dict(_shipped(wanted) if wanted in shipped_profiles() else _own(wanted, folder))
        extended = layer.pop(_EXTENDS, None)
        if extended is not None and not isinstance(extended, str):
            message = f"{profile_source(wanted, folder)}: extends: must name one profile, as in: extends: plain"
            raise RefusedError(message)
        said = laid_over(layer, said)
        wanted = extended
    return said


def laid_over(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    """Return both: a table over a table key by key, anything else in the place of what was there."""
    joined = dict(below)
    for key, value in above.items():
        under = joined.get(key)
        joined[key] = {**under, **value} if isinstance(under, dict) and isinstance(value, dict) else value
    return joined


@cache
def _shipped(name: str) -> dict[str, object]:
    return _parsed((_FOLDER / f"{name}{_SUFFIX}").read_bytes(), f"profile {name}")


def _own(name: str, folder: Path) -> dict[str, object]:
    path = folder / name
    if "/" not in name and not name.endswith((_SUFFIX, ".yml")):
        message = f"there is no profile {name}: name one of {', '.join(shipped_profiles())}, or a file ending in .yaml"
        raise RefusedError(message)
    try:
        with path.open("rb") as opened:
            raw = opened.read(_LARGEST_BYTES + 1)
    except OSError as error:
        message = f"{path} can't be read: {error.strerror}"
        raise RefusedError(message) from error
    if len(raw) > _LARGEST_BYTES:
        message = f"{path} is larger than {_LARGEST_BYTES} bytes: a profile says only what differs from another"
        raise RefusedError(message)
    return {_EXTENDS: DEFAULT, **_parsed(raw, str(path))}


def _parsed(raw: bytes, source: str) -> dict[str, object]:
    try:
        node = yaml.SafeLoader(raw).get_single_node()
        said = None if node is None else _plain(node, set())
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError, ValueError) as error:
        mark, fault = getattr(error, "problem_mark", None), getattr(error, "problem", None) or "it can't be parsed"
        line = f"line {mark.line + 1}: " if mark else ""
        message = f"{source} is no YAML that a profile may hold: {line}{fault}"
        raise RefusedError(message) from error
    if not isinstance(said, dict):
        message = f"{source} must hold a table of keys, as in: extends: plain"
        raise RefusedError(message)
    return said


def _plain(node: yaml.Node, seen: set[int]) -> object:
    """Return a node as text, list, table or ``None``; nothing in it is made into anything else."""
    if id(node) in seen:
        # An alias; a few lines of them make a text of any size.
        raise _fault(node, "a profile may not refer to other parts of itself (*): write it out")
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        return None if node.tag == "tag:yaml.org,2002:null" else str(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(one, seen) for one in node.value]
    table: dict[str, object] = {}
    for key, value in node.value:
        name = _plain(key, seen)
        if not isinstance(name, str) or name in table:
            raise _fault(key, f"{name} stands there twice" if isinstance(name, str) else "a key must be a text")
        table[name] = _plain(value, seen)
    return table


def _fault(node: yaml.Node, fault: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=fault, problem_mark=node.start_mark)
