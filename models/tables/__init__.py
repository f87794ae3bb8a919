"""The tables. Importing this package makes all of them known to ``Base.metadata``."""

from models.tables import books, case, intake, place, reading, scan, step, work

__all__ = ["books", "case", "intake", "place", "reading", "scan", "step", "work"]
