"""Traces and metrics: what is told about the work, and the one table of names and values it may be told with.

Every value passes through ``TOLD``, which knows what may be said under each name; anything else is told as
``other``. So no caller, however careless, can put patient data into a span or a metric. Nothing of OpenTelemetry is
imported while telemetry is off.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from connectors.settings import Settings
from models.events.kinds import KINDS
from models.uid import framed

Ended = Literal["done", "waiting", "given back", "set aside", "lost"]
"""How an attempt at a step ended; ``lost``: somebody else had taken it over."""

_OTHER: Final = "other"
_KINDS: Final = frozenset(
    [
        *("apply", "settle", "hold", "expect_scan", "expect_work", "count_deadlines"),
        *("slide_qc", "barcode_matching"),
        *("convert", "correct", "store", "prove", "reject"),
        *("case_assignment", "send", "forward", "rebalance"),
    ]
)
_STAGES: Final = frozenset(
    [
        *("intake", "slide_qc", "barcode_matching", "archive_upload", "case_assignment", "sending", "rebalance"),
        # Where slides wait, as the page names it.
        *("arriving", "received", "scan", "order", "person", "rescan"),
    ]
)
_SUBJECTS: Final = frozenset(("scan", "case", "slide", "read", "inbox", "message", "work order", "laboratory"))
_ENDS: Final = frozenset(("done", "waiting", "given back", "set aside", "lost", "raised"))
# HL7 table 0076, those that a laboratory's neighbours send.
_MESSAGES: Final = frozenset(
    [
        *("ACK", "ADT", "DFT", "MDM", "OMG", "OML", "ORL", "ORM"),
        *("ORR", "ORU", "OUL", "QBP", "RSP", "SIU", "SSR", "SSU"),
    ]
)
# HL7 table 0008.
_ANSWERS: Final = frozenset(["AA", "AE", "AR", "CA", "CE", "CR", "none"])
_TRIGGER: Final = re.compile(r"[A-Z][0-9]{2}")
_OPAQUE: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CLASS: Final = re.compile(r"[A-Z][A-Za-z]{2,60}(Error|Exception|Exit|Interrupt|Expired|Warning)")

TOLD: Final[dict[str, Callable[[str], bool]]] = {
    "coverslip.event.ended": frozenset(("written", "refused", "none")).__contains__,
    "coverslip.event.type": KINDS.__contains__,
    "coverslip.process": frozenset(("doors", "mllp", "watch", "web", "worker", "intake", "demo")).__contains__,
    "coverslip.stage": _STAGES.__contains__,
    "coverslip.step.kind": _KINDS.__contains__,
    "coverslip.step.ended": _ENDS.__contains__,
    "coverslip.subject.kind": _SUBJECTS.__contains__,
    "coverslip.subject.id": lambda text: _OPAQUE.fullmatch(text) is not None,
    "error.type": lambda text: _CLASS.fullmatch(text) is not None,
    "hl7.ack.code": _ANSWERS.__contains__,
    "hl7.message.type": _MESSAGES.__contains__,
    "hl7.trigger": lambda text: _TRIGGER.fullmatch(text) is not None,
    "messaging.message.id": lambda text: _OPAQUE.fullmatch(text) is not None,
    "messaging.operation.name": frozenset(("receive", "send", "process")).__contains__,
    "messaging.operation.type": frozenset(("receive", "send", "process")).__contains__,
    "messaging.system": frozenset(("hl7v2", "kafka")).__contains__,
}
"""Each text attribute, and what may be said under its name; names that are configured come on top."""

CONFIGURED: Final = frozenset(("coverslip.site", "coverslip.scanner", "coverslip.archive", "hl7.sender"))
"""Attributes whose values are names from the settings and nothing else."""

NUMBERS: Final = frozenset(("coverslip.step.attempt", "messaging.message.body.size"))
"""Attributes that are whole numbers."""

GAUGES: Final[dict[str, tuple[str, str]]] = {
    "coverslip.slides.waiting": ("{slide}", "Slides and scans that are neither archived nor at an end"),
    "coverslip.slides.oldest_age": ("s", "Age of the oldest of them"),
    "coverslip.inbox.unprocessed": ("{message}", "Messages kept and not yet applied"),
    "coverslip.outbox.unpublished": ("{message}", "Messages to a neighbour that it has not answered"),
    "coverslip.deadletters": ("{message}", "Messages set aside"),
    "coverslip.archive.unverified": ("{scan}", "Scans stored and not yet proven"),
    "coverslip.assignments.open": ("{read}", "Reads that somebody has"),
    "coverslip.workers.lost": ("{worker}", "Workers that neither live nor ended"),
    "coverslip.spool.free_bytes": ("By", "Free space where the spool lies"),
}
"""Figures that are read from the books when they are collected: name, unit, meaning."""

DURATIONS: Final[dict[str, str]] = {
    "coverslip.stage.duration": "Time that one attempt at a step took",
    "messaging.process.duration": "Time from the last byte of a message to the last byte of its answer",
    "messaging.client.operation.duration": "Time from sending a message to its answer",
}
"""Histograms, in seconds."""

BOUNDARIES: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Bucket boundaries in seconds: an ACK takes milliseconds, a large slide's conversion minutes."""


