"""An archived scan whose case turns out to be another patient's: corrected once, and never converted again."""

import random
import shutil

import pytest
from sqlalchemy import func, select

from connectors.archive.folder import FolderArchive
from connectors.wiring import Lab
from flows.actions import Desk, Person, match, rerun, review, withdraw
from flows.actions.rerunning import preview_rerun
from flows.archive_upload.correcting import correct_archived
from flows.books import Cause
from flows.cases import lock_case
from flows.ledger import Claim, LostClaimError
from flows.step import End
from flows.sweep import tidy
from models.errors import RefusedError
from models.facets import Outcome, Storage
from models.tables.books import Alert, History
from models.tables.scan import ScanFile
from models.tables.step import Step
from tests.flows.archive_upload.correcting import (
    BEFORE_ARCHIVE,
    FIRST,
    OTHER,
    SHARP,
    THIRD,
    archived,
    becomes,
    claimed,
    claimed_if_free,
    corrections,
    done,
    editions,
    ended,
    jobs,
    matched,
    some_of,
    worked,
)
from tests.flows.looking import (
    LATER,
    A,
    B,
    alerts,
    archived_names_the_patient,
    books_balance,
    scan_of,
    steps,
    the_case,
    the_scan,
    time_passes,
    told,
)
from tests.small_lab import SmallSlide, message_arrives, order, run_until_calm, scan_arrives

ROSA = Person("Rosa Example", "because")
_REJECTED, _PROVEN, _MADE = {"rejected"}, {"proven"}, {"converted"}
_TO_THE_END = ("convert", "store", "prove")


def desk(lab: Lab) -> Desk:
    return Desk(lab.database, lab.settings, lab.ids)


def the_end_is_right(lab: Lab, patient: str) -> None:
    """One scan, archived under the patient that its case has, and everything else hidden."""
    assert the_case(lab).patient_id == lab.ids.of("patient", "NET", patient)
    assert (the_scan(lab).outcome, the_scan(lab).storage) == (Outcome.ACTIVE, Storage.PROVEN)
    archived_names_the_patient(lab)
    assert editions(lab)[the_scan(lab).edition] == _PROVEN
    with lab.database.read() as session:
        open_steps = session.scalars(select(Step.kind).where(Step.state.in_(("ready", "running", "waiting")))).all()
    assert open_steps == []


def result_of(lab: Lab, kind: str) -> set[str]:
    """Return what the last step of a kind said of its result."""
    with lab.database.read() as session:
        return set(session.scalars(select(Step.result).where(Step.kind == kind, Step.state == "done")).all()[-1] or ())


def the_spool_forgets(lab: Lab, *, the_file: bool) -> None:
    """Remove what was made in the spool, and perhaps the scanner's file too."""
    scan_id = the_scan(lab).id
    lab.spool.discard(scan_id)
    if the_file:
        with lab.database.read() as session:
            file_id = session.scalars(select(ScanFile.id).where(ScanFile.scan_id == scan_id)).one()
        lab.spool.remove(file_id)


@pytest.mark.parametrize("kept", ["in the work folder", "in the archive", "in the archive alone"])
def test_a_merge_after_the_archive_copies_the_pixels_and_converts_nothing(lab: Lab, kept: str) -> None:
    archived(lab)
    if kept != "in the work folder":
        the_spool_forgets(lab, the_file=kept == "in the archive alone")
    becomes(lab, OTHER)
    assert (the_scan(lab).edition, the_scan(lab).storage) == (1, Storage.PROVEN)
    run_until_calm(lab)

    assert jobs(lab) == ["convert", "correct", "correct"]
    assert editions(lab) == {1: _REJECTED, 2: _PROVEN}
    the_end_is_right(lab, OTHER)
    assert told(lab) == ["archived", "released", "assigned", "archived", "released"]
    assert result_of(lab, "correct") == {"run", "input_version", "pixels"}
    if kept != "in the archive alone":
        books_balance(lab)


