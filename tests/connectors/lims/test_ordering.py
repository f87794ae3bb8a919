"""What an order message says of its one case by the default profile."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from connectors.lims.profile import Profile
from models.errors import RejectedError
from models.statements import Coded
from tests.connectors.lims.orders import PID, dialect, orc, order, segment, slide, stated

STAIN = "OBX|1|CWE|397165007^Stain^SCT|1|{}||||||F"


# Which accession


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([segment("SPM", f2="S1", f30="B"), segment("ORC", f1="NW", f3="C^LIMS", f38="A"), "OBR|1||D"], "A"),
        ([segment("SPM", f2="S1", f30="B"), segment("ORC", f1="NW", f3="C^LIMS"), "OBR|1||D"], "B"),
        ([segment("SPM", f2="S1"), segment("ORC", f1="NW", f3="C^LIMS"), "OBR|1||D"], "C"),
        ([segment("SPM", f2="S1"), segment("ORC", f1="NW"), "OBR|1||D^LIMS"], "D"),
        ([segment("ORC", f1="NW"), "OBR|1||D^LIMS", segment("SPM", f2="S1", f30="B")], "B"),
        ([segment("ORC", f1="NW"), "OBR|1||D^LIMS"], "D"),
    ],
    ids=["ORC-38", "SPM-30", "ORC-3", "OBR-3", "SPM-30 of an O21", "a case without slides"],
)
def test_the_accession_is_the_first_that_is_there(segments: list[str], expected: str) -> None:
    found = order("OML^O33" if segments[0].startswith("SPM") else "OML^O21", *segments)
    assert found.accession_number == expected
    assert found.issuer == "SITEA"


def test_one_message_about_two_cases_is_set_aside_without_naming_them() -> None:
    with pytest.raises(RejectedError, match="names 2 accession numbers") as error:
        order("OML^O33", slide("S1"), orc(accession="26H1"), slide("S2"), orc(accession="26H2"))
    assert "26H" not in str(error.value)


def test_the_profile_may_name_the_field_and_the_pattern_of_the_accession() -> None:
    profile = dialect("plain", accession_fields=["OBR-2"], accession_pattern=r"^([^;]+);")
    found = order(
        "OML^O33", slide("S1"), orc(), "OBR|1|26H9;A1;1", slide("S2"), orc(), "OBR|1|26H9;A1;2", profile=profile
    )
    assert found.accession_number == "26H9"


def test_an_order_without_an_accession_is_set_aside() -> None:
    with pytest.raises(RejectedError, match="no accession number"):
        order("OML^O33", slide("S1"), "ORC|NW")


# Which containers


@pytest.mark.parametrize(
    ("spm", "sac", "expected"),
    [
        (slide("S1&LAB^S9"), "SAC|||S8", ("S1", "LAB")),
        (slide("S1^S9"), "SAC|||S8", ("S1", "SITEA")),
        (slide(""), "SAC|||S8^LAB2", ("S8", "LAB2")),
        (slide(""), "SAC|||S8", ("S8", "SITEA")),
    ],
)
def test_a_container_is_called_by_spm_2_else_sac_3(spm: str, sac: str, expected: tuple[str, str]) -> None:
    (found,) = order("OML^O33", spm, sac, orc()).slides
    assert (found.container_identifier, found.issuer) == expected


@pytest.mark.parametrize(
    ("identifier", "says"),
    [("", "no container identifier"), ("x" * 65, "65 characters; 64"), ("S\\X07\\1", "cannot be printed")],
)
def test_what_is_no_identifier_is_set_aside(identifier: str, says: str) -> None:
    with pytest.raises(RejectedError, match=says):
        order("OML^O33", slide(identifier), orc())


def test_five_megabytes_in_an_identifier_are_set_aside() -> None:
    with pytest.raises(RejectedError, match="5000000 characters"):
        order("OML^O33", slide("x" * 5_000_000), orc())


@pytest.mark.parametrize(
    ("identifier", "type_code", "kind"),
    [
        ("X1", "CONTAINER", "specimens"),
        ("X1", "cassette", "blocks"),
        ("26H1-A", "GLASS", "slides"),
        ("26H1-A", "", "specimens"),
        ("26H1-A12", "", "blocks"),
        ("26H1-A1-1", "", "slides"),
        ("X1", "", "slides"),
    ],
)
def test_spm_27_says_what_a_container_is_else_its_shape(identifier: str, type_code: str, kind: str) -> None:
    found = order("OML^O33", segment("SPM", f2=identifier, f27=type_code), orc())
    assert [name for name in ("specimens", "blocks", "slides") if getattr(found, name)] == [kind]


def test_an_unknown_container_type_is_a_problem_and_the_shape_decides() -> None:
    found = stated("OML^O33", PID, segment("SPM", f2="26H1-A", f27="JAR"), orc())
    assert found.order is not None
    assert len(found.order.specimens) == 1
    assert "SPM-27" in found.problems[0]


def test_a_slide_may_have_several_parents() -> None:
    found = order("OML^O33", slide("S1", parent="B1&LAB^9~B2~B1~^B3"), orc())
    assert found.slides[0].parents == ("B1", "B2", "B3")


def test_a_specimen_states_tissue_site_side_and_receipt() -> None:
    spm = segment(
        "SPM",
        f2="S1",
        f4="119376003^Tissue^SCT",
        f8="76752008^Breast^SCT",
        f9="^^^L^Left^L",
        f18="20261120",
        f27="CONTAINER",
    )
    (found,) = order("OML^O33", spm, orc(), profile=Profile(zone=ZoneInfo("Europe/London"))).specimens
    assert found.specimen_type == Coded(code="119376003", meaning="Tissue", scheme="SCT")
    assert found.anatomic_site == Coded(code="76752008", meaning="Breast", scheme="SCT")
    assert found.laterality == Coded(code="L", meaning="Left", scheme="L")
    assert found.received_at is not None
    assert (found.received_at.at, found.received_at.zone_assumed) == (datetime(2026, 11, 20, tzinfo=UTC), True)


def test_a_slide_ordered_twice_in_one_message_is_one_slide_with_both_stains() -> None:
    found = stated(
        "OML^O33", PID, slide("S1"), STAIN.format("1^H"), orc(), slide("S1", parent="B1"), STAIN.format("2^E"), orc()
    )
    assert found.order is not None
    (one,) = found.order.slides
    assert ([stain.code for stain in one.stains], one.parents) == (["1", "2"], ("B1",))
    assert "more than once" in found.problems[0]


def test_one_identifier_for_a_block_and_a_slide_is_set_aside() -> None:
    with pytest.raises(RejectedError, match="two kinds of thing"):
        order("OML^O33", slide("S1"), orc(), segment("SPM", f2="S1", f27="CASSETTE"), orc())


# Which stain


@pytest.mark.parametrize(
    ("segments", "codes", "words"),
    [
        ([slide("S1"), STAIN.format("1^Ki-67^L"), orc(), "OBR|1|||2^CD3"], ["1"], None),
        ([slide("S1"), orc(), "OBR|1|||2^CD3", STAIN.format("1^Ki-67^L")], ["1"], None),
        ([slide("S1"), STAIN.format("1^A~2^B"), orc()], ["1", "2"], None),
        ([slide("S1"), orc(), "OBR|1|||2^CD3"], ["2"], None),
        ([slide("S1"), orc(), "OBR|1|||^Van Gieson"], [], "Van Gieson"),
        ([slide("S1"), orc(), "OBR|1|||SLIDE^Slide"], [], None),
        ([slide("S1"), orc(), "OBR|1|||BREAST^Breast histology"], [], None),
        ([slide("S1"), STAIN.format("^Alcian blue"), orc()], [], "Alcian blue"),
        ([slide("S1"), STAIN.replace("CWE", "ST").format("PAS"), orc()], [], "PAS"),
        ([slide("S1"), STAIN.format("1^A").replace("||||||F", "||||||D"), orc()], [], None),
        ([slide("S1"), STAIN.format('""'), orc()], [], None),
        ([orc(), "OBR|1|||BREAST^Breast histology", slide("S1"), STAIN.format("1^A")], ["1"], None),
    ],
)
def test_the_stain_is_an_observation_else_what_was_requested(
    segments: list[str], codes: list[str], words: str | None
) -> None:
    (found,) = order("OML^O21" if segments[0].startswith("ORC") else "OML^O33", *segments).slides
    assert ([stain.code for stain in found.stains], found.stain_text) == (codes, words)


@pytest.mark.parametrize(("code", "route"), [("WSI", "scan"), ("OTH", "glass only"), ("", None), ("NEW", None)])
def test_sac_48_says_whether_a_slide_is_scanned(code: str, route: str | None) -> None:
    found = stated("OML^O33", PID, slide("S1"), segment("SAC", f48=code), orc())
    assert found.order is not None
    assert found.order.slides[0].route == route
    assert bool(found.problems) == (code == "NEW")


# What is to be done


def test_a_cancelled_order_without_containers_cancels_the_case() -> None:
    found = order("OML^O21", orc("CA"), "OBR|1||26H1")
    assert (found.control, found.cancelled) == ("cancel", ())


def test_a_cancelled_slide_leaves_the_others() -> None:
    found = order("OML^O33", slide("S1"), orc("NW"), slide("S2"), orc("CA"))
    assert (found.control, found.cancelled) == ("register", ("S2",))
    assert [one.container_identifier for one in found.slides] == ["S1"]


def test_cancelled_slides_alone_never_cancel_the_case() -> None:
    found = order("OML^O21", orc("CA"), slide("S1"), orc("CA"), slide("S2"))
    assert (found.control, found.cancelled) == ("cancel", ("S1", "S2"))


def test_a_slide_with_one_of_its_two_orders_cancelled_stays() -> None:
    found = order("OML^O33", slide("S1"), orc("CA"), orc("NW"))
    assert (found.control, found.cancelled) == ("register", ())


def test_a_cancel_of_nothing_named_beside_other_orders_is_left_out() -> None:
    found = stated("OML^O21", PID, orc("NW"), slide("S1"), orc("CA"))
    assert found.order is not None
    assert (found.order.control, found.order.cancelled) == ("register", ())
    assert "was left out" in found.problems[0]


def test_a_container_that_is_ordered_and_cancelled_at_once_is_set_aside() -> None:
    with pytest.raises(RejectedError, match="both orders and cancels"):
        order("OML^O33", slide("S1"), orc("NW"), slide("S1"), orc("CA"))


def test_a_change_among_new_slides_makes_the_message_a_change() -> None:
    assert order("OML^O33", slide("S1"), orc("NW"), slide("S2"), orc("XO")).control == "change"


@pytest.mark.parametrize("control", ["SC", "", "ZZ"])
def test_an_order_control_that_is_not_ours_does_nothing(control: str) -> None:
    found = stated("OML^O21", PID, orc(control), slide("S1"))
    assert found.order is None
    assert "ORC-1" in found.problems[0]


def test_specimens_without_an_order_of_their_own_go_with_the_first() -> None:
    found = order("OML^O33", segment("SPM", f2="A", f27="CONTAINER"), segment("SPM", f2="B", f27="CASSETTE"), orc("XO"))
    assert (found.control, len(found.specimens), len(found.blocks)) == ("change", 1, 1)


def test_prior_results_are_no_orders() -> None:
    prior = ["PID|1||OTHER", "ORC|NW||OLD1", "OBR|1||OLD1", STAIN.format("9^Old")]
    found = order("OML^O33", slide("S1"), orc(), "OBR|1||26H1", *prior, slide("S2"), orc())
    assert found.accession_number == "26H1"
    assert [one.stains for one in found.slides] == [(), ()]
    with pytest.raises(RejectedError, match="second PID"):
        order("OML^O21", orc(), slide("S1"), *prior)


# How urgent, by when, where, for whom


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        (["TQ1|1||||||||S", "OBR|1||||R"], "urgent"),
        (["OBR|1||||stat"], "urgent"),
        (["TQ1|1||||||||R"], "routine"),
        (["TQ1|1||||||||FS^Frozen section"], "intra-operative"),
        (["OBR|1"], None),
    ],
)
def test_the_priority_is_tq1_9_else_obr_5(segments: list[str], expected: str | None) -> None:
    assert order("OML^O33", slide("S1"), orc(), *segments).priority == expected


def test_the_most_urgent_order_makes_the_case_urgent_and_an_unknown_code_changes_nothing() -> None:
    found = stated("OML^O33", PID, slide("S1"), orc(), "TQ1|1||||||||R", slide("S2"), orc(), "TQ1|1||||||||S")
    assert found.order is not None
    assert found.order.priority == "urgent"
    unknown = stated("OML^O33", PID, slide("S1"), orc(), "TQ1|1||||||||SOON")
    assert unknown.order is not None
    assert unknown.order.priority is None
    assert "SOON" not in unknown.problems[0]


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([segment("OBR", f36="20261130120000+0000"), "TQ1|1|||||||20261201120000+0000"], "2026-11-30T12:00:00+00:00"),
        (["TQ1|1|||||||20261201120000+0100"], "2026-12-01T11:00:00+00:00"),
        (["TQ1|1|||||||202607011200"], "2026-07-01T11:00:00+00:00"),
        (["TQ1|1|||||||20260701"], "2026-07-01T22:59:59+00:00"),
    ],
)
def test_due_is_obr_36_else_tq1_8_and_without_offset_in_the_sites_zone(segments: list[str], expected: str) -> None:
    found = order("OML^O33", slide("S1"), orc(), *segments, profile=Profile(zone=ZoneInfo("Europe/London")))
    assert found.due is not None
    assert found.due.at == datetime.fromisoformat(expected)


def test_the_earliest_due_time_of_a_case_counts_and_nonsense_is_a_problem() -> None:
    late, early = "TQ1|1|||||||20261202", "TQ1|1|||||||20261201"
    found = stated(
        "OML^O33", PID, slide("S1"), orc(), late, slide("S2"), orc(), early, slide("S3"), orc(), "TQ1|1|||||||soon"
    )
    assert found.order is not None
    assert found.order.due is not None
    assert found.order.due.raw == "20261201"
    assert "due" in found.problems[0]


def test_the_site_is_the_listeners_else_the_senders() -> None:
    assert order("OML^O33", slide("S1"), orc()).site == "SITEA"
    assert order("OML^O33", slide("S1"), orc(), profile=Profile(site="north")).site == "north"


@pytest.mark.parametrize(
    ("spm_8", "obr_4", "expected"),
    [
        ("39937001^Skin^SCT", "BREAST^Breast", "breast"),
        ("39937001^Skin^SCT", "X^Something", "skin"),
        ("", "X^Y^L^SKIN^Skin^L", "skin"),
        ("", "", None),
    ],
)
def test_the_subspecialty_comes_from_the_request_else_the_site_of_the_body(
    spm_8: str, obr_4: str, expected: str | None
) -> None:
    assert order("OML^O33", slide("S1", f8=spm_8), orc(), f"OBR|1|||{obr_4}").subspecialty == expected


def test_each_specimen_has_the_subspecialty_of_its_own_order_else_of_its_site() -> None:
    found = order(
        "OML^O33",
        *(segment("SPM", f2="S-A", f27="CONTAINER"), orc(), "OBR|1|||BREAST^Breast"),
        *(segment("SPM", f2="S-B", f8="39937001^Skin^SCT", f27="CONTAINER"), orc(), "OBR|1|||X^Something"),
        *(segment("SPM", f2="S-C", f27="CONTAINER"), orc(), "OBR|1|||X^Something"),
    )
    assert [one.subspecialty for one in found.specimens] == ["breast", "skin", None]
    assert found.subspecialty == "breast"


@pytest.mark.parametrize(
    ("said", "points"),
    [
        (("3",), 3.0),
        (("3", "4.5"), 7.5),
        (("+0.25",), 0.25),
        (("0",), 0.0),
        (("NaN",), None),
        (("-3",), None),
        (("3", "-3"), None),
        (("1001",), None),
        (("600", "600"), None),
        (("1e2",), None),
        (("infinity",), None),
        (("9" * 400,), None),
        (("٣",), None),
    ],
)
def test_points_are_added_up_and_what_is_no_weight_is_left_out_and_said(
    said: tuple[str, ...], points: float | None
) -> None:
    observed = [f"OBX|{at}|NM|WORKLOAD-POINTS^Points^L||{one}||||||F" for at, one in enumerate(said)]
    found = stated("OML^O33", PID, slide("S1"), *observed, orc(), "OBR|1|||X")

    assert found.order is not None
    assert found.order.points == points
    assert any("keeps the weight that it has" in one for one in found.problems) == (points is None)


def test_points_that_were_deleted_are_none() -> None:
    deleted = "OBX|1|NM|WORKLOAD-POINTS^Points^L||3||||||D"
    assert order("OML^O33", slide("S1"), deleted, orc(), "OBR|1|||X").points is None


def test_the_reader_is_the_participant_with_that_role_else_obr_32() -> None:
    prt = "PRT|1|UC||PI^Primary interpreter|C77^Reader^Ruth"
    assert order("OML^O21", orc(), segment("OBR", f32="C1&R&R"), prt, slide("S1")).reader_stated == "C77"
    assert order("OML^O21", orc(), segment("OBR", f32="C1&R&R"), prt.replace("PI^", "XX^")).reader_stated == "C1"


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        (["IPC|A|B|2.25.1"], "2.25.1"),
        (["ZDS|2.25.2^App^Application^DICOM"], "2.25.2"),
        (["OBX|1|RP|0020000D^StudyInstanceUID^DCM||2.25.3"], "2.25.3"),
        (["ZDS|2.25.2", "IPC|A|B|2.25.1"], None),
        (["ZDS|not a uid"], None),
    ],
)
def test_a_study_that_others_chose_is_taken_when_it_is_one(segments: list[str], expected: str | None) -> None:
    found = stated("OML^O21", PID, orc(), "OBR|1", *segments)
    assert found.order is not None
    assert found.order.study_instance_uid == expected
    assert bool(found.problems) == (expected is None)


def test_order_numbers_are_named_once_each() -> None:
    found = order("OML^O33", slide("S1"), "ORC|NW|P1^L|F1^L", "OBR|1|P1|F1", slide("S2"), "ORC|NW|P2|F1")
    assert (found.placer_order_numbers, found.filler_order_numbers) == (("P1", "P2"), ("F1",))