@dataclass(frozen=True)
class Exchange:
    """One message and its answer, over HL7.

    ``peer`` is a configured name; ``ack_code`` is ``none`` when there was no answer.
    """

    peer: str
    message_id: str
    message_type: str
    trigger: str
    ack_code: str
    size_bytes: int
    took: timedelta


@dataclass(frozen=True)
class Publication:
    """One event and what the event log made of it: ``written``, ``refused``, or ``none`` when it did not answer."""

    message_id: str
    event_type: str
    ended: Literal["written", "refused", "none"]
    size_bytes: int
    took: timedelta


@dataclass(frozen=True)
class Figure:
    """One figure out of the books, under a name of ``GAUGES``."""

    name: str
    value: float
    site: str = ""
    stage: str = ""


@dataclass(frozen=True)
class Trace:
    """The trace that everything about one subject belongs to, and the span that it hangs under."""

    trace_id: int
    span_id: int


class StepSpan(Protocol):
    """One attempt at a step, as it is told."""

    def ended(self, how: Ended) -> None:
        """Say how the attempt ended; without a word, it was done."""
        ...


class Exporting(Protocol):
    """Where telling leads while telemetry is on; ``connectors.telemetry_export`` has the real one."""

    def step(self, trace: Trace, told: "Words", ended_as: Callable[[str], "Words"]) -> AbstractContextManager[StepSpan]:
        """Time one attempt."""
        ...

    def message(self, operation: str, trace: Trace | None, told: "Words", took_s: float) -> None:
        """Tell of an exchange that has just ended; ``trace`` ``None`` hangs it under the current span."""
        ...

    def root(self, name: str, trace: Trace, told: "Words", began: datetime, ended: datetime) -> None:
        """Tell of a trace's own first span."""
        ...

    def observe(self, read: Callable[[], Iterable[tuple[str, float, "Words"]]]) -> None:
        """Ask for the figures whenever metrics are collected."""
        ...

    def shutdown(self) -> None:
        """Deliver what is left, within a few seconds."""
        ...

    @property
    def undelivered(self) -> int:
        """Spans that ended and did not reach their destination."""
        ...


Words = dict[str, str | int]
"""Attributes that have passed through the table."""


