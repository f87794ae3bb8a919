from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.case_fold import (
    CaseReleased,
    CaseState,
    ImagesFact,
    OrderFact,
    ReleasedByPolicy,
    ReportFact,
    Told,
    UpdateFact,
    fold,
)
from models.facets import Lane, Route
from models.statements import (
    BlockStated,
    CaseMeant,
    CaseUpdateStated,
    Coded,
    ImagesStated,
    OrderStated,
    ReaderStated,
    ReportPart,
    ReportStated,
    SlideStated,
    SpecimenStated,
    Stamp,
    WorkDone,
)
from models.work_fold import WorkAnswered, WorkCancelled, WorkDoneFact

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HE, KI67 = Coded(code="HE"), Coded(code="KI67")


def order(control: str = "register", *, slides: tuple[str, ...] = (), **more: Any) -> OrderStated:  # noqa: ANN401 - any field of an order
    """Return an order for one case; a slide is named by its identifier alone."""
    stated = tuple(SlideStated(container_identifier=one, issuer="NET") for one in slides)
    said: dict[str, Any] = {"accession_number": "26H1", "issuer": "NET", "site": "site-a", "slides": stated}
    return OrderStated(control=control, **(said | more))  # type: ignore[arg-type] # one of the three


def slide(identifier: str, **more: Any) -> SlideStated:  # noqa: ANN401 - any field of a slide
    return SlideStated(container_identifier=identifier, issuer="NET", **more)


def told(fact: OrderStated | CaseReleased, at: float = 0, digest: str = "a", **more: Any) -> Told:  # noqa: ANN401 - any field
    """Return a fact that counts from ``at`` minutes after noon."""
    body = OrderFact(order=fact, patient_id=more.pop("patient_id", None)) if isinstance(fact, OrderStated) else fact
    said: dict[str, Any] = {"received_at": NOON, **more}
    return Told(body, NOON + at * MINUTE, digest=digest, **said)


def standing(state: CaseState) -> dict[str, bool]:
    """Return each slide with whether it is expected."""
    return {identifier: not one.cancelled for (_, identifier), one in state.slides.items()}


# A small world in which everything collides: few times, few containers, every control.
names = st.sampled_from(["A", "B", "C"])
stamps = st.sampled_from([None, *(Stamp(at=NOON + n * MINUTE, raw="", zone_assumed=False) for n in range(2))])
stains = st.sampled_from([(), (HE,), (HE, KI67)])
slides = st.builds(
    slide,
    names,
    parents=st.sampled_from([(), ("A",), ("P",)]),
    stains=stains,
    route=st.sampled_from([None, "scan", "glass only"]),
    order_numbers=st.sampled_from([(), ("P1",), ("P2",)]),
)
blocks = st.builds(lambda name: BlockStated(container_identifier=name, issuer="NET", parents=("P",)), names)
specimens = st.builds(lambda name: SpecimenStated(container_identifier=name, issuer="NET"), st.sampled_from(["P", "A"]))
orders = st.builds(
    OrderStated,
    control=st.sampled_from(["register", "change", "replace", "cancel"]),
    accession_number=st.just("26H1"),
    issuer=st.just("NET"),
    site=st.sampled_from(["site-a", "site-b"]),
    placer_order_numbers=st.sampled_from([(), ("P1",), ("P2",)]),
    priority=st.sampled_from([None, "routine", "urgent"]),
    due=stamps,
    subspecialty=st.sampled_from([None, "breast", "skin"]),
    slides=st.lists(slides, max_size=2).map(tuple),
    blocks=st.lists(blocks, max_size=1).map(tuple),
    specimens=st.lists(specimens, max_size=1).map(tuple),
    cancelled=st.sampled_from([(), (), ("A",), ("B", "P")]),
)
MEANT = CaseMeant(accession_number="26H1", issuer="NET", site="site-a")
statuses = st.sampled_from(["preliminary", "final", "supplementary", "corrected", "cancelled"])
report_parts = st.builds(
    ReportPart,
    status=statuses,
    specimens=st.sampled_from([(), (), ("P",), ("A",)]),
    order_numbers=st.sampled_from([(), ("P1",), ("P2", "P1")]),
)
beside = st.one_of(
    st.builds(
        lambda said: ReportFact(report=ReportStated(case=MEANT, parts=tuple(said))), st.lists(report_parts, max_size=2)
    ),
    st.builds(
        lambda report, reader, **said: UpdateFact(
            update=CaseUpdateStated(
                case=MEANT, report=report, reader=ReaderStated(id=reader) if reader else None, **said
            )
        ),
        st.one_of(st.none(), statuses),
        st.sampled_from(["", "rosa", "tom"]),
        grossed=st.booleans(),
        set_closed=st.booleans(),
        ended=st.booleans(),
    ),
    st.builds(
        lambda name, there: ImagesFact(
            images=ImagesStated(case=MEANT, container_identifier=name, issuer="NET", available=there)
        ),
        names,
        st.booleans(),
    ),
    st.builds(
        lambda accepted: WorkAnswered(number="W1", accepted=accepted, reason="" if accepted else "none left"),
        st.booleans(),
    ),
    st.just(WorkCancelled(number="W1")),
    st.just(WorkDoneFact(done=WorkDone(case=MEANT, work_order_number="W1", container_identifier="C", issuer="NET"))),
)
facts = st.builds(
    Told,
    st.one_of(
        st.builds(OrderFact, order=orders, patient_id=st.sampled_from([None, "one", "two"])),
        st.just(CaseReleased()),
        st.just(ReleasedByPolicy(version=1, after_hours=24.0, slide_ids=("a",))),
        beside,
    ),
    effective_at=st.sampled_from([NOON, NOON, NOON + MINUTE, NOON + 2 * MINUTE]),
    received_at=st.sampled_from([NOON, NOON + MINUTE]),
    # A digest is of what is said, so two facts of one digest are one fact: it must be unique here too.
    digest=st.integers(0, 2**32).map(str),
    sequence_number=st.sampled_from([None, None, 0, 1]),
)
stories = st.lists(facts, min_size=1, max_size=12, unique_by=lambda one: one.digest)


