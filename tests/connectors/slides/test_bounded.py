import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from connectors.slides.bounded import JSON, Decoder, Limits
from models.errors import RejectedError, TransientError
from tests.connectors.slides.misbehaviour import JOBS

HERE = "tests.connectors.slides.misbehaviour"
TIGHT = Limits(memory_bytes=256 * 1024 * 1024, cpu_seconds=1, wall=timedelta(seconds=20))


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder(JOBS) as started:
        yield started


def test_a_job_answers_with_the_json_that_its_function_returns(decoder: Decoder) -> None:
    said: dict[str, JSON] = {"text": "Grüße", "number": 1.5, "list": [1, None, True], "object": {"a": "b"}}

    assert decoder.run(f"{HERE}:echo", said) == said


def test_a_child_has_one_thread_no_core_dump_no_secrets_and_a_private_folder(decoder: Decoder, tmp_path: Path) -> None:
    about = decoder.run(f"{HERE}:describe_yourself", {"folder": str(tmp_path)})

    assert about["threads"] == "1"
    assert about["core_limit"] == 0
    assert about["folder"] == about["temporary"] == str(tmp_path)
    assert about["mode"] == 0o600
    assert about["pid"] != os.getpid()
    assert isinstance(about["environment"], list)
    assert not any("PASSWORD" in str(name) or "HOME" in str(name) for name in about["environment"])


def test_a_memory_bomb_is_ended_and_set_aside(decoder: Decoder) -> None:
    with pytest.raises(RejectedError, match="limit of 256 MiB of memory"):
        decoder.run(f"{HERE}:eat_memory", {}, TIGHT)


def test_an_endless_loop_is_ended_at_its_processor_time(decoder: Decoder) -> None:
    with pytest.raises(RejectedError, match="limit of 1 seconds of processor time"):
        decoder.run(f"{HERE}:spin", {}, TIGHT)


def test_a_job_that_hangs_is_ended_at_its_deadline(decoder: Decoder, tmp_path: Path) -> None:
    hasty = Limits(memory_bytes=TIGHT.memory_bytes, cpu_seconds=5, wall=timedelta(seconds=0.5))
    pid_file = tmp_path / "pid"
    began = time.monotonic()

    with pytest.raises(RejectedError, match=r"limit of 0.5 seconds on the clock"):
        decoder.run(f"{HERE}:sleep", {"pid_file": str(pid_file)}, hasty)

    assert time.monotonic() - began < 3
    assert not _lives(int(pid_file.read_text()))


def test_a_child_that_exits_without_a_word_is_set_aside(decoder: Decoder) -> None:
    with pytest.raises(RejectedError, match="exit status 3 and no answer"):
        decoder.run(f"{HERE}:exit_silently", {})


def test_a_crash_in_a_library_is_set_aside(decoder: Decoder) -> None:
    with pytest.raises(RejectedError, match=r"crashed on this file \(SIGABRT\)"):
        decoder.run(f"{HERE}:crash", {})


def test_our_own_words_for_trouble_come_back_as_they_were(decoder: Decoder) -> None:
    with pytest.raises(RejectedError, match=r"^the file is truncated; scan the slide again$"):
        decoder.run(f"{HERE}:refuse", {})
    with pytest.raises(TransientError, match=r"^the spool is not mounted; try again$"):
        decoder.run(f"{HERE}:try_later", {})


def test_an_error_that_quotes_a_patient_leaves_its_class_and_place_only(
    decoder: Decoder, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RejectedError, match=r"KeyError in misbehaviour\.py line \d+") as caught:
        decoder.run(f"{HERE}:quote_the_patient", {})

    assert "Ada" not in str(caught.value)
    assert "Ada" not in "".join(capfd.readouterr())


def test_a_full_disk_is_tried_again_and_not_blamed_on_the_file(decoder: Decoder) -> None:
    with pytest.raises(TransientError, match="ENOSPC") as caught:
        decoder.run(f"{HERE}:fill_the_disk", {})

    assert "Ada" not in str(caught.value)


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        ("answer_far_too_much", "more than 4194304 bytes"),
        ("answer_not_a_number", "exit status 1 and no answer"),
        ("answer_anything", "not a result"),
    ],
)
def test_an_answer_that_is_not_a_small_json_object_is_set_aside(decoder: Decoder, job: str, sentence: str) -> None:
    with pytest.raises(RejectedError, match=sentence):
        decoder.run(f"{HERE}:{job}", {})


