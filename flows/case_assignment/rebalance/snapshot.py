"""All open reads and everybody who may have them, as the books have them at one moment; nothing is locked."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Row, and_, bindparam, select, text, union
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows.allocation import WHO_SAYS
from flows.case_assignment.candidate import GENERAL, Candidate, ReadToAssign
from flows.case_assignment.medium import ON_SCREEN, on_glass
from flows.people.candidates import load_candidates
from flows.people.conflicts import all_conflicts
from flows.people.policies import InForce, policy_in_force
from models.base import table_of
from models.tables.case import Case
from models.tables.place import Site
from models.tables.reading import Assignment, Declined, Leave, Network, NetworkAid, Read
from models.tables.step import Step

MOVABLE: Final = ("primary", "second")
"""Roles whose reads a look at all of them may move; the others were asked of somebody, or end within the hour."""

_APART: Final = ("primary", "second", "trainee", "opinion")
_SICK: Final = "sick"
_DAY: Final = timedelta(days=1)

_READ, _ASSIGNMENT, _CASE, _STEP, _SITE = (table_of(entity) for entity in (Read, Assignment, Case, Step, Site))
_DECLINED, _LEAVE = table_of(Declined), table_of(Leave)
_NETWORK, _AID = table_of(Network), table_of(NetworkAid)

_COLUMNS: Final = (
    *(_READ.c.id, _READ.c.case_id, _READ.c.round, _READ.c.scope, _READ.c.role, _READ.c.points, _READ.c.weights),
    *(_CASE.c.site_id, _CASE.c.lane, _CASE.c.due_at, _CASE.c.patient_id),
    _CASE.c.subspecialty.label("of_case"),
    _READ.c.subspecialty.label("of_read"),
    *(_ASSIGNMENT.c.id.label("assignment_id"), _ASSIGNMENT.c.pathologist_id, _ASSIGNMENT.c.started_at),
    *(_ASSIGNMENT.c.accepted_at, _ASSIGNMENT.c.opened_at, _ASSIGNMENT.c.manual, _ASSIGNMENT.c.decided_by),
)
_OWNED = and_(_ASSIGNMENT.c.read_id == _READ.c.id, _ASSIGNMENT.c.ended_at.is_(None))
_OF_CASE = _CASE.c.id == _READ.c.case_id
# Written out: SQLite uses the index over open steps only when it can see these very words.
_OPEN_STEP = and_(_STEP.c.kind == "case_assignment", text("step.state IN ('ready', 'running', 'waiting')"))
_WITH_SOMEBODY = (
    select(*_COLUMNS)
    .select_from(_ASSIGNMENT.join(_READ, _OWNED).join(_CASE, _OF_CASE))
    .where(_READ.c.closed_at.is_(None), _CASE.c.cancelled.is_(False))
)
_WITH_NOBODY = (
    select(*_COLUMNS)
    .select_from(
        _STEP.join(_READ, _READ.c.id == _STEP.c.subject_id).join(_CASE, _OF_CASE).outerjoin(_ASSIGNMENT, _OWNED)
    )
    .where(_OPEN_STEP, _ASSIGNMENT.c.id.is_(None), _READ.c.closed_at.is_(None), _CASE.c.cancelled.is_(False))
)
_CASES = union(
    select(_READ.c.case_id).select_from(_ASSIGNMENT.join(_READ, _OWNED)),
    select(_READ.c.case_id).select_from(_STEP.join(_READ, _READ.c.id == _STEP.c.subject_id)).where(_OPEN_STEP),
)
_PATIENTS = select(_CASE.c.patient_id).where(_CASE.c.id.in_(_CASES), _CASE.c.patient_id.is_not(None))
_WHO_DECLINED = (
    select(_DECLINED.c.read_id, _DECLINED.c.pathologist_id)
    .join(_READ, _READ.c.id == _DECLINED.c.read_id)
    .where(_READ.c.case_id.in_(_CASES), _READ.c.closed_at.is_(None))
)
_WHO_HAD_IT = (
    select(_READ.c.case_id, _READ.c.role, _READ.c.scope, _ASSIGNMENT.c.pathologist_id)
    .join(_ASSIGNMENT, _ASSIGNMENT.c.read_id == _READ.c.id)
    .where(_READ.c.case_id.in_(_CASES), _READ.c.closed_at.is_not(None))
    .order_by(_ASSIGNMENT.c.id)
)
_PATIENTS_READERS = (
    select(_CASE.c.patient_id, _CASE.c.id.label("case_id"), _ASSIGNMENT.c.pathologist_id)
    .select_from(
        _ASSIGNMENT.join(_READ, _READ.c.id == _ASSIGNMENT.c.read_id).join(_CASE, _CASE.c.id == _READ.c.case_id)
    )
    .where(_CASE.c.patient_id.in_(_PATIENTS), _READ.c.role == "primary")
    .order_by(_ASSIGNMENT.c.id.desc())
)
_PLACES = select(_SITE.c.id, _SITE.c.zone, _SITE.c.network_id, _NETWORK.c.region).outerjoin(
    _NETWORK, _NETWORK.c.id == _SITE.c.network_id
)
_ON_SICK_LEAVE = select(_LEAVE.c.pathologist_id, _LEAVE.c.first_day, _LEAVE.c.last_day).where(
    _LEAVE.c.kind == _SICK, _LEAVE.c.last_day >= bindparam("since")
)


@dataclass(frozen=True)
class OpenRead:
    """A read that somebody has or that is being assigned."""

    wanted: ReadToAssign
    owner: str | None
    assignment_id: int | None
    since: datetime | None
    stays: str | None
    """Why no look moves it while its reader is there."""
    pinned: bool
    """It stays even if its reader is away: a person has begun with it or decided it, or it is not ours to say."""
    by_rules: bool = False
    """Neither a person nor another system decided who has it."""
    twin: str | None = None
    """The other read of a case that is read twice."""


@dataclass(frozen=True)
class Snapshot:
    """What a look at all open reads sees; ``absent`` are people who can't read now, whatever their roster says."""

    at: datetime
    in_force: InForce
    reads: tuple[OpenRead, ...]
    people: tuple[Candidate, ...]
    absent: frozenset[str]
    cut_off: frozenset[str] = frozenset()
    """Sites whose readers count as absent."""
    sick: frozenset[str] = frozenset()
    """Those of the absent who are off sick."""