@pytest.mark.parametrize("digests", [("a", "b"), ("b", "a")])
def test_of_two_words_of_one_second_about_images_the_one_that_they_are_gone_holds(digests: tuple[str, str]) -> None:
    there, gone = (
        Told(
            ImagesFact(images=ImagesStated(case=MEANT, container_identifier="A", issuer="NET", available=available)),
            NOON,
            received_at=NOON,
            digest=digest,
        )
        for available, digest in zip((True, False), digests, strict=True)
    )
    ordered = told(order(slides=("A",)), digest="c")
    for arrival in permutations((there, gone, ordered)):
        (said,) = fold(arrival).images.values()
        assert not said.images.available


def test_of_two_issuers_that_mean_one_slide_the_last_word_about_its_images_holds() -> None:
    story = [
        Told(
            ImagesFact(images=ImagesStated(case=MEANT, container_identifier="A", issuer=issuer, available=available)),
            effective_at=NOON + minutes * MINUTE,
            received_at=NOON,
            digest=str(minutes),
        )
        for minutes, (issuer, available) in enumerate([("X", True), ("Y", False), ("X", True)], start=1)
    ]
    said = fold([told(order(slides=("A",))), *story]).images

    assert {key: one.images.available for key, one in said.items()} == {("NET", "A"): True}


@settings(max_examples=60)
@given(st.lists(facts, min_size=2, max_size=4, unique_by=lambda one: one.digest))
def test_every_order_of_arrival_makes_the_same_case(few: list[Told]) -> None:
    first = fold(few)

    assert all(fold(arrival) == first for arrival in permutations(few))


@settings(max_examples=200)
@given(stories, st.randoms(use_true_random=False))
def test_shuffled_and_repeated_facts_make_the_same_case(story: list[Told], chance: Any) -> None:  # noqa: ANN401 - hypothesis's own
    again = story + chance.choices(story, k=len(story))
    chance.shuffle(again)

    assert fold(again) == fold(story)


@settings(max_examples=100)
@given(stories)
def test_a_case_knows_every_container_that_was_named_and_every_parent(story: list[Told]) -> None:
    state = fold(story)

    children = {key: one.parents for key, one in state.slides.items()}
    children |= {key: one.parents for key, one in state.blocks.items()}
    for (issuer, _), parents in children.items():
        assert all((issuer, parent) in {**state.specimens, **state.blocks} for parent in parents)


