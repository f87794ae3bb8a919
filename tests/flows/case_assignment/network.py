"""An invented network with many readers and many reads that nobody has: for races and for measuring."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

from sqlalchemy import insert
from sqlalchemy.orm import Session

from connectors.settings import Settings
from connectors.settings_doors import LimsPeer
from connectors.settings_site import SiteRules
from flows.people.pools import THE_POOL
from models.database import Database, insert_unless_there
from models.policy import Policy, Subspecialty
from models.tables.case import Case, Patient
from models.tables.place import Site
from models.tables.reading import (
    Competence,
    Network,
    NetworkAid,
    Pathologist,
    PolicyVersion,
    Pool,
    Read,
    ReadingSession,
)

_NETWORKS: Final = {"north": "uplands", "middle": "uplands", "south": "lowlands"}
SCOPES: Final = {"skin": "network", "gi": "network", "breast": "network", "thoracic": "region", "neuro": "national"}
_SHARE: Final = {"skin": 30, "gi": 40, "breast": 20, "thoracic": 8, "neuro": 2}
_LONG_AGO: Final = date(2026, 1, 5)


@dataclass(frozen=True)
class Size:
    """How much there is of everything."""

    people: int = 200
    sites: int = 30
    reads: int = 2000
    max_points: float = 1e6


def settings_of(folder: Path, database_url: str, size: Size) -> Settings:
    """Return settings whose sites are those of the network, all with one LIMS."""
    sites = tuple(SiteRules(id=one, name=one, zone="Europe/London", lims="lims") for one in _sites(size))
    return Settings(
        home=folder,
        installation_key="5" * 64,  # type: ignore[arg-type] # pydantic makes it a secret
        database_url=database_url,
        sites=sites,
        lims=(LimsPeer(name="lims"),),
        listeners=(),
        scanners=(),
        readers=(),
    )


def stock(database: Database, size: Size, now: datetime, seed: int = 7) -> tuple[str, ...]:
    """Write a network with its people, its policy and its reads; return the ids of the reads."""
    chance = random.Random(seed)
    with database.write("test") as session:
        _places(session, size)
        _people(session, size, chance)
        doubles = {name: Subspecialty(scope=scope) for name, scope in SCOPES.items()}  # type: ignore[arg-type] # words of Scope
        body = Policy(subspecialties=doubles).model_dump(mode="json")
        begun = {"version": 1, "digest": "0" * 64, "begins_at": datetime(2026, 1, 1, tzinfo=UTC), "by": "test"}
        session.execute(insert(PolicyVersion).values(body=body, because="the network's own", **begun))
        rows = list(_cases(size, now, chance))
        session.execute(insert(Patient), [{"id": one["patient_id"]} for one in rows])
        session.execute(insert(Case), rows)
        reads = [
            {"id": _id("read", number), "case_id": one["id"], "round": 1, "role": "primary", "created_at": now}
            | {"points": float(chance.choice((1, 2, 2, 3, 4, 6, 10, 16))), "scope": "whole"}
            for number, one in enumerate(rows)
        ]
        session.execute(insert(Read), reads)
    return tuple(str(one["id"]) for one in reads)


def _id(*what: object) -> str:
    return str(uuid5(NAMESPACE_OID, repr(what)))


def _sites(size: Size) -> dict[str, str]:
    names = list(_NETWORKS)
    return {f"site-{number:02d}": names[number % len(names)] for number in range(size.sites)}


def _places(session: Session, size: Size) -> None:
    session.execute(insert(Network), [{"id": one, "name": one, "region": region} for one, region in _NETWORKS.items()])
    insert_unless_there(session, Pool, [{"id": one} for one in (THE_POOL, *_NETWORKS)])
    session.execute(insert(NetworkAid), [{"network_id": "north", "aiding_id": "south"}])
    rows = [
        {"id": one, "name": one, "zone": "Europe/London", "network_id": network}
        for one, network in _sites(size).items()
    ]
    session.execute(insert(Site), rows)


def _people(session: Session, size: Size, chance: random.Random) -> None:
    sites = list(_sites(size).items())
    people, competences, sessions = [], [], []
    for number in range(size.people):
        site, network = sites[number % len(sites)]
        person = f"p{number:03d}"
        days = chance.choice((5, 5, 5, 4, 3))
        people.append(
            {"id": person, "name": f"Dr {person}", "site_id": site, "pool_id": network, "fte": days / 5}
            | {"points_a_week": 20.0 * days, "active": True, "max_points": size.max_points}
        )
        mine = chance.sample(list(SCOPES), 3)
        competences += [
            {"pathologist_id": person, "subspecialty": one, "level": 1 if one == mine[0] else 2, "digital": True}
            | {"valid_from": _LONG_AGO}
            for one in mine
        ]
        sessions += [
            {"pathologist_id": person, "weekday": day, "starts": time(9), "ends": time(17)} for day in range(days)
        ]
    session.execute(insert(Pathologist), people)
    session.execute(insert(Competence), competences)
    session.execute(insert(ReadingSession), sessions)


def _cases(size: Size, now: datetime, chance: random.Random) -> Iterator[dict[str, Any]]:
    sites = list(_sites(size))
    for number in range(size.reads):
        yield {
            "id": _id("case", number),
            "site_id": chance.choice(sites),
            "patient_id": _id("patient", number),
            "subspecialty": chance.choices(list(_SHARE), list(_SHARE.values()))[0],
            "lane": chance.choices((0, 1, 2), (1, 10, 89))[0],
            "due_at": now + timedelta(days=chance.choice((1, 2, 5, 10))),
            "images": "ready",
            "reading": "unassigned",
            "report": "none",
            "round": 1,
            "cancelled": False,
            "released": True,
            "registered_at": now,
            "orders_changed_at": now,
            "completeness_version": 1,
            "identity_digest": "",
        }
