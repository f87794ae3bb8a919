"""When a case will be reported, on histories and rosters that are made up."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.case_assignment.candidate import Absence, WeeklySession
from flows.completeness import SlideStanding
from flows.deadlines.forecast import CaseAhead, Forecast, ReadAhead, ReaderAhead, SlideAhead, forecast, quickest
from flows.deadlines.telling import will_be_missed
from flows.deadlines.usual import Stage, Usual

MONDAY: Final = datetime(2026, 11, 23, 9, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
MORNINGS: Final = tuple(WeeklySession(day, time(9), time(13)) for day in range(5))


def reader(
    points_before: float = 0.0, absences: tuple[Absence, ...] = (), sessions: Sequence[WeeklySession] = MORNINGS
) -> ReaderAhead:
    """Return somebody who reads a point an hour, twenty a week."""
    return ReaderAhead("rosa", "Dr Rosa", "UTC", 20.0, tuple(sessions), absences, points_before)


def case(*reads: ReadAhead, slides: Sequence[SlideAhead] = (), lane: int = 2) -> CaseAhead:
    return CaseAhead(lane, "UTC", tuple(slides), reads)


def held(by: ReaderAhead, points: float = 2.0) -> ReadAhead:
    return ReadAhead(points, MONDAY, by)


def missing(standing: SlideStanding, waited: timedelta) -> SlideAhead:
    return SlideAhead(standing, MONDAY - waited)


def foreseen(one: CaseAhead, **took: Sequence[timedelta]) -> Forecast:
    usual: dict[Stage, Sequence[timedelta]] = {stage.replace("_", " "): spans for stage, spans in took.items()}  # type: ignore[misc] # names of stages
    return forecast(one, Usual(usual), MONDAY)


def test_who_has_nothing_else_reads_a_case_at_once() -> None:
    found = foreseen(case(held(reader())))

    assert found.at == MONDAY + 2 * HOUR
    assert found.longest.what == "the reading by Dr Rosa"


def test_nobody_reads_on_a_public_holiday_but_who_reads_on_sundays() -> None:
    holidays = frozenset({MONDAY.date()})
    assert foreseen(case(held(replace(reader(), holidays=holidays)))).at == MONDAY + timedelta(days=1, hours=2)
    on_sundays = reader(sessions=(*MORNINGS, WeeklySession(6, time(9), time(13))))
    assert foreseen(case(held(replace(on_sundays, holidays=holidays)))).at == MONDAY + 2.4 * HOUR


def test_what_lies_before_it_is_read_first_and_named_when_it_takes_longest() -> None:
    found = foreseen(case(held(reader(points_before=10.0))))

    # Four hours on Monday and on Tuesday, two and then two on Wednesday.
    assert found.at == MONDAY + timedelta(days=2, hours=4)
    assert found.longest.what == "what lies before it with Dr Rosa (10 points)"
    assert sum((wait.span for wait in found.waits), timedelta(0)) == found.at - MONDAY


def test_nobody_reads_on_leave_and_the_day_of_return_is_named() -> None:
    away = Absence(date(2026, 11, 23), date(2026, 11, 26))
    found = foreseen(case(held(reader(absences=(away,)))))

    assert found.at == datetime(2026, 11, 27, 11, tzinfo=UTC)
    assert found.longest.what == "Dr Rosa, who reads next on 27 Nov 09:00"


def test_who_never_comes_back_in_time_can_not_be_foreseen() -> None:
    gone = Absence(date(2026, 11, 1), date(2027, 11, 1))
    found = foreseen(case(held(reader(absences=(gone,)))))

    assert found.at is None
    assert found.is_late(MONDAY + timedelta(days=365))
    assert found.longest.what == "Dr Rosa, who has no session for it"


def test_a_night_session_is_read_through_midnight() -> None:
    nights = [WeeklySession(0, time(22), time(6))]
    found = foreseen(case(held(reader(sessions=nights), points=10.0)))

    # Eight hours a week for twenty points: ten points are four hours, from ten until two.
    assert found.at == datetime(2026, 11, 24, 2, tzinfo=UTC)
    begun = forecast(case(held(reader(sessions=nights), points=10.0)), Usual(), datetime(2026, 11, 24, 1, tzinfo=UTC))
    assert begun.at == datetime(2026, 11, 24, 5, tzinfo=UTC)


def test_sessions_are_civil_hours_when_the_clocks_change() -> None:
    sundays = [WeeklySession(6, time(0), time(4))]
    london = ReaderAhead("rosa", "Dr Rosa", "Europe/London", 4.0, tuple(sundays))
    before = datetime(2027, 3, 27, 12, tzinfo=UTC)
    found = forecast(case(ReadAhead(4.0, before, london)), Usual(), before)

    # The night has three hours: the fourth point waits for the next Sunday, which begins at 23:00 UTC.
    assert found.at == datetime(2027, 4, 4, 0, tzinfo=UTC)


def test_the_slowest_slide_is_waited_for_and_the_kind_it_is_of_is_named() -> None:
    slides = [
        missing("moving", timedelta(minutes=1)),
        missing("waiting for a scan", 2 * HOUR),
        missing("waiting for a scan", HOUR),
    ]
    found = foreseen(case(held(reader()), slides=slides), scan=[6 * HOUR] * 10, archive=[timedelta(minutes=4)] * 10)

    assert found.readable_at == MONDAY + 5 * HOUR
    # By then Monday's session is over.
    assert found.at == MONDAY + timedelta(days=1, hours=2)
    assert found.waits[0].what == "2 slides that are not scanned yet"


@pytest.mark.parametrize(
    ("standing", "said"),
    [
        ("waiting for a rescan", "a slide that must be scanned again"),
        ("being made", "a slide that is being made"),
        ("set aside", "a scan that was set aside"),
        ("images gone", "a slide whose images are gone"),
        ("moving", "a slide on its way to the archive"),
    ],
)
def test_every_place_where_a_slide_can_stand_is_waited_for(standing: SlideStanding, said: str) -> None:
    found = foreseen(case(slides=[missing(standing, timedelta(0))]))

    assert found.readable_at > MONDAY
    assert found.waits[0].what == said


def test_a_case_that_nobody_has_takes_what_giving_and_reading_usually_take() -> None:
    found = foreseen(case(ReadAhead(2.0, MONDAY)), assignment=[HOUR] * 10, reading=[30 * HOUR] * 10)

    assert found.at == MONDAY + 31 * HOUR
    assert found.longest.what == "its reading"
    assert found.reader_id is None


def test_a_case_that_nobody_may_read_can_not_be_foreseen() -> None:
    found = foreseen(case(ReadAhead(2.0, MONDAY, nobody_may=True)))

    sentence = will_be_missed("turnaround", MONDAY + timedelta(days=9), found, "Europe/London", MONDAY)
    assert sentence == (
        "its deadline of 2 Dec, 09:00 GMT (turnaround) will probably be missed: nobody can say when it will be "
        "reported, for it waits for nobody who may read it"
    )


def test_a_frozen_section_takes_what_frozen_sections_take_and_goes_first() -> None:
    found = foreseen(case(held(reader(), points=12.0), lane=0))

    assert found.at == MONDAY + timedelta(minutes=10)
    assert not found.is_late(MONDAY + timedelta(minutes=20))


def test_the_slowest_of_several_reads_counts() -> None:
    found = foreseen(case(held(reader()), held(reader(points_before=30.0)), ReadAhead(1.0, MONDAY)))

    assert found.at == MONDAY + timedelta(days=9, hours=4)


def test_it_is_its_reader_who_makes_it_late_only_if_somebody_else_could_make_it() -> None:
    busy = case(held(reader(points_before=30.0)))
    unscanned = case(held(reader(points_before=30.0)), slides=[missing("waiting for a scan", timedelta(0))])
    due_at = MONDAY + timedelta(hours=10)

    assert foreseen(busy).is_late_by_its_reader(due_at, quickest(busy, Usual()))
    assert foreseen(unscanned).is_late(due_at)
    assert not foreseen(unscanned).is_late_by_its_reader(due_at, quickest(unscanned, Usual()))


@pytest.mark.parametrize(
    ("waited", "still"),
    [(0, 5), (4, 3), (5, 3), (8, 1), (10, 5), (40, 20)],
)
def test_what_has_lasted_longer_than_usual_is_measured_by_what_took_as_long(waited: int, still: int) -> None:
    usual = Usual({"scan": [one * HOUR for one in (1, 2, 3, 4, 5, 5, 6, 7, 8, 9)]})

    assert usual.still("scan", waited * HOUR) == still * HOUR


def test_a_laboratory_that_has_done_little_is_believed_to_be_like_others() -> None:
    assert Usual({"scan": [HOUR] * 9}).still("scan") == timedelta(hours=12)
    assert Usual({"scan": [HOUR] * 10}).still("scan") == HOUR


def test_a_sentence_names_the_deadline_the_report_and_the_longest_wait() -> None:
    slides = [missing("waiting for a scan", timedelta(0))]
    found = foreseen(case(held(reader()), slides=slides), scan=[50 * HOUR] * 10)

    assert will_be_missed("mdt", MONDAY + 2 * HOUR, found, "Europe/London", MONDAY) == (
        "its deadline of 23 Nov, 11:00 GMT (MDT) will probably be missed: a report is expected by 25 Nov, "
        "13:00 GMT, and most of the time goes to a slide that is not scanned yet"
    )


@given(before=st.floats(0, 200), more=st.floats(0, 200), points=st.floats(0.1, 30), days=st.integers(0, 20))
def test_more_before_it_or_a_longer_leave_never_makes_a_read_ready_earlier(
    before: float, more: float, points: float, days: int
) -> None:
    away = Absence(date(2026, 11, 23), date(2026, 11, 23) + timedelta(days=days))
    at = foreseen(case(held(reader(before), points))).at
    later = foreseen(case(held(reader(before + more), points))).at
    after_leave = foreseen(case(held(reader(before, (away,)), points))).at

    assert at is not None
    assert later is None or at <= later
    assert after_leave is None or at <= after_leave
