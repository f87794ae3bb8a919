"""A gateway at a site, the centre that reads what it hands on, and a worker beside the gateway's spool."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import select

from connectors.eventlog.memory import MemoryLog
from connectors.scanners.spool import Spool
from connectors.settings_kafka import Kafka
from connectors.wiring import Lab
from models.tables.scan import ScanFile
from models.tables.step import Step
from tests.flows.intake.eventing import a_log, take_all
from tests.flows.looking import A, B, books_balance, inbox, scan_of, steps, told
from tests.flows.sending.eventful import with_sink
from tests.flows.sending.test_forward import message_comes, pauses_end
from tests.small_lab import ON_BOTH, SmallSlide, order, run_until_calm, scan_arrives, small_lab

PLACE = "site-a-spool"


@dataclass(frozen=True)
class Network:
    gateway: Lab
    centre: Lab
    at_site: Lab
    log: MemoryLog


@pytest.fixture
def network(tmp_path: Path, database_url: str) -> Iterator[Network]:
    log = a_log()
    centre = small_lab(tmp_path / "centre", database_url)
    alone = small_lab(tmp_path / "gateway", f"sqlite:///{tmp_path / 'gateway.db'}")
    spool = Spool(tmp_path / "spool", PLACE, 0)
    gateway = with_sink(replace(alone, spool=spool), log, Kafka(bootstrap=("localhost:9092",)), gateway=True)
    yield Network(gateway, centre, replace(centre, spool=spool), log)
    gateway.database.close()
    centre.database.close()


def places(lab: Lab) -> set[tuple[str, str]]:
    with lab.database.read() as session:
        return {(kind, place) for kind, place in session.execute(select(Step.kind, Step.place))}


@ON_BOTH
def test_bytes_are_worked_on_where_they_lie_and_the_case_is_assigned_at_the_centre(network: Network) -> None:
    message_comes(network.gateway, order("26H1", A))
    scan_id = scan_arrives(network.gateway, SmallSlide(codes=(A,)))
    run_until_calm(network.gateway)
    take_all(network.centre, network.log)
    run_until_calm(network.centre)
    assert (steps(network.centre, "slide_qc"), steps(network.centre, "barcode_matching")) == (["ready"], ["ready"])

    run_until_calm(network.at_site)

    assert scan_of(network.centre, scan_id).storage == "proven"
    needing = {kind for kind, place in places(network.centre) if place == PLACE}
    assert needing == {"slide_qc", "barcode_matching", "convert", "store"}
    assert told(network.centre) == ["archived", "released", "assigned"]
    books_balance(network.centre)
    books_balance(network.gateway)


@ON_BOTH
def test_a_site_that_was_cut_off_ends_as_one_that_never_was(network: Network) -> None:
    network.log.presence = "away"
    message_comes(network.gateway, order("26H1", A, B))
    scans = [scan_arrives(network.gateway, SmallSlide(codes=(A,)))]
    run_until_calm(network.gateway)
    message_comes(network.gateway, order("26H1", cancel=(B,), control_id="M2", sent_at="20250102120000+0000"))
    scans.append(scan_arrives(network.gateway, SmallSlide(codes=("26H999999-A1-1",))))
    network.log.presence = "mute"
    run_until_calm(network.gateway)
    network.log.presence = "there"
    while "kept" in inbox(network.gateway):
        pauses_end(network.gateway)
        run_until_calm(network.gateway)
    take_all(network.centre, network.log)
    run_until_calm(network.at_site)

    assert set(inbox(network.centre)) == {"applied"}
    assert len(inbox(network.centre)) == 4
    assert [scan_of(network.centre, one).identity for one in scans] == ["matched", "pending"]
    assert told(network.centre) == ["archived", "released", "assigned"]
    with network.centre.database.read() as session:
        assert set(session.scalars(select(ScanFile.place))) == {PLACE}
    books_balance(network.centre)
    books_balance(network.gateway)
