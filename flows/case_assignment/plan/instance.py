"""The document that states an assignment problem, read strictly: what is wrong with it is named, never guessed."""

import json
import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeAlias

from models.errors import RejectedError

SCHEMA: Final = "coverslip-assignment-instance/1"

_SCOPES: Final = ("network", "region", "national")
_STATES: Final = ("unassigned", "assigned", "opened")
_LEVELS: Final = (1, 2)
_LONGEST_ID: Final = 200
_SHOWN: Final = 40
_LARGEST: Final = 1e9

_Document: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Policy:
    """The weights of J, in points; ``bucket_ends_min`` are the ends of the deadline classes."""

    w_late: float
    w_balance: float
    c_cross_site: float
    c_cross_network: float
    c_secondary: float
    c_continuity: float
    c_move: float
    bucket_ends_min: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """Sites under one management; ``mutual_aid`` are the networks whose people may read its cases."""

    id: str
    region: str
    mutual_aid: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Person:
    """A pathologist: ``cum_capacity[k]`` are the points they can still report before the end of class k."""

    id: str
    site: str
    fte: float
    competences: Mapping[str, int]
    capacity: float
    carry: float
    cum_capacity: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """A case to be read; ``manual`` and an opened case's ``current`` are pins, which win over every rule.

    ``previous`` and ``conflicts`` may name people who are no longer here.
    """

    id: str
    site: str
    subspecialty: str
    points: float
    ready_min: float
    due_min: float
    previous: str | None
    conflicts: tuple[str, ...]
    double: bool
    state: str
    current: str | None
    manual: str | None


@dataclass(frozen=True, slots=True)
class Instance:
    """One snapshot in canonical order: people and cases by id, whatever the order of the document."""

    policy: Policy
    networks: Mapping[str, Network]
    scopes: Mapping[str, str]
    """The scope of each subspecialty."""
    sites: Mapping[str, str]
    """The network of each site."""
    people: tuple[Person, ...]
    cases: tuple[Case, ...]


def read_instance(text: str | bytes) -> Instance:
    """Return the snapshot that a JSON document states.

    Raises
    ------
    RejectedError
        It is not such a document: the sentence names the first thing that is wrong with it.
    """
    document = _parsed(text)
    if document.get("schema") != SCHEMA:
        raise RejectedError(f"the document is not an instance: its 'schema' must be {SCHEMA!r}")
    policy = _policy(_table(document, "policy", "the document"))
    networks = {one.id: one for one in _distinct((_network(row) for row in _rows(document, "networks")), "network")}
    for network in networks.values():
        for aid in network.mutual_aid:
            _known(aid, networks, f"network {network.id!r}", "mutual_aid", "networks")
    scopes = _pairs(document, "subspecialties", "scope")
    for subspecialty, scope in scopes.items():
        _one_of(scope, _SCOPES, f"subspecialty {subspecialty!r}", "scope")
    sites = _pairs(document, "sites", "network")
    for site, network_id in sites.items():
        _known(network_id, networks, f"site {site!r}", "network", "networks")
    people = _distinct((_person(row, policy) for row in _rows(document, "pathologists")), "pathologist")
    for person in people:
        _known(person.site, sites, f"pathologist {person.id!r}", "site", "sites")
        for subspecialty in person.competences:
            _known(subspecialty, scopes, f"pathologist {person.id!r}", "competences", "subspecialties")
    cases = _distinct((_case(row) for row in _rows(document, "cases")), "case")
    _check_cases(cases, sites, scopes, frozenset(person.id for person in people))
    return Instance(policy, networks, scopes, sites, people, cases)


def _parsed(text: str | bytes) -> _Document:
    try:
        document = json.loads(text, parse_constant=_not_a_number, object_pairs_hook=_object)
    except RejectedError:
        raise
    except (ValueError, RecursionError) as error:
        raise RejectedError("the document is not JSON: write it again as one JSON object") from error
    if not isinstance(document, dict):
        raise RejectedError("the document is not a JSON object: write it as one, with 'policy', 'cases' and the others")
    return document


