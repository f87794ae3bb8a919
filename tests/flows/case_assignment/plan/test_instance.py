import json
from collections.abc import Callable
from typing import Any

import pytest

from flows.case_assignment.plan.instance import read_instance
from models.errors import RejectedError
from tests.flows.case_assignment.plan.invented import Document, case, person, problem

_SPOILT: dict[str, Callable[[Document], Any]] = {
    "'points' is -1": lambda one: one["cases"][0].update(points=-1),
    "holds NaN": lambda one: one["cases"][0].update(points=float("nan")),
    "holds Infinity": lambda one: one["pathologists"][0].update(carry=float("inf")),
    "'points' is True": lambda one: one["cases"][0].update(points=True),
    "'points' is '2'": lambda one: one["cases"][0].update(points="2"),
    "case 'C1' has no 'due_min'": lambda one: one["cases"][0].pop("due_min"),
    "the document has no 'sites'": lambda one: one.pop("sites"),
    "the policy has no 'w_late'": lambda one: one["policy"].pop("w_late"),
    "'schema' must be": lambda one: one.update(schema="coverslip-assignment-instance/2"),
    "case 'C1' is stated twice": lambda one: one["cases"].append(one["cases"][0]),
    "pathologist 'D1' is stated twice": lambda one: one["pathologists"].append(one["pathologists"][0]),
    "'S0' is stated twice": lambda one: one["sites"].append(one["sites"][0]),
    "'site' names 'S9'": lambda one: one["cases"][0].update(site="S9"),
    "'subspecialty' names 'hair'": lambda one: one["cases"][0].update(subspecialty="hair"),
    "'manual' names 'D9'": lambda one: one["cases"][0].update(manual="D9"),
    "'current' names 'D9'": lambda one: one["cases"][0].update(state="assigned", current="D9"),
    "'current' names nobody": lambda one: one["cases"][0].update(state="opened"),
    "'state' is 'lost'": lambda one: one["cases"][0].update(state="lost"),
    "'double' is 1": lambda one: one["cases"][0].update(double=1),
    "'competences' names 'hair'": lambda one: one["pathologists"][0]["competences"].update(hair=1),
    "must be 1 (lead) or 2": lambda one: one["pathologists"][0]["competences"].update(skin=3),
    "'cum_capacity' has 3 numbers": lambda one: one["pathologists"][0]["cum_capacity"].pop(),
    "'mutual_aid' names 'N9'": lambda one: one["networks"][0]["mutual_aid"].append("N9"),
    "'scope' is 'galaxy'": lambda one: one["subspecialties"][0].update(scope="galaxy"),
    "each later than the one before": lambda one: one["policy"]["bucket_ends_min"].reverse(),
    "printable characters": lambda one: one["cases"][0].update(id="C\n1"),
    "must be a list of objects": lambda one: one.update(cases={}),
    "must be an object": lambda one: one["pathologists"][0].update(competences=[]),
}


@pytest.mark.parametrize("says", _SPOILT)
def test_a_document_that_is_wrong_is_refused_in_a_sentence_that_names_what(says: str) -> None:
    document = problem([person("D1")], [case("C1")])
    _SPOILT[says](document)

    with pytest.raises(RejectedError) as refused:
        read_instance(json.dumps(document))

    assert says in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"policy": 1, "policy": 2}', "[" * 100_000, b"\xff\xfe\x00"])
def test_what_is_no_such_document_at_all_is_refused(text: str | bytes) -> None:
    with pytest.raises(RejectedError, match="document"):
        read_instance(text)


def test_what_was_said_of_people_who_left_and_what_nobody_asks_for_is_no_fault() -> None:
    document = problem([person("D1", sessions=[1, 2])], [case("C1", previous="gone", conflicts=["gone"], patient="P1")])

    read = read_instance(json.dumps(document))

    assert (read.cases[0].previous, read.people[0].id) == ("gone", "D1")


def test_people_and_cases_come_in_the_order_of_their_ids() -> None:
    read = read_instance(json.dumps(problem([person("D2"), person("D1")], [case("C2"), case("C1")])))

    assert ([one.id for one in read.people], [one.id for one in read.cases]) == (["D1", "D2"], ["C1", "C2"])