def test_the_books_say_for_which_message_a_scan_is_corrected_and_which_edition_that_is(sqlite_lab: Lab) -> None:
    scan_id = archived(sqlite_lab)
    becomes(sqlite_lab, OTHER, again=3)
    run_until_calm(sqlite_lab)
    with sqlite_lab.database.read() as session:
        rows = session.execute(
            select(History.what, History.before, History.after, History.cause)
            .where(History.subject_id == scan_id, History.what.in_(("correction", "edition")))
            .order_by(History.id)
        ).all()
    assert [tuple(row) for row in rows] == [
        ("correction", None, "to be made", "apply hl7"),
        ("edition", "1", "2", "correct 1.1"),
    ]


def test_duplicates_and_merges_in_a_row_are_one_correction(lab: Lab) -> None:
    archived(lab)
    becomes(lab, OTHER, again=3)
    becomes(lab, THIRD, OTHER, THIRD)
    run_until_calm(lab)

    assert corrections(lab) == ["done"]
    assert editions(lab) == {1: _REJECTED, 2: _PROVEN}
    the_end_is_right(lab, THIRD)
    books_balance(lab)


def test_a_second_merge_after_the_first_correction_is_corrected_from_it(lab: Lab) -> None:
    archived(lab)
    for patient in (OTHER, THIRD):
        becomes(lab, patient)
        run_until_calm(lab)

    assert jobs(lab) == ["convert", *["correct"] * 4]
    assert editions(lab) == {1: _REJECTED, 2: _REJECTED, 3: _PROVEN}
    the_end_is_right(lab, THIRD)
    books_balance(lab)


def test_a_merge_that_is_taken_back_before_anything_left_sends_nothing(lab: Lab) -> None:
    archived(lab)
    before = told(lab)
    becomes(lab, OTHER)
    becomes(lab, FIRST)
    run_until_calm(lab)

    assert corrections(lab) == ["superseded"]
    assert editions(lab) == {1: _PROVEN}
    assert steps(lab, "reject") == []
    assert told(lab) == before
    the_end_is_right(lab, FIRST)
    books_balance(lab)


@pytest.mark.parametrize("kind", _TO_THE_END)
@pytest.mark.parametrize("lands", ["before its work", "after its work"])
def test_a_merge_that_lands_while_a_step_runs_is_one_correction(lab: Lab, kind: str, lands: str) -> None:
    matched(lab)
    done(lab, *_TO_THE_END[: _TO_THE_END.index(kind)])
    running = claimed(lab, kind)
    if lands == "before its work":
        becomes(lab, OTHER)
        ended(lab, worked(lab, running))
    else:
        end = worked(lab, running)
        becomes(lab, OTHER)
        ended(lab, end)
    run_until_calm(lab)

    the_end_is_right(lab, OTHER)
    assert jobs(lab).count("convert") == 1
    if (kind, lands) == ("convert", "before its work"):
        assert (corrections(lab), editions(lab)) == ([], {1: _PROVEN})
    else:
        assert corrections(lab) == ["done"]
        # What no worker had claimed to store never leaves; what one had may have begun to.
        has_left = kind in ("store", "prove")
        assert editions(lab) == {1: _REJECTED if has_left else _MADE, 2: _PROVEN}
        assert len(steps(lab, "reject")) == has_left
        is_held = (kind, lands) == ("store", "after its work") or kind == "prove"
        assert sum(one.rejected is not None for one in lab.archive.holdings()) == (2 if is_held else 0)
    assert told(lab) == ["archived", "released", "assigned"]
    books_balance(lab)


@pytest.mark.parametrize("kind", _TO_THE_END)
def test_a_merge_that_comes_and_goes_while_a_step_runs_changes_nothing(lab: Lab, kind: str) -> None:
    matched(lab)
    done(lab, *_TO_THE_END[: _TO_THE_END.index(kind)])
    end = worked(lab, claimed(lab, kind))
    becomes(lab, OTHER)
    becomes(lab, FIRST)
    ended(lab, end)
    run_until_calm(lab)

    assert "done" not in corrections(lab)
    assert editions(lab) == {1: _PROVEN}
    assert told(lab) == ["archived", "released", "assigned"]
    the_end_is_right(lab, FIRST)
    books_balance(lab)


