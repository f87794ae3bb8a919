"""Our own ids: the same for the same thing, and telling nobody anything about it."""

import hmac
from collections.abc import Iterable
from typing import Final

from models.uid import framed, uuid_text

_SHORTEST_KEY: Final = 16
"""128 bits: below that the numbers of a laboratory could be tried out one by one."""


class OpaqueIds:
    """Names things by HMAC-SHA256 under the key that all installations of one network share.

    Without the key an id can't be traced back to an accession or container number; with it the same bytes
    replayed anywhere give the same ids. The key belongs to the backup.
    """

    def __init__(self, key: bytes) -> None:
        """Keep the installation key, of at least 16 bytes; ``ValueError`` for a shorter one."""
        if len(key) < _SHORTEST_KEY:
            message = f"The installation key has {len(key)} bytes; it needs at least {_SHORTEST_KEY}."
            raise ValueError(message)
        self._key = key

    def __repr__(self) -> str:
        """Return a text that does not show the key."""
        return "OpaqueIds(key=...)"

    def of(self, kind: str, issuer: str, business_key: str) -> str:
        """Return the id, a UUID with dashes, of the ``kind`` that ``issuer`` calls ``business_key``."""
        return self._named("id", kind, issuer, business_key)

    def scan(self, site: str, digests: Iterable[str]) -> str:
        """Return the id of a scan made at ``site``, by the SHA-256 (hex) of each of its files.

        The order in which the files arrived does not matter; ``ValueError`` when there is none.
        """
        ordered = sorted(digest.lower() for digest in digests)
        if not ordered:
            message = "A scan has at least one file."
            raise ValueError(message)
        return self._named("scan", site, *ordered)

    def _named(self, *parts: str) -> str:
        return uuid_text(hmac.digest(self._key, framed(parts), "sha256"))
