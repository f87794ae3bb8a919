"""Pages out of templates: everything is escaped, every time is told in its site's zone."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from fastapi import HTTPException
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import Session

from dashboards.web import words
from dashboards.web.live import mark_of
from flows.standing.timeline import in_words
from models.database import Database, database_now
from models.tables.place import Site

_TEMPLATES: Final = Path(__file__).parent / "templates"

Question = Callable[[Session], dict[str, Any] | None]
"""Asks the books what one page shows; ``None`` when there is no such thing."""


class Renderer:
    """Turns questions to the books into pages.

    Parameters
    ----------
    exposed
        The wires on which patient data crosses the network in plain text: every page says so.
    """

    def __init__(self, database: Database, heartbeat_grace: timedelta, exposed: tuple[str, ...] = ()) -> None:
        self._database = database
        self._heartbeat_grace = heartbeat_grace
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,  # whatever a template is called
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["exposed"] = exposed
        self._templates.filters.update(
            moment=_moment,
            in_words=in_words,
            exactly=_exactly,
            age=_age,
            took=words.took,
            size=words.size,
            tag=_tag,
            command=_command,
        )

    def page(self, template: str, question: Question) -> str:
        """Return a page as it stands now.

        Raises
        ------
        HTTPException
            404: the books know no such thing.
        TransientError
            The books can't be read.
        """
        with self._database.read() as session:
            # The mark is read first: what changes meanwhile makes the page read again.
            mark = mark_of(session, self._heartbeat_grace)
            now = database_now(session)
            sites = {site.id: site for site in session.scalars(select(Site).order_by(Site.id))}
            answer = question(session)
        if answer is None:
            raise HTTPException(404)
        zones = {site.zone for site in sites.values()}
        general = {
            "mark": mark,
            "now": now,
            "sites": sites,
            "zones": {site.id: site.zone for site in sites.values()},
            # What belongs to no site is told in the zone that all share, or else in UTC.
            "home_zone": zones.pop() if len(zones) == 1 else "UTC",
        }
        return self._templates.get_template(template).render(**general, **answer)

    def trouble(self, sentence: str) -> str:
        """Return a page that says what is wrong, without asking the books."""
        now = datetime.now(UTC)
        return self._templates.get_template("trouble.html").render(
            sentence=sentence, mark="", now=now, sites={}, zones={}, home_zone="UTC"
        )


@pass_context
def _moment(context: Context, at: datetime, site: str | None = None) -> Markup:
    return words.time_tag(at, _zone(context, site), context["now"])


@pass_context
def _exactly(context: Context, at: datetime, site: str | None = None) -> str:
    return words.exact_moment(at, _zone(context, site))


@pass_context
def _age(context: Context, since: datetime) -> Markup:
    return words.age_tag(since, context["now"])


def _zone(context: Context, site: str | None) -> str:
    zones: dict[str, str] = context["zones"]
    home_zone: str = context["home_zone"]
    return zones.get(site or "", home_zone)


def _tag(state: str) -> Markup:
    """Return a state as a label; its colour only repeats what its text says."""
    return Markup('<span class="tag tag-{}">{}</span>').format(_KIND_OF_STATE.get(state, "moving"), state)


_KIND_OF_STATE: Final = {
    "archived": "done",
    "assigned": "done",
    "ready": "done",
    "done": "done",
    "answered": "done",
    "proven": "done",
    "glass only": "done",
    "waiting for a person": "person",
    "waiting for the LIMS": "waiting",
    "waiting for a scan": "waiting",
    "waiting for a rescan": "person",
    "waiting": "waiting",
    "awaiting slides": "waiting",
    "incomplete": "waiting",
    "set aside": "trouble",
    "refused": "trouble",
    "superseded": "over",
    "cancelled": "over",
    "withdrawn": "over",
    "rejected": "over",
}


def _command(scan_id: str, what: str) -> str:
    """Return the command that a person types to decide something."""
    return f"coverslip {what.format(scan_id)} --by NAME --reason TEXT"
