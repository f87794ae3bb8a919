"""A small laboratory whose books hold every kind of end, and the audit of them."""

from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from connectors.wiring import Lab
from flows.actions import Desk, Person, match, release, review, withdraw
from flows.audit.oracle import CHECKS
from flows.audit.snapshots import Books
from models.tables.case import Slide
from tests.small_lab import SmallSlide, message_arrives, order, run_until_calm, scan_arrives, small_lab

ANN = Person("Ann Example", "looked at the glass")


def books_of(lab: Lab, *, full: bool = True) -> Books:
    return Books(lab.settings, lab.database, lab.ids, lab.spool, lab.archive, full=full)


def desk_of(lab: Lab) -> Desk:
    return Desk(lab.database, lab.settings, lab.ids)


def breaches(lab: Lab, *names: str) -> list[str]:
    """Return what these checks find, all of them when none is named, each in one look."""
    books = books_of(lab)
    return [
        f"{check.name}: {sentence}"
        for check in CHECKS
        if not names or check.name in names
        for sentence in check.breaches(books)
    ]


def slide_id(lab: Lab, name: str) -> str:
    with lab.database.read() as session:
        return session.scalars(select(Slide.id).where(Slide.container_identifier == name)).one()


def lived_in(folder: Path, database_url: str) -> Lab:
    """Return a calm laboratory with complete, waiting and released cases, and with scans at every kind of end."""
    lab = small_lab(folder, database_url, order_wait=timedelta(hours=1))
    desk = desk_of(lab)
    for accession, slides in (("26B0001", 2), ("26B0002", 3), ("26B0003", 2), ("26B0004", 2)):
        names = [f"{accession}-A1-{number}" for number in range(1, slides + 1)]
        message_arrives(lab, order(accession, *names, stain="HE", parent=f"{accession}-A1", control_id=accession))
    message_arrives(lab, b"MSH|^~\\&|LIMS|NET|COVERSLIP|NET|20250101120000+0000||ORU^R01|broken|P|2.5.1\r")
    scans = {
        name: scan_arrives(lab, SmallSlide(codes=(name,))) for name in ("26B0001-A1-1", "26B0001-A1-2", "26B0003-A1-1")
    }
    scan_arrives(lab, SmallSlide(codes=("26B0004-A1-1",)))
    scan_arrives(lab, SmallSlide(codes=("26B0004-A1-2",), quality="cannot judge"))
    scan_arrives(lab, SmallSlide(codes=("26B0002-A1-1",), quality="rescan"))
    doubtful = scan_arrives(lab, SmallSlide(codes=("26B0003-A1-2",), quality="review"))
    handwritten = scan_arrives(lab, SmallSlide())
    foreign = scan_arrives(lab, SmallSlide(made=2))
    scan_arrives(lab, SmallSlide(codes=("26B0009-A1-1",)))
    scan_arrives(lab, SmallSlide(trouble="rejected"))
    run_until_calm(lab)
    cancel = order("26B0004", cancel=("26B0004-A1-2",), sent_at="20250102120000+0000", control_id="cancel")
    message_arrives(lab, cancel)
    scan_arrives(lab, SmallSlide(codes=("26B0002-A1-1",), made=2))
    match(desk, handwritten, slide_id(lab, "26B0002-A1-2"), ANN)
    review(desk, doubtful, "rescan", ANN)
    withdraw(desk, foreign, ANN, close=True)
    run_until_calm(lab)
    withdraw(desk, scans["26B0003-A1-1"], ANN)
    with lab.database.read() as session:
        case_id = session.scalars(select(Slide.case_id).where(Slide.container_identifier == "26B0003-A1-1")).one()
    release(desk, case_id, ANN)
    run_until_calm(lab)
    return lab
