"""Which function does which kind of step: the one table the worker looks at."""

from flows.archive_upload.correcting import CORRECT, correct
from flows.archive_upload.step import CONVERT, convert, prove, reject, store
from flows.barcode_matching.step import READ_LABEL, barcode_matching
from flows.case_assignment.rebalance.step import rebalance
from flows.case_assignment.step import case_assignment
from flows.deadlines.recounting import count_deadlines
from flows.intake.apply import apply
from flows.intake.waits import expect_scan_passed, expect_work_passed, hold_passed, settle
from flows.sending.forward import forward
from flows.sending.step import send
from flows.slide_qc.step import EXAMINE, slide_qc
from flows.step import StepFunction

STEPS: dict[str, StepFunction] = {
    "apply": apply,
    "settle": settle,
    "hold": hold_passed,
    "expect_scan": expect_scan_passed,
    "expect_work": expect_work_passed,
    "count_deadlines": count_deadlines,
    "slide_qc": slide_qc,
    "barcode_matching": barcode_matching,
    "convert": convert,
    "correct": correct,
    "store": store,
    "prove": prove,
    "reject": reject,
    "case_assignment": case_assignment,
    "send": send,
    "forward": forward,
    "rebalance": rebalance,
}

JOBS = (EXAMINE, READ_LABEL, CONVERT, CORRECT)
"""What may run in the bounded children."""
