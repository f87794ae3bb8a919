import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pydantic import SecretStr

from connectors.settings import Settings
from connectors.settings import Telemetry as To
from connectors.settings_doors import LimsPeer
from connectors.settings_site import SiteRules
from connectors.telemetry import Exchange, Figure, Publication, Telemetry, traceparent_of
from models.errors import RejectedError

SCAN = "3f1c5a52-7c1e-8a10-9b1d-2f6f6a1c0e11"
BEGAN = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


def laboratory(home: Path, to: Literal["off", "file", "otlp"], endpoint: str = "http://127.0.0.1:1") -> Settings:
    return Settings(
        home=home,
        installation_key=SecretStr("00" * 32),
        sites=(SiteRules(id="site-a", name="Site A", lims="lims"),),
        lims=(LimsPeer(name="lims"),),
        listeners=(),
        scanners=(),
        readers=(),
        telemetry=To(to=to, endpoint=endpoint),
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def told(tmp_path: Path) -> Iterator[tuple[Telemetry, Path]]:
    """Telemetry into a file, and the folder of the files."""
    telemetry = Telemetry.of(laboratory(tmp_path, "file"), "worker")
    yield telemetry, tmp_path / "telemetry"
    telemetry.shutdown()


def test_off_imports_nothing_of_opentelemetry() -> None:
    program = (
        "import sys; from connectors.telemetry import Telemetry\n"
        "with Telemetry.off().step('store', 'archive_upload', 'scan', 'x', 1) as span: span.ended('waiting')\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


def test_off_costs_less_than_a_few_microseconds() -> None:
    telemetry = Telemetry.off()
    began = time.process_time()
    for _ in range(10_000):
        with telemetry.step("store", "archive_upload", "scan", SCAN, 1):
            pass
    assert (time.process_time() - began) / 10_000 < 20e-6


def test_a_step_is_told_with_stage_kind_subject_attempt_and_end(told: tuple[Telemetry, Path]) -> None:
    telemetry, folder = told
    with telemetry.step("convert", "archive_upload", "scan", SCAN, 2) as span:
        span.ended("waiting")
    telemetry.shutdown()
    (line,) = lines(folder / "traces.jsonl")
    assert line["name"] == "process convert"
    assert line["attributes"] == {
        "coverslip.stage": "archive_upload",
        "coverslip.step.kind": "convert",
        "coverslip.subject.kind": "scan",
        "coverslip.subject.id": SCAN,
        "coverslip.step.attempt": 2,
        "coverslip.step.ended": "waiting",
    }
    assert line["resource"]["attributes"]["service.name"] == "coverslip"
    assert line["resource"]["attributes"]["coverslip.process"] == "worker"


def test_an_exception_tells_its_class_and_nothing_else(told: tuple[Telemetry, Path]) -> None:
    telemetry, folder = told
    with pytest.raises(RejectedError), telemetry.step("apply", "intake", "inbox", str(uuid4()), 1):
        raise RejectedError("SMITH^JANE is no number")
    telemetry.shutdown()
    (line,) = lines(folder / "traces.jsonl")
    assert line["attributes"]["error.type"] == "RejectedError"
    assert line["attributes"]["coverslip.step.ended"] == "raised"
    assert line["status"] == {"status_code": "ERROR"}
    assert line["events"] == []
    assert "SMITH" not in (folder / "traces.jsonl").read_text()


def test_two_processes_tell_of_one_scan_in_one_trace(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.connectors.test_telemetry import SCAN, laboratory\n"
        "from connectors.telemetry import Telemetry\n"
        "telemetry = Telemetry.of(laboratory(Path(sys.argv[1]), 'file'), 'worker')\n"
        "with telemetry.step(sys.argv[2], 'archive_upload', 'scan', SCAN, 1): pass\n"
        "telemetry.shutdown()"
    )
    for kind in ("convert", "store"):
        subprocess.run([sys.executable, "-c", program, str(tmp_path), kind], check=True, timeout=60)
    convert, store = lines(tmp_path / "telemetry" / "traces.jsonl")
    version, trace_id, parent_id, flags = traceparent_of(SCAN).split("-")
    assert (version, flags) == ("00", "01")
    for line in (convert, store):
        assert line["context"]["trace_id"] == f"0x{trace_id}"
        assert line["parent_id"] == f"0x{parent_id}"
    assert convert["context"]["span_id"] != store["context"]["span_id"]


def test_the_receipt_of_a_scan_is_the_root_that_its_steps_hang_under(told: tuple[Telemetry, Path]) -> None:
    telemetry, folder = told
    telemetry.scan_received(SCAN, BEGAN, BEGAN + timedelta(seconds=7))
    with telemetry.step("slide_qc", "slide_qc", "scan", SCAN, 1):
        pass
    telemetry.shutdown()
    root, step = lines(folder / "traces.jsonl")
    assert root["parent_id"] is None
    assert step["parent_id"] == root["context"]["span_id"]
    assert step["context"]["trace_id"] == root["context"]["trace_id"]
    assert (root["start_time"], root["end_time"]) == ("2026-11-02T09:30:00.000000Z", "2026-11-02T09:30:07.000000Z")


def test_a_message_in_and_its_apply_step_share_a_trace_and_a_message_out_lies_in_its_step(
    told: tuple[Telemetry, Path],
) -> None:
    telemetry, folder = told
    arrived, left = str(uuid4()), str(uuid4())
    telemetry.received(Exchange("lims", arrived, "OML", "O33", "AA", 2_900, timedelta(milliseconds=4)))
    with telemetry.step("apply", "intake", "inbox", arrived, 1):
        pass
    with telemetry.step("send", "sending", "message", left, 1):
        telemetry.sent(Exchange("lims", left, "OUL", "R21", "AE", 700, timedelta(seconds=1)))
    telemetry.shutdown()
    received, applied, sent, step = lines(folder / "traces.jsonl")
    assert received["context"]["trace_id"] == applied["context"]["trace_id"]
    assert sent["parent_id"] == step["context"]["span_id"]
    assert (received["kind"], sent["kind"]) == ("SpanKind.CONSUMER", "SpanKind.CLIENT")
    assert received["attributes"] == {
        "messaging.system": "hl7v2",
        "messaging.operation.name": "receive",
        "messaging.operation.type": "receive",
        "messaging.message.id": arrived,
        "messaging.message.body.size": 2_900,
        "hl7.message.type": "OML",
        "hl7.trigger": "O33",
        "hl7.ack.code": "AA",
        "hl7.sender": "lims",
    }


def test_an_event_that_went_into_the_log_is_told_in_its_step_with_what_became_of_it(
    told: tuple[Telemetry, Path],
) -> None:
    telemetry, folder = told
    left = str(uuid4())
    with telemetry.step("send", "sending", "message", left, 1):
        telemetry.published(Publication(left, "slide.archived", "written", 812, timedelta(milliseconds=7)))
        telemetry.published(Publication(left, "Ada Example", "refused", 812, timedelta(milliseconds=7)))
    telemetry.shutdown()
    sent, careless, step = lines(folder / "traces.jsonl")
    assert (sent["name"], sent["kind"], sent["parent_id"]) == (
        "send kafka",
        "SpanKind.CLIENT",
        step["context"]["span_id"],
    )
    assert sent["attributes"] == {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.message.id": left,
        "messaging.message.body.size": 812,
        "coverslip.event.type": "slide.archived",
        "coverslip.event.ended": "written",
    }
    assert careless["attributes"]["coverslip.event.type"] == "other"


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="ÄÖÜäöüßŁłžćé^~|&/<>", min_size=4, max_size=30), st.data())
def test_no_text_of_a_patient_can_be_told_whatever_a_caller_passes(
    tmp_path: Path, patient: str, data: st.DataObject
) -> None:
    # A canary in letters that none of our own names have; each argument in turn is given it.
    folder = tmp_path / uuid4().hex
    telemetry = Telemetry.of(laboratory(folder, "file"), patient)
    kind, stage, subject_kind, subject_id = (patient if data.draw(st.booleans()) else "scan" for _ in range(4))
    with telemetry.step(kind, stage, subject_kind, subject_id, 1) as span:
        span.ended(patient)  # type: ignore[arg-type] # what a careless caller may do
    telemetry.received(Exchange(patient, patient, patient, patient, patient, 1, timedelta(0)))
    telemetry.observe(lambda: [Figure("coverslip.slides.waiting", 1, patient, patient)])
    telemetry.shutdown()
    for name in ("traces.jsonl", "metrics.jsonl"):
        written = (folder / "telemetry" / name).read_text()
        assert written.count("\n") >= 1
        assert patient not in written
        assert json.dumps(patient)[1:-1] not in written


