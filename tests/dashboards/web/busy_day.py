"""A laboratory in the middle of a busy day: something of everything that the page can show."""

from datetime import datetime, timedelta

from tests.dashboards.web.laboratory import Laboratory, opaque


def busy_day(laboratory: Laboratory, now: datetime) -> dict[str, str]:
    """Fill the books; return the ids of a case, of an archived scan, of an unmatched and of a set-aside one."""
    with laboratory.at_once():
        return _fill(laboratory, now)


def _fill(laboratory: Laboratory, now: datetime) -> dict[str, str]:
    _people_and_engine(laboratory, now)
    assigned, archived = _assigned_case(laboratory, now)
    _incomplete_case(laboratory, now)
    _open_case(laboratory, now)
    _nobody_eligible(laboratory, now)
    unmatched = _unmatched_scan(laboratory, now)
    broken = _broken_scan(laboratory, now)
    _other_sites(laboratory, now)
    laboratory.file("upload-7.svs", "arriving", at=now - timedelta(seconds=20))
    laboratory.file("notes.svs", "refused", "notes.svs is empty: export it again, or scan the slide again", at=now)
    return {"case": assigned, "archived": archived, "unmatched": unmatched, "broken": broken}


def _people_and_engine(laboratory: Laboratory, now: datetime) -> None:
    laboratory.worker("Prefect is away since 10:41:03 UTC: slides still move", now)
    laboratory.silent("lims:lims-a", now - timedelta(minutes=23), "nobody answers at its address: see that it runs")
    for number in range(12):
        laboratory.wait(
            "send",
            "sending",
            ("message", opaque(f"news {number}")),
            "the LIMS",
            at=now - timedelta(minutes=23 - number),
            hours=0.1,
            then="tried again",
            slot="lims:lims-a",
        )
    laboratory.reader("okafor", "Dr Ada Okafor")
    laboratory.reader("lind", "Dr Jonas Lind")


def _assigned_case(laboratory: Laboratory, now: datetime) -> tuple[str, str]:
    began = now - timedelta(hours=3)
    case = laboratory.case(
        "26S0001234",
        at=began,
        images="ready",
        reading="assigned",
        lane=1,
        due_at=now + timedelta(days=1),
        completeness_version=1,
    )
    scans = [
        _archived(laboratory, f"26S0001234-A{number}-1", case, began + timedelta(minutes=4 * number))
        for number in range(1, 5)
    ]
    laboratory.assign(
        case,
        "okafor",
        "the smallest cost of 3 who may get this read of gastrointestinal now: 12.4 against 15.1, by load",
        now - timedelta(hours=2),
    )
    return case, scans[0]


def _archived(laboratory: Laboratory, name: str, case: str, at: datetime, site: str = "site-a") -> str:
    slide = laboratory.slide(name, case)
    scan = laboratory.scan(name, slide, case, site=site, at=at, quality="pass", storage="proven")
    for minute, (what, before, after, cause) in enumerate(
        (
            ("quality", "pending", "pass", "slide_qc 1.1"),
            ("identity", "pending", "matched", "barcode_matching 1.1"),
            ("slide_id", None, slide, "barcode_matching 1.1"),
            ("storage", "received", "stored", "store 1.1"),
            ("storage", "stored", "proven", "prove 1.2"),
        )
    ):
        laboratory.history("scan", scan, what, before, after, at=at + timedelta(seconds=20 * minute + 3), cause=cause)
    for number, (kind, stage) in enumerate(
        (
            ("slide_qc", "slide_qc"),
            ("barcode_matching", "barcode_matching"),
            ("convert", "archive_upload"),
            ("store", "archive_upload"),
            ("prove", "archive_upload"),
        )
    ):
        begun = at + timedelta(seconds=20 * number)
        laboratory.step(
            kind,
            stage,
            ("scan", scan),
            "done",
            at=begun,
            ended_at=begun + timedelta(seconds=3.4 + number),
            attempt=2 if kind == "prove" else 1,
        )
    for role in ("level-0", "level-1", "label", "overview"):
        laboratory.object(scan, role)
    laboratory.message_out(
        f"archived:{scan}",
        ("scan", scan),
        "archived",
        at=at,
        state="answered",
        tries=1,
        answer_code="AA",
        answered_at=at,
    )
    return scan


