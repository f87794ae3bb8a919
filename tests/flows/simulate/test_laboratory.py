"""The demonstration's laboratory is one that Coverslip can run."""

import dataclasses
import stat
from pathlib import Path

import pytest

from connectors.settings import load
from flows.simulate.laboratory import Ports, free_ports, gateway_folder, scanner_folder, write_laboratory
from flows.simulate.script import CASES, SITES
from models.errors import RefusedError


def test_its_settings_are_read_as_they_are_meant(tmp_path: Path) -> None:
    home = tmp_path / "var" / "demo"
    ports = Ports(page=1, engine=2, orders=(3, 4, 5), lims=(6, 7, 8), kafka=9, gateway_page=10)
    write_laboratory(home, ports)
    settings = load(home)
    assert [site.id for site in settings.sites] == [site.id for site in SITES]
    assert (settings.page.port, settings.engine.port) == (1, 2)
    assert [listener.port for listener in settings.listeners] == [3, 4, 5]
    assert [settings.peer(site.lims).port for site in settings.sites] == [6, 7, 8]
    assert [settings.resolved(one.path) for one in settings.scanners] == [scanner_folder(home, one.id) for one in SITES]
    assert all(scanner_folder(home, site.id).is_dir() for site in SITES)


def test_nobody_else_can_read_its_key(tmp_path: Path) -> None:
    write_laboratory(tmp_path / "demo", free_ports())
    assert stat.S_IMODE((tmp_path / "demo" / "coverslip.toml").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "demo").stat().st_mode) == 0o700


def test_a_folder_that_is_in_use_is_left_as_it_is(tmp_path: Path) -> None:
    mine = tmp_path / "coverslip.db"
    mine.write_text("precious")
    with pytest.raises(RefusedError, match="in use"):
        write_laboratory(tmp_path, free_ports())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("coverslip.db", "precious")]


def test_every_case_has_more_than_one_possible_reader(tmp_path: Path) -> None:
    write_laboratory(tmp_path / "demo", free_ports())
    readers = load(tmp_path / "demo").readers
    for case in CASES:
        assert sum(case.subspecialty in (*reader.leads, *reader.may_read) for reader in readers) > 1


def test_all_ports_differ() -> None:
    page, engine, orders, lims, *others = dataclasses.astuple(free_ports())
    flat = [page, engine, *orders, *lims, *others]
    assert len(set(flat)) == len(flat) == 4 + 2 * len(SITES)


def test_with_kafka_the_gateway_alone_has_the_doors_and_both_know_the_same_spool(tmp_path: Path) -> None:
    home, ports = tmp_path / "demo", free_ports()
    write_laboratory(home, ports, by_kafka=True)
    laboratory, gateway = load(home), load(gateway_folder(home))
    assert {one.at_gateway for one in laboratory.listeners} | {one.at_gateway for one in laboratory.scanners} == {True}
    assert {one.at_gateway for one in gateway.listeners} | {one.at_gateway for one in gateway.scanners} == {False}
    assert gateway.forwards
    assert not laboratory.forwards
    assert laboratory.kafka == gateway.kafka
    assert laboratory.kafka is not None
    assert laboratory.kafka.bootstrap == (f"127.0.0.1:{ports.kafka}",)
    assert laboratory.installation_key == gateway.installation_key
    assert [one.port for one in gateway.listeners] == list(ports.orders)
    for one in gateway.scanners:
        assert gateway.resolved(one.path).samefile(scanner_folder(home, one.site))
    laboratory.resolved(laboratory.work.spool).mkdir()
    assert gateway.resolved(gateway.work.spool).samefile(laboratory.resolved(laboratory.work.spool))


def test_without_kafka_nothing_of_it_is_written(tmp_path: Path) -> None:
    write_laboratory(tmp_path / "demo", free_ports())
    assert load(tmp_path / "demo").kafka is None
    assert not gateway_folder(tmp_path / "demo").exists()
