"""What the books of the Coverslip under test say: of cases what ``coverslip show CASE --json`` prints; of messages."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, Final, TypeVar

from sqlalchemy import func, select

from connectors.settings import Settings
from connectors.wiring import open_database
from dashboards.cli.show import page_as_json
from flows.standing import case_page
from flows.standing.assets import assets_of_case, work_of_case
from models.tables.books import Alert, InboxMessage, OutboxMessage
from models.tables.case import Identifier

_Found = TypeVar("_Found")

_POLL_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Kept:
    """What became of a message that came in: how often it is kept, applied or set aside, and what was said about it."""

    count: int
    state: str
    problem: str


class Books:
    """The books of one laboratory, read only.

    Attributes
    ----------
    patience
        How long in seconds to wait for what is expected.
    """

    def __init__(self, settings: Settings, patience: float) -> None:
        self._database = open_database(settings)
        self.patience = patience

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def kept(self, control_id: str) -> Kept:
        """Return what became of all messages with this MSH-10, as soon as they were all read."""
        return self.until(lambda: self.kept_at_once(control_id), lambda kept: kept.state not in {"kept", "unknown"})

    def kept_at_once(self, control_id: str) -> Kept:
        """Return what became of all messages with this MSH-10 by now."""
        query = (
            select(InboxMessage.state, InboxMessage.problem)
            .where(InboxMessage.message_control_id == control_id)
            .order_by(InboxMessage.received_at, InboxMessage.id)
        )
        with self._database.read() as session:
            rows = session.execute(query).all()
        states = "kept" if any(state == "kept" for state, _ in rows) else ", ".join(state for state, _ in rows)
        return Kept(len(rows), states or "unknown", "; ".join(problem for _, problem in rows if problem))

    def case(self, accession_number: str, so: Callable[[dict[str, Any]], bool] = bool) -> dict[str, Any]:
        """Return a case once it is ``so``, or as it is when patience ends; empty when there is none."""
        return self.until(lambda: self.case_at_once(accession_number), so)

    def cases(self) -> int:
        """Return how many cases there are."""
        with self._database.read() as session:
            return session.scalar(select(func.count(Identifier.id)).where(Identifier.kind == "accession")) or 0

    def alerts(self, wanted: str) -> list[str]:
        """Return what people are told, as soon as one of the sentences holds the wanted words."""

        def look() -> list[str]:
            with self._database.read() as session:
                return list(session.scalars(select(Alert.sentence).where(Alert.cleared_at.is_(None))))

        return self.until(look, lambda told: any(wanted in one for one in told))

    def told(self, control_id: str) -> str:
        """Return the answer code that is kept of a message that went out, as soon as there is one."""
        if not control_id:
            return ""
        query = select(OutboxMessage.answer_code).where(OutboxMessage.message_control_id == control_id)

        def look() -> str:
            with self._database.read() as session:
                return session.scalar(query) or ""

        return self.until(look, bool)

    def case_at_once(self, accession_number: str) -> dict[str, Any]:
        """Return a case as it is now; empty when there is none."""
        named = select(Identifier.subject_id).where(
            Identifier.subject_kind == "case", Identifier.kind == "accession", Identifier.value == accession_number
        )
        with self._database.read() as session:
            case_id = session.scalar(named)
            page = case_page(session, case_id) if case_id else None
            if page is None:
                return {}
            return page_as_json(page, assets_of_case(session, page.line.id), work_of_case(session, page.line.id))

    def until(self, look: Callable[[], _Found], so: Callable[[_Found], bool]) -> _Found:
        """Return what is seen once it is so, or as it is when patience ends."""
        until = monotonic() + self.patience
        while not so(found := look()) and monotonic() < until:
            sleep(_POLL_SECONDS)
        return found
