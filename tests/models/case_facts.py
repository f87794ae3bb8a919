"""Facts of one case, as short as a test wants to say them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from models.case_fold import CaseReleased, OrderFact, Told
from models.statements import CaseMeant, Coded, OrderStated, SlideStated

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HE, KI67 = Coded(code="HE"), Coded(code="KI67")


def order(control: str = "register", *, slides: tuple[str, ...] = (), **more: Any) -> OrderStated:  # noqa: ANN401 - any field of an order
    """Return an order for one case; a slide is named by its identifier alone."""
    stated = tuple(SlideStated(container_identifier=one, issuer="NET") for one in slides)
    said: dict[str, Any] = {"accession_number": "26H1", "issuer": "NET", "site": "site-a", "slides": stated}
    return OrderStated(control=control, **(said | more))  # type: ignore[arg-type] # one of the three


def slide(identifier: str, **more: Any) -> SlideStated:  # noqa: ANN401 - any field of a slide
    return SlideStated(container_identifier=identifier, issuer="NET", **more)


def told(fact: OrderStated | CaseReleased, at: float = 0, digest: str = "a", **more: Any) -> Told:  # noqa: ANN401 - any field
    """Return a fact that counts from ``at`` minutes after noon."""
    body = OrderFact(order=fact, patient_id=more.pop("patient_id", None)) if isinstance(fact, OrderStated) else fact
    said: dict[str, Any] = {"received_at": NOON, **more}
    return Told(body, NOON + at * MINUTE, digest=digest, **said)


MEANT = CaseMeant(accession_number="26H1", issuer="NET", site="site-a")
