"""The script is one laboratory that hangs together."""

from collections import Counter

from connectors.lims.nhs_number import is_valid
from connectors.settings_site import SiteRules
from flows.barcode_matching.identifiers import find, whole
from flows.simulate.script import CASES, SITES
from flows.standing.rule import State

PATTERN = SiteRules.model_fields["identifier_pattern"].default
ORDERED = [case for case in CASES if case.ends is not None]
SLIDES = [slide for case in ORDERED for slide in case.slides]
SCANS = [scan for case in CASES for slide in case.slides for scan in slide.scans]


def test_it_has_three_sites_twelve_cases_and_forty_slides() -> None:
    assert len(SITES) == 3
    assert len(ORDERED) == 12
    assert len(SLIDES) == 40
    assert {case.site for case in CASES} == {site.id for site in SITES}


def test_every_fault_that_a_newcomer_is_promised_is_in_it() -> None:
    shows = Counter(scan.shows for scan in SCANS)
    assert shows["blurred"] >= 2
    assert shows["partly blurred"] == shows["no tissue"] == shows["smudged label"] == shows["cut short"] == 1
    assert sum(not slide.scans for slide in SLIDES) == 1, "an order without a scan"
    assert sum(case.order == "never" for case in CASES) == 1, "a scan without an order"
    assert any(case.urgent for case in CASES)
    assert any(case.added for case in CASES)
    assert any(case.sent_twice for case in CASES)
    assert {case.form for case in CASES} == {"OML^O33", "OML^O21"}


def test_a_case_is_assigned_when_and_only_when_each_of_its_slides_can_be_read() -> None:
    for case in ORDERED:
        readable = all(slide.ends in (State.ASSIGNED, State.ARCHIVED) for slide in case.slides)
        assert (case.ends == "assigned") == readable, case.accession_number
        assert (case.ends == "assigned") == all(slide.ends == State.ASSIGNED for slide in case.slides)


def test_a_replaced_scan_ends_otherwise_than_its_replacement() -> None:
    slide = next(slide for slide in SLIDES if len(slide.scans) > 1)
    assert [scan.ends for scan in slide.scans] == [State.SUPERSEDED, State.ASSIGNED]
    assert len({scan.file_name for scan in slide.scans}) == 2


def test_numbers_are_unique_and_fit_the_pattern_of_the_sites() -> None:
    names = [slide.container_identifier for case in CASES for slide in case.slides]
    assert len(set(names)) == len(names)
    assert all(whole(PATTERN, name) == name for name in names)


def test_a_file_name_names_its_slide_unless_the_scanner_could_read_no_code() -> None:
    assert len({scan.file_name for scan in SCANS}) == len(SCANS)
    for scan in SCANS:
        named = () if scan.shows == "smudged label" else (scan.container_identifier,)
        assert find(PATTERN, scan.file_name) == named


def test_patients_are_invented() -> None:
    numbers = [case.nhs_number for case in ORDERED]
    assert len(set(numbers)) == len(numbers)
    # 999 is the range that is never issued, kept for tests.
    assert all(is_valid(number) and number.startswith("999") for number in numbers)