def test_a_child_killed_from_outside_is_tried_again(decoder: Decoder, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as threads:
        running = threads.submit(decoder.run, f"{HERE}:sleep", {"pid_file": str(tmp_path / "pid")})
        os.kill(_pid_in(tmp_path / "pid"), signal.SIGKILL)

        with pytest.raises(TransientError, match="killed from outside"):
            running.result(timeout=10)


def test_what_a_child_started_does_not_outlive_it(decoder: Decoder) -> None:
    left = decoder.run(f"{HERE}:leave_a_process_behind", {})["pid"]

    assert isinstance(left, int)
    assert _is_gone_soon(left)


def test_a_child_cannot_reach_the_network(decoder: Decoder) -> None:
    if decoder.run(f"{HERE}:describe_yourself", {})["network"] == str(Path("/proc/self/ns/net").readlink()):
        pytest.skip("this machine lets nobody leave its network")

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(RejectedError, match=r"OSError in socket\.py"),
    ):
        decoder.run(f"{HERE}:call_home", {"port": listener.getsockname()[1]})


def test_only_allowed_jobs_run_and_only_inside_the_with_block(decoder: Decoder) -> None:
    with pytest.raises(ValueError, match="not among the jobs"):
        decoder.run("os:system", {})
    with pytest.raises(ValueError, match="with block"):
        Decoder(JOBS).run(f"{HERE}:echo", {})


def test_many_threads_share_one_decoder(decoder: Decoder) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: decoder.run(f"{HERE}:echo", {"n": n}), range(40)))

    assert [answer["n"] for answer in answers] == list(range(40))


def test_children_run_side_by_side(decoder: Decoder, tmp_path: Path) -> None:
    hasty = Limits(memory_bytes=TIGHT.memory_bytes, cpu_seconds=5, wall=timedelta(seconds=1))

    def hang(name: str) -> None:
        with pytest.raises(RejectedError, match="on the clock"):
            decoder.run(f"{HERE}:sleep", {"pid_file": str(tmp_path / name)}, hasty)

    began = time.monotonic()
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(hang, "abc"))

    assert time.monotonic() - began < 2.5


def test_children_leave_no_descriptor_and_no_process_behind(decoder: Decoder) -> None:
    first = decoder.run(f"{HERE}:describe_yourself", {})
    ours = _open_descriptors()
    for _ in range(20):
        last = decoder.run(f"{HERE}:describe_yourself", {})

    assert last["descriptors"] == first["descriptors"]
    assert _open_descriptors() == ours
    assert isinstance(last["pid"], int)
    assert not _lives(last["pid"])


def test_a_fork_server_that_dies_fails_its_jobs_for_now_and_is_started_again(tmp_path: Path) -> None:
    with Decoder(JOBS) as decoder, ThreadPoolExecutor() as threads:
        running = threads.submit(decoder.run, f"{HERE}:sleep", {"pid_file": str(tmp_path / "pid")})
        child = _pid_in(tmp_path / "pid")
        os.kill(_parent_of(child), signal.SIGKILL)

        with pytest.raises(TransientError, match="fork server"):
            running.result(timeout=10)
        assert _is_gone_soon(child)
        assert decoder.run(f"{HERE}:echo", {"back": True}) == {"back": True}


def test_leaving_the_with_block_ends_what_still_runs(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as threads:
        with Decoder(JOBS) as decoder:
            running = threads.submit(decoder.run, f"{HERE}:sleep", {"pid_file": str(tmp_path / "pid")})
            child = _pid_in(tmp_path / "pid")
        with pytest.raises(TransientError):
            running.result(timeout=10)
    assert _is_gone_soon(child)


def test_when_the_parent_is_killed_the_fork_server_and_its_children_go_too(tmp_path: Path) -> None:
    program = (
        "import sys; from connectors.slides.bounded import Decoder\n"
        f"with Decoder({JOBS!r}) as decoder: decoder.run('{HERE}:sleep', {{'pid_file': sys.argv[1]}})"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "pid")])
    child = _pid_in(tmp_path / "pid")
    server = _parent_of(child)

    parent.kill()
    parent.wait()

    assert _is_gone_soon(child)
    assert _is_gone_soon(server)


def test_a_caller_that_gives_up_takes_its_child_along(tmp_path: Path) -> None:
    program = (
        "import signal, sys; from connectors.slides.bounded import Decoder\n"
        # A shell that starts the tests in the background has them ignore Ctrl-C, and children inherit that.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"with Decoder({JOBS!r}) as decoder:\n"
        f"    try: decoder.run('{HERE}:sleep', {{'pid_file': sys.argv[1]}})\n"
        "    except KeyboardInterrupt: sys.stdin.read()\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "pid")], stdin=subprocess.PIPE)
    child = _pid_in(tmp_path / "pid")

    caller.send_signal(signal.SIGINT)

    assert _is_gone_soon(child)
    assert caller.poll() is None
    caller.communicate()


def test_a_module_that_cannot_be_loaded_is_named_as_trouble_at_the_start() -> None:
    nowhere = "connectors.slides.nowhere:job"
    with Decoder((nowhere,)) as decoder, pytest.raises(TransientError, match="while it was starting"):
        decoder.run(nowhere, {})


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _pid_in(file: Path) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if file.exists() and (text := file.read_text(encoding="ascii")):
            return int(text)
        time.sleep(0.01)
    raise AssertionError("the child did not start")


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _is_gone_soon(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not _lives(pid)
