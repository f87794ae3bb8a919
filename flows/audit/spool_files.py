"""The spool holds what the books say and nothing else: no file is unexplained, none is missing."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from connectors.scanners.spool import Held
from flows.audit.snapshots import PORTION, Books, portions, snapshot
from models.errors import NeedsPersonError
from models.facets import FileState, Storage
from models.tables.scan import Scan, ScanFile

_ROW_OF: Final[dict[str, Select[str]]] = {
    "file": select(ScanFile.id),
    "part": select(ScanFile.id).where(ScanFile.state == FileState.ARRIVING),
    "work": select(Scan.id),
}
"""By what lies in the spool: the rows that explain it."""


def spool_holds_what_the_books_say(books: Books) -> Iterator[str]:
    """Yield each thing in the spool that no row explains, and each taken file that is missing or changed.

    Sizes are compared always, bytes when the audit is full.
    """
    # The spool is listed before the books are asked: a row is there before its file.
    held = books.spool.files()
    yield from _unexplained(books, held)
    here = (ScanFile.state == FileState.TAKEN, ScanFile.place == books.spool.place)
    for files in portions(books, ScanFile.id, _load, *here):
        for file in files:
            yield from _judged(books, file)


def _unexplained(books: Books, held: Sequence[Held]) -> Iterator[str]:
    by_kind: dict[str, list[str]] = defaultdict(list)
    for one in held:
        if one.what == "unknown":
            yield f"the spool of place {books.spool.place} holds something in {one.path.parent.name} that is not ours"
        else:
            by_kind[one.what].append(one.id)
    if books.settings.forwards:
        # A gateway shares its spool with a worker at its site, whose books are others.
        by_kind.pop("work", None)
    for what, ids in by_kind.items():
        for start in range(0, len(ids), PORTION):
            some = ids[start : start + PORTION]
            rows = _ROW_OF[what]
            with snapshot(books.database) as session:
                known = set(session.scalars(rows.where(next(iter(rows.selected_columns)).in_(some))))
            for one_id in some:
                if one_id not in known:
                    yield f"the spool of place {books.spool.place} holds {what} {one_id}, which no row explains"


def _load(session: Session, ids: Sequence[str]) -> Sequence[ScanFile]:
    """Return the files whose bytes are still to be here: those of a purged scan are not."""
    kept = or_(Scan.id.is_(None), Scan.storage != Storage.PURGED)
    query = select(ScanFile).outerjoin(Scan, Scan.id == ScanFile.scan_id).where(ScanFile.id.in_(ids), kept)
    return session.scalars(query.order_by(ScanFile.id)).all()


def _judged(books: Books, file: ScanFile) -> Iterator[str]:
    try:
        path = books.spool.path_of(file.id)
        size = path.stat().st_size
    except (NeedsPersonError, FileNotFoundError):
        yield f"the spool of place {file.place} lost file {file.id}"
        return
    if size != file.bytes:
        yield f"file {file.id} has {size} bytes in the spool, and {file.bytes} in the books"
    elif books.full:
        with path.open("rb") as copy:
            if hashlib.file_digest(copy, "sha256").hexdigest() != file.sha256:
                yield f"file {file.id} has other bytes in the spool than when it was taken"
