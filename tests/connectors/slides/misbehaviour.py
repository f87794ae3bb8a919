"""Jobs that do what hostile files make decoders do."""

import errno
import os
import resource
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from models.errors import RejectedError, TransientError

Values = dict[str, Any]

JOBS = tuple(
    f"tests.connectors.slides.misbehaviour:{name}"
    for name in (
        "answer_anything",
        "answer_far_too_much",
        "answer_not_a_number",
        "call_home",
        "crash",
        "describe_yourself",
        "eat_memory",
        "echo",
        "exit_silently",
        "fill_the_disk",
        "leave_a_process_behind",
        "quote_the_patient",
        "refuse",
        "sleep",
        "spin",
        "try_later",
    )
)


def echo(arguments: Values) -> Values:
    return arguments


def describe_yourself(_arguments: Values) -> Values:
    with tempfile.NamedTemporaryFile() as file:
        temporary = str(Path(file.name).parent)
        mode = os.fstat(file.fileno()).st_mode & 0o777
    return {
        "pid": os.getpid(),
        "threads": os.environ["OMP_NUM_THREADS"],
        "core_limit": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "folder": str(Path.cwd()),
        "temporary": temporary,
        "mode": mode,
        "environment": sorted(os.environ),
        "network": str(Path("/proc/self/ns/net").readlink()),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
    }


def eat_memory(_arguments: Values) -> Values:
    eaten = []
    while True:
        eaten.append(bytearray(16 * 1024 * 1024))


def spin(_arguments: Values) -> Values:
    while True:
        pass


def sleep(arguments: Values) -> Values:
    Path(arguments["pid_file"]).write_text(str(os.getpid()), encoding="ascii")
    time.sleep(60)
    return {}


def leave_a_process_behind(_arguments: Values) -> Values:
    return {"pid": subprocess.Popen(["sleep", "60"]).pid}


def exit_silently(_arguments: Values) -> Values:
    os._exit(3)


def crash(_arguments: Values) -> Values:
    os.abort()


def refuse(_arguments: Values) -> Values:
    raise RejectedError("the file is truncated; scan the slide again")


def try_later(_arguments: Values) -> Values:
    raise TransientError("the spool is not mounted; try again")


def quote_the_patient(_arguments: Values) -> Values:
    print("Ada Example")  # noqa: T201
    raise KeyError("Ada Example")


def fill_the_disk(_arguments: Values) -> Values:
    raise OSError(errno.ENOSPC, "No space left on device", "Ada Example.dcm")


def answer_far_too_much(_arguments: Values) -> Values:
    return {"pixels": "x" * (5 * 1024 * 1024)}


def answer_not_a_number(_arguments: Values) -> Values:
    return {"ratio": float("nan")}


def answer_anything(_arguments: Values) -> list[str]:
    return ["not", "an", "object"]


def call_home(arguments: Values) -> Values:
    with socket.create_connection(("127.0.0.1", arguments["port"]), timeout=2):
        return {"reached": True}
