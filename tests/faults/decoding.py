"""Fork servers that are forked themselves: their libraries are loaded once for all experiments, not once a worker.

What is forked here is ``python -m connectors.slides.fork_server`` once it has loaded its jobs; only its start differs.
"""

import gc
import importlib
import json
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self

from flows.steps import JOBS
from tests.faults.survey import ROOT

_PACKET_BYTES: Final = 65_536
_DESCRIPTORS: Final = 4
_REAP_SECONDS: Final = 0.2
_START_SECONDS: Final = 120.0
# Through a shell, since the first line of a script holds no path with a space in it.
_INTERPRETER: Final = '#!/bin/sh\nexec "{python}" -IS "{asking}" "{python}" "{socket}" "$@"\n'


class Decoding:
    """The process that has loaded what decodes; ``interpreter`` stands for ``sys.executable`` in who asks it."""

    def __init__(self, root: Path = ROOT) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fork-"))
        self.interpreter = self._folder / "python"
        address = self._folder / "socket"
        words = {"python": sys.executable, "asking": Path(__file__).with_name("asking.py"), "socket": address}
        self.interpreter.write_text(_INTERPRETER.format(**words), "utf-8")
        self.interpreter.chmod(0o700)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind(str(address))
            listening.listen(64)
            command = [sys.executable, "-m", "tests.faults.decoding", str(listening.fileno()), *JOBS]
            known = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
            # It ends with its input, however we end.
            self._process = subprocess.Popen(
                command, cwd=root, env=known, pass_fds=(listening.fileno(),), stdin=subprocess.PIPE
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(_START_SECONDS)
        shutil.rmtree(self._folder)


def _serve(listening: socket.socket) -> None:
    """Fork for whoever asks, until the input ends."""
    with selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(_REAP_SECONDS):
                if key.fileobj is not listening:
                    return
                asking, _address = listening.accept()
                with asking:
                    message, descriptors, _flags, _from = socket.recv_fds(asking, _PACKET_BYTES, _DESCRIPTORS)
                    if descriptors and os.fork() == 0:
                        selector.close()
                        listening.close()
                        _be(json.loads(message), descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
            _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        """There is none."""


def _be(asked: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Become a fork server, with the environment, the output and the control socket of who asked; never return."""
    from connectors.slides.fork_server import main  # noqa: PLC0415 - loaded long ago
    from models.failpoint import arm  # noqa: PLC0415 - as above

    code = 1
    try:
        control, *standard = descriptors
        os.setsid()
        for taken, descriptor in zip(standard, range(3), strict=True):
            os.dup2(taken, descriptor)
            os.close(taken)
        os.environ.clear()
        os.environ.update(asked["environment"])
        arm()
        sys.argv[1:] = [str(control), *asked["arguments"][1:]]
        main()
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    for job in sys.argv[2:]:
        importlib.import_module(job.partition(":")[0])
    importlib.import_module("connectors.slides.fork_server")
    gc.collect()
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