@pytest.mark.parametrize("name", ["Smith", "smith", "9434765919", "26S000123", "26S000123-A1-1", "SMITH^JANE"])
def test_what_looks_like_a_word_of_ours_is_told_as_other(told: tuple[Telemetry, Path], name: str) -> None:
    telemetry, folder = told
    with telemetry.step(name, name, name, name, 1):
        pass
    telemetry.sent(Exchange(name, name, name, name, name, 1, timedelta(0)))
    telemetry.shutdown()
    assert name not in (folder / "traces.jsonl").read_text()


def test_figures_from_the_books_and_durations_are_told_by_site_and_stage(told: tuple[Telemetry, Path]) -> None:
    telemetry, folder = told
    telemetry.observe(lambda: [Figure("coverslip.slides.waiting", 7, "site-a", "slide_qc")])
    with telemetry.step("slide_qc", "slide_qc", "scan", SCAN, 1):
        pass
    telemetry.shutdown()
    (line,) = lines(folder / "metrics.jsonl")
    metrics = {one["name"]: one for one in line["resource_metrics"][0]["scope_metrics"][0]["metrics"]}
    (waiting,) = metrics["coverslip.slides.waiting"]["data"]["data_points"]
    assert (waiting["value"], waiting["attributes"]) == (7, {"coverslip.site": "site-a", "coverslip.stage": "slide_qc"})
    (duration,) = metrics["coverslip.stage.duration"]["data"]["data_points"]
    assert duration["count"] == 1
    assert duration["explicit_bounds"][0] == 0.005
    assert SCAN not in json.dumps(line)


