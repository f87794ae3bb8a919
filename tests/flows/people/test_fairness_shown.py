"""How even loads are, out of the books, and who may see what of it."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from flows.actions.ruling import set_policy
from flows.standing.fairness import Group, fairness_of, summaries_of
from models.policy import Fairness, Policy
from models.tables.case import Case
from models.tables.reading import Assignment, Credit, Read
from tests.flows.people.conftest import ANN, Office
from tests.small_lab import ON_BOTH

NOW = datetime.now(UTC)
PEOPLE = ("ada", "ben", "cay", "dan")
FILES = {
    "networks": "north,The North,ne",
    "sites": "site-a,north,",
    "pathologists": "\n".join(
        f"{one},Dr {one.title()},{'site-b' if one == 'dan' else 'site-a'},1,{50 if one == 'ben' else 100},,yes,"
        for one in PEOPLE
    ),
    "competences": "\n".join(
        [f"{one},general,lead,,,2020-01-01," for one in PEOPLE]
        + ["ada,skin,lead,,,2020-01-01,", "ben,skin,may read,,,2020-01-01,", "cay,skin,trainee,,,2020-01-01,"]
    ),
    "sessions": "\n".join(f"{one},mon-sun,00:00,00:00" for one in PEOPLE),
}


def reads(office: Office, *work: tuple[str, float, dict[str, object]]) -> None:
    """Have people report or hold reads: who, how many points, and what is not as usual."""
    with office.desk.database.write("test") as session:
        for number, (who, points, other) in enumerate(work):
            said = {"subspecialty": "general", "lane": 2, "days_ago": 1.0, "open": False} | other
            key = f"{who}-{points}-{number}"
            case = {"site_id": "site-a", "subspecialty": said["subspecialty"], "lane": said["lane"]}
            session.add(Case(id=key, registered_at=NOW, orders_changed_at=NOW, **case))
            session.flush()
            closed = None if said["open"] else NOW
            read = {"case_id": key, "round": 1, "role": "primary", "points": points, "created_at": NOW}
            session.add(Read(id=key, closed_at=closed, **read))
            session.flush()
            given = {"read_id": key, "pathologist_id": who, "started_at": NOW, "decided_by": "test", "explanation": {}}
            session.execute(insert(Assignment).values(ended_at=closed, **given))
            if not said["open"]:
                at = NOW - timedelta(days=float(str(said["days_ago"])))
                credit = {"read_id": key, "pathologist_id": who, "forecast": points, "points": points, **case}
                session.execute(insert(Credit).values(weights="weights/1", credited_at=at, **credit))


@pytest.fixture
def busy(office: Office) -> Office:
    office.brings_in(**FILES)
    reads(
        office,
        ("ada", 40.0, {"lane": 1, "subspecialty": "skin"}),
        ("ada", 40.0, {"open": True}),
        ("ben", 20.0, {"subspecialty": "skin"}),
        ("cay", 80.0, {}),
        ("cay", 900.0, {"days_ago": 40.0}),
        ("dan", 8.0, {}),
    )
    return office


def seen(office: Office, group: Group | None = None, **how: object):  # type: ignore[no-untyped-def] # noqa: ANN201 - the function's own
    with office.desk.database.read() as session:
        return fairness_of(session, NOW, group, **how)  # type: ignore[arg-type]


def test_a_manager_sees_everybody_by_what_they_can_do(busy: Office) -> None:
    shown = seen(busy)
    loads = {one.pathologist_id: (one.reported, one.open, one.relative) for one in shown.evenness.people}
    assert loads["cay"][0] == 80
    assert loads["ada"][:2] == (40, 40)
    assert loads["ada"][2] == pytest.approx(loads["cay"][2])
    assert loads["ben"][2] == pytest.approx(2 * 0.25 * loads["cay"][2])
    assert (shown.window_days, shown.hidden, len(shown.evenness.series)) == (28, 0, 4)


def test_a_group_is_of_a_site_a_network_or_a_subspecialty(busy: Office) -> None:
    def names(group: Group) -> set[str]:
        return {one.pathologist_id for one in seen(busy, group).evenness.people}

    assert names(Group(site="site-b")) == {"dan"}
    assert names(Group(network="north")) == {"ada", "ben", "cay"}
    assert names(Group(subspecialty="skin")) == {"ada", "ben"}
    assert names(Group(site="site-a", subspecialty="general")) == {"ada", "ben", "cay"}


def test_in_a_subspecialty_only_its_large_and_urgent_reads_are_shared_out(busy: Office) -> None:
    skin = {one.pathologist_id: one for one in seen(busy, Group(subspecialty="skin")).evenness.people}
    assert (skin["ada"].reported, skin["ada"].open) == (40, 40)
    assert skin["ada"].urgent == pytest.approx(1.5)
    # 40 of the 60 large points of skin, with two thirds of the capacity.
    assert (skin["ada"].large, skin["ben"].large) == (pytest.approx(1.0), pytest.approx(1.0))


def test_leave_lowers_what_somebody_could_have_reported(busy: Office) -> None:
    before = {one.pathologist_id: one.capacity for one in seen(busy).evenness.people}
    first, last = (NOW - timedelta(days=13)).date(), (NOW - timedelta(days=7)).date()
    busy.brings_in(leave=f"cay,{first},{last},")
    after = {one.pathologist_id: one.capacity for one in seen(busy).evenness.people}
    assert after["cay"] == pytest.approx(before["cay"] - 100.0, rel=0.02)
    assert after["ada"] == pytest.approx(before["ada"])


def test_more_weeks_look_further_back(busy: Office) -> None:
    shown = seen(busy, weeks=8)
    reported = {one.pathologist_id: one.reported for one in shown.evenness.people}
    assert (shown.window_days, reported["cay"], len(shown.evenness.series)) == (56, 980, 8)
    days = seen(busy, weeks=1, step="day").evenness.series
    assert len(days) == 7
    assert sum(one.reported for one in days) == 148


def test_a_pathologist_sees_their_own_figures_and_what_is_said_of_all(busy: Office) -> None:
    shown = seen(busy, viewer="ben")
    assert [one.pathologist_id for one in shown.evenness.people] == ["ben"]
    assert shown.hidden == 3
    assert shown.evenness.gini is not None
    assert shown.evenness.highest is None


def test_of_a_group_too_small_to_hide_in_a_peer_learns_nothing(busy: Office) -> None:
    shown = seen(busy, Group(subspecialty="skin"), viewer="ben")
    evenness = shown.evenness
    assert [one.pathologist_id for one in evenness.people] == ["ben"]
    assert (shown.hidden, evenness.gini, evenness.mean, evenness.series) == (1, None, None, ())


def test_peers_see_each_other_where_the_policy_lets_them(busy: Office) -> None:
    set_policy(busy.desk, Policy(fairness=Fairness(peers_see=True)), ANN)
    with busy.desk.database.read() as session:
        shown = fairness_of(session, datetime.now(UTC), viewer="ben")
    assert len(shown.evenness.people) == 4


def test_every_network_site_and_subspecialty_is_summed_up(busy: Office) -> None:
    with busy.desk.database.read() as session:
        found = {
            (one.group.network, one.group.site, one.group.subspecialty): one.people
            for one in summaries_of(session, NOW)
        }
    assert found == {
        ("north", None, None): 3,
        (None, "site-a", None): 3,
        (None, "site-b", None): 1,
        (None, None, "general"): 4,
        (None, None, "skin"): 2,
    }


@ON_BOTH
def test_somebody_who_reads_no_longer_is_in_no_group(busy: Office) -> None:
    busy.brings_in(pathologists="\n".join(FILES["pathologists"].splitlines()[:3]))
    assert "dan" not in {one.pathologist_id for one in seen(busy).evenness.people}
