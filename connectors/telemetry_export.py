"""Where traces and metrics go while they are on: a file of JSON lines, or an OTLP/HTTP endpoint.

Work never waits for a listener: spans queue in memory, a thread delivers them, what cannot be delivered is
dropped and counted.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import Final, TypeAlias

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from connectors import settings
from connectors.telemetry import BOUNDARIES, DURATIONS, GAUGES, Ended, StepSpan, Trace, Words, error_word

_log = logging.getLogger(__name__)

# One try at a time, and a short one: a batch that is not taken is dropped, the next may be.
_EXPORT_WITHIN_S: Final = 2
# What a process that ends waits for the last delivery.
_LAST_WORDS_WITHIN_S: Final = 3
_QUEUE: Final = 8_192
_BATCH: Final = 512
_SPANS_EVERY_MS: Final = 1_000
_METRICS_EVERY_MS: Final = 15_000
# Figures are read from the books once per collection, not once per figure.
_FIGURES_STAND_FOR_S: Final = 5
# A forgotten file must not fill the disk that the spool needs.
_LARGEST_FILE_BYTES: Final = 256 << 20

_Figures: TypeAlias = list[tuple[str, float, Words]]


class OpenTelemetry:
    """Tells through OpenTelemetry's SDK, in a provider of its own: nothing global is changed."""

    def __init__(self, to: settings.Telemetry, folder: Path, told: Words) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it logs a line for every try
        spans, metrics = _exporters(to, folder)
        # Two workers must not report one and the same series.
        resource = Resource({"service.name": "coverslip", "service.instance.id": token_hex(8), **told})
        self._ids = _Ids()
        self._delivered = _Delivered(spans)
        self._tracers = TracerProvider(
            resource=resource, id_generator=self._ids, sampler=ALWAYS_ON, shutdown_on_exit=False
        )
        self._tracers.add_span_processor(
            BatchSpanProcessor(
                self._delivered,
                max_queue_size=_QUEUE,
                max_export_batch_size=_BATCH,
                schedule_delay_millis=_SPANS_EVERY_MS,
            )
        )
        self._tracer = self._tracers.get_tracer("coverslip")
        reader = PeriodicExportingMetricReader(metrics, export_interval_millis=_METRICS_EVERY_MS)
        self._meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self._meter = self._meters.get_meter("coverslip")
        self._durations = {
            name: self._meter.create_histogram(
                name, unit="s", description=meaning, explicit_bucket_boundaries_advisory=list(BOUNDARIES)
            )
            for name, meaning in DURATIONS.items()
        }
        self._ended = 0

    @contextmanager
    def step(self, trace: Trace, told: Words, ended_as: Callable[[str], Words]) -> Iterator[StepSpan]:
        """Time one attempt, as a span and in the histogram."""
        began = time.perf_counter()
        attempt = _Attempt()
        name = f"process {told['coverslip.step.kind']}"
        with self._tracer.start_as_current_span(
            name, _under(trace), attributes=told, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield attempt
            except BaseException as error:
                attempt.how = "raised"
                _fail(span, error)
                raise
            finally:
                how = ended_as(attempt.how)
                span.set_attributes(how)
                self._ended += 1
                self._durations["coverslip.stage.duration"].record(time.perf_counter() - began, how)

    def message(self, operation: str, trace: Trace | None, told: Words, took_s: float) -> None:
        """Tell of an exchange that has just ended."""
        now = time.time_ns()
        kind = SpanKind.CONSUMER if operation == "receive" else SpanKind.CLIENT
        span = self._tracer.start_span(
            f"{operation} {told['messaging.system']}",
            None if trace is None else _under(trace),
            kind,
            told,
            start_time=now - int(took_s * 1e9),
        )
        span.end(now)
        self._ended += 1
        counted = ("hl7.message.type", "hl7.ack.code", "hl7.sender", "coverslip.event.type", "coverslip.event.ended")
        name = "messaging.process.duration" if operation == "receive" else "messaging.client.operation.duration"
        self._durations[name].record(took_s, {key: told[key] for key in counted if key in told})

    def root(self, name: str, trace: Trace, told: Words, began: datetime, ended: datetime) -> None:
        """Tell of a trace's own first span, under the ids that all its other spans already name."""
        with self._ids.these(trace):
            span = self._tracer.start_span(name, Context(), attributes=told, start_time=_ns(began))
        span.end(max(_ns(began), _ns(ended)))
        self._ended += 1

    def observe(self, read: Callable[[], Iterable[tuple[str, float, Words]]]) -> None:
        """Have the figures read whenever metrics are collected, once for all of them."""
        figures = _Figured(read)
        for name, (unit, meaning) in GAUGES.items():
            self._meter.create_observable_gauge(name, [figures.of(name)], unit=unit, description=meaning)

    def shutdown(self) -> None:
        """Deliver what is left, within a few seconds."""
        ending = threading.Thread(target=self._shutdown, name="telemetry-last-words", daemon=True)
        ending.start()
        ending.join(_LAST_WORDS_WITHIN_S)

    @property
    def undelivered(self) -> int:
        """Spans that ended and did not reach their destination."""
        return self._ended - self._delivered.count

    def _shutdown(self) -> None:
        self._tracers.shutdown()
        self._meters.shutdown(timeout_millis=_LAST_WORDS_WITHIN_S * 1_000)


class _Attempt:
    """How one attempt ended, as far as it has been said."""

    def __init__(self) -> None:
        self.how: str = "done"

    def ended(self, how: Ended) -> None:
        """Say how the attempt ended."""
        self.how = how


class _Ids(IdGenerator):
    """Random ids, but for a span whose ids everybody already knows."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self._known = threading.local()

    @contextmanager
    def these(self, trace: Trace) -> Iterator[None]:
        """Give this thread's next span exactly these ids."""
        self._known.trace = trace
        try:
            yield
        finally:
            self._known.trace = None

    def generate_trace_id(self) -> int:
        """Return the id of a new trace."""
        known: Trace | None = getattr(self._known, "trace", None)
        return known.trace_id if known else self._random.generate_trace_id()

    def generate_span_id(self) -> int:
        """Return the id of a new span."""
        known: Trace | None = getattr(self._known, "trace", None)
        return known.span_id if known else self._random.generate_span_id()


class _Delivered(SpanExporter):
    """Counts what arrives, and says once when a listener goes away and once when it is back."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._listens = True
        self.count = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Deliver one batch, or drop it."""
        result = self._exporter.export(spans)
        arrived = result is SpanExportResult.SUCCESS
        if arrived:
            self.count += len(spans)
        if arrived is not self._listens:
            self._listens = arrived
            _log.info("telemetry is delivered again" if arrived else "telemetry is dropped: nobody takes it")
        return result

    def shutdown(self) -> None:
        """Close what delivers."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return at once: nothing is held here."""
        return self._exporter.force_flush(timeout_millis)


class _JsonLines:
    """A file that several processes append whole lines to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, lines: Iterable[str]) -> bool:
        """Append in one write; return whether it was done."""
        payload = "".join(f"{line}\n" for line in lines).encode()
        try:
            # O_APPEND and one write keep the lines of several processes apart.
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError:
            return False
        try:
            if os.fstat(descriptor).st_size > _LARGEST_FILE_BYTES:
                return False
            return os.write(descriptor, payload) == len(payload)
        except OSError:
            return False
        finally:
            os.close(descriptor)


class _SpanLines(SpanExporter):
    """Spans as JSON lines."""

    def __init__(self, path: Path) -> None:
        self._lines = _JsonLines(path)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append one line for each span."""
        written = self._lines.append(span.to_json(indent=None) for span in spans)
        return SpanExportResult.SUCCESS if written else SpanExportResult.FAILURE


class _MetricLines(MetricExporter):
    """Metrics as JSON lines, one for each collection."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._lines = _JsonLines(path)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: object) -> MetricExportResult:  # noqa: ARG002 - the base class's signature
        """Append one line."""
        written = self._lines.append([metrics_data.to_json(indent=None)])
        return MetricExportResult.SUCCESS if written else MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002 - the base class's signature
        """Return at once: nothing is held here."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: object) -> None:
        """Do nothing: nothing is held open."""


class _Figured:
    """The figures of one collection, read once and handed out by name."""

    def __init__(self, read: Callable[[], Iterable[tuple[str, float, Words]]]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._figures: _Figures = []
        self._read_at = float("-inf")

    def of(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        """Return what the SDK calls for one gauge."""

        def observed(_options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value, told) for figure, value, told in self._fresh() if figure == name]

        return observed

    def _fresh(self) -> _Figures:
        with self._lock:
            if time.monotonic() - self._read_at > _FIGURES_STAND_FOR_S:
                # Read before it counts as read: books that are away give no figure, never an old one.
                self._figures = list(self._read())
                self._read_at = time.monotonic()
            return self._figures


def _exporters(to: settings.Telemetry, folder: Path) -> tuple[SpanExporter, MetricExporter]:
    if to.to == "file":
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _SpanLines(folder / "traces.jsonl"), _MetricLines(folder / "metrics.jsonl")
    endpoint = to.endpoint.rstrip("/")
    return (
        OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=_EXPORT_WITHIN_S),
        OTLPMetricExporter(f"{endpoint}/v1/metrics", timeout=_EXPORT_WITHIN_S),
    )


def _under(trace: Trace) -> Context:
    parent = SpanContext(trace.trace_id, trace.span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(parent))


def _fail(span: Span, error: BaseException) -> None:
    """Say which class of trouble it was; its message stays untold."""
    span.set_attribute("error.type", error_word(error))
    span.set_status(Status(StatusCode.ERROR))


def _ns(at: datetime) -> int:
    return int(at.timestamp() * 1e9)