def test_books_that_cannot_be_read_cost_the_figures_and_nothing_else(told: tuple[Telemetry, Path]) -> None:
    telemetry, folder = told

    def away() -> list[Figure]:
        raise RuntimeError("the database is away")

    telemetry.observe(away)
    with telemetry.step("slide_qc", "slide_qc", "scan", SCAN, 1):
        pass
    telemetry.shutdown()
    (line,) = lines(folder / "metrics.jsonl")
    names = [one["name"] for one in line["resource_metrics"][0]["scope_metrics"][0]["metrics"]]
    assert names == ["coverslip.stage.duration"]


class Receiver(BaseHTTPRequestHandler):
    spans: list[Any]
    metrics: list[Any]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans.extend(span for scope in resource.scope_spans for span in scope.spans)
        else:
            for measured in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.metrics.extend(metric.name for scope in measured.scope_metrics for metric in scope.metrics)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's signature
        pass


@contextmanager
def receiver() -> Iterator[tuple[str, type[Receiver]]]:
    heard = type("Heard", (Receiver,), {"spans": [], "metrics": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), heard)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_otlp_endpoint_receives_spans_and_metrics(tmp_path: Path) -> None:
    with receiver() as (endpoint, heard):
        telemetry = Telemetry.of(laboratory(tmp_path, "otlp", endpoint), "worker")
        with telemetry.step("store", "archive_upload", "scan", SCAN, 1):
            pass
        telemetry.shutdown()
    (span,) = heard.spans
    assert span.name == "process store"
    assert span.trace_id.hex() == traceparent_of(SCAN).split("-")[1]
    assert heard.metrics == ["coverslip.stage.duration"]
    assert telemetry.undelivered == 0


def test_an_endpoint_that_is_down_costs_the_work_nothing_and_is_counted(tmp_path: Path) -> None:
    telemetry = Telemetry.of(laboratory(tmp_path, "otlp"), "worker")
    began = time.monotonic()
    for _ in range(2_000):
        with telemetry.step("store", "archive_upload", "scan", SCAN, 1):
            pass
    assert time.monotonic() - began < 2, "two thousand steps waited for a listener that is away"
    began = time.monotonic()
    telemetry.shutdown()
    assert time.monotonic() - began < 5
    assert telemetry.undelivered == 2_000


def test_a_file_that_cannot_be_written_loses_telemetry_and_not_work(tmp_path: Path) -> None:
    telemetry = Telemetry.of(laboratory(tmp_path, "file"), "worker")
    (tmp_path / "telemetry" / "traces.jsonl").symlink_to(tmp_path / "elsewhere")
    with telemetry.step("store", "archive_upload", "scan", SCAN, 1):
        pass
    telemetry.shutdown()
    assert telemetry.undelivered == 1
    assert not (tmp_path / "elsewhere").exists()
