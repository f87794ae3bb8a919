"""Whatever comes in which order and how often, the end is the same (F12, F13)."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from connectors.wiring import Lab
from flows.changes import state_of
from flows.journey import BARCODE_MATCHING, INTAKE, SLIDE_QC, STAGES
from models.tables.case import (
    Block,
    Case,
    CasePatient,
    CaseSite,
    CaseVisit,
    Derivation,
    Identifier,
    Patient,
    Slide,
    Specimen,
)
from models.tables.deadline import Deadline
from models.tables.scan import Scan
from models.tables.work import WorkOrder
from tests import postgres
from tests.flows.looking import A, B, archived_names_the_patient, books_balance
from tests.lims_says import imaged, in_visit, merged, replaced, reported, updated, visit_moved, work_done
from tests.small_lab import SmallSlide, event_again, message_arrives, order, run_until_calm, scan_arrives, small_lab

FreshLab = Callable[[], AbstractContextManager[Lab]]
BEFORE_THE_ARCHIVE = [one for one in STAGES if one.name in (INTAKE, SLIDE_QC, BARCODE_MATCHING)]
P = "26H000001-A"
# What depends on when something reached us: times, how often a case turned, and whether it was ever ready to be read.
_BY_THE_CLOCK = {
    *("registered_at", "orders_changed_at", "expected_closed_at", "completeness_version", "reading"),
    *("round_opened_at", "due_at", "readable_at"),
}
_LIVE_DEADLINES = select(Deadline).where(Deadline.ended_at.is_(None)).order_by(Deadline.case_id, Deadline.kind)


@dataclass(frozen=True)
class Arrives:
    """One thing that comes in: a message of a peer, or a scan."""

    what: bytes | SmallSlide
    peer: str = "lims-a"

    def at(self, lab: Lab) -> None:
        if isinstance(self.what, bytes):
            message_arrives(lab, self.what, peer=self.peer)
            return
        event_again(lab, scan_arrives(lab, self.what))


def projection(lab: Lab) -> dict[str, list[Any]]:
    """Return everything that is known in the end, without what only the clock decides."""
    with lab.database.read() as session:
        found: dict[str, list[Any]] = {"scan": [vars(state_of(scan)) for scan in session.scalars(_in_order(Scan))]}
        for entity in (
            *(Case, CaseSite, CaseVisit, CasePatient, Slide, Specimen, Block, Derivation, Patient, Identifier),
            WorkOrder,
        ):
            names = [column.key for column in entity.__table__.columns if column.key not in _BY_THE_CLOCK]
            if entity is Identifier:
                # Its own number is given by the database.
                names.remove("id")
            rows = [{name: getattr(row, name) for name in names} for row in session.scalars(select(entity))]
            found[entity.__name__] = sorted(rows, key=str)
        found["Deadline"] = [
            (row.case_id, row.round, row.kind, row.basis, row.due_at if row.basis == "moment" else None)
            for row in session.scalars(_LIVE_DEADLINES)
        ]
    return found


def _in_order(entity: type[Scan]) -> Any:  # noqa: ANN401 - SQLAlchemy's generic Select
    return select(entity).order_by(entity.id)


def played(
    fresh: FreshLab, story: Sequence[Arrives], *, pauses: Sequence[bool] = (), to_the_end: bool = False
) -> dict[str, list[Any]]:
    """Have a story happen, the laboratory at work after each part where there is a pause, and return its end.

    ``to_the_end``: what can be is archived too, and the books are audited.
    """
    with fresh() as lab:
        for number, one in enumerate(story):
            one.at(lab)
            if number < len(pauses) and pauses[number]:
                run_until_calm(lab, BEFORE_THE_ARCHIVE)
        run_until_calm(lab, BEFORE_THE_ARCHIVE)
        end = projection(lab)
        if to_the_end:
            run_until_calm(lab)
            archived_names_the_patient(lab)
            books_balance(lab)
    return end


@contextmanager
def _on_sqlite() -> Iterator[Lab]:
    with tempfile.TemporaryDirectory() as folder:
        lab = small_lab(Path(folder), f"sqlite:///{folder}/coverslip.db")
        yield lab
        lab.database.close()


@pytest.fixture
def on_postgres(postgres_cluster: postgres.Cluster) -> FreshLab:
    """A way to open laboratories, each on a fresh PostgreSQL database."""

    @contextmanager
    def opened() -> Iterator[Lab]:
        with postgres_cluster.unmade_database() as url, tempfile.TemporaryDirectory() as folder:
            lab = small_lab(Path(folder), url)
            yield lab
            lab.database.close()

    return opened


# A small world in which everything collides: one case, few containers, three moments.
moments = st.sampled_from(["20250101100000+0000", "20250101100000+0000", "20250101110000+0000", "20250101120000+0000"])
containers = st.sampled_from([(), (A,), (B,), (A, B)])
orders = st.builds(
    lambda slides, cancel, **said: order("26H1", *slides, cancel=[one for one in cancel if one not in slides], **said),
    containers,
    st.sampled_from([(), (), (), (A,), (A, B), (P,)]),
    control=st.sampled_from(["NW", "NW", "XO", "CA"]),
    sent_at=moments,
    priority=st.sampled_from(["", "S", "R"]),
    due=st.sampled_from(["", "20250201120000+0000", "20250301120000+0000"]),
    stain=st.sampled_from(["", "HE"]),
    parent=st.sampled_from(["", P]),
    route=st.sampled_from(["", "", "OTH"]),
    patient=st.sampled_from(["A100234", "A100234", "B7"]),
    sequence=st.sampled_from(["", "1", "2"]),
    control_id=st.sampled_from(["M1", "M2"]),
    placer=st.sampled_from(["P1", "P2"]),
)
parents = st.builds(
    lambda at, kind: order("26H1", P, sent_at=at).replace(b"GLASS", kind.encode()),
    moments,
    st.sampled_from(["CONTAINER", "CASSETTE"]),
)
messages = st.builds(Arrives, st.one_of(orders, orders, parents), st.sampled_from(["lims-a", "lims-a", "lims-b"]))
# What is said beside orders, of the same case and of its patients: with itself, with orders, and with each other.
people = st.sampled_from(["A100234", "B7", "C9"])
pairs = st.tuples(people, people).filter(lambda pair: pair[0] != pair[1])
control_ids = st.sampled_from(["M1", "M2", "M3"])
beside = st.one_of(
    st.builds(lambda pair, at, name: merged(*pair, sent_at=at, control_id=name), pairs, moments, control_ids),
    st.builds(
        lambda pair, at, name: visit_moved("V1", *pair, sent_at=at, control_id=name), pairs, moments, control_ids
    ),
    st.builds(
        lambda status, what, at, name: reported("26H1", status, *what, sent_at=at, control_id=name),
        st.sampled_from(["P", "F", "F", "C", "A", "X"]),
        st.sampled_from([(), (), (P,), (P, "26H000001-B")]),
        moments,
        control_ids,
    ),
    st.builds(
        lambda says, reader, at: updated("26H1", says=says, reader=reader, sent_at=at),
        st.sampled_from(["", "Preliminary", "Final", "Ended", "Grossed", "SetClosed"]),
        st.sampled_from(["", "rosa", "tom", "nobody"]),
        moments,
    ),
    st.builds(
        lambda slide, available, at: imaged("26H1", slide, available=available, sent_at=at),
        st.sampled_from([A, B]),
        st.booleans(),
        moments,
    ),
    st.builds(lambda number, at: work_done("26H1", number, B, sent_at=at), st.sampled_from(["W1", "W2"]), moments),
    st.builds(lambda one: in_visit(one, "V1"), orders),
    st.builds(lambda slides, at: replaced("26H1", *slides, sent_at=at), st.sampled_from([(A,), (B,), (A, B)]), moments),
)
qualities = st.sampled_from(["review", "rescan", "pass"])
# One scan of each glass: two of one would be a choice between them, which is a person's.
scans = st.lists(
    st.builds(lambda name, quality: SmallSlide(codes=(name,), quality=quality), st.sampled_from([A, B]), qualities),
    max_size=2,
    unique_by=lambda slide: slide.codes,
)
stories = st.builds(
    lambda some, slides: [*some, *map(Arrives, slides)], st.lists(messages, min_size=1, max_size=5), scans
)


# At least one order: without any there is no case, and nothing to compare but the patients.
mixed = st.builds(
    lambda first, others, slides: [first, *others, *map(Arrives, slides)],
    st.builds(Arrives, orders),
    st.lists(st.builds(Arrives, st.one_of(beside, beside, orders)), min_size=1, max_size=6),
    scans,
)


def _holds(fresh: FreshLab, story: list[Arrives], chance: Any) -> None:  # noqa: ANN401 - hypothesis's random
    again = story + chance.choices(story, k=chance.randint(0, 2))
    chance.shuffle(again)
    first = [chance.random() < 0.5 for _ in story]
    second = [chance.random() < 0.5 for _ in again]

    assert played(fresh, again, pauses=second, to_the_end=True) == played(fresh, story, pauses=first)


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(story=stories, chance=st.randoms(use_true_random=False))
def test_any_order_of_arrival_with_repeats_ends_the_same(story: list[Arrives], chance: Any) -> None:  # noqa: ANN401 - hypothesis's own
    _holds(_on_sqlite, story, chance)


@pytest.mark.postgres
@settings(max_examples=3, suppress_health_check=list(HealthCheck))
@given(story=stories, chance=st.randoms(use_true_random=False))
def test_any_order_of_arrival_ends_the_same_on_postgresql(
    on_postgres: FreshLab,
    story: list[Arrives],
    chance: Any,  # noqa: ANN401 - hypothesis's own
) -> None:
    _holds(on_postgres, story, chance)


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(story=mixed, chance=st.randoms(use_true_random=False))
def test_merges_moves_reports_and_images_end_the_same_in_any_order_with_repeats(
    story: list[Arrives],
    chance: Any,  # noqa: ANN401 - hypothesis's own
) -> None:
    _holds(_on_sqlite, story, chance)


@pytest.mark.postgres
@settings(max_examples=3, suppress_health_check=list(HealthCheck))
@given(story=mixed, chance=st.randoms(use_true_random=False))
def test_what_is_said_beside_orders_ends_the_same_on_postgresql(
    on_postgres: FreshLab,
    story: list[Arrives],
    chance: Any,  # noqa: ANN401 - hypothesis's own
) -> None:
    _holds(on_postgres, story, chance)


@pytest.mark.parametrize(
    "story",
    [
        pytest.param(
            [
                Arrives(in_visit(order("26H1", A, sent_at="20250101100000+0000"), "V1")),
                Arrives(merged("B7", "A100234", sent_at="20250101110000+0000")),
                Arrives(merged("A100234", "B7", sent_at="20250101120000+0000", control_id="M2")),
                Arrives(visit_moved("V1", "B7", "C9", sent_at="20250101110000+0000", control_id="M3")),
            ],
            id="two merged into each other and a visit moved between",
        ),
        pytest.param(
            [
                Arrives(order("26H1", A, sent_at="20250101100000+0000")),
                Arrives(reported("26H1", "F", sent_at="20250101110000+0000")),
                Arrives(order("26H1", B, sent_at="20250101110000+0000", control_id="M2")),
                Arrives(reported("26H1", "C", sent_at="20250101120000+0000", control_id="M3")),
            ],
            id="a slide ordered at the moment of the final report, and a correction",
        ),
        pytest.param(
            [
                Arrives(order("26H1", A, parent=P, sent_at="20250101100000+0000")),
                Arrives(order("26H1", "26H000001-B", placer="P2").replace(b"GLASS", b"CONTAINER")),
                Arrives(reported("26H1", "F", sent_at="20250101130000+0000")),
                Arrives(reported("26H1", "F", sent_at="20250101140000+0000", control_id="M4").replace(b"P1", b"P2")),
            ],
            id="two specimens whose own orders are reported apart",
        ),
        pytest.param(
            [
                Arrives(order("26H1", A, B, sent_at="20250101100000+0000")),
                Arrives(replaced("26H1", B, sent_at="20250101110000+0000")),
                Arrives(updated("26H1", says="Ended", sent_at="20250101110000+0000")),
                Arrives(SmallSlide(codes=(A,), quality="review")),
            ],
            id="an order replaced while a slide of it is scanned",
        ),
        pytest.param(
            [
                Arrives(order("26H1", A, sent_at="20250101100000+0000")),
                Arrives(order("26H1", cancel=(A,), sent_at="20250101110000+0000", control_id="M2")),
                Arrives(order("26H1", A, sent_at="20250101120000+0000", control_id="M3", stain="HE")),
                Arrives(SmallSlide(codes=(A,), quality="review")),
            ],
            id="a slide ordered, cancelled and ordered again",
        ),
        pytest.param(
            [
                Arrives(order("26H1", A, sent_at="20250101100000+0000")),
                Arrives(order("26H1", control="CA", sent_at="20250101120000+0000", control_id="M2")),
                Arrives(SmallSlide(codes=(A,), quality="rescan")),
            ],
            id="a case cancelled for good",
        ),
        pytest.param(
            [
                Arrives(order("26H1", cancel=(A,), sent_at="20250101100000+0000")),
                Arrives(order("26H1", A, sent_at="20250101110000+0000", control_id="M2")),
                Arrives(order("26H1", control="CA", sent_at="20250101120000+0000", control_id="M3")),
                Arrives(SmallSlide(codes=(A,), quality="review")),
            ],
            id="a slide ordered again in a case that is cancelled",
        ),
        pytest.param(
            [
                Arrives(order("26H1", A, parent=P, sent_at="20250101100000+0000")),
                Arrives(order("26H1", P, sent_at="20250101100000+0000").replace(b"GLASS", b"CONTAINER"), "lims-b"),
                Arrives(order("26H1", cancel=(P,), sent_at="20250101100000+0000", control_id="M2")),
            ],
            id="a parent known by three messages of one moment",
        ),
    ],
)
def test_every_order_of_arrival_of_a_short_story_ends_the_same(story: list[Arrives]) -> None:
    ends = [played(_on_sqlite, one, pauses=[True] * len(one)) for one in permutations(story)]

    assert all(end == ends[0] for end in ends)
