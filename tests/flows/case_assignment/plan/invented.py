"""Invented assignment problems, and a checker of the hard rules that shares no code with what it checks."""

import csv
import io
import json
import random
from collections.abc import Mapping
from typing import Any

from flows.case_assignment.plan.answer import as_csv
from flows.case_assignment.plan.instance import read_instance
from flows.case_assignment.plan.model import model_of
from flows.case_assignment.plan.online import assign_one_by_one
from flows.case_assignment.plan.solve import solve

Document = dict[str, Any]
Answer = dict[tuple[str, str], str]

ENDS = (1440, 2880, 4320, 7200)
_SCOPES = {"skin": "network", "gi": "network", "thoracic": "region", "renal": "national"}


def person(name: str, site: str = "S0", **other: object) -> Document:
    """A pathologist who leads on skin, full-time, with room for a hundred points in each class."""
    return {
        "id": name,
        "site": site,
        "fte": 1.0,
        "competences": {"skin": 1},
        "capacity": 100.0,
        "carry": 0.0,
        "cum_capacity": [100.0] * len(ENDS),
        **other,
    }


def case(name: str, site: str = "S0", **other: object) -> Document:
    """A case of skin of two points, due on the third day, that nobody has."""
    return {
        "id": name,
        "site": site,
        "subspecialty": "skin",
        "points": 2,
        "urgent": False,
        "ready_min": -10,
        "due_min": 4000,
        "previous": None,
        "conflicts": [],
        "double": False,
        "state": "unassigned",
        "current": None,
        "manual": None,
        **other,
    }


def problem(people: list[Document], cases: list[Document]) -> Document:
    """A document with these people and cases, in six sites of three networks in two regions."""
    return {
        "schema": "coverslip-assignment-instance/1",
        "policy": {
            "w_late": 40.0,
            "w_balance": 4.0,
            "c_cross_site": 0.05,
            "c_cross_network": 0.3,
            "c_secondary": 0.1,
            "c_continuity": 3.0,
            "c_move": 2.0,
            "bucket_ends_min": list(ENDS),
        },
        "networks": [
            {"id": "N0", "region": "R0", "mutual_aid": ["N1"]},
            {"id": "N1", "region": "R1", "mutual_aid": []},
            {"id": "N2", "region": "R0", "mutual_aid": []},
        ],
        "subspecialties": [{"id": name, "scope": scope} for name, scope in _SCOPES.items()],
        "sites": [{"id": f"S{n}", "network": f"N{n % 3}"} for n in range(6)],
        "pathologists": people,
        "cases": cases,
    }


def laboratory(seed: int, people: int = 24, cases: int = 160) -> Document:
    """A laboratory with a bit of everything that the format knows."""
    drawn = random.Random(seed)
    staff = []
    for n in range(people):
        fte = drawn.choice((1.0, 1.0, 0.8, 0.6, 0.4))
        room = 0.0 if drawn.random() < 0.1 else 16.0 * fte
        names = drawn.sample(sorted(_SCOPES), drawn.randint(1, 3))
        staff.append(
            person(
                f"D{n:03d}",
                f"S{drawn.randrange(6)}",
                fte=fte,
                competences={name: drawn.choice((1, 1, 2)) for name in names},
                capacity=round(60 * fte, 3) if room else 0.0,
                carry=round(24 * fte * drawn.uniform(0.8, 1.2), 3),
                cum_capacity=[round(room * (k + drawn.randint(0, 1)), 3) for k in range(len(ENDS))],
            )
        )
    everybody = [one["id"] for one in staff]
    work = []
    for n in range(cases):
        state = drawn.choice(("unassigned",) * 7 + ("assigned", "assigned", "opened"))
        work.append(
            case(
                f"C{n:04d}",
                f"S{drawn.randrange(6)}",
                subspecialty=drawn.choice(("skin", "skin", "gi", "gi", "thoracic", "renal")),
                points=drawn.choice((1, 2, 2, 3, 5, 8, 12, 30)),
                ready_min=-drawn.randrange(480),
                due_min=drawn.choice((-60, 600, 2000, 4000, 4000, 7000, 9000)),
                previous=drawn.choice((None, None, None, drawn.choice(everybody), "somebody who left")),
                conflicts=drawn.sample(everybody, drawn.choice((0, 0, 0, 1, 3))),
                double=drawn.random() < 0.2,
                state=state,
                current=None if state == "unassigned" else drawn.choice(everybody),
                manual=drawn.choice(everybody) if drawn.random() < 0.05 else None,
            )
        )
    return problem(staff, work)


def solved(document: Document, sweeps: int = 1) -> Answer:
    """The answer of the batch."""
    model = model_of(read_instance(json.dumps(document)))
    return answer_of(as_csv(model, solve(model, sweeps)))


def solved_online(document: Document) -> Answer:
    """The answer of one decision after the other."""
    model = model_of(read_instance(json.dumps(document)))
    return answer_of(as_csv(model, assign_one_by_one(model)[0]))


def answer_of(text: str) -> Answer:
    """Read an answer; a read that stands in it twice is a mistake."""
    rows = list(csv.DictReader(io.StringIO(text)))
    answer = {(row["case_id"], row["role"]): row["pathologist_id"] for row in rows}
    assert len(answer) == len(rows)
    return answer


def faults(document: Document, answer: Mapping[tuple[str, str], str]) -> list[str]:
    """Every hard rule that an answer breaks, worked out anew from the document."""
    found = []
    expected = {(one["id"], role) for one in document["cases"] for role in ("primary", "second")[: 1 + one["double"]]}
    if set(answer) != expected:
        found.append(f"not the reads that were asked for: {set(answer) ^ expected}")
    for one in document["cases"]:
        first, leads = _who_may(document, one, (1, 2)), _who_may(document, one, (1,))
        primary = answer.get((one["id"], "primary"), "")
        pin = one["manual"] or (one["current"] if one["state"] == "opened" else None)
        if pin is not None:
            found += [f"{one['id']} was taken from {pin}"] if primary != pin else []
        elif primary not in first and (primary or first):
            found.append(f"{one['id']} went to {primary!r}, but only {first} may have it")
        if not one["double"]:
            continue
        second = answer.get((one["id"], "second"), "")
        could = leads - {primary}
        if pin is None and leads and len(first) > 1:
            could = could or {"somebody, had the first read gone elsewhere"}
        if second not in could and (second or could):
            found.append(f"the second read of {one['id']} went to {second!r}, but only {could} may have it")
    return found


def _who_may(document: Document, one: Document, levels: tuple[int, ...]) -> set[str]:
    networks = {row["id"]: row for row in document["networks"]}
    network_of = {row["id"]: networks[row["network"]] for row in document["sites"]}
    scope = next(row["scope"] for row in document["subspecialties"] if row["id"] == one["subspecialty"])
    home = network_of[one["site"]]
    bucket = next((k for k, end in enumerate(ENDS) if one["due_min"] <= end), len(ENDS) - 1)
    return {
        who["id"]
        for who in document["pathologists"]
        if who["competences"].get(one["subspecialty"]) in levels
        and who["cum_capacity"][bucket] > 0
        and who["id"] not in one["conflicts"]
        and (
            scope == "national"
            or network_of[who["site"]]["id"] in {home["id"], *home["mutual_aid"]}
            or (scope == "region" and network_of[who["site"]]["region"] == home["region"])
        )
    }
