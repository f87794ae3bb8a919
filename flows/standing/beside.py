"""What others say of a case beside its orders: its report, its reader, who its patient was; in plain words."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows import aliases
from flows.standing.deadlines import due_in_words
from models.facets import Report
from models.tables.case import Case, Identifier

_REPORT_WORDS: Final = {
    Report.NONE: "none yet",
    Report.PRELIMINARY: "preliminary",
    Report.FINAL: "final",
    Report.SUPPLEMENTARY: "supplemented",
    Report.CORRECTED: "corrected",
    Report.CANCELLED: "cancelled",
}
_MOST_PATIENTS: Final = 20


@dataclass(frozen=True)
class Beside:
    """What is known of a case beside its slides.

    ``same_person_as`` are the numbers under which its patient was known before they were merged; ``reader_stated`` is
    who reads it as others say; ``due`` by when it is wanted, and by what.
    """

    report: str
    same_person_as: tuple[str, ...]
    reader_stated: str | None
    due: str | None


def beside(session: Session, case: Case) -> Beside:
    """Return what others say of a case."""
    return Beside(
        report=report_in_words(case.report, case.round, is_closed=case.round_closed_at is not None),
        same_person_as=_same_person_as(session, case.patient_id) if case.patient_id else (),
        reader_stated=_reader(case),
        due=due_in_words(session, case.id),
    )


def report_in_words(report: str, round_number: int, *, is_closed: bool) -> str:
    """Return where a case's report stands, and whether anybody is to read the case."""
    said = _REPORT_WORDS[Report(report)]
    if is_closed:
        return f"{said}; nobody is to read the case any more"
    if round_number > 1:
        return f"{said}; it is read again, round {round_number}"
    return said


def _same_person_as(session: Session, patient_id: str) -> tuple[str, ...]:
    others = aliases.merged_into(session, patient_id, _MOST_PATIENTS) - {patient_id}
    if not others:
        return ()
    found = session.execute(
        select(Identifier.value, Identifier.issuer)
        .where(Identifier.subject_id.in_(others), Identifier.kind.in_(("MR", "PI")))
        .order_by(Identifier.value)
    )
    return tuple(f"{value} ({issuer})" for value, issuer in found)


def _reader(case: Case) -> str | None:
    stated = case.reader_stated
    if stated is None:
        return None
    name = " ".join(part for part in (stated.get("given_name"), stated.get("family_name")) if part)
    return f"{stated['id']} ({name})" if name else str(stated["id"])
