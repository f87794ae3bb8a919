"""On what a case is read: on a screen, through a microscope, or some of it on each."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, bindparam, case, exists, false, select, true
from sqlalchemy.orm import Session

from models.base import table_of
from models.facets import Outcome, Route, Storage
from models.tables.case import Slide
from models.tables.scan import Scan

_SLIDE, _SCAN = table_of(Slide), table_of(Scan)
_HAS_IMAGES = exists().where(
    *(_SCAN.c.slide_id == _SLIDE.c.id, _SCAN.c.outcome == Outcome.ACTIVE),
    _SCAN.c.storage.in_((Storage.PROVEN, Storage.PURGED)),
)
_IS_GLASS = (_SLIDE.c.route == Route.GLASS_ONLY) & _SLIDE.c.images_elsewhere.is_not(True) & ~_HAS_IMAGES
_KINDS = (
    select(_SLIDE.c.case_id, case((_IS_GLASS, true()), else_=false()).label("is_glass"))
    .where(_SLIDE.c.cancelled.is_(False))
    .distinct()
)
_OF_CASE = _KINDS.where(_SLIDE.c.case_id == bindparam("of_case"))


@dataclass(frozen=True)
class Medium:
    """What whoever reads a case has to be able to; without slides it is a screen."""

    digital: bool = True
    glass: bool = False


ON_SCREEN: Final = Medium()


def medium_of(session: Session, case_id: str) -> Medium:
    """Return on what a case is read."""
    return _medium([is_glass for _, is_glass in session.execute(_OF_CASE, {"of_case": case_id})])


def on_glass(session: Session, cases: Select[Any]) -> Mapping[str, Medium]:
    """Return on what each of these cases is read that has glass; all others are read on a screen."""
    have_glass = select(_SLIDE.c.case_id).where(_SLIDE.c.route == Route.GLASS_ONLY, _SLIDE.c.case_id.in_(cases))
    kinds: defaultdict[str, list[bool]] = defaultdict(list)
    for case_id, is_glass in session.execute(_KINDS.where(_SLIDE.c.case_id.in_(have_glass))):
        kinds[case_id].append(is_glass)
    return {case_id: _medium(of_case) for case_id, of_case in kinds.items()}


def _medium(are_glass: Collection[bool]) -> Medium:
    return Medium(digital=not are_glass or not all(are_glass), glass=any(are_glass))
