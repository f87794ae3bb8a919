"""Where a reader starts: every kind of step, what it needs and what it is part of.

A scan's followers are not wired step to step. After any change to a scan, ``flows.changes`` reads this table and
adds each step whose needs hold and that is not there yet for the scan's edition. So a late order, a person's
decision, a rerun and a restart all take the same way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from models.facets import Identity, Outcome, Quality, Storage
from models.scan_fold import ScanState

# A shift of this stage talks to people's neighbours, so one silent peer must not hold the others.
INTAKE = "intake"
SLIDE_QC = "slide_qc"
BARCODE_MATCHING = "barcode_matching"
ARCHIVE_UPLOAD = "archive_upload"
CASE_ASSIGNMENT = "case_assignment"
SENDING = "sending"
REBALANCE = "rebalance"


@dataclass(frozen=True)
class Stage:
    """A room of the laboratory: its kinds of step, and whether slots or an order limit them.

    ``flow`` says that Prefect runs and shows its shifts; the others are plain loops.
    """

    name: str
    kinds: tuple[str, ...]
    deadline: timedelta
    flow: bool = False
    slotted: bool = False
    ordered: bool = False


STAGES = (
    Stage(INTAKE, ("apply", "settle", "hold", "expect_scan", "expect_work", "count_deadlines"), timedelta(minutes=2)),
    Stage(SLIDE_QC, ("slide_qc",), timedelta(minutes=10), flow=True),
    Stage(BARCODE_MATCHING, ("barcode_matching",), timedelta(minutes=5), flow=True),
    Stage(
        ARCHIVE_UPLOAD, ("convert", "correct", "store", "prove", "reject"), timedelta(hours=1), flow=True, slotted=True
    ),
    Stage(CASE_ASSIGNMENT, ("case_assignment",), timedelta(minutes=2), flow=True),
    Stage(SENDING, ("send", "forward"), timedelta(minutes=2), slotted=True, ordered=True),
    Stage(REBALANCE, (REBALANCE,), timedelta(minutes=10), flow=True),
)
STAGE_OF_KIND = {kind: stage.name for stage in STAGES for kind in stage.kinds}
SLOT_OF_KIND = {"store": "archive"}


@dataclass(frozen=True)
class ScanStep:
    """A kind of step that a scan needs: when, after which other kinds, and whether once per edition."""

    kind: str
    needs: Callable[[ScanState], bool]
    after: tuple[str, ...] = ()
    each_edition: bool = False


def _is_active(scan: ScanState) -> bool:
    return scan.outcome == Outcome.ACTIVE


def _may_be_archived(scan: ScanState) -> bool:
    return _is_active(scan) and scan.identity == Identity.MATCHED and scan.quality == Quality.PASS


def _is_to_be_corrected(scan: ScanState) -> bool:
    """Whether objects that name another patient or case have followers: what is archived has, whatever its quality."""
    is_archived = _is_active(scan) and scan.identity == Identity.MATCHED and scan.storage != Storage.RECEIVED
    return is_archived or _may_be_archived(scan)


_JUDGED = (
    ScanStep("slide_qc", _is_active),
    ScanStep("barcode_matching", _is_active),
)
#   kind                needs               after        each edition
SCAN_JOURNEY = (
    *_JUDGED,
    ScanStep("convert", _may_be_archived, (), each_edition=True),
    ScanStep("store", _may_be_archived, ("convert",), each_edition=True),
    ScanStep("prove", _may_be_archived, ("store",), each_edition=True),
)
CORRECTION = (
    *_JUDGED,
    ScanStep("correct", _is_to_be_corrected, (), each_edition=True),
)
"""What the next edition needs when the present one's objects name another patient or case than the orders do."""

CORRECTED_JOURNEY = (
    *_JUDGED,
    ScanStep("correct", _may_be_archived, (), each_edition=True),
    ScanStep("store", _may_be_archived, ("correct",), each_edition=True),
    ScanStep("prove", _may_be_archived, ("store",), each_edition=True),
)
"""As ``SCAN_JOURNEY``, of an edition whose objects were made from a former one's and not from the scanner's file."""

MAKERS = ("convert", "correct")
"""Kinds that make an edition's objects."""

OF_AN_EDITION = (*MAKERS, "store", "prove")
"""Kinds that work on one edition's objects, in their order."""

SCAN_KINDS = (*(step.kind for step in _JUDGED), *OF_AN_EDITION)

NEED_BYTES = ("slide_qc", "barcode_matching", *MAKERS, "store")
"""Kinds that are worked on beside the spool that holds the scan's file or held it, by a worker of that place."""

DOWNSTREAM = {
    "slide_qc": OF_AN_EDITION,
    "barcode_matching": OF_AN_EDITION,
    "convert": ("store", "prove"),
    "correct": ("store", "prove"),
    "store": ("prove",),
    "prove": (),
}
"""What a rerun of a kind makes obsolete."""