def snapshot(session: Session, settings: Settings, now: datetime, cut_off: frozenset[str] = frozenset()) -> Snapshot:
    """Return the snapshot of this moment.

    Parameters
    ----------
    cut_off
        Sites whose readers can't open images at present.
    """
    in_force = policy_in_force(session, now)
    people = load_candidates(
        session, now, window_days=in_force.policy.fairness.window_days, lock_pool=False, cut_off=cut_off
    )
    places = {row.id: row for row in session.execute(_PLACES)}
    sick = _sick(session, now, {one.pathologist_id: one.zone for one in people})
    away = sick | {one.pathologist_id for one in people if not one.active or one.cut_off}
    rows = sorted((*session.execute(_WITH_SOMEBODY), *session.execute(_WITH_NOBODY)), key=lambda row: row.id)
    known = _Known(session, settings, in_force, places, rows)
    ids = frozenset(one.pathologist_id for one in people)
    reads = (known.open_read(row) for row in rows)
    # What is not ours to give and nobody has, or somebody whom nobody knows, is of no weight for anybody.
    counted = tuple(one for one in reads if not one.pinned or one.owner in ids)
    return Snapshot(now, in_force, counted, people, away, cut_off, sick)


class _Known:
    """What is known of all open reads together: a query each, however many there are."""

    def __init__(
        self,
        session: Session,
        settings: Settings,
        in_force: InForce,
        places: Mapping[str, Row[*tuple[Any, ...]]],
        rows: Sequence[Row[*tuple[Any, ...]]],
    ) -> None:
        self._settings, self._policy, self._places = settings, in_force.policy, places
        self._conflicts = all_conflicts(session)
        self._glass = on_glass(session, select(_CASES.subquery().c.case_id))
        self._declined = _grouped(session.execute(_WHO_DECLINED), "read_id")
        self._had = {(row.case_id, row.role, row.scope): row.pathologist_id for row in session.execute(_WHO_HAD_IT)}
        self._patients: dict[str, list[Row[*tuple[Any, ...]]]] = defaultdict(list)
        for row in session.execute(_PATIENTS_READERS):
            self._patients[row.patient_id].append(row)
        self._aided = _grouped(
            session.execute(select(_AID.c.network_id, _AID.c.aiding_id.label("pathologist_id"))), "network_id"
        )
        self._of_case: dict[str, list[Row[*tuple[Any, ...]]]] = defaultdict(list)
        for row in rows:
            self._of_case[row.case_id].append(row)

    def open_read(self, row: Row[*tuple[Any, ...]]) -> OpenRead:
        subspecialty = row.of_read or row.of_case or GENERAL
        place = self._places[row.site_id]
        others = [one for one in self._of_case[row.case_id] if one.id != row.id and one.round == row.round]
        twin = _twin(row, others)
        before = self._had.get((row.case_id, row.role, row.scope))
        wanted = ReadToAssign(
            read_id=row.id,
            case_id=row.case_id,
            site_id=row.site_id,
            subspecialty=subspecialty,
            points=row.points if _is_a_weight(row.points) else 0.0,
            lane=row.lane,
            due_at=row.due_at,
            conflicts=self._conflicts[row.case_id] | self._conflicts[row.patient_id or ""],
            role=row.role,
            scope=self._policy.of(subspecialty).scope,
            network_id=place.network_id,
            region=place.region,
            aided_by=self._aided[place.network_id or ""],
            declined=self._declined[row.id],
            reads_otherwise=frozenset(
                one.pathologist_id
                for one in others
                if one.pathologist_id is not None and one.id != twin and _apart(row.role, one.role)
            ),
            before=before,
            patients_reader=self._patients_reader(row),
            weight_model=row.weights,
            medium=self._glass.get(row.case_id, ON_SCREEN),
        )
        pinned = self._pinned(row)
        stays = pinned
        if stays is None and before is not None and before == row.pathologist_id:
            stays = "its reader had it in the case's earlier round"
        return OpenRead(
            wanted,
            row.pathologist_id,
            row.assignment_id,
            row.started_at,
            stays,
            pinned is not None,
            by_rules=not row.manual and row.decided_by not in WHO_SAYS,
            twin=twin,
        )

    def _pinned(self, row: Row[*tuple[Any, ...]]) -> str | None:
        if not self._settings.has_site(row.site_id):
            return "its site is not in the settings any more"
        authority = self._settings.site(row.site_id).who_allocates(row.of_case)
        for is_so, why in (
            (row.role not in MOVABLE, f"it is of the role {row.role}"),
            (row.role == "primary" and authority != "coverslip", f"the {authority.upper()} says who reads it"),
            (not _is_a_weight(row.points), "its points are no number"),
            (row.opened_at is not None, "it is open"),
            (bool(row.manual), "a person decided it"),
            (row.accepted_at is not None, "it is accepted"),
        ):
            if is_so:
                return why
        return None

    def _patients_reader(self, row: Row[*tuple[Any, ...]]) -> str | None:
        of_patient = self._patients[row.patient_id] if row.patient_id else []
        return next((one.pathologist_id for one in of_patient if one.case_id != row.case_id), None)


