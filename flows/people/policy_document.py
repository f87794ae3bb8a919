"""The policy as a TOML document: read with every fault by its place, compared, and written so that it can be edited."""

import ast
import difflib
import inspect
import json
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from flows.case_assignment.weighing import WEIGHT_MODELS
from models import policy as rules
from models.policy import Policy, Subspecialty

_LARGEST: Final = 1 << 20
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_WIDTH: Final = 118
_EXAMPLE: Final = "breast"


@dataclass(frozen=True)
class PolicyFault:
    """What is wrong where: the place as in ``targets.turnaround.days``, empty for the file as a whole."""

    place: str
    sentence: str


@dataclass(frozen=True)
class Differs:
    """One rule that is not as it was; ``None`` where there was or is none."""

    place: str
    before: str | None
    after: str | None


def read_policy(content: bytes) -> Policy | tuple[PolicyFault, ...]:
    """Return the policy that a file's bytes state, or everything that is wrong with it."""
    try:
        if len(content) > _LARGEST:
            return (PolicyFault("", "is larger than 1 MB, which no policy is"),)
        said = tomllib.loads(content.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        return (PolicyFault("", f"is no TOML: {error}"),)
    try:
        policy = Policy.model_validate(said, strict=False)
    except ValidationError as error:
        faults = {_fault(one) for one in error.errors(include_input=False, include_url=False)}
        return tuple(sorted(faults.union(_unknown_model(said)), key=lambda fault: fault.place))
    return tuple(_unknown_model(said)) or policy


def _unknown_model(said: Mapping[str, Any]) -> list[PolicyFault]:
    model = said.get("weight_model", Policy().weight_model)
    if model in WEIGHT_MODELS:
        return []
    known = ", ".join(map(_text, sorted(WEIGHT_MODELS)))
    return [PolicyFault("weight_model", f"is no model that this version has: choose one of {known}")]


def compare(before: Policy, after: Policy) -> tuple[Differs, ...]:
    """Return the rules that differ, by their places."""
    was, now = dict(_leaves(before.model_dump(mode="json"))), dict(_leaves(after.model_dump(mode="json")))
    return tuple(
        Differs(place, was.get(place), now.get(place))
        for place in sorted({*was, *now})
        if was.get(place) != now.get(place)
    )


def places_of(policy: Policy) -> dict[str, str]:
    """Return every rule by its place, as its value is written."""
    return dict(_leaves(policy.model_dump(mode="json")))


def as_toml(policy: Policy) -> str:
    """Return the whole policy as TOML, each rule with its meaning; read again it is the same."""
    meanings = _meanings()
    lines = ["# The whole policy. A rule that is taken out is as it ships.", *_table("", policy, meanings)]
    if not policy.subspecialties:
        example = [f"[subspecialties.{_EXAMPLE}]", *_table("", Subspecialty(), meanings)]
        lines += ["", "# A subspecialty that is not named has the usual rules; one that is, for example:"]
        lines += [f"# {line}" for line in example]
    return "\n".join(lines) + "\n"


def _table(above: str, part: BaseModel, meanings: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """Yield a model's rules, plain ones first: in TOML all that follows a heading belongs to it."""
    values = {name: getattr(part, name) for name in type(part).model_fields}
    for name, value in values.items():
        if not _is_table(value):
            yield from _comment(meanings.get((type(part).__name__, name), ""))
            choices = _choices(type(part).model_fields[name].annotation)
            yield from _comment(f"One of: {', '.join(map(_text, choices))}" if choices else "")
            yield f"# {name} is not set" if value is None else f"{name} = {_written(value)}"
    for name, value in values.items():
        place = f"{above}.{name}" if above else name
        if isinstance(value, BaseModel):
            yield from _headed(place, value, meanings)
        elif isinstance(value, Mapping):
            yield from _named_tables(place, value, meanings.get((type(part).__name__, name), ""), meanings)


def _named_tables(
    place: str, values: Mapping[str, Any], meaning: str, meanings: Mapping[tuple[str, str], str]
) -> Iterator[str]:
    plain = {name: value for name, value in values.items() if not isinstance(value, BaseModel)}
    if plain or not values:
        # An empty one shows where it would be.
        yield from ("", *_comment(meaning), f"[{place}]")
        yield from (f"{_key(name)} = {_written(value)}" for name, value in plain.items())
    for name, value in values.items():
        if isinstance(value, BaseModel):
            yield from _headed(f"{place}.{_key(name)}", value, meanings)


def _headed(place: str, part: BaseModel, meanings: Mapping[tuple[str, str], str]) -> Iterator[str]:
    yield ""
    yield from _comment(inspect.cleandoc(type(part).__doc__ or "").replace("``", "'"))
    yield f"[{place}]"
    yield from _table(place, part, meanings)


def _choices(kind: object) -> tuple[str, ...]:
    """Return the words that a rule may hold, alone or in a list."""
    words = [one for one in get_args(kind) if isinstance(one, str)]
    if get_origin(kind) is Literal:
        return tuple(words)
    return tuple(word for one in get_args(kind) for word in _choices(one))


def _is_table(value: object) -> bool:
    return isinstance(value, (BaseModel, Mapping))


def _comment(text: str) -> list[str]:
    return [f"# {line}" for part in text.split("\n\n") for line in textwrap.wrap(part, _WIDTH)]


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _text(name)


def _written(value: Any) -> str:  # noqa: ANN401 - what a rule can be
    match value:
        case bool():
            return "true" if value else "false"
        case time():
            return value.isoformat()
        case tuple() | list():
            return f"[{', '.join(map(_written, value))}]"
        case str():
            return _text(value)
        case _:
            return repr(value)


def _text(value: str) -> str:
    # A JSON string is one of TOML, but for this one letter.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _meanings() -> dict[tuple[str, str], str]:
    """Return what the policy's own source says of each rule, by class and name."""
    found: dict[tuple[str, str], str] = {}
    for node in ast.parse(inspect.getsource(rules)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, after in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
                text = ast.literal_eval(after.value) if isinstance(after.value, ast.Constant) else ""
                found[node.name, field.target.id] = inspect.cleandoc(str(text)).replace("``", "'")
    return found


def _leaves(value: object, above: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _leaves(one, f"{above}.{name}" if above else str(name))
    elif value is not None:
        yield above, json.dumps(value, ensure_ascii=False)


_A_NUMBER: Final = "must be a number, as in 2.5"
_TRUE_OR_FALSE: Final = "must be true or false"
_A_TABLE: Final = "must be a table, with rules of its own"
_A_LIST: Final = "must be a list in square brackets"
_A_TIME: Final = "must be a time of day, as in 08:00:00"
_SENTENCES: Final = {
    "bool_parsing": _TRUE_OR_FALSE,
    "bool_type": _TRUE_OR_FALSE,
    "dict_type": _A_TABLE,
    "finite_number": _A_NUMBER,
    "float_parsing": _A_NUMBER,
    "float_type": _A_NUMBER,
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "model_type": _A_TABLE,
    "string_pattern_mismatch": "must be small letters, digits, spaces, hyphens and underscores, at most 63",
    "time_parsing": _A_TIME,
    "time_type": _A_TIME,
    "too_long": "must hold at most {max_length} values",
    "tuple_type": _A_LIST,
}
"""What pydantic's kinds of error are to people who write a policy."""


def _fault(error: ErrorDetails) -> PolicyFault:
    place = ".".join(str(part) for part in error["loc"] if part != "[key]")
    return PolicyFault(place, _sentence(error))


def _sentence(error: ErrorDetails) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        return f"is no rule of the policy: {_spelling(error['loc'])}"
    if kind in _SENTENCES:
        return _SENTENCES[kind].format(**error.get("ctx", {}))
    return error["msg"].removeprefix("Value error, ")


def _spelling(loc: Sequence[str | int]) -> str:
    """Return the rule that was probably meant, of those that any part of the policy has."""
    names = {name for one in vars(rules).values() if _is_model(one) for name in one.model_fields}
    near = difflib.get_close_matches(str(loc[-1]), sorted(names), n=1)
    return f"did you mean '{near[0]}'?" if near else "take it out, or check its spelling"


def _is_model(one: object) -> bool:
    return isinstance(one, type) and issubclass(one, BaseModel)
