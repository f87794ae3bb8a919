"""A real slide's journey through the real processes: from its order and its file to the archive and a pathologist."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import tifffile
from pydicom import dcmread
from pydicom.encaps import generate_frames
from wsidicom import WsiDicom

from connectors.lims.simulator import SimulatedLims
from tests.journeys.running import Running, running

pytestmark = pytest.mark.timeout(240)

ORDER = "\r".join(  # noqa: FLY002 - one segment a line
    (
        "MSH|^~\\&|LIMS|SITEA|COVERSLIP|NET|20261122080000+0000||OML^O33^OML_O33|REAL1|P|2.5.1",
        "PID|1||9990048215^^^NHS^NH~J100234^^^SITEA^MR||Example^Jo^^^^^L||19640229|F",
        "SPM|1|26J000001-A||119376003^Tissue specimen^SCT||||76752008^Breast structure^SCT|||||||||||||||||||CONTAINER",
        "ORC|NW|P1^LIMS|26J000001^LIMS",
        "TQ1|1|||||||20991130170000+0000|R",
        "OBR|1|P1^LIMS|26J000001^LIMS|BREAST^Breast histology^L",
        "SPM|2|26J000001-A1|26J000001-A|119376003^Tissue specimen^SCT|||||||||||||||||||||||CASSETTE",
        "ORC|NW|P2^LIMS|26J000001^LIMS",
        "OBR|1|P2^LIMS|26J000001^LIMS|BLOCK^Block^L",
        "SPM|3|26J000001-A1-1|26J000001-A1|119376003^Tissue specimen^SCT|||||||||||||||||||||||GLASS",
        "OBX|1|CWE|397165007^Stain^SCT|1|12710003^Hematoxylin stain^SCT||||||F",
        "OBX|2|CWE|397165007^Stain^SCT|1|36879007^Eosin stain^SCT||||||F",
        "SAC|||26J000001-A1-1",
        "ORC|NW|P3^LIMS|26J000001^LIMS",
        "OBR|1|P3^LIMS|26J000001^LIMS|SLIDE^Slide^L",
        "",
    )
)


def test_a_real_slide_waits_for_a_person_is_matched_archived_assigned_and_reported(
    tmp_path: Path, shared_data: Path
) -> None:
    slide = shared_data / "slides" / "CMU-1-Small-Region.svs"
    with running(tmp_path, _settle_soon) as lab, _lims_of(lab) as lims:
        assert "MSA|AA|REAL1" in _send_with_python_hl7(lab, tmp_path)
        _wait_for_prefect(lab)
        shutil.copy(slide, lab.scanner_folder)
        rows = lab.wait_until(lambda rows: any(row["waiting_for"] == "a person" for row in rows))
        scan = next(row["scan"] for row in rows if row["waiting_for"] == "a person")

        ordered = next(row["slide"] for row in rows if row["waiting_for"] == "the scanner")
        assert ordered.startswith("26J000001-A1-1@")

        lab.coverslip("match", scan, ordered, "--by", "A. Tester", "--reason", "read by eye")

        lab.wait_until(lambda rows: all(row["state"] == "assigned" for row in rows))
        messages = [message.decode() for message in lims.wait_for(3, seconds=60)]
        assert _is_in_prefect(lab, scan)
        assert lab.coverslip("audit", "books")
    _nothing_names_the_patient(lab)
    assert sorted(message.split("|")[8].split("^")[0] for message in messages) == ["OML", "OML", "OUL"]
    assert any("26J000001-A1-1" in message and message.split("|")[8].startswith("OUL") for message in messages)
    objects = sorted(lab.archive.rglob("*.dcm"))
    _passes_dciodvfy(objects)
    _opens_with_the_same_tiles(objects, slide)


@pytest.mark.faults
def test_without_prefect_slides_still_move_and_the_page_says_so(tmp_path: Path, shared_data: Path) -> None:
    with running(tmp_path, _settle_soon) as lab, _lims_of(lab):
        os.kill(int(lab.where["pids"]["prefect"]), 9)
        shutil.copy(shared_data / "slides" / "CMU-1-Small-Region.svs", lab.scanner_folder)
        rows = lab.wait_until(lambda rows: any(row["waiting_for"] == "a person" for row in rows))
        page = httpx.get(str(lab.where["page"])).text
    assert "Prefect is away since" in page
    assert rows


def _settle_soon(text: str) -> str:
    assert "settle_after" in text
    lines = [line for line in text.splitlines() if "settle_after" not in line and "stable_for" not in line]
    text = "\n".join(lines).replace("[[sites]]", "[[sites]]\nsettle_after = 2", 1)
    text = text.replace("[[scanners]]", "[[scanners]]\nstable_for = 1", 1)
    return text + '\n[telemetry]\nto = "file"\n'


def _wait_for_prefect(lab: Running) -> None:
    """Wait until the page says that Prefect runs the flows; until it has started, slides move without it."""
    deadline = time.monotonic() + 60
    while "Prefect runs and shows the flows" not in httpx.get(str(lab.where["page"])).text:
        assert time.monotonic() < deadline, "the worker did not find Prefect's server within a minute"
        time.sleep(0.5)


def _lims_of(lab: Running) -> SimulatedLims:
    return SimulatedLims(port=int(lab.where["lims"][0]["port"]))


def _send_with_python_hl7(lab: Running, folder: Path) -> str:
    """Send the order by python-hl7's own command and return the answer that it prints."""
    message = folder / "order.hl7"
    message.write_text(ORDER, encoding="utf-8", newline="")
    command = ("mllp_send", "--loose", "-p", str(lab.mllp_port), "-f", str(message), "127.0.0.1")
    tool = shutil.which(command[0], path=str(Path(os.sys.executable).parent)) or command[0]  # type: ignore[attr-defined]
    return subprocess.run((tool, *command[1:]), capture_output=True, text=True, timeout=30, check=True).stdout