def _twin(row: Row[*tuple[Any, ...]], others: Sequence[Row[*tuple[Any, ...]]]) -> str | None:
    """Return the other read of a case that has one primary and one second read."""
    counterpart = {"primary": "second", "second": "primary"}.get(row.role)
    found = [one.id for one in others if one.role == counterpart]
    alone = not any(one.role == row.role for one in others)
    return str(found[0]) if alone and len(found) == 1 else None


def _is_a_weight(points: float) -> bool:
    return 0 <= points < math.inf


def _apart(role: str, other: str) -> bool:
    return role in _APART and other in _APART and (role != other or role == "opinion")


def _grouped(rows: Iterable[Any], by: str) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        found[getattr(row, by)].add(row.pathologist_id)
    return defaultdict(frozenset, {key: frozenset(people) for key, people in found.items()})


def _sick(session: Session, now: datetime, zones: Mapping[str, str]) -> frozenset[str]:
    """Return who is off sick on the civil day of their site."""
    found = set()
    for row in session.execute(_ON_SICK_LEAVE, {"since": now.date() - _DAY}):
        zone = zones.get(row.pathologist_id)
        if zone is not None and row.first_day <= now.astimezone(ZoneInfo(zone)).date() <= row.last_day:
            found.add(row.pathologist_id)
    return frozenset(found)
