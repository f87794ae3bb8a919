"""A small laboratory whose cases are divided, read twice and read ahead: its people, its policy, its orders."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from connectors.settings_doors import LimsPeer
from connectors.settings_readers import Hours, Reader
from connectors.wiring import Lab
from flows.people.sync import sync_people
from models.policy import Policy
from models.tables.case import Specimen
from models.tables.reading import Assignment, Competence, Credit, PolicyVersion, Read, ReadSpecimen
from tests.small_lab import small_lab

LabOf = Callable[..., Lab]
"""Opens a laboratory as ``reading_lab`` does, and closes it when the test is over."""

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ALWAYS = Hours(days=("mon", "tue", "wed", "thu", "fri", "sat", "sun"), starts=time(0), ends=time(0))
LAST = "20250101150000+0000"
"""After ``LATEST``."""
SPLIT = {"split": True}


def reader(name: str, *leads: str, site: str = "site-a") -> Reader:
    return Reader(id=name, name=f"Dr {name.title()} Example", site=site, leads=leads, hours=(ALWAYS,))


PEOPLE = (
    reader("rosa", "general", "breast", "skin"),
    reader("tom", "general", "breast", "skin"),
    reader("nia", "neuro"),
    reader("bea", "breast"),
)


def reading_lab(
    folder: Path,
    database_url: str,
    *people: Reader,
    hears_all: bool = False,
    weight_model: str = "weights/1",
    specimen_points: dict[str, float] | None = None,
    site: dict[str, Any] | None = None,
    **subspecialties: dict[str, Any],
) -> Lab:
    """Return a laboratory with these people, and a policy of these subspecialties."""
    lab = small_lab(folder, database_url, **(site or {}))
    peers = tuple(
        LimsPeer(name=one.name, facility=one.facility, hears_all_readers=hears_all) for one in lab.settings.lims
    )
    settings = lab.settings.model_copy(update={"readers": people or PEOPLE, "lims": peers})
    policy_is(
        lab,
        Policy(
            weight_model=weight_model,
            specimen_points=specimen_points or {},
            subspecialties=subspecialties,  # type: ignore[arg-type] # pydantic makes them its own
        ),
    )
    with lab.database.write("people") as session:
        sync_people(session, settings)
    return replace(lab, settings=settings)


def policy_is(lab: Lab, policy: Policy) -> None:
    """Put a policy in force."""
    with lab.database.write("policy") as session:
        version = (session.scalar(select(func.max(PolicyVersion.version))) or 0) + 1
        body = policy.model_dump(mode="json")
        row = PolicyVersion(version=version, digest="0" * 64, body=body, begins_at=LONG_AGO, by="Ann", because="a test")
        session.add(row)


def reads_ahead(lab: Lab, name: str, subspecialty: str) -> None:
    """Make somebody a trainee."""
    with lab.database.write("trainee") as session:
        row = session.scalars(select(Competence).where(Competence.pathologist_id == name)).first()
        assert row is not None
        row.subspecialty, row.level = subspecialty, 3


def divided(
    *specimens: tuple[str, str],
    accession: str = "26H1",
    sent_at: str = "20250101120000+0000",
    control_id: str = "O1",
    control: str = "NW",
    slides: int = 1,
    priority: str = "",
    points: str = "",
    kind: str = "",
) -> bytes:
    """Return OML^O33 of specimens, each with the code of its own order (OBR-4), and slides of it for the microscope."""
    lines = [
        f"MSH|^~\\&|LIMS|NET|COVERSLIP|NET|{sent_at}||OML^O33^OML_O33|{control_id}|P|2.5.1",
        "PID|1||A100234^^^NET^MR||Example^Ada^^^^^L||19640229|F",
    ]
    for name, code in specimens:
        order = [f"ORC|{control}|P-{name}^LIMS|{accession}^LIMS", f"OBR|1|P-{name}^LIMS|{accession}^LIMS|{code}"]
        order[1:1] = [f"TQ1|1||||||||{priority}"] if priority else []
        identifier = f"{accession}-{name}"
        lines += [f"SPM|{len(lines)}|{identifier}||{kind}" + "|" * 23 + "CONTAINER", *order]
        for number in range(1, slides + 1 if control != "CA" else 1):
            slide = f"{identifier}-{number}"
            glass = [f"SPM|{len(lines)}|{slide}|{identifier}" + "|" * 24 + "GLASS", "SAC|||" + slide + "|" * 45 + "OTH"]
            lines += [*glass, order[0], f"OBR|1|P-{name}^LIMS|{accession}^LIMS|SLIDE"]
    lines += [f"OBX|1|NM|WORKLOAD-POINTS^Points^L||{points}||||||F"] if points else []
    return "".join(f"{line}\r" for line in lines).encode()


def cancelled(*specimens: str, sent_at: str, control_id: str = "CA1", accession: str = "26H1") -> bytes:
    """Return the cancel of specimens and of their only slides."""
    lines = [
        f"MSH|^~\\&|LIMS|NET|COVERSLIP|NET|{sent_at}||OML^O33^OML_O33|{control_id}|P|2.5.1",
        "PID|1||A100234^^^NET^MR||Example^Ada^^^^^L||19640229|F",
    ]
    for name in specimens:
        for identifier in (f"{accession}-{name}", f"{accession}-{name}-1"):
            lines += [f"SPM|{len(lines)}|{identifier}", f"ORC|CA|P-{name}^LIMS|{accession}^LIMS", "OBR|1|||SLIDE"]
    return "".join(f"{line}\r" for line in lines).encode()


Seen = tuple[str, str, str, str | None, bool]


def reads_of(lab: Lab, number: int = 1) -> list[Seen]:
    """Return each read of a round: role, scope, its specimens, who has it, whether it is open."""
    with lab.database.read() as session:
        owned = (Assignment.read_id == Read.id) & Assignment.ended_at.is_(None)
        rows = session.execute(
            select(Read, Assignment.pathologist_id).outerjoin(Assignment, owned).where(Read.round == number)
        ).all()
        return sorted(
            (read.role, read.scope, covered(session, read.id), owner, read.closed_at is None) for read, owner in rows
        )


def covered(session: Any, read_id: str) -> str:  # noqa: ANN401 - a session
    """Return the letters of the specimens that a read names."""
    names = session.scalars(
        select(Specimen.container_identifier)
        .join(ReadSpecimen, ReadSpecimen.specimen_id == Specimen.id)
        .where(ReadSpecimen.read_id == read_id)
    )
    return "".join(sorted(name.rpartition("-")[2] for name in names))


def credits_of(lab: Lab) -> list[tuple[int, str, str, str, float]]:
    """Return what was credited: round, role, scope, to whom, how much."""
    with lab.database.read() as session:
        rows = session.execute(select(Read, Credit).join(Credit, Credit.read_id == Read.id)).all()
        return sorted((read.round, read.role, read.scope, one.pathologist_id, one.points) for read, one in rows)
