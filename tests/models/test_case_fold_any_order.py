"""Whatever the order in which facts arrive, and however often, they make the same case."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.case_fold import CaseReleased, ImagesFact, OrderFact, ReleasedByPolicy, ReportFact, Told, UpdateFact, fold
from models.statements import (
    BlockStated,
    CaseUpdateStated,
    ImagesStated,
    OrderStated,
    ReaderStated,
    ReportPart,
    ReportStated,
    SpecimenStated,
    Stamp,
    WorkDone,
)
from models.work_fold import WorkAnswered, WorkCancelled, WorkDoneFact
from tests.models.case_facts import HE, KI67, MEANT, MINUTE, NOON, order, slide, told

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