def _not_a_number(constant: str) -> float:
    raise RejectedError(f"the document holds {constant}, which is no number: state every number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in table if names.count(name) > 1)
        raise RejectedError(f"the document says {_shown(twice)} twice in one object: say it once")
    return table


def _policy(row: _Document) -> Policy:
    where = "the policy"
    ends = tuple(_numbers(row, "bucket_ends_min", where, least=-math.inf))
    if not ends or any(later <= earlier for earlier, later in pairwise(ends)):
        raise RejectedError(
            "the policy's 'bucket_ends_min' must be one or more minutes, each later than the one before"
        )
    return Policy(
        w_late=_number(row, "w_late", where),
        w_balance=_number(row, "w_balance", where),
        c_cross_site=_number(row, "c_cross_site", where),
        c_cross_network=_number(row, "c_cross_network", where),
        c_secondary=_number(row, "c_secondary", where),
        c_continuity=_number(row, "c_continuity", where),
        c_move=_number(row, "c_move", where),
        bucket_ends_min=ends,
    )


def _network(row: _Document) -> Network:
    where = f"network {_id(row, 'network')!r}"
    return Network(row["id"], _word(row, "region", where), tuple(_words(row, "mutual_aid", where)))


def _person(row: _Document, policy: Policy) -> Person:
    where = f"pathologist {_id(row, 'pathologist')!r}"
    competences = _table(row, "competences", where)
    for level in competences.values():
        if isinstance(level, bool) or level not in _LEVELS:
            raise RejectedError(f"{where}: a level in 'competences' is {_shown(level)}, but must be 1 (lead) or 2")
    cumulated = tuple(_numbers(row, "cum_capacity", where))
    if len(cumulated) != len(policy.bucket_ends_min):
        wanted = len(policy.bucket_ends_min)
        raise RejectedError(
            f"{where}: 'cum_capacity' has {len(cumulated)} numbers, but must have {wanted}, one a class"
        )
    return Person(
        id=row["id"],
        site=_word(row, "site", where),
        fte=_number(row, "fte", where),
        competences=competences,
        capacity=_number(row, "capacity", where),
        carry=_number(row, "carry", where),
        cum_capacity=cumulated,
    )


def _case(row: _Document) -> Case:
    where = f"case {_id(row, 'case')!r}"
    _flag(row, "urgent", where)
    return Case(
        id=row["id"],
        site=_word(row, "site", where),
        subspecialty=_word(row, "subspecialty", where),
        points=_number(row, "points", where),
        ready_min=_number(row, "ready_min", where, least=-math.inf),
        due_min=_number(row, "due_min", where, least=-math.inf),
        previous=_word_or_none(row, "previous", where),
        conflicts=tuple(_words(row, "conflicts", where)),
        double=_flag(row, "double", where),
        state=_one_of(_word(row, "state", where), _STATES, where, "state"),
        current=_word_or_none(row, "current", where),
        manual=_word_or_none(row, "manual", where),
    )


def _check_cases(
    cases: Iterable[Case], sites: Mapping[str, str], scopes: Mapping[str, str], people: frozenset[str]
) -> None:
    for case in cases:
        where = f"case {case.id!r}"
        _known(case.site, sites, where, "site", "sites")
        _known(case.subspecialty, scopes, where, "subspecialty", "subspecialties")
        if case.state != "unassigned" and case.current is None:
            raise RejectedError(f"{where} is {case.state}, but 'current' names nobody: say who has it")
        for field, who in (("current", case.current), ("manual", case.manual)):
            if who is not None:
                _known(who, people, where, field, "pathologists")


def _distinct(found: Iterable[Any], what: str) -> tuple[Any, ...]:
    """Return them in the order of their ids, which must differ."""
    ordered = sorted(found, key=lambda one: one.id)
    for one, following in pairwise(ordered):
        if one.id == following.id:
            raise RejectedError(f"{what} {one.id!r} is stated twice: state it once")
    return tuple(ordered)


def _pairs(document: _Document, name: str, value: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for row in _rows(document, name):
        one = _id(row, name)
        if one in pairs:
            raise RejectedError(f"{one!r} is stated twice in {name!r}: state it once")
        pairs[one] = _word(row, value, f"{one!r} of {name!r}")
    return pairs


def _rows(document: _Document, name: str) -> list[_Document]:
    rows = _value(document, name, "the document")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RejectedError(f"the document's {name!r} must be a list of objects")
    return rows


def _value(row: _Document, name: str, where: str) -> Any:  # noqa: ANN401 - what JSON holds
    if name not in row:
        raise RejectedError(f"{where} has no {name!r}: state it")
    return row[name]


def _table(row: _Document, name: str, where: str) -> _Document:
    table = _value(row, name, where)
    if not isinstance(table, dict):
        raise RejectedError(f"{where}: {name!r} must be an object")
    return table


def _id(row: _Document, what: str) -> str:
    return _word(row, "id", f"one of the {what!r}")


def _word(row: _Document, name: str, where: str) -> str:
    return _as_word(_value(row, name, where), name, where)


def _word_or_none(row: _Document, name: str, where: str) -> str | None:
    value = _value(row, name, where)
    return None if value is None else _as_word(value, name, where)


def _words(row: _Document, name: str, where: str) -> list[str]:
    values = _value(row, name, where)
    if not isinstance(values, list):
        raise RejectedError(f"{where}: {name!r} must be a list")
    return [_as_word(value, name, where) for value in values]


def _as_word(value: object, name: str, where: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_ID or not value.isprintable():
        raise RejectedError(
            f"{where}: {name!r} is {_shown(value)}, but must be 1 to {_LONGEST_ID} printable characters"
        )
    return value


def _number(row: _Document, name: str, where: str, least: float = 0.0) -> float:
    return _as_number(_value(row, name, where), name, where, least)


def _numbers(row: _Document, name: str, where: str, least: float = 0.0) -> list[float]:
    values = _value(row, name, where)
    if not isinstance(values, list):
        raise RejectedError(f"{where}: {name!r} must be a list of numbers")
    return [_as_number(value, name, where, least) for value in values]


def _as_number(value: object, name: str, where: str, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        raise RejectedError(f"{where}: {name!r} is {_shown(value)}, but must be a number up to {_LARGEST:.0e}")
    if value < least:
        raise RejectedError(f"{where}: {name!r} is {_shown(value)}, but must not be negative")
    return float(value)


def _flag(row: _Document, name: str, where: str) -> bool:
    value = _value(row, name, where)
    if not isinstance(value, bool):
        raise RejectedError(f"{where}: {name!r} is {_shown(value)}, but must be true or false")
    return value


def _one_of(value: str, allowed: tuple[str, ...], where: str, name: str) -> str:
    if value not in allowed:
        raise RejectedError(f"{where}: {name!r} is {_shown(value)}, but must be one of {', '.join(allowed)}")
    return value


def _known(one: str, known: Container[str], where: str, name: str, stated_in: str) -> None:
    if one not in known:
        raise RejectedError(f"{where}: {name!r} names {_shown(one)}, which is not in {stated_in!r}: state it there")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
