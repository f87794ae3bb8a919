"""Profiles are files: what is shipped is whole, and what a laboratory writes is checked when it is read."""

from pathlib import Path

import pytest

from connectors.lims.places import Place, place
from connectors.lims.profile import Profile, profile_named
from connectors.lims.profile_file import read_profile_file, shipped_profiles
from models.errors import RefusedError


def refusal(folder: Path, text: str, name: str = "lab.yaml") -> str:
    (folder / name).write_text(text)
    with pytest.raises(RefusedError) as refused:
        profile_named(name, folder)
    return str(refused.value)


def test_every_dialect_ships() -> None:
    assert shipped_profiles() == ("ai-integration", "dpow", "orm-o01", "plain", "stainer")


@pytest.mark.parametrize("name", shipped_profiles())
def test_a_shipped_profile_is_whole_and_says_what_it_is(name: str, tmp_path: Path) -> None:
    assert profile_named(name, tmp_path).title


def test_what_is_not_said_is_as_in_the_plain_profile(tmp_path: Path) -> None:
    assert Profile() == profile_named("plain", tmp_path)
    said = read_profile_file("plain", tmp_path)
    of_the_listener = {"peer", "site", "issuer", "zone", "limits"}
    assert said.keys() == Profile.model_fields.keys() - of_the_listener
    (tmp_path / "own.yaml").write_text("title: Ours")
    assert profile_named("own.yaml", tmp_path) == Profile(title="Ours")


def test_a_laboratory_says_only_what_its_interface_does_otherwise(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "lab.yaml").write_text(
        "extends: plain\n"
        "accession_fields: [ORC-4, SPM-2.1.2]\n"
        "accession_pattern: '^([0-9A-Z]+)-'\n"
        "priorities: {soon: urgent, P:}\n"
        "subspecialties:\n  00012: skin\n"
    )
    found = profile_named("profiles/lab.yaml", tmp_path, issuer="LAB")
    assert found.accession_fields == (Place("ORC", 4), Place("SPM", 2, 1, 2))
    assert found.accession_pattern is not None
    assert found.accession_pattern.pattern == "^([0-9A-Z]+)-"
    assert (found.priorities["SOON"], found.priorities["S"], "P" in found.priorities) == ("urgent", "urgent", False)
    assert (found.subspecialties["00012"], found.subspecialties["BREAST"]) == ("skin", "breast")
    assert (found.issuer, found.container_fields) == ("LAB", Profile().container_fields)