@pytest.mark.parametrize("then", [THIRD, FIRST])
def test_a_merge_that_lands_while_a_correction_runs_makes_it_begin_anew_or_needless(lab: Lab, then: str) -> None:
    archived(lab)
    becomes(lab, OTHER)
    end = worked(lab, claimed(lab, "correct"))
    becomes(lab, then)
    ended(lab, end)
    run_until_calm(lab)

    the_end_is_right(lab, then)
    if then == FIRST:
        assert (corrections(lab), editions(lab)) == (["superseded"], {1: _PROVEN})
    else:
        assert (corrections(lab), editions(lab)) == (["superseded", "done"], {1: _REJECTED, 2: _PROVEN})
    books_balance(lab)


@pytest.mark.parametrize("kind", ["store", "prove"])
@pytest.mark.parametrize("then", [THIRD, FIRST])
def test_a_merge_that_lands_while_what_was_corrected_is_on_its_way_is_corrected_too(
    lab: Lab, kind: str, then: str
) -> None:
    archived(lab)
    becomes(lab, OTHER)
    done(lab, "correct", *(("store",) if kind == "prove" else ()))
    end = worked(lab, claimed(lab, kind))
    becomes(lab, then)
    ended(lab, end)
    run_until_calm(lab)

    # The first edition is hidden by then, so going back needs a third too.
    assert editions(lab) == {1: _REJECTED, 2: _REJECTED, 3: _PROVEN}
    assert jobs(lab).count("convert") == 1
    the_end_is_right(lab, then)
    books_balance(lab)


def test_a_correction_that_ends_while_the_former_objects_are_stored_hides_what_came_of_them(lab: Lab) -> None:
    matched(lab)
    done(lab, "convert")
    storing = claimed(lab, "store")
    becomes(lab, OTHER)
    done(lab, "correct")
    assert the_scan(lab).edition == 2
    assert steps(lab, "store") == ["superseded", "ready"]
    run_until_calm(lab)

    assert storing.edition == 1
    assert editions(lab) == {1: _REJECTED, 2: _PROVEN}
    the_end_is_right(lab, OTHER)
    books_balance(lab)


@pytest.mark.parametrize("seed", range(4))
def test_chance_mixes_merges_and_steps_and_the_archive_names_whom_the_case_names(sqlite_lab: Lab, seed: int) -> None:
    chance = random.Random(seed)
    lab = sqlite_lab
    running: list[tuple[Claim, End | None]] = []
    matched(lab)
    patient = FIRST
    for _ in range(120):
        if chance.random() < 0.25:
            patient = chance.choice((FIRST, OTHER, THIRD))
            becomes(lab, patient, again=chance.choice((1, 1, 2)))
        kinds = some_of(chance, ("convert", "correct", "store", "prove", "reject"), lab)
        if kinds and chance.random() < 0.6:
            claim = claimed_if_free(lab, kinds[0])
            if claim is not None:
                running.append((claim, worked(lab, claim) if chance.random() < 0.8 else None))
        if running and chance.random() < 0.5:
            claim, end = running.pop(chance.randrange(len(running)))
            _end_if_still_ours(lab, claim, end)
    for claim, end in running:
        _end_if_still_ours(lab, claim, end)
    run_until_calm(lab)

    the_end_is_right(lab, patient)
    assert jobs(lab).count("convert") == 1
    kept = [edition for edition, states in editions(lab).items() if states == _PROVEN]
    assert kept == [the_scan(lab).edition]
    assert set.union(*editions(lab).values()) <= {"converted", "rejected", "proven"}
    books_balance(lab)


def _end_if_still_ours(lab: Lab, claim: Claim, end: End | None) -> None:
    try:
        ended(lab, end or worked(lab, claim))
    except LostClaimError:
        return


def test_merges_that_land_while_workers_run_are_corrected_on_both_databases(lab: Lab) -> None:
    archived(lab)
    for patient in (OTHER, THIRD, FIRST, OTHER):
        number = patient + str(len(corrections(lab)))
        payload = order("26H1", control="XO", patient=patient, sent_at=_next_time(), control_id=number)
        message_arrives(lab, payload)
        run_until_calm(lab, threads=3)

    the_end_is_right(lab, OTHER)
    assert jobs(lab).count("convert") == 1
    books_balance(lab)


_seconds = iter(range(100))


