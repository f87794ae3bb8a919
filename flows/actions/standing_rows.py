"""The rows that facts make, as texts that can be compared: a case with all below it, a patient, a scan."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from models.base import Base
from models.facets import Lane
from models.tables.case import Block, Case, Derivation, Identifier, Patient, Slide, Specimen
from models.tables.reading import Read
from models.tables.scan import Scan

Subject: TypeAlias = tuple[str, str]
"""Kind and id."""

_TECHNICAL: Final = frozenset(
    {
        *("id", "case_id", "container_identifier", "issuer", "identity_digest", "completeness_version"),
        *("orders_changed_at", "registered_at", "traceparent", "created_at", "received_at_local"),
    }
)
"""Columns that say nothing to people, or follow from the others."""

_BELOW_A_CASE: Final[tuple[tuple[str, type[Any]], ...]] = (("specimen", Specimen), ("block", Block), ("slide", Slide))
_CALLED: Final = {
    "lane": "priority",
    "expected_closed_at": "no more slides expected since",
    "due_at": "due",
    "readable_at": "can be read since",
}
_LANES: Final = {lane.value: lane.name.lower().replace("_", "-") for lane in Lane}


@dataclass(frozen=True)
class Standing:
    """What there is of some subjects: by what people call a thing, its parts; ``there`` names those that exist."""

    there: Mapping[Subject, str]
    parts: Mapping[str, Mapping[str, str]]

    @property
    def subjects(self) -> Collection[Subject]:
        """What was asked for, and what hangs below it."""
        return self.there.keys()


def standing_of(session: Session, subjects: Collection[Subject]) -> Standing:
    """Return how these subjects stand, with everything below a case that one of them is or belongs to."""
    case_ids = _cases_of(session, subjects)
    there: dict[Subject, str] = {}
    parts: dict[str, dict[str, str]] = {}

    def add(kind: str, row: Any, called: str) -> None:  # noqa: ANN401 - a row of any of these tables
        there[kind, row.id] = called
        parts[called] = _parts(row)

    for case in session.scalars(select(Case).where(Case.id.in_(case_ids)).order_by(Case.id)):
        add("case", case, _case_called(session, case.id))
    for kind, entity in _BELOW_A_CASE:
        for row in session.scalars(select(entity).where(entity.case_id.in_(case_ids)).order_by(entity.id)):
            add(kind, row, f"{kind} {row.container_identifier}@{row.issuer}")
    _add_parents(session, case_ids, there, parts)
    for patient in session.scalars(select(Patient).where(Patient.id.in_(_ids(subjects, "patient")))):
        add("patient", patient, f"patient {patient.id[:8]}")
    for scan in session.scalars(_scans(case_ids, _ids(subjects, "scan"))):
        add("scan", scan, f"scan {scan.id[:8]}")
    for read in session.scalars(select(Read).where(Read.case_id.in_(case_ids))):
        add("read", read, f"{read.role} read of round {read.round} of {there['case', read.case_id]}")
    # What is asked for and not there yet must be looked for again.
    return Standing({**dict.fromkeys(subjects, ""), **there}, parts)


def difference(before: Standing, after: Standing) -> Iterator[tuple[str, str, str | None, str | None]]:
    """Yield what differs: of what, which part, from what, to what; ``None`` where there was or is nothing."""
    for called in dict.fromkeys((*after.parts, *before.parts)):
        was, now = before.parts.get(called), after.parts.get(called)
        if was is None and now is not None:
            yield called, "new", None, ", ".join(f"{what} {said}" for what, said in now.items() if said) or "registered"
        elif now is None:
            yield called, "gone", "registered", None
        elif was is not None:
            for what in dict.fromkeys((*now, *was)):
                if was.get(what, "") != now.get(what, ""):
                    yield _one(called, what, was.get(what, ""), now.get(what, ""))


def _one(called: str, what: str, was: str, now: str) -> tuple[str, str, str | None, str | None]:
    return called, _CALLED.get(what) or what.removesuffix("_id").replace("_", " "), was or None, now or None


def _parts(row: Base) -> dict[str, str]:
    said = {column.key: getattr(row, column.key) for column in row.__table__.columns if column.key not in _TECHNICAL}
    return {name: _text(name, value) for name, value in said.items() if _says_something(value)}


def _says_something(value: object) -> bool:
    return value is not None and value is not False and value not in ("", [], {})


def _text(name: str, value: Any) -> str:  # noqa: ANN401 - what a column can hold
    if name == "lane":
        return _LANES.get(value, str(value))
    if value is True:
        return "yes"
    if isinstance(value, (datetime, date)):
        return value.isoformat(sep=" ", timespec="seconds") if isinstance(value, datetime) else value.isoformat()
    if isinstance(value, dict):
        return str(value.get("meaning") or value.get("code") or value.get("id") or value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " + ".join(_text(name, one) for one in value)
    return str(value)


def _add_parents(
    session: Session, case_ids: Collection[str], there: Mapping[Subject, str], parts: dict[str, dict[str, str]]
) -> None:
    names = {row_id: called for (_kind, row_id), called in there.items()}
    edges = (
        select(Derivation).where(Derivation.case_id.in_(case_ids)).order_by(Derivation.child_id, Derivation.parent_id)
    )
    for edge in session.scalars(edges):
        child, parent = names.get(edge.child_id), names.get(edge.parent_id)
        if child and parent:
            known = parts[child].get("from")
            parts[child]["from"] = f"{known} + {parent}" if known else parent


def _case_called(session: Session, case_id: str) -> str:
    accession = session.scalar(
        select(Identifier.value)
        .where(Identifier.subject_id == case_id, Identifier.kind == "accession")
        .order_by(Identifier.id.desc())
        .limit(1)
    )
    return f"case {accession or case_id[:8]}"


def _cases_of(session: Session, subjects: Collection[Subject]) -> set[str]:
    found = set(_ids(subjects, "case"))
    in_a_case: tuple[tuple[str, type[Any]], ...] = (*_BELOW_A_CASE, ("scan", Scan), ("read", Read))
    for kind, entity in in_a_case:
        ids = _ids(subjects, kind)
        if ids:
            found.update(one for one in session.scalars(select(entity.case_id).where(entity.id.in_(ids))) if one)
    return found


def _scans(case_ids: Collection[str], scan_ids: Collection[str]) -> Any:  # noqa: ANN401 - a SELECT of scans
    return select(Scan).where(or_(Scan.case_id.in_(case_ids), Scan.id.in_(scan_ids))).order_by(Scan.id)


def _ids(subjects: Collection[Subject], kind: str) -> list[str]:
    return sorted(subject_id for of_kind, subject_id in subjects if of_kind == kind)
