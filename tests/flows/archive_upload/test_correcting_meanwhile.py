"""A case that turns out to be another patient's while a step of the archive runs."""

import random

import pytest

from connectors.wiring import Lab
from flows.ledger import Claim, LostClaimError
from flows.step import End
from tests.flows.archive_upload.correcting import (
    FIRST,
    MADE,
    OTHER,
    PROVEN,
    REJECTED,
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
    the_end_is_right,
    worked,
)
from tests.flows.looking import books_balance, steps, the_scan, told
from tests.small_lab import ON_BOTH, message_arrives, order, run_until_calm

_TO_THE_END = ("convert", "store", "prove")


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
        assert (corrections(lab), editions(lab)) == ([], {1: PROVEN})
    else:
        assert corrections(lab) == ["done"]
        # What no worker had claimed to store never leaves; what one had may have begun to.
        has_left = kind in ("store", "prove")
        assert editions(lab) == {1: REJECTED if has_left else MADE, 2: PROVEN}
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
    assert editions(lab) == {1: PROVEN}
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
        assert (corrections(lab), editions(lab)) == (["superseded"], {1: PROVEN})
    else:
        assert (corrections(lab), editions(lab)) == (["superseded", "done"], {1: REJECTED, 2: PROVEN})
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
    assert editions(lab) == {1: REJECTED, 2: REJECTED, 3: PROVEN}
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
    assert editions(lab) == {1: REJECTED, 2: PROVEN}
    the_end_is_right(lab, OTHER)
    books_balance(lab)


@pytest.mark.parametrize("seed", range(4))
def test_chance_mixes_merges_and_steps_and_the_archive_names_whom_the_case_names(lab: Lab, seed: int) -> None:
    chance = random.Random(seed)
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
    kept = [edition for edition, states in editions(lab).items() if states == PROVEN]
    assert kept == [the_scan(lab).edition]
    assert set.union(*editions(lab).values()) <= {"converted", "rejected", "proven"}
    books_balance(lab)


def _end_if_still_ours(lab: Lab, claim: Claim, end: End | None) -> None:
    try:
        ended(lab, end or worked(lab, claim))
    except LostClaimError:
        return


@ON_BOTH
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
