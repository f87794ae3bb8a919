"""The policy as a document: every fault by its place; versions are only added; what is shown can be set again."""

import threading
from datetime import time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from flows.actions.ruling import preview_policy, set_policy
from flows.people.policies import policy_in_force, policy_versions
from flows.people.policy_document import Differs, PolicyFault, as_toml, compare, read_policy
from models.database import database_now
from models.errors import RefusedError
from models.policy import Batch, Fairness, Policy, Release, Subspecialty, Target, Weights
from models.tables.books import History
from models.tables.reading import Rebalance
from tests.flows.people.conftest import ANN, Office
from tests.small_lab import ON_BOTH

LATE = Policy(weights=Weights(late=50.0))


def in_force(office: Office, in_hours: float = 0) -> int | None:
    with office.desk.database.read() as session:
        return policy_in_force(session, database_now(session) + timedelta(hours=in_hours)).version


def versions(office: Office) -> list[int]:
    with office.desk.database.read() as session:
        return [one.version for one in policy_versions(session)]


def faults(text: str) -> dict[str, str]:
    found = read_policy(text.encode())
    assert not isinstance(found, Policy)
    return {one.place: one.sentence for one in found}


@ON_BOTH
def test_a_policy_that_is_set_is_in_force_and_says_by_whom_and_why(office: Office) -> None:
    assert in_force(office) is None
    ruling = set_policy(office.desk, LATE, ANN)
    assert (ruling.version, ruling.is_new) == (1, True)
    assert ruling.differs == (Differs("weights.late", "40.0", "50.0"),)
    with office.desk.database.read() as session:
        assert policy_in_force(session, database_now(session)).policy == LATE
        [version] = policy_versions(session)
        rows = session.scalars(select(History).order_by(History.id)).all()
    assert (version.by, version.because) == (ANN.name, ANN.reason)
    assert [(one.what, one.before, one.after, one.actor, one.reason) for one in rows] == [
        ("version", None, "1", ANN.name, ANN.reason),
        ("rule", "weights.late = 40.0", "weights.late = 50.0", ANN.name, ANN.reason),
    ]


def test_the_same_document_again_makes_no_new_version(office: Office) -> None:
    set_policy(office.desk, LATE, ANN)
    written_otherwise = read_policy(b"weights = { late = 50 }\n")
    assert isinstance(written_otherwise, Policy)
    ruling = set_policy(office.desk, written_otherwise, ANN)
    assert (ruling.version, ruling.is_new, ruling.differs) == (1, False, ())
    assert versions(office) == [1]


def test_going_back_to_earlier_rules_is_a_version_of_its_own(office: Office) -> None:
    for policy in (LATE, Policy(), LATE):
        set_policy(office.desk, policy, ANN)
    assert versions(office) == [1, 2, 3]


def test_a_policy_may_begin_later_and_not_earlier(office: Office) -> None:
    with office.desk.database.read() as session:
        now = database_now(session)
    set_policy(office.desk, LATE, ANN)
    set_policy(office.desk, Policy(), ANN, now + timedelta(hours=2))
    assert (in_force(office), in_force(office, 3)) == (1, 2)
    with pytest.raises(RefusedError, match="before now"):
        set_policy(office.desk, LATE, ANN, now - timedelta(hours=1))


def test_a_version_that_will_never_be_in_force_is_said_so(office: Office) -> None:
    with office.desk.database.read() as session:
        later = database_now(session) + timedelta(hours=2)
    set_policy(office.desk, LATE, ANN, later)
    ruling = set_policy(office.desk, Policy(warn_before_hours=2.0), ANN)
    assert ["will never be in force" in note for note in ruling.notes] == [True]
    assert (in_force(office), in_force(office, 3)) == (2, 2)


def test_a_preview_writes_nothing(office: Office) -> None:
    assert preview_policy(office.desk, LATE).differs
    assert versions(office) == []


