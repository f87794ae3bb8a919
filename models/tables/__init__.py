"""The tables. Importing this package makes all of them known to ``Base.metadata``."""

from models.tables import books, case, place, reading, scan, step

__all__ = ["books", "case", "place", "reading", "scan", "step"]
