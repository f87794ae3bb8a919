"""What merges, reports and DPOW say when they cannot be acted on: a sentence with nobody's data in it."""

import pytest

from connectors.lims.dpow import TRANSACTIONS, transaction
from models.errors import RejectedError
from models.statements import MessageStated
from tests.connectors.lims.orders import PID, dialect, segment, stated

MRG = "MRG|A1^^^SITEA^MR||||VISIT7"


def transacted(name: str, *segments: str) -> MessageStated:
    return stated("OML^O21^OML_O21", PID, *segments, rest=f"|||AL|NE||UNICODE UTF-8|||{name}^IHE")


@pytest.mark.parametrize(
    ("message_type", "segments", "says"),
    [
        ("ADT^A40", ["EVN|A40"], "ADT^A40 has no PID"),
        ("ADT^A40", [PID], "The message has no MRG"),
        ("ADT^A40", [MRG, PID], "MRG comes before any PID"),
        ("ADT^A40", [PID, "MRG||x"], "MRG-1 names no patient identifier"),
        ("ADT^A40", ["PID|1||", MRG], "PID-3 names no patient identifier"),
        ("ADT^A40", ["PID|1||A1^^^SITEA^MR", MRG], "name the same patient"),
        ("ADT^A45", [PID, "MRG|A1^^^SITEA^MR"], "Neither MRG-5 nor PV1-19 names the visit"),
        ("ADT^A45", ["PID|1||A1^^^SITEA^MR", MRG], "the visit moves nowhere"),
        ("ADT^A28", ["EVN|A28"], "ADT^A28 has no PID"),
        ("ORU^R01", [PID, "OBR|1"], "no accession number"),
        ("ORU^R01", [PID, "OBR|1||26H1", "OBR|2||26H2"], "2 accession numbers"),
    ],
)
def test_what_cannot_be_acted_on_without_guessing_is_set_aside(
    message_type: str, segments: list[str], says: str
) -> None:
    with pytest.raises(RejectedError, match=says.replace("^", "\\^")) as refused:
        stated(message_type, *segments)
    assert not [secret for secret in ("A1", "26H1", "Example", "VISIT7") if secret in str(refused.value)]


@pytest.mark.parametrize(
    ("name", "segments", "says"),
    [
        ("DPOW-IMAGE-NOTIF", ["ORC|NW||26H1", "OBR|1"], "0 SPM; this transaction is about exactly one"),
        ("DPOW-IMAGE-NOTIF", ["ORC|NW||26H1", "OBR|1", "SPM|1|S1", "SPM|2|S2"], "2 SPM; this transaction"),
        ("DPOW-IMAGE-NOTIF", ["ORC|NW||26H1", "OBR|1", "SPM|1|S1"], "SPM-20 .* says neither Y nor N"),
        ("DPOW-IMAGE-NOTIF", ["ORC|NW", "OBR|1", segment("SPM", f2="S1", f20="Y")], "no accession number"),
        ("DPOW-ACCEPT-WO", ["ORC|SC|WO1|26H1||IP", "OBR|1"], "ORC-5 .* is not CM"),
        ("DPOW-ACCEPT-WO", ["ORC|SC||26H1||CM", "OBR|1"], r"no work order number \(SPM-2, ORC-2, OBR-2\)"),
        (
            "DPOW-CASE-UPDATE",
            [segment("ORC", f1="SC", f3="26H1", f25="Final~Preliminary"), "OBR|1"],
            "several states of one report",
        ),
    ],
)
def test_a_transaction_that_says_too_little_is_set_aside(name: str, segments: list[str], says: str) -> None:
    with pytest.raises(RejectedError, match=says) as refused:
        transacted(name, *segments)
    assert "26H1" not in str(refused.value)


def test_a_status_that_we_do_not_know_is_a_problem_and_the_rest_counts() -> None:
    found = transacted("DPOW-CASE-UPDATE", segment("ORC", f1="SC", f3="26H1", f25="Chilled"), "OBR|1||26H1")
    assert found.case_update is not None
    assert (found.case_update.report, found.case_update.ended) == (None, False)
    assert "ORC-25" in found.problems[0]
    result = stated(
        "ORU^R01", PID, segment("OBR", f1="1", f3="26H1", f25="K"), segment("OBR", f1="2", f3="26H1", f25="F")
    )
    assert result.report is not None
    assert [part.status for part in result.report.parts] == ["final"]
    assert "OBR-25" in result.problems[0]
    silent = stated("ORU^R01", PID, "OBR|1||26H1")
    assert silent.report is not None
    assert silent.report.parts == ()
    assert "OBR-25" in silent.problems[0]


def test_only_the_results_that_are_the_report_count_and_an_addendum_adds_to_it() -> None:
    profile = dialect("plain", report_codes=["HISTO", "ADDEND"], addendum_codes=["addend"])
    results = [segment("OBR", f1="1", f3="26H1", f4=code, f25="F") for code in ("HISTO", "HER2", "X^Y^L^ADDEND")]
    found = stated("ORU^R01", PID, *results, profile=profile).report
    assert found is not None
    assert [part.status for part in found.parts] == ["final", "supplementary"]


def test_times_and_uids_that_make_no_sense_are_problems_and_the_rest_counts() -> None:
    found = transacted(
        "DPOW-IMAGE-NOTIF",
        "ORC|NW||26H1",
        "OBR|1",
        segment("SPM", f2="S1", f18="soon", f20="y"),
        "OBX|1|RP|0020000D^StudyInstanceUID^DCM||one.two",
    )
    assert found.images is not None
    assert (found.images.available, found.images.scanned_at, found.images.study_instance_uid) == (True, None, None)
    assert [place in " ".join(found.problems) for place in ("SPM-18", "Study Instance UID")] == [True, True]


@pytest.mark.parametrize("name", ["DPOW-PLACE-WO", "DPOW-TELEPORT", "dpow-place-wo"])
def test_a_transaction_that_is_none_to_us_is_kept_unread(name: str) -> None:
    found = transacted(name, "ORC|NW||26H1", "OBR|1||26H1")
    assert not found.acts
    assert "MSH-21" in found.problems[0]


def test_the_table_of_transactions_is_the_drafts() -> None:
    assert {name: one.number for name, one in TRANSACTIONS.items()} == {
        "DPOW-SPECIMEN": "LAB-100",
        "DPOW-BLOCK": "LAB-100",
        "DPOW-SLIDE": "LAB-100",
        "DPOW-CASE-UPDATE": "LAB-101",
        "DPOW-PLACE-WO": "LAB-102",
        "DPOW-ACCEPT-WO": "LAB-103",
        "DPOW-IMAGE-NOTIF": "LAB-104",
    }
    assert transaction("LAB-1") is None


def test_msh_21_says_what_a_registration_registers_where_spm_27_does_not() -> None:
    found = transacted("DPOW-BLOCK", "ORC|NW||26H1", "OBR|1||26H1", "SPM|1|ANY7|S7").order
    assert found is not None
    assert [one.container_identifier for one in found.blocks] == ["ANY7"]


def test_a_work_order_is_known_by_its_number_even_where_the_asset_stands_in_its_place() -> None:
    found = transacted("DPOW-ACCEPT-WO", "ORC|SC|WO1|26H1||CM", "OBR|1|WO1|26H1", "SPM|1|26H1-A1-9").work_done
    assert found is not None
    assert (found.work_order_number, found.container_identifier) == ("WO1", "26H1-A1-9")
