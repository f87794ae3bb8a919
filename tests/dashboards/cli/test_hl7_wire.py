"""``coverslip hl7 send`` and ``hl7 listen``: both ends of an interface, against each other and against our own door."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors.lims.tls import Credentials, door_context
from dashboards.cli.main import main
from infra.kafka.credentials import Authority
from tests.connectors.lims.doors import Store, listening
from tests.connectors.lims.hl7_files import ORDER, framed

QUICK = ("--timeout", "0.5")


@contextmanager
def listens(*options: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Run ``hl7 listen`` as people do, and give its address."""
    command = [sys.executable, "-m", "dashboards.cli.main", "hl7", "listen", "--port", "0", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["listening"], process
        finally:
            process.kill()


def send(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, object]]]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(("hl7", "send", *arguments, "--json"))
    return int(ended.value.code or 0), [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def one(tmp_path: Path) -> str:
    file = tmp_path / "one.hl7"
    file.write_bytes(ORDER)
    return str(file)


def test_messages_go_one_after_the_other_and_are_heard_byte_for_byte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = ORDER.replace(b"MSG1", b"MSG2")
    file = tmp_path / "two.hl7"
    file.write_bytes(framed(ORDER, second))
    with listens("--keep", str(tmp_path / "kept"), "--count", "4") as (address, process):
        code, said = send(capsys, str(file), address, "--repeat", "2")
        heard, err = process.communicate(timeout=20)
    assert (code, process.returncode, err) == (0, 0, "")
    assert [(line["control_id"], line["ack_code"]) for line in said] == [("MSG1", "AA"), ("MSG2", "AA")] * 2
    lines = [json.loads(line) for line in heard.splitlines()]
    assert [(line["control_id"], line["bytes"], line["answer"]) for line in lines] == [
        ("MSG1", len(ORDER), "AA"),
        ("MSG2", len(second), "AA"),
    ] * 2
    assert [Path(line["file"]).read_bytes() for line in lines] == [ORDER, second] * 2
    assert not any(told in heard for told in ("Example", "A100234", "26B0001"))


@pytest.mark.parametrize(
    ("answer", "code", "problem"),
    [
        ("AA", "AA", ""),
        ("CA", "CA", ""),
        ("AE", "AE", ""),
        ("AR", "AR", ""),
        ("none", "", "did not answer within"),
        ("late", "", "did not answer within"),
        ("wrong-id", "", "answered another message"),
        ("close", "", "closed the connection"),
        ("torn", "", "closed the connection"),
    ],
)
def test_every_answer_that_a_peer_can_be_asked_for_is_told_apart(
    answer: str, code: str, problem: str, one: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with listens("--answer", answer, "--late", "2") as (address, _):
        ended, (said,) = send(capsys, one, address, *QUICK)
    assert (ended, said["ack_code"]) == (int(code not in {"AA", "CA"}), code)
    assert problem in str(said["problem"])


def test_answers_come_in_turn_and_the_last_stays_and_ctrl_c_ends_it_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "four.hl7"
    file.write_bytes(ORDER * 4)
    with listens("--answer", "AE", "--answer", "AR", "--answer", "AA") as (address, process):
        code, said = send(capsys, str(file), address)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    assert (code, [line["ack_code"] for line in said]) == (1, ["AE", "AR", "AA", "AA"])


def test_when_nobody_answers_what_follows_is_not_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "two.hl7"
    file.write_bytes(ORDER * 2)
    with listens("--answer", "none") as (address, _):
        code, said = send(capsys, str(file), address, *QUICK)
    assert (code, len(said)) == (1, 1)


def test_tls_is_spoken_with_whom_the_authority_vouches_for(
    tmp_path: Path, one: str, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = Authority.make(tmp_path, "hospital")
    theirs, ours = authority.issue("127.0.0.1"), authority.issue("tool")
    door = door_context(Credentials("a door", authority.file, *theirs))
    tls = ("--tls", "--ca", str(authority.file))
    shown = ("--certificate", str(ours[0]), "--key", str(ours[1]))
    store = Store()

    async def talk() -> list[tuple[int, list[dict[str, object]]]]:
        async with listening(store.keep, tls=door) as listener:
            to = f"127.0.0.1:{listener.port}"
            return [await asyncio.to_thread(send, capsys, one, to, *QUICK, *how) for how in ((*tls, *shown), tls, ())]

    (mutual, (said,)), (unknown, _), (plain, _) = asyncio.run(talk())
    assert (mutual, unknown, plain) == (0, 1, 1)
    assert said["accepted"] is True


def test_wrong_usage_ends_with_2(one: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ((one, "nowhere"), (one, "127.0.0.1:0"), (one, "127.0.0.1:99999"), (one,), (one, "h:1", "--tls")):
        assert send(capsys, *arguments)[0] == 2


def test_a_listener_that_can_t_be_opened_says_where_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SystemExit) as ended:
            main(("hl7", "listen", "--port", where.partition(":")[2]))
    assert (ended.value.code, f"{where} can't be listened on: Address already in use" in capsys.readouterr().err) == (
        1,
        True,
    )
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SystemExit):
        main(("hl7", "listen", "--port", "0", "--keep", str(file)))
    assert "can't be made a folder to keep messages in" in capsys.readouterr().err
