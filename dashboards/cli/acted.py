"""What a person did, said back to them."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from dashboards.cli.desk import console, plain, print_json, short

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from flows.actions import Acted, Desk


def say_acted(desk: "Desk", acted: "Acted", *, as_json: bool) -> None:
    """Say what was done to which scan or case, and what follows by itself."""
    if as_json:
        print_json(asdict(acted))
        return
    subject = f"Scan {short(acted.scan)}" if acted.scan else f"Case {short(acted.case)}"
    with desk.database.read() as session:
        called = _called(session, acted)
    said = "; ".join((acted.what, *acted.follows))
    console().print(plain(f"{subject}{called}: {said}."), soft_wrap=True)


def _called(session: "Session", acted: "Acted") -> str:
    """Return how people know the slide and the case, so that they see a slip at once."""
    from sqlalchemy import select

    from models.tables.case import Identifier, Slide

    slide = session.get(Slide, acted.slide) if acted.slide else None
    accession = session.scalar(
        select(Identifier.value).where(Identifier.subject_id == acted.case, Identifier.kind == "accession").limit(1)
    )
    parts = [f"slide {slide.container_identifier}@{slide.issuer}"] if slide else []
    parts += [f"accession {accession}"] if accession else []
    return f" ({', '.join(parts)})" if parts else ""
