"""The tables. Importing this package makes all of them known to ``Base.metadata``."""

from models.tables import books, case, deadline, intake, place, reading, scan, step, work

__all__ = ["books", "case", "deadline", "intake", "place", "reading", "scan", "step", "work"]
