"""The words a scan, a case and a step can be described by: each facet on its own, never one status."""

from enum import IntEnum, StrEnum


class Quality(StrEnum):
    """What is known about a scan's image quality."""

    PENDING = "pending"
    PASS = "pass"  # noqa: S105 - a verdict, no password
    REVIEW = "review"
    RESCAN = "rescan"
    CANNOT_JUDGE = "cannot judge"


class Identity(StrEnum):
    """Whether it is known which slide a scan shows."""

    PENDING = "pending"
    MATCHED = "matched"
    UNMATCHED = "unmatched"


class Storage(StrEnum):
    """How far a scan's objects of the present edition have come on their way into the archive."""

    RECEIVED = "received"
    STORED = "stored"
    PROVEN = "proven"
    PURGED = "purged"


class Outcome(StrEnum):
    """Whether a scan still takes part: *active* is moving or archived, the others are ends."""

    ACTIVE = "active"
    SET_ASIDE = "set aside"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    WITHDRAWN = "withdrawn"


class Purpose(StrEnum):
    """Why a slide was scanned; only a replacement supersedes another scan."""

    PRIMARY = "primary"
    REPLACEMENT = "replacement"


class Route(StrEnum):
    """How a slide reaches its reader."""

    SCAN = "scan"
    GLASS_ONLY = "glass only"


class Images(StrEnum):
    """Whether a case's images can be read."""

    AWAITING = "awaiting"
    INCOMPLETE = "incomplete"
    READY = "ready"


class Reading(StrEnum):
    """Where a case's reads stand."""

    NONE = "none"
    UNASSIGNED = "unassigned"
    ASSIGNED = "assigned"


class Report(StrEnum):
    """Where a case's report stands, as the LIMS says."""

    NONE = "none"
    PRELIMINARY = "preliminary"
    FINAL = "final"
    SUPPLEMENTARY = "supplementary"
    CORRECTED = "corrected"
    CANCELLED = "cancelled"


class FileState(StrEnum):
    """What became of a file that a scanner wrote."""

    ARRIVING = "arriving"
    TAKEN = "taken"
    DUPLICATE = "duplicate"
    REFUSED = "refused"


class StepState(StrEnum):
    """The life of a step; only the first three are open."""

    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    SET_ASIDE = "set aside"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"


OPEN_STEP_STATES = (StepState.READY, StepState.RUNNING, StepState.WAITING)


class Lane(IntEnum):
    """Who goes first; lower overtakes higher."""

    INTRA_OPERATIVE = 0
    URGENT = 1
    ROUTINE = 2


LANE_OF_PRIORITY = {
    "intra-operative": Lane.INTRA_OPERATIVE,
    "urgent": Lane.URGENT,
    "routine": Lane.ROUTINE,
}
