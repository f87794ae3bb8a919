"""The demonstration's books, audited: whether every promise is kept beyond what the script says."""

from dataclasses import dataclass

from connectors.settings import Settings
from connectors.wiring import open_archive, open_ids, open_spool
from flows.audit.oracle import CHECKS, audit
from flows.audit.snapshots import Books
from models.database import Database
from models.errors import TransientError


@dataclass(frozen=True)
class Audited:
    """What the audit came to: one sentence for people, and one for each breach of a promise."""

    sentence: str
    breaches: tuple[str, ...] = ()

    def with_gateway(self, gateway: "Audited") -> "Audited":
        """Return this together with what an audit of the gateway's books came to."""
        breaches = (*self.breaches, *(f"at the gateway, {breach}" for breach in gateway.breaches))
        return Audited(f"{self.sentence}; those of the gateway {gateway.sentence}", breaches)


def audit_books(settings: Settings, database: Database) -> Audited:
    """Make every check of ``coverslip audit books`` with every object and file read back."""
    books = Books(settings, database, open_ids(settings), open_spool(settings), open_archive(settings), full=True)
    try:
        found = [f"{one.check.promise}: {sentence}" for one in audit(books) for sentence in one.sentences]
    except TransientError as error:
        return Audited("could not be audited", (f"the books could not be audited: {error}",))
    if found:
        return Audited(f"{len(found)} things do not agree: 'coverslip audit books' says which", tuple(found))
    return Audited(f"agree in all {len(CHECKS)} checks: database, archive and spool")
