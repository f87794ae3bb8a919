"""What messages say of a case that exists already: its report, its reader, its images elsewhere, work that was done."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import aliases, cases
from flows.books import Subject, clear_alert, raise_alert
from flows.intake import consequences
from flows.intake.saying import Said
from flows.sending import announce
from models.base import table_of
from models.case_fold import CaseFact, CaseState, ImagesFact, ReportFact, UpdateFact
from models.database import database_now
from models.facets import Report
from models.statements import CaseMeant, MessageStated
from models.tables.books import Fact, InboxMessage
from models.tables.case import Case, Identifier
from models.work_fold import WorkDoneFact

OTHER_PATIENT: Final = "another patient named"
_OTHER_PATIENT = "{peer} spoke of this case and named another patient than its orders do: have one of the two put right"
_MOST_PATIENTS: Final = 20
_IDENTIFIER = table_of(Identifier)
_NUMBERS = select(_IDENTIFIER.c.kind, _IDENTIFIER.c.issuer, _IDENTIFIER.c.value).where(
    _IDENTIFIER.c.subject_id.in_(bindparam("patients", expanding=True))
)
_FACT, _INBOX = table_of(Fact), table_of(InboxMessage)
_REPORTED_BY_OTHERS = (
    select(_FACT.c.effective_at)
    .join(_INBOX, _INBOX.c.id == _FACT.c.inbox_id)
    .where(_FACT.c.subject_id == bindparam("case"), _INBOX.c.peer != bindparam("of_peer"))
    .where(
        (_FACT.c.kind == ReportFact.__name__)
        | ((_FACT.c.kind == UpdateFact.__name__) & _FACT.c.body["update"]["report"].as_string().is_not(None))
    )
    .order_by(_FACT.c.effective_at.desc())
    .limit(1)
)
_NOT_ORDERED = "No order has named this case yet: what the message says of it counts once one does."
_NO_SUCH_SLIDE = "No order has named this slide yet: what the message says of its images counts once one does."
_NO_SUCH_WORK = "The message speaks of a work order that was never placed from here: nothing follows from it."


def updates_stated(lab: Lab, session: Session, stated: MessageStated, said: Said) -> list[str]:
    """Record what a message says of its case beside an order; return what people should know of it."""
    return [problem for meant, fact in _facts(stated) for problem in _case_told(lab, session, meant, fact, said)]


def _facts(stated: MessageStated) -> Iterator[tuple[CaseMeant, CaseFact]]:
    if stated.report is not None:
        yield stated.report.case, ReportFact(report=stated.report)
    if stated.case_update is not None:
        yield stated.case_update.case, UpdateFact(update=stated.case_update)
    if stated.images is not None:
        yield stated.images.case, ImagesFact(images=stated.images)
    if stated.work_done is not None:
        yield stated.work_done.case, WorkDoneFact(done=stated.work_done)


def _case_told(lab: Lab, session: Session, meant: CaseMeant, fact: CaseFact, said: Said) -> Iterator[str]:
    """Change the case that is meant; before its first order, only keep what was said."""
    case_id = lab.ids.of("case", meant.issuer, meant.accession_number)
    was = consequences.Before.of(cases.lock_case(session, case_id))
    said.record(session, Subject("case", case_id), fact)
    projected = cases.project(session, lab.settings, lab.ids, case_id, said.cause)
    if projected is None:
        yield _NOT_ORDERED
        return
    consequences.follow(lab, session, projected, was, said.cause)
    _compare_patients(session, projected.case, meant, said)
    _tell_report(lab, session, projected.case, was, said)
    yield from _unknown(projected.state, fact)


def tell_kept_report(lab: Lab, session: Session, case: Case) -> None:
    """Hand on what somebody else stated of the report before the first order named the case, which is now."""
    if case.report == Report.NONE:
        return
    peer = lab.settings.site(case.site_id).lims
    stated_at = session.scalar(_REPORTED_BY_OTHERS, {"case": case.id, "of_peer": peer})
    if stated_at is not None and lab.settings.peer(peer).hears_reports:
        announce.case_reported(session, lab.settings, case, stated_at)


def _tell_report(lab: Lab, session: Session, case: Case, was: consequences.Before, said: Said) -> None:
    """Hand on to the LIMS where a report stands that somebody else stated."""
    peer = lab.settings.site(case.site_id).lims
    if case.report != was.report and said.peer != peer and lab.settings.peer(peer).hears_reports:
        announce.case_reported(session, lab.settings, case, said.effective_at)


def _compare_patients(session: Session, case: Case, meant: CaseMeant, said: Said) -> None:
    """Raise a message about a case that names somebody else: the same number of the same issuer with another value."""
    if case.patient_id is None:
        return
    patients = aliases.merged_into(session, case.patient_id, _MOST_PATIENTS)
    ours = {(one.kind, one.issuer, one.value) for one in session.execute(_NUMBERS, {"patients": sorted(patients)})}
    theirs = {(one.kind, one.issuer, one.value) for one in meant.patient}
    both = {one[:2] for one in ours} & {one[:2] for one in theirs}
    now = database_now(session)
    if both and not ours & theirs:
        raise_alert(session, Subject("case", case.id), OTHER_PATIENT, _OTHER_PATIENT.format(peer=said.peer), now)
    elif both:
        clear_alert(session, case.id, OTHER_PATIENT, now)


def _unknown(state: CaseState, fact: CaseFact) -> Iterator[str]:
    match fact:
        case ImagesFact(images=images) if images.container_identifier not in {name for _, name in state.slides}:
            yield _NO_SUCH_SLIDE
        case WorkDoneFact(done=done) if state.work_orders[done.work_order_number].ordered is None:
            yield _NO_SUCH_WORK
        case _:
            return