def _next_time() -> str:
    return f"202501031200{next(_seconds):02}+0000"


def test_a_scan_that_takes_no_part_any_more_is_not_corrected(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A, B))
    withdrawn = scan_arrives(lab, SHARP)
    replaced = scan_arrives(lab, SmallSlide(codes=(B,)))
    run_until_calm(lab)
    withdraw(desk(lab), withdrawn, ROSA, close=True)
    review(desk(lab), replaced, "rescan", ROSA)
    replacement = scan_arrives(lab, SmallSlide(codes=(B,), made=2))
    run_until_calm(lab)
    becomes(lab, OTHER)
    run_until_calm(lab)

    with lab.database.read() as session:
        corrected = session.scalars(select(Step.subject_id).where(Step.kind == "correct")).all()
    assert corrected == [replacement]
    assert [scan_of(lab, one).edition for one in (withdrawn, replaced, replacement)] == [2, 1, 2]
    assert scan_of(lab, replaced).outcome == Outcome.SUPERSEDED
    books_balance(lab)


def test_a_withdrawn_match_ends_the_correction_and_the_next_slide_is_converted(lab: Lab) -> None:
    scan_id = archived(lab)
    becomes(lab, OTHER)
    withdraw(desk(lab), scan_id, ROSA)
    run_until_calm(lab)
    assert corrections(lab) == ["superseded"]
    match(desk(lab), scan_id, lab.ids.of("slide", "NET", A), ROSA)
    run_until_calm(lab)

    assert jobs(lab) == ["convert", "convert"]
    assert editions(lab) == {1: _REJECTED, 2: _PROVEN}
    the_end_is_right(lab, OTHER)
    books_balance(lab)


def test_a_picture_to_be_taken_again_is_hidden_while_it_names_another(lab: Lab) -> None:
    scan_id = archived(lab)
    review(desk(lab), scan_id, "rescan", ROSA)
    becomes(lab, OTHER)
    run_until_calm(lab)
    assert editions(lab) == {1: _REJECTED, 2: _MADE}

    review(desk(lab), scan_id, "pass", ROSA)
    run_until_calm(lab)
    assert editions(lab) == {1: _REJECTED, 2: _PROVEN}
    the_end_is_right(lab, OTHER)
    books_balance(lab)


def test_a_correction_may_be_run_again_and_gives_the_same_objects(lab: Lab) -> None:
    scan_id = archived(lab)
    becomes(lab, OTHER)
    with pytest.raises(RefusedError, match="no step store now: choose one of slide_qc, barcode_matching, correct"):
        rerun(desk(lab), scan_id, ROSA, "store")
    assert "they are hidden in the archive" in preview_rerun(desk(lab), scan_id, "correct").outside[0]
    run_until_calm(lab)
    for start in ("correct", "slide_qc"):
        rerun(desk(lab), scan_id, ROSA, start)
        run_until_calm(lab)

    assert "convert" not in jobs(lab)[1:]
    assert editions(lab) == {1: _REJECTED, 2: _PROVEN}
    the_end_is_right(lab, OTHER)
    books_balance(lab)


def test_a_merge_while_a_conversion_is_run_again_is_corrected(lab: Lab) -> None:
    scan_id = archived(lab)
    rerun(desk(lab), scan_id, ROSA, "convert")
    becomes(lab, OTHER)
    run_until_calm(lab)

    assert jobs(lab) == ["convert", "correct", "correct"]
    assert editions(lab) == {1: _REJECTED, 2: _PROVEN}
    the_end_is_right(lab, OTHER)
    books_balance(lab)


def test_objects_that_are_kept_nowhere_are_converted_from_the_scanner_s_file(lab: Lab) -> None:
    archived(lab)
    the_spool_forgets(lab, the_file=False)
    _the_archive_loses_everything(lab)
    becomes(lab, OTHER)
    run_until_calm(lab)

    assert jobs(lab) == ["convert", "convert"]
    assert "converter" in result_of(lab, "correct")
    the_end_is_right(lab, OTHER)