def _nothing_names_the_patient(lab: Running) -> None:
    """Search logs, traces, metrics and Prefect's whole state for what the order says of the patient and the case."""
    searched = [*(lab.home / "logs").iterdir(), *(lab.home / "telemetry").iterdir()]
    searched += [path for path in (lab.home / "prefect").rglob("*") if path.is_file()]
    assert any(path.name == "traces.jsonl" and path.stat().st_size for path in searched)
    for path in searched:
        for secret in (b"Example", b"9990048215", b"J100234", b"26J000001", b"19640229"):
            assert secret not in path.read_bytes(), f"{path.name} names the patient"


def _is_in_prefect(lab: Running, scan: str) -> bool:
    """Tell whether Prefect's server knows a flow run by the scan's opaque id, and nothing of the patient."""
    runs = httpx.post(f"{lab.where['prefect']}/api/flow_runs/filter", json={"limit": 200}).json()
    assert "26J000001" not in str(runs)
    return any(run["name"] == scan for run in runs)


def _passes_dciodvfy(objects: list[Path]) -> None:
    assert objects
    if shutil.which("dciodvfy") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("needs dciodvfy: apt-get install dicom3tools")
    for path in objects:
        found = subprocess.run(("dciodvfy", str(path)), capture_output=True, text=True, timeout=60, check=False).stderr
        assert not [line for line in found.splitlines() if line.startswith("Error")], found


def _opens_with_the_same_tiles(objects: list[Path], slide: Path) -> None:
    with WsiDicom.open(objects) as opened:
        assert opened.levels
        assert opened.labels
    datasets = [dcmread(path) for path in objects]
    base = max(datasets, key=lambda one: one.TotalPixelMatrixRows)
    assert base.PatientID == "J100234"
    assert base.ContainerIdentifier == "26J000001-A1-1"
    frames = list(generate_frames(base.PixelData, number_of_frames=base.NumberOfFrames))
    with tifffile.TiffFile(slide) as tiff:
        page = tiff.pages[0]
        for frame, offset, size in zip(frames, page.dataoffsets, page.databytecounts, strict=True):
            tiff.filehandle.seek(offset)
            tile = tiff.filehandle.read(size)
            # From SOS on it is the tile's own compressed data; before it, DICOM frames carry the tables inside.
            scan_data = tile[tile.index(b"\xff\xda") :]
            assert frame.rstrip(b"\x00").endswith(scan_data.rstrip(b"\x00"))
