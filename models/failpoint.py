"""Places where a test may stop the process dead, as a power cut would.

A failpoint stands before and after each commit and each outside effect. It does nothing unless
``COVERSLIP_FAILPOINT`` names it: ``store.before_put`` kills at the first hit, ``store.before_put:2`` at
the second.
"""

import os
import signal
from collections import Counter

_hits: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Kill this process with SIGKILL when the environment asks for exactly this place and hit."""
    wanted = os.environ.get("COVERSLIP_FAILPOINT")
    if wanted is None:
        return
    wanted_name, _, wanted_hit = wanted.partition(":")
    if name != wanted_name:
        return
    _hits[name] += 1
    if _hits[name] == int(wanted_hit or "1"):
        os.kill(os.getpid(), signal.SIGKILL)