def test_a_spoiled_object_in_the_spool_is_passed_over_for_the_archive_s(lab: Lab) -> None:
    archived(lab)
    for path in lab.spool.root.glob("work/*/*/dicom/level-0.dcm"):
        path.write_bytes(b"spoiled")
    becomes(lab, OTHER)
    run_until_calm(lab)

    assert jobs(lab).count("convert") == 1
    the_end_is_right(lab, OTHER)
    books_balance(lab)


def test_a_person_is_asked_when_neither_objects_nor_file_are_left_and_what_they_bring_back_is_used(lab: Lab) -> None:
    archived(lab)
    kept = lab.settings.home / "kept"
    shutil.copytree(lab.settings.resolved(lab.settings.archive_folder), kept)
    the_spool_forgets(lab, the_file=True)
    _the_archive_loses_everything(lab)
    becomes(lab, OTHER)
    run_until_calm(lab)

    assert steps(lab, "correct") == ["waiting for a person"]
    with lab.database.read() as session:
        said = session.scalars(select(Alert.sentence).where(Alert.kind == "needs a person")).one()
    assert "can't be corrected: neither the archive nor the spool holds its objects or its file" in said
    shutil.copytree(kept, lab.settings.resolved(lab.settings.archive_folder), dirs_exist_ok=True)
    time_passes(lab, "correct")
    run_until_calm(lab)
    assert jobs(lab) == ["convert", "correct", "correct"]
    assert "needs a person" not in alerts(lab)
    the_end_is_right(lab, OTHER)


def test_an_archive_that_is_away_is_asked_again(lab: Lab) -> None:
    archived(lab)
    the_spool_forgets(lab, the_file=False)
    archive = lab.settings.resolved(lab.settings.archive_folder)
    archive.rename(archive.with_name("away"))
    becomes(lab, OTHER)
    run_until_calm(lab)
    assert steps(lab, "correct") == ["waiting for another try"]
    assert the_scan(lab).storage == Storage.PROVEN
    assert list(lab.spool.root.glob("work/*/*")) == []

    archive.with_name("away").rename(archive)
    time_passes(lab, "correct")
    run_until_calm(lab)
    assert jobs(lab).count("convert") == 1
    the_end_is_right(lab, OTHER)
    books_balance(lab)


def test_what_a_correction_needs_is_not_tidied_away_and_what_it_made_is(lab: Lab) -> None:
    archived(lab)
    becomes(lab, OTHER)
    assert tidy(lab) == 0
    run_until_calm(lab)
    assert tidy(lab) == 1
    assert list(lab.spool.root.glob("work/*")) == []
    books_balance(lab)


def test_asking_for_a_correction_that_is_not_needed_changes_nothing(lab: Lab) -> None:
    archived(lab)
    case_id = the_case(lab).id
    with lab.database.read() as session:
        before = session.scalar(select(func.count()).select_from(Step))
    for _ in range(2):
        with lab.database.write("asked for nothing") as session:
            lock_case(session, case_id)
            correct_archived(session, case_id, Cause("test"))
    with lab.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Step)) == before
    becomes(lab, OTHER)
    with lab.database.write("asked twice") as session:
        lock_case(session, case_id)
        correct_archived(session, case_id, Cause("test"))
    assert corrections(lab) == ["ready"]


def test_a_cancelled_slide_s_scan_is_corrected_when_it_is_ordered_again(lab: Lab) -> None:
    matched(lab)
    done(lab, "convert")
    message_arrives(lab, order("26H1", cancel=(A,), sent_at=LATER, control_id="CA1"))
    run_until_calm(lab, BEFORE_ARCHIVE)
    becomes(lab, OTHER)
    assert (the_scan(lab).outcome, corrections(lab)) == (Outcome.CANCELLED, [])
    message_arrives(lab, order("26H1", A, patient=OTHER, sent_at="20250104120000+0000", control_id="NW2"))
    run_until_calm(lab)

    assert (corrections(lab), jobs(lab).count("convert")) == (["done"], 1)
    the_end_is_right(lab, OTHER)
    books_balance(lab)


def _the_archive_loses_everything(lab: Lab) -> None:
    assert isinstance(lab.archive, FolderArchive)
    for path in lab.settings.resolved(lab.settings.archive_folder).rglob("*.dcm"):
        path.unlink()