@ON_BOTH
def test_those_who_set_one_at_the_same_moment_take_turns(office: Office) -> None:
    problems: list[BaseException] = []

    def set_one(hours: int) -> None:
        try:
            set_policy(office.desk, Policy(warn_before_hours=float(hours)), ANN)
        except Exception as error:  # noqa: BLE001 - told to the test
            problems.append(error)

    threads = [threading.Thread(target=set_one, args=(hours,)) for hours in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert problems == []
    assert versions(office) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "place", "sentence"),
    [
        ("[weights]\nlate = -1", "weights.late", "must be at least 0"),
        ("[weights]\nlate = nan", "weights.late", "must be a number"),
        ("[weights]\nwait_a_day = [1, 2]", "weights.wait_a_day.2", "is missing"),
        ("[weights]\nlat = 1", "weights.lat", "did you mean 'late'?"),
        ("[batch]\nevery_minutes = 2.5", "batch.every_minutes", "must be a whole number"),
        ("[batch]\nevery_minutes = 2", "batch.every_minutes", "must be at least 5"),
        ("[fairness]\npeers_see = 'perhaps'", "fairness.peers_see", "must be true or false"),
        ("fairness = 3", "fairness", "must be a table"),
        ("[subspecialties.Breast]", "subspecialties.Breast", "must be small letters"),
        ("[subspecialties.skin]\nscope = 'world'", "subspecialties.skin.scope", "'network', 'region' or 'national'"),
        ("[targets.turnaround]\nbasis = 'working'", "targets.turnaround", "either days or minutes"),
        ("[targets.turnaround]\ndays = 1\nminutes = 2", "targets.turnaround", "either days or minutes"),
        ("working_day = [18:00:00, 08:00:00]", "working_day", "the second is later"),
        ("weight_model = 'guess/1'", "weight_model", '"weights/1"'),
        ("[weights", "", "is no TOML"),
    ],
)
def test_a_fault_is_named_by_its_place_and_what_to_do(text: str, place: str, sentence: str) -> None:
    found = faults(text)
    assert list(found) == [place]
    assert sentence in found[place]


def test_all_faults_are_named_in_one_go() -> None:
    found = faults("weight_model = 'guess/1'\nnonsense = 1\n[weights]\nlate = -1\n[targets.x]\n")
    assert list(found) == ["nonsense", "targets.x", "weight_model", "weights.late"]


def test_what_is_no_text_or_too_large_is_a_fault_and_no_failure() -> None:
    assert read_policy(b"\xff\xfe") == (PolicyFault("", read_policy(b"\xff\xfe")[0].sentence),)  # type: ignore[index]
    assert read_policy(b" " * (2 << 20)) == (PolicyFault("", "is larger than 1 MB, which no policy is"),)
    assert not isinstance(read_policy(b"a = " + b"[" * 100_000), Policy)


_names = st.from_regex(r"[a-z0-9][a-z0-9_ -]{0,10}", fullmatch=True)
_points = st.floats(0, 1e6, allow_nan=False)
_targets = st.builds(
    Target, days=st.floats(0.1, 366), basis=st.sampled_from(["calendar", "working"]), pausable=st.booleans()
) | st.builds(Target, minutes=st.floats(0.1, 1440), lanes=st.lists(st.just("urgent"), max_size=1).map(tuple))
_subspecialties = st.builds(
    Subspecialty,
    scope=st.sampled_from(["network", "region", "national"]),
    double=st.booleans(),
    release=st.none() | st.builds(Release, after_hours=st.floats(0, 100)),
)
_policies = st.builds(
    Policy,
    weights=st.builds(Weights, late=_points, wait_a_day=st.tuples(_points, _points, _points)),
    batch=st.builds(Batch, every_minutes=st.integers(5, 1440), most_moved_share=st.floats(0, 1)),
    specimen_points=st.dictionaries(st.text(min_size=1, max_size=20), _points, max_size=3),
    subspecialties=st.dictionaries(_names, _subspecialties, max_size=3),
    targets=st.dictionaries(_names, _targets, max_size=3),
    read_before_proof=st.lists(st.sampled_from(["intra-operative", "urgent"]), max_size=2).map(tuple),
    working_day=st.just((time(7, 30), time(19, 15, 30))),
    fairness=st.builds(Fairness, window_days=st.integers(1, 366)),
)


@given(_policies)
def test_what_is_shown_is_the_whole_policy_when_it_is_read_again(policy: Policy) -> None:
    again = read_policy(as_toml(policy).encode())
    assert again == policy
    assert compare(policy, policy) == ()


def test_what_is_shown_tells_what_the_rules_mean() -> None:
    shown = as_toml(Policy())
    assert "# In the civil time of the site" in shown
    assert '# One of: "whole case", "partial"' in shown
    assert "# [subspecialties.breast]" in shown


@ON_BOTH
def test_open_reads_are_looked_at_again_when_a_policy_begins_now(office: Office) -> None:
    set_policy(office.desk, LATE, ANN)
    with office.desk.database.read() as session:
        later = database_now(session) + timedelta(hours=2)
    set_policy(office.desk, Policy(), ANN, later)
    with office.desk.database.read() as session:
        assert session.scalars(select(Rebalance.why)).all() == ["version 1 of the policy begins"]
