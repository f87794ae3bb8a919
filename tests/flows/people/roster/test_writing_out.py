"""People written out as files that may be brought in again."""

import secrets
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.actions.peopling import export_people, import_people, preview_people, roster
from flows.people.roster.folder import write_folder
from flows.people.roster.lines import (
    AidLine,
    CompetenceLine,
    HolidayLine,
    LeaveLine,
    NetworkLine,
    PersonLine,
    Roster,
    SessionLine,
    SiteLine,
)
from models.errors import RefusedError
from tests.flows.people.conftest import ANN, SITES, Office

_ids = st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True).filter(lambda one: one != "network")
_awkward = st.sampled_from(['=1+1"', "'=x", "''@y", "'t Hooft", 'a, "b"; c', "-", "+44"])
_titles = _awkward | st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20)
_dates = st.dates(date(2020, 1, 1), date(2035, 12, 31))
_points = st.floats(0.01, 1e6) | st.integers(1, 500).map(float)
_times = st.times().map(lambda one: one.replace(microsecond=0, tzinfo=None))


@st.composite
def rosters(draw: st.DrawFn) -> Roster:
    """Return something that a laboratory might have."""
    networks = draw(st.lists(_ids, unique=True, max_size=3))
    calendars = draw(st.lists(_ids, unique=True, max_size=2))
    people = draw(st.lists(_ids, unique=True, max_size=5))
    aid = [(one, other) for one in networks for other in networks if one != other]
    holidays = [(one, day) for one in calendars for day in draw(st.sets(_dates, min_size=1, max_size=4))]
    return Roster(
        networks=tuple(NetworkLine(one, draw(_titles), draw(_titles)) for one in networks),
        network_aid=tuple(AidLine(*pair) for pair in aid if draw(st.booleans())),
        holidays=tuple(HolidayLine(*key, draw(_titles)) for key in holidays),
        sites=tuple(
            SiteLine(one, draw(st.sampled_from([None, *networks])), draw(st.sampled_from([None, *calendars])))
            for one in SITES
        ),
        pathologists=tuple(
            PersonLine(
                id=one,
                name=draw(_titles),
                site_id=draw(st.sampled_from(SITES)),
                fte=draw(_points),
                points_a_week=draw(_points),
                max_points=draw(st.none() | _points),
                active=draw(st.booleans()),
                known_as=(f"K {one}", f"={one}") if draw(st.booleans()) else (),
            )
            for one in people
        ),
        competences=tuple(line for one in people for line in draw(_competences(one))),
        sessions=tuple(
            SessionLine(one, weekday, starts, draw(_times))
            for one in people
            for weekday, starts in draw(st.sets(st.tuples(st.integers(0, 6), _times), max_size=4))
        ),
        leave=tuple(line for one in people for line in draw(_leave(one))),
    )


@st.composite
def _competences(draw: st.DrawFn, person: str) -> list[CompetenceLine]:
    found = []
    for subspecialty in draw(st.sets(st.sampled_from(["skin", "gi", "soft_tissue"]))):
        ends = sorted(draw(st.sets(_dates, min_size=2, max_size=5)))
        spans: list[tuple[date, date | None]] = list(pairwise(ends))
        if draw(st.booleans()):
            spans[-1] = (spans[-1][0], None)
        for begins, until in spans:
            digital = draw(st.booleans())
            glass = draw(st.booleans()) or not digital
            found.append(CompetenceLine(person, subspecialty, draw(st.integers(1, 3)), digital, glass, begins, until))
    return found


@st.composite
def _leave(draw: st.DrawFn, person: str) -> list[LeaveLine]:
    ends = sorted(draw(st.sets(_dates, max_size=6)))
    pairs = zip(ends[::2], ends[1::2], strict=False)
    return [LeaveLine(person, first, last, draw(st.sampled_from(["leave", "off sick"]))) for first, last in pairs]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rosters(), rosters())
def test_what_is_written_out_and_brought_in_again_changes_nothing(
    tmp_path: Path,
    office_at: Callable[..., Office],
    first: Roster,
    second: Roster,
) -> None:
    office = office_at(f"sqlite:///{tmp_path}/{secrets.token_hex(8)}.db")
    for wanted in (first, second):
        write_folder(wanted, office.folder, overwrite=True)
        import_people(office.desk, office.folder, ANN)
        out = office.folder.parent / "out"
        export_people(office.desk, out, overwrite=True)
        preview = preview_people(office.desk, out)
        assert (preview.faults, preview.changes) == ((), ())
        stands = roster(office.desk)
        assert import_people(office.desk, out, ANN).changes == ()
        assert roster(office.desk) == stands
        assert set(wanted.pathologists) <= set(stands.pathologists)
        assert set(wanted.competences) <= set(stands.competences)
        assert set(wanted.sessions) == set(stands.sessions)
        assert set(wanted.leave) <= set(stands.leave)
        assert office.pools() == {
            one.id: {site.id: site.network_id for site in stands.sites}[one.site_id] or "network"
            for one in stands.pathologists
        }


def test_files_that_are_there_are_not_written_over_unasked(office: Office, tmp_path: Path) -> None:
    export_people(office.desk, tmp_path / "out")
    with pytest.raises(RefusedError, match="--overwrite"):
        export_people(office.desk, tmp_path / "out")
    export_people(office.desk, tmp_path / "out", overwrite=True)
