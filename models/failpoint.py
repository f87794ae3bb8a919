"""Places where a test may stop the process dead, as a power cut would.

A failpoint stands before and after each commit and each outside effect. It does nothing unless
``COVERSLIP_FAILPOINT`` names it: ``store.before_put`` kills at the first hit, ``store.before_put:2`` at
the second. With ``COVERSLIP_FAILPOINT_LOG``, every name that is passed is appended to that file, a line each.
"""

import os
import signal
from collections import Counter

# Read once, at the start: a failpoint stands where every message passes.
_LOG = os.environ.get("COVERSLIP_FAILPOINT_LOG")
_WANTED, _, _WANTED_HIT = os.environ.get("COVERSLIP_FAILPOINT", "").partition(":")

_hits: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Kill this process with SIGKILL when the environment asks for exactly this place and hit."""
    if _LOG is not None:
        _note(_LOG, name)
    if name != _WANTED:
        return
    _hits[name] += 1
    if _hits[name] == int(_WANTED_HIT or "1"):
        os.kill(os.getpid(), signal.SIGKILL)


def _note(log: str, name: str) -> None:
    """Append a line in one call of the kernel: the processes that share the log do not mix their lines."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, f"{name}\n".encode())
    finally:
        os.close(descriptor)