def test_a_profile_may_extend_one_that_extends_another(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\nreader_roles: [XX]")
    (tmp_path / "b.yaml").write_text("extends: dpow\nreader_roles: [YY]\naddendum_codes: [ADD]")
    found = profile_named(str(tmp_path / "a.yaml"), tmp_path)
    assert found.reader_roles == {"XX"}
    assert found.addendum_codes == {"ADD"}
    assert found.stain_fields == ()


def test_a_code_stays_the_text_that_it_is(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("result_statuses: {Y: final, NO: final, 12:30: final, 0020: final, 1e3: final}")
    found = profile_named("lab.yaml", tmp_path)
    assert [found.result_statuses.get(code) for code in ("Y", "NO", "12:30", "0020", "1E3")] == ["final"] * 5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("accesion_fields: [ORC-3]", "accesion_fields: is not a key of a profile: check its spelling"),
        ("accession_fields: [SPM30]", "accession_fields: must name a field, as in SPM-30, ORC-7.6 or SPM-2.1.2"),
        ("accession_fields: [SPM-0]", "accession_fields: must name a field, as in SPM-30, ORC-7.6 or SPM-2.1.2"),
        ("accession_fields: [ORC-300]", "accession_fields: must name a field, as in SPM-30, ORC-7.6 or SPM-2.1.2"),
        ("due_fields: [OBR-36, OBS-7]", "due_fields: names OBS, which is no segment of HL7's"),
        ("accession_fields: ORC-3", "accession_fields: must be a list, as in [SPM-2, SAC-3]"),
        ("specimen_type_fields: [SPM-4.2]", "specimen_type_fields: must name a whole field, as in SPM-4"),
        ("accession_pattern: '^(([0-9A-Z]+)+)+$'", "accession_pattern: repeats a group that can match in several ways"),
        ("accession_pattern: '([0-9]+){1,9}'", "accession_pattern: repeats a group that can match in several ways"),
        ("accession_pattern: '(?=A)[0-9]+'", "accession_pattern: may use only the groups that it can name"),
        ("accession_pattern: '('", "accession_pattern: is no regular expression: missing ), unterminated"),
        ("identifier_shapes: [['-[0-9', slide]]", "identifier_shapes.0.0: is no regular expression: unterminated"),
        ("identifier_shapes: [['-A', jar]]", "identifier_shapes.0.1: must be 'specimen', 'block' or 'slide'"),
        ("container_kinds: {JAR: bucket}", "container_kinds.JAR: must be 'specimen', 'block' or 'slide'"),
        ("container_kinds:", "container_kinds: must be a table of codes and what they mean, as in S: urgent"),
        ("priorities: {SOON: soon}", "priorities.SOON: must be 'intra-operative', 'urgent' or 'routine'"),
        ("controls: {ZZ: burn}", "controls.ZZ: must be 'register', 'change', 'cancel', 'replace' or 'replacement'"),
        ("reads: {ADT^A01: dance}", "reads.ADT^A01: must be 'order', 'patient', 'merge', 'move', 'report'"),
        ("result_statuses: {F: done}", "result_statuses.F: must be 'preliminary', 'final', 'supplementary'"),
        ("subspecialties: {X: Skin!}", "subspecialties.X: must be small letters, digits and underscores"),
        ("not_stains: SLIDE", "not_stains: must be a list of codes, as in [PI]"),
        ("limits: {segments: 9}", "limits: is said by the listener in the settings, never by a profile: take it out"),
        ("issuer: LAB", "issuer: is said by the listener in the settings, never by a profile: take it out"),
        (
            "compound: {pattern: '(?P<case>.)', specimen: a, block: b, slide: c}",
            "compound: pattern must have the named",
        ),
        (
            "extends: stainer\ncompound: {block: '{tray}'}",
            "compound: block names tray, which is no group of the pattern",
        ),
        ("identifier_characters: 201", "identifier_characters: must be less than or equal to 200"),
        ("extends: [plain]", "extends: must name one profile, as in: extends: plain"),
        ("extends: lab.yaml", "extends: leads back to lab.yaml: let one of them extend plain"),
    ],
)
def test_a_wrong_profile_is_refused_in_one_sentence_that_names_file_key_and_fault(
    text: str, sentence: str, tmp_path: Path
) -> None:
    assert refusal(tmp_path, text).startswith(f"{tmp_path / 'lab.yaml'}: {sentence}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- plain", "must hold a table of keys, as in: extends: plain"),
        ("", "must hold a table of keys, as in: extends: plain"),
        ("a: [", "is no YAML that a profile may hold: line 1: "),
        (
            "not_stains: [A]\nnot_stains: [B]",
            "is no YAML that a profile may hold: line 2: not_stains stands there twice",
        ),
        ("a: &x [b]\nc: [*x, *x]", "is no YAML that a profile may hold: line 1: a profile may not refer to"),
        ("a: !!python/object/apply:os.system [x]", ": a: is not a key of a profile"),
        ("a\0b", "is no YAML that a profile may hold: "),
        ("[" * 2000, "is no YAML that a profile may hold: "),
        ("x: " + "y" * 300_000, "is larger than 262144 bytes: a profile says only what differs from another"),
    ],
)
def test_what_is_no_profile_at_all_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    assert sentence in refusal(tmp_path, text)


def test_a_character_set_that_nobody_knows_is_refused_and_one_may_be_left_unsaid(tmp_path: Path) -> None:
    assert ": charset: is no character set that is known" in refusal(tmp_path, "charset: klingon")
    assert profile_named("plain", tmp_path, charset="8859/1").charset == "8859/1"
    assert profile_named("plain", tmp_path, charset="").charset == ""


def test_a_profile_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"no profile pain: name one of ai-integration, dpow, .*, or a file"):
        profile_named("pain", tmp_path)
    with pytest.raises(RefusedError, match=r"gone\.yaml can't be read: No such file"):
        profile_named("gone.yaml", tmp_path)


@pytest.mark.parametrize("written", ["SPM-30", "ORC-7.6", "SPM-2.1.2", "ZSL-2", "SPM-2.2"])
def test_a_place_is_written_as_people_write_it(written: str) -> None:
    assert str(place(written)) == written