def test_what_a_message_does_not_state_leaves_what_an_earlier_one_stated() -> None:
    full = order(
        slides=(),
        priority="urgent",
        due=Stamp(at=NOON, raw="", zone_assumed=False),
        subspecialty="breast",
        study_instance_uid="1.2.3",
        placer_order_numbers=("P1",),
    ).model_copy(update={"slides": (slide("A", parents=("P",), stains=(HE,), stain_text="HE", route="glass only"),)})
    bare = order("change", slides=("A",), placer_order_numbers=("P2",))

    state = fold([told(full, patient_id="one"), told(bare, 1)])

    assert state.due is not None
    assert (state.lane, state.due.at, state.subspecialty) == (Lane.URGENT, NOON, "breast")
    assert (state.study_instance_uid, state.patient_id) == ("1.2.3", "one")
    assert state.placer_order_numbers == {"P1", "P2"}
    known = state.slides["NET", "A"]
    assert (known.parents, known.stains, known.stain_text, known.route) == (("P",), (HE,), "HE", Route.GLASS_ONLY)


def test_the_later_message_wins_whenever_it_comes() -> None:
    early = told(order(slides=("A",), subspecialty="skin", priority="urgent"), patient_id="one")
    late = told(order("change", subspecialty="breast", priority="routine"), 1, patient_id="two")

    for arrival in ((early, late), (late, early)):
        state = fold(arrival)
        assert (state.subspecialty, state.lane, state.patient_id) == ("breast", Lane.ROUTINE, "two")


def test_at_one_moment_the_sequence_number_decides_before_what_is_asked() -> None:
    first = told(order("cancel", slides=()), sequence_number=1)
    second = told(order("register", slides=("A",)), sequence_number=2)

    assert not fold([second, first]).cancelled


def test_at_one_moment_register_goes_before_change_and_change_before_cancel() -> None:
    register = told(order("register", slides=("A",), subspecialty="skin"), digest="z")
    change = told(order("change", subspecialty="breast"), digest="m")
    cancel = told(order("cancel", subspecialty="gi"), digest="a")

    for arrival in permutations((register, change, cancel)):
        state = fold(arrival)
        assert state.cancelled
        assert state.subspecialty == "gi"
    assert fold([change, register]).subspecialty == "breast"


def test_at_one_moment_two_that_contradict_are_decided_by_their_digests_and_not_by_arrival() -> None:
    one = told(order("change", subspecialty="skin"), digest="1")
    other = told(order("change", subspecialty="gi"), digest="2")

    assert fold([one, other]).subspecialty == fold([other, one]).subspecialty == "gi"


def test_cancelling_one_slide_leaves_its_case_and_the_other_slides() -> None:
    state = fold([told(order(slides=("A", "B"))), told(order("cancel", cancelled=("A",)), 1)])

    assert not state.cancelled
    assert standing(state) == {"A": False, "B": True}


def test_a_cancel_that_names_nothing_cancels_the_case() -> None:
    assert fold([told(order(slides=("A",))), told(order("cancel"), 1)]).cancelled


def test_a_change_does_not_bring_back_what_was_cancelled_and_a_new_order_does() -> None:
    cancelled = [told(order(slides=("A",))), told(order("cancel", cancelled=("A",)), 1)]

    assert standing(fold([*cancelled, told(order("change", slides=("A",)), 2)])) == {"A": False}
    assert standing(fold([*cancelled, told(order("register", slides=("A",)), 2)])) == {"A": True}


def test_an_order_brings_a_cancelled_case_back_and_a_change_does_not() -> None:
    cancelled = [told(order(slides=("A",))), told(order("cancel"), 1)]

    assert fold([*cancelled, told(order("change"), 2)]).cancelled
    assert not fold([*cancelled, told(order("register"), 2)]).cancelled


def test_a_cancel_that_arrives_before_its_order_still_cancels_it() -> None:
    assert standing(fold([told(order("cancel", cancelled=("A",)), 1)])) == {"A": False}
    assert standing(fold([told(order("cancel", cancelled=("A",)), 1), told(order(slides=("A",)))])) == {"A": False}


def test_a_cancel_names_a_container_of_another_issuer_when_only_that_is_called_so() -> None:
    elsewhere = order().model_copy(update={"slides": (SlideStated(container_identifier="A", issuer="OTHER"),)})

    state = fold([told(elsewhere), told(order("cancel", cancelled=("A",)), 1)])

    assert {key: one.cancelled for key, one in state.slides.items()} == {("OTHER", "A"): True}


def test_a_cancel_never_chooses_between_two_issuers() -> None:
    elsewhere = order().model_copy(
        update={"slides": tuple(SlideStated(container_identifier="A", issuer=one) for one in ("X", "Y"))}
    )

    state = fold([told(elsewhere), told(order("cancel", cancelled=("A",)), 1)])

    assert not state.slides["X", "A"].cancelled
    assert not state.slides["Y", "A"].cancelled