def _incomplete_case(laboratory: Laboratory, now: datetime) -> None:
    began = now - timedelta(hours=5)
    case = laboratory.case("26S0001240", at=began, images="incomplete", due_at=now + timedelta(hours=6))
    for number in range(1, 4):
        _archived(laboratory, f"26S0001240-A1-{number}", case, began + timedelta(minutes=number))
    blurred = laboratory.slide("26S0001240-A2-1", case)
    reason = "41 % of the tissue is blurred: the whole right half"
    again = laboratory.scan("26S0001240-A2-1", blurred, case, at=began, quality="rescan", reason=reason)
    laboratory.history("scan", again, "quality", "pending", "rescan", at=began + timedelta(minutes=2))
    then = "raised on the list of what needs attention"
    laboratory.wait("expect_scan", "intake", ("slide", blurred), "a rescan", at=began, hours=48, then=then)
    awaited = laboratory.slide("26S0001240-A3-1", case)
    laboratory.wait("expect_scan", "intake", ("slide", awaited), "the scanner", at=began, hours=48, then=then)
    doubtful = laboratory.slide("26S0001240-A4-1", case)
    scan = laboratory.scan("26S0001240-A4-1", doubtful, case, at=began, quality="review", reason="little tissue: 0.4 %")
    then = "raised: 'coverslip review' decides"
    laboratory.wait("slide_qc", "slide_qc", ("scan", scan), "a person", at=began + timedelta(hours=1), then=then)
    moving = laboratory.slide("26S0001240-A5-1", case)
    scan = laboratory.scan("26S0001240-A5-1", moving, case, at=now - timedelta(minutes=2), quality="pass")
    laboratory.step("convert", "archive_upload", ("scan", scan), "running", at=now - timedelta(minutes=1))


def _open_case(laboratory: Laboratory, now: datetime) -> None:
    case = laboratory.case("26S0001302", at=now - timedelta(seconds=30), closed=False, lane=0)
    laboratory.wait(
        "settle",
        "intake",
        ("case", case),
        "the order to settle",
        at=now - timedelta(seconds=30),
        hours=1 / 60,
        then="the expected slides count as complete",
    )
    for number in (1, 2):
        slide = laboratory.slide(f"26S0001302-A1-{number}", case)
        laboratory.wait(
            "expect_scan", "intake", ("slide", slide), "the scanner", at=now - timedelta(seconds=30), hours=48
        )


def _nobody_eligible(laboratory: Laboratory, now: datetime) -> None:
    began = now - timedelta(hours=8)
    case = laboratory.case("26S0001111", at=began, images="ready", reading="unassigned", subspecialty="ophthalmic")
    _archived(laboratory, "26S0001111-A1-1", case, began)
    read = laboratory.read(case, began)
    laboratory.wait(
        "case_assignment",
        "case_assignment",
        ("read", read),
        "an eligible pathologist",
        at=now - timedelta(minutes=10),
        hours=0.25,
        then="tried again",
    )
    sentence = "nobody may read this ophthalmic case: change its subspecialty, or the people in the settings"
    laboratory.alert(("case", case), "nobody eligible", sentence, now - timedelta(hours=7))


def _unmatched_scan(laboratory: Laboratory, now: datetime) -> str:
    at = now - timedelta(hours=4, minutes=5)
    scan = laboratory.scan("IMG 0042", at=at, quality="pass", identity="unmatched")
    laboratory.history("scan", scan, "quality", "pending", "pass", at=at + timedelta(seconds=3), cause="slide_qc 1.1")
    laboratory.history(
        "scan", scan, "identity", "pending", "unmatched", at=at + timedelta(seconds=9), cause="barcode_matching 1.1"
    )
    laboratory.step(
        "slide_qc", "slide_qc", ("scan", scan), "done", at=at, ended_at=at + timedelta(seconds=3), attempt=1
    )
    laboratory.wait(
        "barcode_matching",
        "barcode_matching",
        ("scan", scan),
        "a person",
        at=at,
        then="raised: 'coverslip match' decides",
        result={"reason": "No code could be read on the label: it may be handwritten."},
    )
    laboratory.alert(("scan", scan), "waits too long", "has waited for a person since 6:37 UTC", now)
    return scan


def _broken_scan(laboratory: Laboratory, now: datetime) -> str:
    at = now - timedelta(hours=2)
    ended_at = at + timedelta(seconds=4)
    reason = "the slide is cut off: 3 of its 12 tile rows are missing, so export it again from the scanner"
    scan = laboratory.scan("26S0001250-A1-1", at=at, outcome="set aside", reason=reason)
    laboratory.history("scan", scan, "outcome", "active", "set aside", at=ended_at, cause="slide_qc 1.1")
    laboratory.step(
        "slide_qc",
        "slide_qc",
        ("scan", scan),
        "set aside",
        at=at,
        ended_at=ended_at,
        attempt=1,
        problem=reason,
    )
    laboratory.alert(("scan", scan), "set aside", reason, at)
    return scan


def _other_sites(laboratory: Laboratory, now: datetime) -> None:
    for place, site in enumerate(tuple(laboratory.sites)[1:], start=1):
        case = laboratory.case(f"26B000{place}001", site, at=now - timedelta(hours=1), images="awaiting")
        for number in range(1, 4):
            name = f"26B000{place}001-A1-{number}"
            scan = laboratory.scan(name, laboratory.slide(name, case), case, site, now - timedelta(minutes=9 - number))
            laboratory.step("slide_qc", "slide_qc", ("scan", scan), "running", at=now - timedelta(minutes=9 - number))
        lost = laboratory.scan(f"26B000{place}777-A1-1", site=site, at=now - timedelta(minutes=50), quality="pass")
        laboratory.wait(
            "barcode_matching",
            "barcode_matching",
            ("scan", lost),
            "the LIMS",
            at=now - timedelta(minutes=50),
            hours=12,
            then="goes to a person",
        )
