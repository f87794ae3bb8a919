import pytest

from flows.actions import Person
from models.errors import RefusedError


@pytest.mark.parametrize(
    ("name", "reason"),
    [("", "why"), ("  ", "why"), ("A\nnn", "why"), ("A" * 201, "why"), ("Ann", ""), ("Ann", "y" * 2001)],
)
def test_nobody_acts_without_a_name_and_a_reason(name: str, reason: str) -> None:
    with pytest.raises(RefusedError, match="say w"):
        Person(name, reason)


def test_a_name_and_a_reason_may_fill_their_room() -> None:
    assert Person("A" * 200, "y" * 2000).cause("match").actor == "A" * 200


@pytest.mark.parametrize("name", ["coverslip", " LIMS", "Batch", "pacs"])
def test_nobody_acts_in_the_name_of_a_machine(name: str) -> None:
    with pytest.raises(RefusedError, match="a person's name, since machines are called so"):
        Person(name, "a reason")
