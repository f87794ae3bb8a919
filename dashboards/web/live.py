"""Live pages: one look at the books for all viewers, who hear only "changed, read again"."""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session

from flows.standing import change_mark, engine_state
from models.database import Database
from models.errors import TransientError

_log = logging.getLogger(__name__)

# Two looks a second, whatever the number of viewers.
_LOOK_EVERY_S: Final = 0.5
_MOST_VIEWERS: Final = 200


def mark_of(session: Session, heartbeat_grace: timedelta) -> str:
    """Return a short name of what people would see now, which tells nothing about it.

    A worker that dies changes nothing in the books: so how the work runs is a part of it.
    """
    said = f"{change_mark(session)} {engine_state(session, heartbeat_grace).sentence}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]


class ChangeWatch:
    """Looks at the books while somebody views them, and tells all viewers of a change.

    ``sign_of_life`` is how often a viewer hears something at least, so that silence means a broken line.
    """

    def __init__(
        self, database: Database, heartbeat_grace: timedelta, *, sign_of_life: timedelta = timedelta(seconds=10)
    ) -> None:
        self._database = database
        self._heartbeat_grace = heartbeat_grace
        self._sign_of_life_s = sign_of_life.total_seconds()
        self._viewers = 0
        self._mark = ""
        self._changed = asyncio.Condition()
        self._looking: asyncio.Task[None] | None = None
        self._closed = False
        self.looks = 0

    @property
    def has_room(self) -> bool:
        """Whether one more viewer can be served."""
        return self._viewers < _MOST_VIEWERS and not self._closed

    def close(self) -> None:
        """End every stream; call it in the event loop."""
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()

    async def look(self) -> None:
        """Look at the books; ``TransientError`` when they can't be read."""
        mark = await asyncio.to_thread(self._read)
        self.looks += 1
        if mark != self._mark:
            self._mark = mark
            async with self._changed:
                self._changed.notify_all()

    async def events(self) -> AsyncIterator[str]:
        """Yield server-sent events for one viewer: the mark at first, then each new one, and a sign of life.

        The stream ends when the books can't be read, so that the page says that it is not live.
        """
        self._viewers += 1
        try:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._keep_looking())
            yield "retry: 2000\n\n"
            told, said_at = "", 0.0
            while not self._closed and not self._looking.done():
                due = time.monotonic() - said_at > self._sign_of_life_s
                if self._mark and (due or self._mark != told):
                    told, said_at = self._mark, time.monotonic()
                    yield f"event: books\ndata: {told}\n\n"
                await self._wait_for_change(told)
        finally:
            self._viewers -= 1

    async def _wait_for_change(self, told: str) -> None:
        """Wait until the mark differs, the watch ends or a look's time has passed."""
        async with self._changed:
            if self._mark != told:
                return
            try:
                await asyncio.wait_for(self._changed.wait(), _LOOK_EVERY_S * 2)
            except TimeoutError:
                return

    async def _keep_looking(self) -> None:
        while self._viewers:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                await self.look()
            except TransientError as error:
                _log.info("the page is not live: %s", error)
                return

    def _read(self) -> str:
        with self._database.read() as session:
            return mark_of(session, self._heartbeat_grace)