@pytest.mark.parametrize("kind", ["specimens", "blocks"])
def test_a_cancelled_specimen_or_block_becomes_no_slide(kind: str) -> None:
    stated = {"specimens": SpecimenStated, "blocks": BlockStated}[kind](container_identifier="X", issuer="NET")
    registered = order().model_copy(update={kind: (stated,)})

    state = fold([told(registered), told(order("cancel", cancelled=("X",)), 1)])

    assert getattr(state, kind)["NET", "X"].cancelled
    assert state.slides == {}


def test_a_change_for_a_slide_never_registered_makes_it_and_a_later_order_makes_no_second() -> None:
    change = told(order("change").model_copy(update={"slides": (slide("A", stains=(KI67,)),)}))
    register = told(order(slides=("A",)), 1)

    assert fold([change]).slides["NET", "A"].stains == (KI67,)
    assert fold([change, register]).slides.keys() == {("NET", "A")}
    assert fold([change, register]).slides["NET", "A"].stains == (KI67,)


def test_a_parent_that_nobody_registered_gets_a_stub_until_it_is() -> None:
    child = told(order().model_copy(update={"slides": (slide("A", parents=("P",)),)}))
    parent = order("change").model_copy(update={"specimens": (SpecimenStated(container_identifier="P", issuer="NET"),)})

    assert fold([child]).blocks.keys() == {("NET", "P")}
    whole = fold([child, told(parent, 1)])
    assert not whole.blocks
    assert whole.specimens.keys() == {("NET", "P")}


def test_two_issuers_that_use_one_identifier_name_two_slides() -> None:
    both = order().model_copy(
        update={"slides": tuple(SlideStated(container_identifier="A", issuer=one) for one in ("X", "Y"))}
    )

    assert fold([told(both)]).slides.keys() == {("X", "A"), ("Y", "A")}


def test_completeness_counts_from_when_orders_reached_us_not_from_the_senders_clock() -> None:
    far_ahead = told(order(slides=("A",)), at=500, received_at=NOON)
    older = told(order("change", slides=("B",)), at=-500, received_at=NOON + MINUTE)

    state = fold([far_ahead, older])

    assert (state.registered_at, state.orders_changed_at) == (NOON, NOON + MINUTE)


def test_a_release_holds_whatever_the_lims_says_later_but_not_for_a_cancelled_case() -> None:
    released = [told(order(slides=("A",))), told(CaseReleased(), 1)]

    assert fold([*released, told(order("change", slides=("B",)), 2)]).released
    final = ReportFact(report=ReportStated(case=MEANT, parts=(ReportPart(status="final"),)))
    closed = Told(final, NOON + 2 * MINUTE, received_at=NOON, digest="a")
    assert fold([*released, closed]).released
    # Who let it be read meant what there was then: what comes after the report is another round.
    assert not fold([*released, closed, told(order("change", slides=("B",)), 3)]).released
    assert not fold([*released, told(order("cancel"), 2)]).released
    assert fold([*released, told(order("cancel"), 2), told(order("register"), 3)]).released


def test_a_person_s_release_outranks_the_policy_s_in_whatever_order_they_come() -> None:
    ordered, by_policy = told(order(slides=("A",))), ReleasedByPolicy(version=1, after_hours=24.0, slide_ids=("a",))
    policy = Told(by_policy, NOON + MINUTE, received_at=NOON, digest="a")

    assert (fold([ordered, policy]).released, fold([ordered, policy]).released_how) == (True, "policy")
    for at in (0, 2):
        assert fold([ordered, policy, told(CaseReleased(), at)]).released_how == "a person"
    assert fold([ordered, policy, told(order("cancel"), 3)]).released_how is None


def test_the_identity_changes_with_patient_and_accession_and_with_nothing_else() -> None:
    registered = told(order(slides=("A",)), patient_id="one")
    same = told(order("change", slides=("B",), priority="urgent"), 1, patient_id="one")
    other = told(order("change"), 1, patient_id="two")

    assert fold([registered, same]).identity_digest == fold([registered]).identity_digest
    assert fold([registered, other]).identity_digest != fold([registered]).identity_digest


def test_an_order_that_replaces_another_cancels_what_it_does_not_name() -> None:
    first = told(order(slides=("A", "B"), placer_order_numbers=("P1",)))
    second = told(order("replace", slides=("B", "C"), placer_order_numbers=("P1",)), 1)

    for arrival in ((first, second), (second, first)):
        assert standing(fold(arrival)) == {"A": False, "B": True, "C": True}


