"""The database: whether it answers, in which shape its tables are, who works on it, and what time it has."""

from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Final

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, make_url, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from connectors.settings import Settings
from connectors.wiring import open_database
from dashboards.doctor.finding import UP, Finding, Findings, Installation, Level
from flows.intake.consumers import intake_state, reads_events
from flows.people.sync import kept_as_data
from flows.standing import engine_state, gateway_state, open_alerts
from flows.sweep_places import UNSERVED
from models.database import database_now, utc_now
from models.errors import TransientError
from models.tables.intake import Consumer
from models.tables.step import Worker

# Heartbeats come every few seconds, so what lies further ahead was written under another clock.
_CLOCKS_AGREE: Final = timedelta(seconds=5)
# What a commit on PostgreSQL must survive: with any of these off, an acknowledged message may be lost.
_DURABLE: Final = ("fsync", "full_page_writes", "synchronous_commit")


def sqlite_file(settings: Settings) -> Path | None:
    """Return SQLite's file, or nothing for PostgreSQL."""
    url = make_url(settings.database)
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def database(installation: Installation) -> Findings:
    """Look at everything that the database says; what is behind it can't be asked while it is away."""
    settings = installation.settings
    where = make_url(settings.database).render_as_string(hide_password=True)
    file = sqlite_file(settings)
    if file is not None and not file.exists():
        # Opening it would make it.
        yield Finding("database", "note", f"{where} is not there yet", f"'{UP}' makes it")
        return
    opened = open_database(settings)
    try:
        with opened.read() as session:
            yield from _revision(session, where)
            if not opened.is_sqlite:
                yield from _durability(session)
            if _has_tables(session):
                yield from _workers(installation, session, is_sqlite=opened.is_sqlite)
                yield from _places(session)
                yield from _people(installation, session)
                yield from _gateway(installation, session)
                yield from _intake(installation, session)
                yield from _clock(session)
    except (TransientError, SQLAlchemyError) as error:
        fix = "see that it runs, that its address in the settings is right, and that its disk has room"
        cause = type(error.__cause__ or error).__name__
        yield Finding("database", "missing", f"{where} does not answer ({cause})", fix)
    finally:
        opened.close()


def _revision(session: Session, where: str) -> Findings:
    scripts = ScriptDirectory(str(files("models") / "migrations"))
    known = {script.revision for script in scripts.walk_revisions()}
    present = MigrationContext.configure(session.connection()).get_current_revision()
    if present == scripts.get_current_head():
        yield Finding("database", "ok", f"{where}, at revision {present}")
    elif present is None:
        yield Finding("database", "note", f"{where} has no tables yet", f"'{UP}' or 'coverslip migrate' makes them")
    elif present in known:
        sentence = f"{where} is at revision {present}, this version needs {scripts.get_current_head()}"
        yield Finding("database", "missing", sentence, f"'coverslip migrate' brings it up to date, as '{UP}' does")
    else:
        sentence = f"{where} is at revision {present}, which this version does not know"
        yield Finding("database", "missing", sentence, "install the newer Coverslip that wrote it")


def _has_tables(session: Session, one: str = Worker.__tablename__) -> bool:
    return session.connection().dialect.has_table(session.connection(), one)


def _durability(session: Session) -> Findings:
    off = [name for name in _DURABLE if session.scalar(text("SELECT current_setting(:name)"), {"name": name}) == "off"]
    if off:
        sentence = f"PostgreSQL has {', '.join(off)} off, so what was acknowledged may be lost in a power cut"
        yield Finding("durability", "missing", sentence, "turn it on in postgresql.conf")
    else:
        yield Finding("durability", "ok", "a commit survives a power cut")


def _workers(installation: Installation, session: Session, *, is_sqlite: bool) -> Findings:
    state = engine_state(session, installation.settings.work.heartbeat_grace)
    if is_sqlite and state.workers > 1:
        fix = "one may just have taken over from another; else end all but one, or use PostgreSQL"
        yield Finding("workers", "note", f"{state.workers} workers share one SQLite file", fix)
    elif state.workers or installation.processes is None:
        yield Finding("workers", "ok" if state.all_is_well else "note", state.sentence)
    else:
        log = installation.settings.home / "logs" / "worker.log"
        yield Finding("workers", "missing", state.sentence, f"{log} says why it does not start")


def _places(session: Session) -> Findings:
    """Look whether work waits at a place where nobody is; those who are somewhere raise it."""
    for raised in (one for one in open_alerts(session) if one.kind == UNSERVED):
        yield Finding("place", "missing", raised.sentence)


def _people(installation: Installation, session: Session) -> Findings:
    """Say of whom the settings speak in vain; who else reads, 'coverslip people list' shows."""
    kept = kept_as_data(session, installation.settings)
    if kept:
        sentence = f"{len(kept)} of the settings' readers are kept as data, whatever the settings say of them"
        yield Finding("people", "note", sentence, "take them out of the settings; 'coverslip people list' shows them")


def _gateway(installation: Installation, session: Session) -> Findings:
    if not installation.settings.forwards:
        return
    state = gateway_state(session, installation.settings)
    if state.all_is_well:
        yield Finding("gateway", "ok", state.sentence)
        return
    level: Level = "missing" if state.full_in is not None and state.full_in < 1 else "note"
    yield Finding("gateway", level, state.sentence, "see that Kafka can be reached, or give its disk more room")


def _intake(installation: Installation, session: Session) -> Findings:
    if not reads_events(installation.settings) or not _has_tables(session, Consumer.__tablename__):
        return
    state = intake_state(session)
    if state.all_is_well:
        yield Finding("intake", "ok", state.sentence)
    elif state.consumers:
        yield Finding("intake", "missing", state.sentence, "see to it: what other sites send waits there")
    elif installation.processes is None:
        yield Finding("intake", "note", state.sentence, f"'{UP}' or 'coverslip intake' starts it")
    else:
        log = installation.settings.home / "logs" / "intake.log"
        yield Finding("intake", "missing", state.sentence, f"{log} says why it does not start")


def _clock(session: Session) -> Findings:
    """Compare the clock that claims, waits and heartbeats go by with ours, and with what was written before."""
    now = database_now(session)
    apart = abs(utc_now() - now)
    newest = session.scalar(select(func.max(Worker.heartbeat_at)))
    if apart > _CLOCKS_AGREE:
        sentence = f"this machine's clock and the database's are {apart.total_seconds():.0f} s apart"
        yield Finding("clock", "note", sentence, "have both follow a time server")
    elif newest is not None and newest - now > _CLOCKS_AGREE:
        ahead = (newest - now).total_seconds()
        sentence = (
            f"a worker was last seen {ahead:.0f} s from now, so the clock was set back: waits take that much longer"
        )
        yield Finding("clock", "note", sentence, "see that the time is right now")
    else:
        yield Finding("clock", "ok", f"agrees with the database's: {now:%d %b %Y %H:%M:%S} UTC")
