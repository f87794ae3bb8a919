"""What the code says about its own failpoints: every name, where it stands, and what stands unguarded.

Read from the syntax tree, so that a name is found whether or not a test ever passes it.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from flows.journey import STAGES

ROOT: Final = Path(__file__).resolve().parents[2]
_PACKAGES: Final = ("models", "connectors", "flows", "dashboards")
_HAVE_EFFECTS: Final = ("connectors", "flows")

WRITES_BY_ANOTHER_NAME: Final = {"_writing"}
"""Functions that hand their first argument on to ``Database.write``."""
_WRITES: Final = frozenset({"write", "write_plainly"})
_STAGE: Final = "self.stage.name"

CARRIERS: Final = {
    ("connectors/archive/durable.py", "publish"),
    ("connectors/archive/durable.py", "replace"),
    ("connectors/archive/durable.py", "write_whole"),
    ("connectors/first_lab.py", "_link"),
    ("connectors/scanners/spool.py", "_copy"),
}
"""Functions that carry one effect for their callers: a call of one is the effect that must be guarded."""
_CARRYING: Final = frozenset(name for _path, name in CARRIERS)

# Plain calls that reach the disk or the network for others to see, and our own that only pass such a call on.
_EFFECTS: Final = frozenset({"rename", "link", "move", "sendall", "drain"})
_NEIGHBOURS: Final = {"archive": frozenset({"store", "reject"}), "senders": frozenset({"send"})}


@dataclass(frozen=True)
class Place:
    """A line of our code."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Effect:
    """An outside effect that no failpoint stands before, or none after, in any function that leads to it."""

    place: Place
    function: str
    call: str


@dataclass(frozen=True)
class Survey:
    """All failpoints of the code.

    ``names`` has the whole names, commits included (``inbox.before_commit``), each with every place that it stands at.
    ``unread`` has the places whose name is made up at run time in a way that nobody here understands.
    """

    names: dict[str, tuple[Place, ...]]
    unread: tuple[Place, ...]
    bare_effects: tuple[Effect, ...]


@cache
def survey(root: Path = ROOT) -> Survey:
    """Read every module of the four packages, once in a process: it takes seconds."""
    trees = {path.relative_to(root).as_posix(): ast.parse(path.read_text("utf-8")) for path in _modules(root)}
    names: dict[str, list[Place]] = defaultdict(list)
    unread: list[Place] = []
    for path, tree in trees.items():
        for name, place in _failpoints(path, tree):
            if name is None:
                unread.append(place)
            else:
                names[name].append(place)
    found = {name: tuple(places) for name, places in sorted(names.items())}
    return Survey(found, tuple(unread), tuple(_bare_effects(trees)))


def _modules(root: Path) -> Iterator[Path]:
    for package in _PACKAGES:
        yield from sorted((root / package).rglob("*.py"))


def _failpoints(path: str, tree: ast.Module) -> Iterator[tuple[str | None, Place]]:
    opened = {id(item.context_expr) for node in ast.walk(tree) if isinstance(node, ast.With) for item in node.items}
    for call in _calls(tree):
        place = Place(path, call.lineno)
        if _called(call) == "failpoint" and path != "models/database.py":
            yield _literal(call), place
        elif _is_write(call, opened):
            for name in _written_names(call):
                for when in ("before", "after"):
                    yield None if name is None else f"{name}.{when}_commit", place


def _is_write(call: ast.Call, opened: set[int]) -> bool:
    """Whether this opens a write transaction: a ``write`` of a database or in a ``with``, or what stands for it."""
    if _called(call) in WRITES_BY_ANOTHER_NAME:
        return True
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in _WRITES:
        return False
    return id(call) in opened or "database" in _text(call.func.value)


def _written_names(call: ast.Call) -> Iterator[str | None]:
    literal = _literal(call)
    argument = call.args[0] if call.args else None
    if literal is not None:
        yield literal
    elif isinstance(argument, ast.JoinedStr) and _verbs(argument):
        yield from (f"{stage.name}.{verb}" for stage in STAGES for verb in _verbs(argument))
    elif not (isinstance(argument, ast.Name) and _called(call) == "write" and argument.id == "name"):
        # ``write(name)`` inside a function that stands for it: its callers are read instead.
        yield None


def _verbs(name: ast.JoinedStr) -> list[str]:
    """Return what may follow the name of a stage: a plain word, or one of two by a condition."""
    stage, last = name.values[0], name.values[-1]
    if not isinstance(stage, ast.FormattedValue) or _text(stage.value) != _STAGE:
        return []
    if isinstance(last, ast.FormattedValue) and isinstance(last.value, ast.IfExp):
        either = (last.value.body, last.value.orelse)
        return [one.value for one in either if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return [last.value.removeprefix(".")] if isinstance(last, ast.Constant) and isinstance(last.value, str) else []


def _bare_effects(trees: dict[str, ast.Module]) -> Iterator[Effect]:
    for path, tree in trees.items():
        if path.startswith(_HAVE_EFFECTS) and "simulat" not in path:
            yield from _bare_in(path, tree)


def _bare_in(path: str, tree: ast.Module) -> Iterator[Effect]:
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) or (path, function.name) in CARRIERS:
            continue
        own = list(_own_calls(function))
        lines = [call.lineno for call in own if _called(call) == "failpoint"]
        for call in own:
            if not _is_effect(call):
                continue
            if not (any(line <= call.lineno for line in lines) and any(line > call.lineno for line in lines)):
                yield Effect(Place(path, call.lineno), function.name, _text(call.func))


def _is_effect(call: ast.Call) -> bool:
    name = _called(call)
    if name in _EFFECTS or (name in _CARRYING and name != "replace"):
        return True
    if not isinstance(call.func, ast.Attribute):
        return False
    owner = _text(call.func.value)
    if name == "replace":
        # Of a path or of a file, not of characters in a text or of fields in a value.
        return owner in {"os", "part"} or (len(call.args) == 1 and not call.keywords)
    return any(name in verbs and f".{neighbour}" in owner for neighbour, verbs in _NEIGHBOURS.items())


def _own_calls(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.Call]:
    """Yield the calls of a function, not those of functions inside it."""
    inside: list[ast.AST] = list(function.body)
    while inside:
        node = inside.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if isinstance(node, ast.Call):
            yield node
        inside.extend(ast.iter_child_nodes(node))


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _literal(call: ast.Call) -> str | None:
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def _text(node: ast.AST) -> str:
    return ast.unparse(node)
