"""The cases and patients that conflicts are about, as files name them: no sentence here repeats such a name."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows.books import Subject
from flows.people.roster.sheets import Said
from models.tables.case import Case, Identifier, Patient

_IN_A_STATEMENT = 500
_UNKNOWN_CASE = "is no case that is known here: give its id, or accession@issuer as its orders wrote them"
_SEVERAL_CASES = "is several cases: give accession@issuer, or the id of one of them"


@dataclass(frozen=True)
class Subjects:
    """What the names of a file mean: by the name, the ids that there are."""

    cases: Mapping[str, frozenset[str]]
    patients: frozenset[str]

    def of(self, case: str, patient: str) -> Subject | str:
        """Return the case or patient that a row names, or the sentence about what is wrong with it."""
        if bool(case) == bool(patient):
            return "a row names either a case or a patient: fill in one of the two columns"
        if patient:
            known = patient in self.patients
            return Subject("patient", patient) if known else "is no patient that is known here: give the id, 36 letters"
        found = self.cases.get(case, frozenset())
        if len(found) == 1:
            return Subject("case", next(iter(found)))
        return _SEVERAL_CASES if found else _UNKNOWN_CASE


def subjects_named(session: Session, rows: Iterable[Said]) -> Subjects:
    """Look up what the rows of conflicts name, by the hundred."""
    rows = list(rows)
    cases = sorted({said.values["case"] for said in rows} - {""})
    patients = sorted({said.values["patient"] for said in rows} - {""})
    known = frozenset(
        patient
        for some in _hundreds(patients)
        for patient in session.scalars(select(Patient.id).where(Patient.id.in_(some)))
    )
    return Subjects({case: ids for some in _hundreds(cases) for case, ids in _cases(session, some).items()}, known)


def _cases(session: Session, names: Sequence[str]) -> dict[str, frozenset[str]]:
    """Return the cases of each name: an id, an accession number, or accession@issuer, of which either may hold an @."""
    found: dict[str, set[str]] = {case: {case} for case in session.scalars(select(Case.id).where(Case.id.in_(names)))}
    meant: dict[tuple[str, str | None], str] = {}
    for name in names:
        meant[name, None] = name
        for at in (place for place, letter in enumerate(name) if letter == "@"):
            meant[name[:at], name[at + 1 :]] = name
    numbers = select(Identifier.value, Identifier.issuer, Identifier.subject_id).where(
        Identifier.kind == "accession",
        Identifier.subject_kind == "case",
        Identifier.value.in_(sorted({value for value, _issuer in meant})),
    )
    for value, of_issuer, case_id in session.execute(numbers):
        for meaning in (meant.get((value, of_issuer)), meant.get((value, None))):
            if meaning is not None:
                found.setdefault(meaning, set()).add(case_id)
    return {name: frozenset(ids) for name, ids in found.items()}


def _hundreds(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield them in parts that a statement has room for."""
    for start in range(0, len(names), _IN_A_STATEMENT):
        yield names[start : start + _IN_A_STATEMENT]
