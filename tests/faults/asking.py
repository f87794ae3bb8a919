"""Stands for the interpreter in a worker whose fork server is to be forked, and not started: ``decoding.py`` says why.

Run by its path as ``python -IS asking.py PYTHON SOCKET ...``: it hands its control socket and its output on to SOCKET,
and lives for as long as the fork server does. Anything else than a fork server is done by PYTHON.
"""

import array
import json
import os
import socket
import sys

SERVER = ["-P", "-m", "connectors.slides.fork_server"]


def main() -> None:
    """Ask, and wait for the end."""
    python, forker, *asked = sys.argv[1:]
    if asked[:3] != SERVER:
        os.execv(python, [python, *asked])  # noqa: S606 - what was asked for, as it was
    control = int(asked[3])
    request = json.dumps({"arguments": asked[3:], "environment": dict(os.environ)}).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as forked:
        forked.connect(forker)
        passed = array.array("i", [control, 0, 1, 2])
        forked.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
        os.close(control)
        forked.recv(1)


if __name__ == "__main__":
    main()
