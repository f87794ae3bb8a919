"""The demonstration: the system of ``up`` and its simulated neighbours, watched until the script is at its end."""

import sys
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from connectors.settings import Settings
from connectors.wiring import open_database
from dashboards.demo_books import Audited, audit_books
from dashboards.demo_report import page_of
from dashboards.demo_screen import Screen
from dashboards.supervisor import Child, Supervisor
from flows.simulate.outcome import Outlook, changes, look
from models.database import Database
from models.errors import RefusedError, TransientError

_LOOK_SECONDS: Final = 0.5
_STOP_SECONDS: Final = 5.0


@dataclass
class Demo:
    """One run of the demonstration on a laboratory that was just written.

    ``begin`` starts the processes, ``watch`` returns at the end of the script, when the time is up or when somebody
    asked for the end, and ``end`` ends exactly what ``begin`` started. With Kafka a ``gateway`` has the doors.
    """

    settings: Settings
    supervisor: Supervisor
    screen: Screen
    began: float
    limit_seconds: float
    gateway: Supervisor | None = None
    outlook: Outlook | None = None
    seconds: float = 0.0
    _looked_at: float = 0.0
    _database: Database | None = None
    _neighbours: Child | None = None

    def begin(self) -> None:
        """Start the simulated neighbours, then Coverslip itself, and return when its doors are open.

        Raises
        ------
        RefusedError
            A port is taken, or the doors did not open.
        """
        self._database = open_database(self.settings)
        command = (sys.executable, "-m", "dashboards.cli.main", "--home", str(self.settings.home), "simulate")
        log = self.settings.home / "logs" / "neighbours.log"
        self._neighbours = Child("neighbours", command, {}, log)
        self._neighbours.start()
        self.supervisor.start()
        if self.gateway is not None:
            self.gateway.start()
        self.screen.say(f"The page with all of it: {page_of(self.settings)}")

    def watch(self) -> None:
        """Look and show until there is nothing more to wait for."""
        self.supervisor.keep(self._goes_on)
        self.seconds = time.monotonic() - self.began
        self._look()

    def stay(self) -> None:
        """Keep everything running until somebody asks for the end, and tell what their commands make of it."""
        self.supervisor.keep(self._tells)

    def end(self) -> None:
        """End Coverslip, then its neighbours, who so hear its last words."""
        if self.gateway is not None:
            self.gateway.end()
        self.supervisor.end()
        if self._neighbours is not None:
            self._neighbours.terminate()
            self._neighbours.end(_STOP_SECONDS)
        if self._database is not None:
            self._database.close()

    def seen(self) -> Outlook:
        """Return the last look.

        Raises
        ------
        RefusedError
            No look succeeded.
        """
        if self.outlook is None:
            message = f"the database could not be read even once: {self.settings.home / 'logs'} says why"
            raise RefusedError(message)
        return self.outlook

    def faults(self) -> tuple[str, ...]:
        """Return what did not end as the script says, a sentence each."""
        faults = self.seen().differences
        if faults and self.gateway is not None and None in self.gateway.pids().values():
            faults = ("a process of the gateway ended early: gateway/logs says why", *faults)
        if faults and self._neighbours is not None and self._neighbours.pid is None:
            faults = ("the simulated neighbours ended early: logs/neighbours.log says why", *faults)
        return faults

    def audited(self) -> Audited:
        """Return whether the books agree."""
        if self._database is None:
            return Audited("were never opened")
        audited = audit_books(self.settings, self._database)
        if self.gateway is None:
            return audited
        with closing(open_database(self.gateway.settings)) as database:
            return audited.with_gateway(audit_books(self.gateway.settings, database))

    def _goes_on(self) -> bool:
        if self._is_time_to_look() and self.outlook is not None:
            self.screen.show(self.outlook)
            if self.outlook.is_done:
                return False
        return time.monotonic() - self.began < self.limit_seconds

    def _tells(self) -> bool:
        before = self.outlook
        if self._is_time_to_look() and before is not None and self.outlook is not None:
            for change in changes(before, self.outlook):
                self.screen.tell(change)
        return True

    def _is_time_to_look(self) -> bool:
        """Look again if the last look is old enough; return whether it was."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return False
        self._looked_at = now
        self._look()
        return True

    def _look(self) -> None:
        """Look at the books; one look that fails is no matter."""
        if self._database is None:
            return
        try:
            with self._database.read() as session:
                self.outlook = look(session, self.settings)
        except TransientError:
            return
