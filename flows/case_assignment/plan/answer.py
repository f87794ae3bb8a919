"""The answer: who reads what, as CSV."""

from flows.case_assignment.plan.model import NOBODY, Ints, Model

HEADER = "case_id,role,pathologist_id"


def as_csv(model: Model, owner: Ints) -> str:
    """Return the answer, by case id, the primary read first; a read without owner is escalated.

    Parameters
    ----------
    owner
        Shape (T,): whose each read is.
    """
    people, cases = model.instance.people, model.instance.cases
    rows = [HEADER]
    for case, second, who in zip(model.case.tolist(), model.is_second.tolist(), owner.tolist(), strict=True):
        role = "second" if second else "primary"
        rows.append(f"{_field(cases[case].id)},{role},{_field(people[who].id) if who != NOBODY else ''}")
    return "\n".join(rows) + "\n"


def _field(text: str) -> str:
    """Quote what CSV would take apart."""
    return '"' + text.replace('"', '""') + '"' if '"' in text or "," in text else text
