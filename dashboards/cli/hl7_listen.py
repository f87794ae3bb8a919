"""The command ``hl7 listen``: the other side of an interface, as kindly or badly as asked."""

import json
import os
import sys
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from connectors.lims.header import read_header
from connectors.lims.message import Message
from dashboards.cli.hl7_check import AsJson
from dashboards.cli.hl7_words import clean, counted
from models.errors import RefusedError

if TYPE_CHECKING:
    from connectors.lims.simulator import Behaviour

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class Reply(StrEnum):
    """How a test peer answers."""

    AA = "AA"
    AE = "AE"
    AR = "AR"
    CA = "CA"
    NONE = "none"
    LATE = "late"
    WRONG_ID = "wrong-id"
    CLOSE = "close"
    TORN = "torn"


_BEHAVIOURS: Final[dict[Reply, "Behaviour"]] = {
    Reply.AA: "AA",
    Reply.AE: "AE",
    Reply.AR: "AR",
    Reply.CA: "CA",
    Reply.NONE: "silent",
    Reply.LATE: "slow",
    Reply.WRONG_ID: "wrong-id",
    Reply.CLOSE: "close",
    Reply.TORN: "torn",
}


def listen(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="Where; 0 for a free one.")] = 2576,
    answer: Annotated[
        list[Reply] | None,
        typer.Option(
            "--answer", help="What to do with each message; given more than once, in turn, and the last stays."
        ),
    ] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="On which address of this machine.")] = "127.0.0.1",
    late: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="How late an answer 'late' is.")] = 5.0,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="FOLDER", help="Keep each message there, byte for byte.")
    ] = None,
    count: Annotated[
        int, typer.Option(min=0, metavar="N", help="End after so many messages.", show_default="never")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Be the other side of an interface until Ctrl-C: hear messages, say one line of each, answer as asked."""
    from connectors.lims.simulator import SimulatedLims

    replies = answer or [Reply.AA]
    if keep is not None:
        _make(keep)
    ear = _Ear(replies, keep, count, as_json=as_json)
    behaviours = [_BEHAVIOURS[one] for one in replies]
    opened = SimulatedLims(*behaviours, port=port, slow_seconds=late, host=host, hears=ear.hear)
    with ExitStack() as stack:
        try:
            door = stack.enter_context(opened)
        except OSError as error:
            message = f"{host}:{port} can't be listened on: {os.strerror(error.errno or 0)}"
            raise RefusedError(message) from error
        if as_json:
            print(json.dumps({"listening": f"{host}:{door.port}"}), flush=True)
        else:
            print(f"Listening on {host}:{door.port}, answering {', '.join(replies)}; Ctrl-C ends it.", flush=True)
            if host not in _LOOPBACK:
                print("Whoever reaches this machine may send here, in plain text.", file=sys.stderr)
        try:
            ear.enough.wait()
            # The last one is still to be answered.
            time.sleep(0.2 + (late if replies[-1] == Reply.LATE else 0))
        except KeyboardInterrupt:
            pass
    if not as_json:
        print(f"{counted(ear.heard, 'message')} heard.")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        message = f"{folder} can't be made a folder to keep messages in: {error.strerror or type(error).__name__}"
        raise RefusedError(message) from error


class _Ear:
    """Says one line of each message, without anything about a patient; keeps its bytes where asked."""

    def __init__(self, replies: list[Reply], folder: Path | None, count: int, *, as_json: bool) -> None:
        self.heard = 0
        self.enough = threading.Event()
        self._replies = replies
        self._folder = folder
        self._count = count
        self._as_json = as_json

    def hear(self, raw: bytes, behaviour: "Behaviour") -> None:
        """Tell of a message; called one at a time."""
        reply = next(one for one, does in _BEHAVIOURS.items() if does == behaviour)
        self.heard += 1
        header = read_header(raw)
        file = self._kept(raw) if self._folder else None
        now = datetime.now(UTC)
        said = {
            "number": self.heard,
            "at": now.isoformat(timespec="milliseconds"),
            "type": header.message_type,
            "version": header.text(12),
            "control_id": header.control_id.decode("utf-8", "replace"),
            "bytes": len(raw),
            "segments": len(Message(raw).segments),
            "sha256": sha256(raw).hexdigest(),
            "answer": reply.value,
            "file": str(file) if file else None,
        }
        if self._as_json:
            print(json.dumps(said), flush=True)
        else:
            what = f"{said['type'] or 'no type'}, MSH-10 {said['control_id'] or 'not said'}"
            size = f"{said['bytes']} bytes, {said['segments']} segments"
            kept = f", kept as {file.name}" if file else ""
            print(
                clean(f"{said['number']:>4}  {now:%H:%M:%S}  {what}: {size}; answer {reply.value}{kept}"),
                flush=True,
            )
        if self.heard == self._count:
            self.enough.set()

    def _kept(self, raw: bytes) -> Path:
        """Keep the bytes under a name of ours: nothing of it comes from outside."""
        if self._folder is None:
            raise RefusedError("no folder was named to keep messages in")
        file = self._folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{sha256(raw).hexdigest()[:12]}.hl7"
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(raw)
        return file
