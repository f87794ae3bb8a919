"""What an order does: its facts, its case, and the slides that others must not have already."""

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import cases, ledger
from flows.barcode_matching.step import order_key
from flows.books import Subject
from flows.intake import consequences
from flows.intake.saying import Said
from flows.intake.updates import tell_kept_report
from flows.step import THE_LIMS
from models.base import table_of
from models.case_containers import Container
from models.case_fold import OrderFact
from models.errors import RejectedError
from models.statements import OrderStated
from models.tables.case import Block, Slide, Specimen

_FOREIGN = {
    kind: select(table.c.id)
    .where(table.c.id.in_(bindparam("spoken_of", expanding=True)), table.c.case_id != bindparam("of_case"))
    .limit(1)
    for kind, table in (("slide", table_of(Slide)), ("block", table_of(Block)), ("specimen", table_of(Specimen)))
}


def order_stated(lab: Lab, session: Session, order: OrderStated, patient_id: str | None, said: Said) -> None:
    """Record an order and change its case; an order that speaks of another case's container is refused, whole."""
    case_id = lab.ids.of("case", order.issuer, order.accession_number)
    for key in sorted({order_key(name) for _issuer, name in _spoken_of(order, "slide")}):
        # Before the case, as matching does: who holds one of the two never waits for the other.
        ledger.hold_key(session, THE_LIMS, key)
    before = cases.lock_case(session, case_id)
    was = consequences.Before.of(before)
    _refuse_foreign_containers(lab, session, case_id, order)
    if order.site not in {site.id for site in lab.settings.sites}:
        raise RejectedError(
            "The order names a site that is not in the settings: add the site, then replay the message."
        )
    said.record(session, Subject("case", case_id), OrderFact(order=order, patient_id=patient_id))
    if before is not None:
        consequences.let_go_of_misnamed(lab, session, case_id, order, said.cause)
    projected = cases.project(session, lab.settings, lab.ids, case_id, said.cause)
    assert projected is not None  # noqa: S101 - it was ordered just now
    consequences.follow(lab, session, projected, was, said.cause)
    if before is None:
        tell_kept_report(lab, session, projected.case)


def _refuse_foreign_containers(lab: Lab, session: Session, case_id: str, order: OrderStated) -> None:
    """A container belongs to one case: an order that speaks of another case's goes to a person, whole."""
    for kind, foreign_of_kind in _FOREIGN.items():
        row_ids = [lab.ids.of(kind, *key) for key in _spoken_of(order, kind)]
        foreign = session.scalar(foreign_of_kind, {"spoken_of": row_ids, "of_case": case_id})
        if foreign is not None:
            message = (
                f"{kind} {foreign} belongs to another case already: correct the container identifier or the accession "
                "in the LIMS, then replay the message."
            )
            raise RejectedError(message)


def _spoken_of(order: OrderStated, kind: str) -> set[Container]:
    """Return every container that an order states, cancels or calls a parent, if it may be of this kind."""
    spoken = {(order.issuer, identifier) for identifier in order.cancelled}
    if kind == "slide":
        return spoken | {(one.issuer, one.container_identifier) for one in order.slides}
    spoken |= {(one.issuer, parent) for one in order.slides for parent in one.parents}
    spoken |= {(one.issuer, parent) for one in order.blocks for parent in one.parents}
    if kind == "block":
        return spoken | {(one.issuer, one.container_identifier) for one in order.blocks}
    return spoken | {(one.issuer, one.container_identifier) for one in order.specimens}
