"""A listener's profile is checked when the settings are read: a bad one stops the start, and no message."""

from pathlib import Path

import pytest

from connectors.first_lab import write_first_lab
from connectors.settings import load
from flows.intake.profiles import profile_of
from models.errors import RefusedError


def with_profile(home: Path, name: str) -> None:
    path = write_first_lab(home)
    text = path.read_text()
    assert 'issuer = "SITE-A"' in text
    path.write_text(text.replace('issuer = "SITE-A"', f'issuer = "SITE-A"\nprofile = "{name}"', 1))


def test_a_listener_without_a_profile_has_the_plain_one(tmp_path: Path) -> None:
    write_first_lab(tmp_path)
    settings = load(tmp_path)
    assert settings.listeners[0].profile == "plain"
    found = profile_of(settings, "lims")
    assert (found.title, found.issuer, found.site) == ("Plain OML^O33 and OML^O21", "SITE-A", "site-a")


def test_a_listener_may_name_a_shipped_profile_or_a_file_below_the_state_folder(tmp_path: Path) -> None:
    with_profile(tmp_path / "shipped", "stainer")
    assert profile_of(load(tmp_path / "shipped"), "lims").compound is not None
    with_profile(tmp_path / "own", "profiles/ours.yaml")
    (tmp_path / "own" / "profiles").mkdir()
    (tmp_path / "own" / "profiles" / "ours.yaml").write_text("extends: plain\ntitle: Ours\nanswer_with: ACK")
    found = profile_of(load(tmp_path / "own"), "lims")
    assert (found.title, found.answer_with, found.peer) == ("Ours", "ACK", "lims")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no-such", "there is no profile no-such: name one of"),
        ("gone.yaml", "gone.yaml can't be read"),
        ("bad.yaml", "bad.yaml: priorities.SOON: must be 'intra-operative', 'urgent' or 'routine'"),
    ],
)
def test_a_bad_profile_stops_the_start_with_its_sentence(name: str, sentence: str, tmp_path: Path) -> None:
    with_profile(tmp_path, name)
    (tmp_path / "bad.yaml").write_text("priorities: {SOON: soon}")
    with pytest.raises(RefusedError) as refused:
        load(tmp_path)
    assert sentence in str(refused.value)


def test_a_listeners_character_set_that_nobody_knows_stops_the_start(tmp_path: Path) -> None:
    path = write_first_lab(tmp_path)
    before = path.read_text()
    for charset in ("8859/1", "UNICODE UTF-8"):
        path.write_text(before.replace('issuer = "SITE-A"', f'issuer = "SITE-A"\ncharset = "{charset}"', 1))
        assert profile_of(load(tmp_path), "lims").charset == charset
    path.write_text(before.replace('issuer = "SITE-A"', 'issuer = "SITE-A"\ncharset = "klingon"', 1))
    with pytest.raises(RefusedError, match=r"listeners\.charset: klingon is no character set that is known"):
        load(tmp_path)
