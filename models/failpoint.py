"""Places where a test may stop the process dead, as a power cut would.

A failpoint stands before and after each commit and each outside effect. It does nothing unless
``COVERSLIP_FAILPOINT`` names it: ``store.before_put`` kills at the first hit, ``store.before_put:2`` at
the second. With ``COVERSLIP_FAILPOINT_LOG``, every name that is passed is appended to that file, a line each.
"""

import os
import signal
from collections import Counter

_hits: Counter[str] = Counter()
_log: str | None = None
_wanted, _wanted_hit = "", 1


def arm() -> None:
    """Read the environment: once at the start, since every message passes failpoints, and after it was changed."""
    global _log, _wanted, _wanted_hit
    name, _, hit = os.environ.get("COVERSLIP_FAILPOINT", "").partition(":")
    _log, _wanted, _wanted_hit = os.environ.get("COVERSLIP_FAILPOINT_LOG"), name, int(hit or "1")


def failpoint(name: str) -> None:
    """Kill this process with SIGKILL when the environment asks for exactly this place and hit."""
    if _log is not None:
        _note(_log, name)
    if name != _wanted:
        return
    _hits[name] += 1
    if _hits[name] == _wanted_hit:
        os.kill(os.getpid(), signal.SIGKILL)


def _note(log: str, name: str) -> None:
    """Append a line in one call of the kernel: the processes that share the log do not mix their lines."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, f"{name}\n".encode())
    finally:
        os.close(descriptor)


arm()