def test_an_order_that_replaces_another_leaves_what_a_third_one_ordered() -> None:
    first = told(order(slides=("A",), placer_order_numbers=("P1",)))
    other = told(order(slides=("A", "B"), placer_order_numbers=("P2",)), 1)
    instead = told(order("replace", slides=("C",), placer_order_numbers=("P1", "P3")), 2)

    assert standing(fold([first, other, instead])) == {"A": True, "B": True, "C": True}


def test_an_order_without_a_number_replaces_all_of_its_case() -> None:
    assert standing(fold([told(order(slides=("A",))), told(order("replace", slides=("B",)), 1)])) == {
        "A": False,
        "B": True,
    }


def test_an_order_that_replaces_another_brings_a_cancelled_case_back() -> None:
    assert not fold([told(order("cancel")), told(order("replace", slides=("A",)), 1)]).cancelled


def test_what_was_ordered_at_the_moment_of_a_report_is_in_it() -> None:
    report = ReportFact(report=ReportStated(case=MEANT, parts=(ReportPart(status="final"),)))
    state = fold([told(order(slides=("A",))), Told(report, NOON, NOON, "0")])

    assert (state.round.number, state.round.is_closed) == (1, True)


def test_what_is_said_of_a_case_makes_none_before_its_order() -> None:
    report = ReportFact(report=ReportStated(case=MEANT, parts=(ReportPart(status="final"),)))

    assert not fold([Told(report, NOON, NOON, "0")]).is_ordered


def test_the_laboratory_s_word_that_the_set_is_closed_counts_until_more_is_ordered() -> None:
    closed = UpdateFact(update=CaseUpdateStated(case=MEANT, set_closed=True))
    before, after = told(order(slides=("A",))), told(order(slides=("B",)), 2)

    assert fold([before, Told(closed, NOON + MINUTE, NOON, "0")]).set_closed
    assert not fold([after, before, Told(closed, NOON + MINUTE, NOON, "0")]).set_closed


def specimen(identifier: str, subspecialty: str | None = None) -> SpecimenStated:
    return SpecimenStated(container_identifier=identifier, issuer="NET", subspecialty=subspecialty)


def test_a_specimen_keeps_the_subspecialty_of_its_own_order() -> None:
    first = order(specimens=(specimen("A", "skin"), specimen("B", "neuro")), subspecialty="skin")
    state = fold([told(first), told(order("change", specimens=(specimen("B"),)), 1)])

    assert {name: one.subspecialty for (_, name), one in state.specimens.items()} == {"A": "skin", "B": "neuro"}


@pytest.mark.parametrize("arrival", list(permutations(range(3))))
def test_what_is_said_of_another_specimen_than_the_first_says_nothing_of_the_case(arrival: tuple[int, ...]) -> None:
    story = (
        told(order(specimens=(specimen("A", "skin"),), subspecialty="skin")),
        told(order(specimens=(specimen("B", "neuro"),), subspecialty="neuro"), 1, "b"),
        told(order("change", slides=(), specimens=(specimen("A", "breast"),), subspecialty="breast"), 2, "c"),
    )
    assert fold([story[number] for number in arrival if number < 2]).subspecialty == "skin"
    assert fold([story[number] for number in arrival]).subspecialty == "breast"


def test_what_the_lims_says_that_a_case_weighs_counts_until_it_says_otherwise() -> None:
    report = ReportFact(report=ReportStated(case=MEANT, parts=(), points=7.5))
    story = [told(order(points=3.0)), told(order("change"), 1, "b")]

    assert fold(story).stated_points == 3.0
    assert fold([*story, Told(report, NOON + 2 * MINUTE, NOON, "c")]).stated_points == 7.5


@pytest.mark.parametrize("points", [float("nan"), float("inf"), -1.0, 1000.1])
def test_no_fact_holds_points_that_are_no_weight(points: float) -> None:
    with pytest.raises(ValidationError):
        order(points=points)


def test_what_is_not_said_is_not_written_down_so_older_facts_stay_what_they_are() -> None:
    written = order(specimens=(specimen("A"),)).model_dump(mode="json")
    report = ReportStated(case=MEANT, parts=()).model_dump(mode="json")

    assert "points" not in written
    assert "points" not in report
    assert "subspecialty" not in written["specimens"][0]