class Telemetry:
    """What the processes of Coverslip say about their work, without ever waiting for a listener."""

    def __init__(self, exporting: Exporting | None, names: frozenset[str] = frozenset()) -> None:
        self._exporting = exporting
        self._names = names

    @classmethod
    def off(cls) -> "Telemetry":
        """Say nothing, at no cost."""
        return cls(None)

    @classmethod
    def of(cls, settings: Settings, process: str) -> "Telemetry":
        """Say it where the settings want; ``process`` is the sub-command that runs."""
        if settings.telemetry.to == "off":
            return cls.off()
        from connectors.telemetry_export import OpenTelemetry  # noqa: PLC0415 - 300 ms that nobody pays while it is off

        names = frozenset(
            [site.id for site in settings.sites]
            + [peer.name for peer in settings.lims]
            + [listener.peer for listener in settings.listeners]
            + [scanner.name for scanner in settings.scanners]
        )
        told = _told(names, {"coverslip.process": process})
        return cls(OpenTelemetry(settings.telemetry, settings.home / "telemetry", told), names)

    def step(
        self, kind: str, stage: str, subject_kind: str, subject_id: str, attempt: int
    ) -> AbstractContextManager[StepSpan]:
        """Time one attempt at a step; for a scan as part of the one trace of its journey.

        An exception passes through; only the name of its class is told, since its message may quote a patient.
        """
        if self._exporting is None:
            return _NOBODY_LISTENS
        counted: dict[str, str | int] = {"coverslip.stage": stage, "coverslip.step.kind": kind}
        told = _told(
            self._names,
            counted
            | {
                "coverslip.subject.kind": subject_kind,
                "coverslip.subject.id": subject_id,
                "coverslip.step.attempt": attempt,
            },
        )

        def ended_as(how: str) -> Words:
            return _told(self._names, counted | {"coverslip.step.ended": how})

        return self._exporting.step(trace_of(subject_kind, subject_id), told, ended_as)

    def scan_received(self, scan_id: str, first_seen_at: datetime, received_at: datetime) -> None:
        """Tell that a scan's journey has begun: the root that all its other spans hang under. Say it once a scan."""
        if self._exporting is None:
            return
        told = _told(self._names, {"coverslip.subject.kind": "scan", "coverslip.subject.id": scan_id})
        self._exporting.root("receive scan", trace_of("scan", scan_id), told, first_seen_at, received_at)

    def received(self, exchange: Exchange) -> None:
        """Tell of a message that came in and was answered; its ``apply`` step belongs to the same trace."""
        if self._exporting is not None:
            self._tell("receive", exchange, trace_of("inbox", exchange.message_id))

    def sent(self, exchange: Exchange) -> None:
        """Tell of a message that went out, inside the step that sent it."""
        self._tell("send", exchange, None)

    def published(self, publication: Publication) -> None:
        """Tell of an event that was written into the event log, or was to be, inside the step that did so."""
        if self._exporting is None:
            return
        attributes: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.message.id": publication.message_id,
            "messaging.message.body.size": publication.size_bytes,
            "coverslip.event.type": publication.event_type,
            "coverslip.event.ended": publication.ended,
        }
        self._exporting.message("send", None, _told(self._names, attributes), publication.took.total_seconds())

    def observe(self, read: Callable[[], Iterable[Figure]]) -> None:
        """Have these figures read, from another thread, whenever metrics are collected."""
        if self._exporting is None:
            return

        def told() -> Iterable[tuple[str, float, Words]]:
            for figure in read():
                attributes = {"coverslip.site": figure.site, "coverslip.stage": figure.stage}
                yield figure.name, figure.value, _told(self._names, {k: v for k, v in attributes.items() if v})

        self._exporting.observe(told)

    def shutdown(self) -> None:
        """Deliver what is left; a listener that is away costs a few seconds at most."""
        if self._exporting is not None:
            self._exporting.shutdown()

    @property
    def undelivered(self) -> int:
        """Spans that ended and did not reach their destination; exact after ``shutdown``."""
        return 0 if self._exporting is None else self._exporting.undelivered

    def _tell(self, operation: Literal["receive", "send"], exchange: Exchange, trace: Trace | None) -> None:
        if self._exporting is None:
            return
        attributes = {
            "messaging.system": "hl7v2",
            "messaging.operation.name": operation,
            "messaging.operation.type": operation,
            "messaging.message.id": exchange.message_id,
            "messaging.message.body.size": exchange.size_bytes,
            "hl7.message.type": exchange.message_type,
            "hl7.trigger": exchange.trigger,
            "hl7.ack.code": exchange.ack_code,
            "hl7.sender": exchange.peer,
        }
        self._exporting.message(operation, trace, _told(self._names, attributes), exchange.took.total_seconds())


class _NobodyListens:
    """A span that is told to nobody."""

    def ended(self, how: Ended) -> None:
        """Say nothing."""


_NOBODY_LISTENS: Final = nullcontext(_NobodyListens())


def trace_of(subject_kind: str, subject_id: str) -> Trace:
    """Return the trace of a subject: every process derives the same one, so that none has to look it up."""
    digest = hashlib.sha256(framed(("trace", subject_kind, subject_id))).digest()
    # W3C Trace Context 3.2.2: an id of zeros is invalid; the lowest bit keeps us from it.
    return Trace(int.from_bytes(digest[:16], "big") | 1, int.from_bytes(digest[16:24], "big") | 1)


def traceparent_of(scan_id: str) -> str:
    """Return the W3C ``traceparent`` of a scan's journey."""
    trace = trace_of("scan", scan_id)
    return f"00-{trace.trace_id:032x}-{trace.span_id:016x}-01"


def error_word(error: BaseException) -> str:
    """Return the name of an error's class, which is all that is ever told of it."""
    return str(_checked(frozenset(), "error.type", type(error).__name__))


def _told(names: frozenset[str], attributes: dict[str, str | int]) -> Words:
    return {name: _checked(names, name, value) for name, value in attributes.items()}


def _checked(names: frozenset[str], name: str, value: str | int) -> str | int:
    """Return a value if it may be told under this name, else ``other``; ``KeyError`` for a name not in the table."""
    if name in NUMBERS:
        return int(value) if isinstance(value, int) else -1
    text = str(value)
    allowed = names.__contains__ if name in CONFIGURED else TOLD[name]
    return text if allowed(text) else _OTHER
