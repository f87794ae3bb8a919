from pathlib import Path

import pytest

from connectors.first_lab import describe, write_first_lab
from connectors.settings import load
from connectors.wiring import open_spool
from models.errors import RefusedError

KAFKA = '[kafka]\nbootstrap = ["127.0.0.1:9092"]\n'


def laboratory(home: Path, more: str) -> Path:
    path = write_first_lab(home)
    path.write_text(f"{path.read_text()}\n{more}")
    return home


def test_a_first_laboratory_is_no_gateway_and_its_spool_is_local(tmp_path: Path) -> None:
    settings = load(laboratory(tmp_path, ""))
    assert not settings.forwards
    assert (settings.work.place, open_spool(settings).root) == ("local", tmp_path / "spool")
    assert [what for what, _how in describe(settings) if what in ("Kafka", "gateway")] == []


def test_a_gateway_is_named_by_its_section_alone(tmp_path: Path) -> None:
    settings = load(laboratory(tmp_path, f"{KAFKA}[gateway]\n"))
    assert settings.forwards
    assert [what for what, _how in describe(settings) if what in ("Kafka", "gateway")] == ["Kafka", "gateway"]
    assert not load(laboratory(tmp_path, "forward = false\n")).forwards


def test_a_gateway_without_kafka_is_refused_in_one_sentence(tmp_path: Path) -> None:
    laboratory(tmp_path, "[gateway]\n")
    with pytest.raises(RefusedError, match=r"gateway\.forward needs Kafka: add a \[kafka\] section"):
        load(tmp_path)


def test_no_lims_has_the_name_that_the_books_give_the_event_log(tmp_path: Path) -> None:
    path = tmp_path / "coverslip.toml"
    laboratory(tmp_path, "")
    name = load(tmp_path).lims[0].name
    path.write_text(path.read_text().replace(f'"{name}"', '"kafka"'))
    with pytest.raises(RefusedError, match=r"lims\.name can't be kafka"):
        load(tmp_path)


def test_a_place_names_the_spool_that_a_gateway_and_its_sites_worker_share(tmp_path: Path) -> None:
    laboratory(tmp_path, '[work]\nplace = "site-a-spool"\nspool = "../shared"\n')
    spool = open_spool(load(tmp_path))
    assert (spool.place, spool.root) == ("site-a-spool", tmp_path / "../shared")


def test_what_a_gateway_opens_is_not_told_as_ours(tmp_path: Path) -> None:
    path = tmp_path / "coverslip.toml"
    laboratory(tmp_path, "")
    text = path.read_text()
    for section in ("[[listeners]]\n", "[[scanners]]\n"):
        text = text.replace(section, f"{section}at_gateway = true\n")
    path.write_text(text)
    told = [what for what, _how in describe(load(tmp_path))]
    assert "HL7 in (MLLP)" not in told
    assert "scanner folder" not in told
