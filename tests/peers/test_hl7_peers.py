"""HL7 systems of other makes, started for real, exchange messages with Coverslip both ways."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hl7
import hl7.mllp
import pytest
from sqlalchemy import select

from connectors.lims.framing import frame
from connectors.lims.header import read_header
from connectors.lims.listener import MllpListener
from connectors.lims.sender import Answer, MllpSender, SenderLimits
from connectors.wiring import Lab
from flows.intake.doors import hl7_door, limits_of, refusal_door
from flows.intake.inbox import InboxWriter
from models.errors import TransientError
from models.tables.books import InboxMessage
from tests.conftest import ON_CI
from tests.connectors.lims.orders import PID, orc, slide, text
from tests.small_lab import small_lab

HERE = Path(__file__).parent
NODE_AT_LEAST = 20
RESULT = text(
    "ORU^R01^ORU_R01",
    PID,
    "OBR|1||26H1||",
    "OBX|1|FT|22637-3^Diagnosis^LN||M\u00fcllerian cyst||||||F",
    control_id="R1",
)
ORDERS = [
    text("OML^O33^OML_O33", PID, slide("S1"), orc(), control_id="M1"),
    text("OML^O21^OML_O21", PID, orc(), slide("S2"), control_id="M2"),
    RESULT,
]
ANSWERED = [("ORL^O34^ORL_O34", "M1"), ("ORL^O22^ORL_O22", "M2"), ("ACK^R01^ACK", "R1")]
TELLS = [text("OUL^R22^OUL_R22", PID, slide(f"S{number}"), control_id=f"C{number}").encode() for number in range(3)]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = small_lab(tmp_path, "")
    yield made
    made.database.close()


@pytest.fixture(scope="session")
def node() -> str:
    """The program that runs the peers for Node; without it or them, the tests are skipped, and fail on CI."""
    program, missing = shutil.which("node"), ""
    if program is None or not (HERE / "node_modules").is_dir():
        missing = "needs the HL7 peers for Node: apt-get install nodejs npm and infra/setup/node-peers (`make test`)"
    elif (version := _version(program)) < NODE_AT_LEAST:
        missing = f"needs Node {NODE_AT_LEAST} or newer, and here is Node {version}"
    if missing:
        (pytest.fail if ON_CI else pytest.skip)(missing)
    return str(program)


def _version(program: str) -> int:
    said = subprocess.check_output([program, "--version"], text=True)
    return int(said.removeprefix("v").split(".")[0])


def at_the_door(lab: Lab, talk: Callable[[int], Awaitable[object]]) -> object:
    """Have somebody talk to a real door: what is answered is in the inbox."""
    listener = lab.settings.listeners[0]

    async def open_door() -> object:
        inbox = InboxWriter(lab.database, lab.ids)
        door = MllpListener(
            hl7_door(lab.settings, listener, inbox, lab.telemetry),
            refusal_door(lab.settings, listener),
            limits_of(listener),
        )
        await door.start(listener.host, 0)
        try:
            async with asyncio.timeout(60):
                return await talk(door.port)
        finally:
            await door.stop()
            inbox.close()

    return asyncio.run(open_door())


def kept(lab: Lab) -> list[list[str]]:
    """The segments of every message of the inbox, in the order of their control ids."""
    with lab.database.read() as session:
        raws = session.scalars(select(InboxMessage.payload).order_by(InboxMessage.message_control_id)).all()
    return [raw.decode().strip().split("\r") for raw in raws]


def are_answers(answers: list[str]) -> None:
    headers = [read_header(answer.encode()) for answer in answers]
    msas = [next(line for line in answer.split("\r") if line.startswith("MSA")).split("|") for answer in answers]
    types = [header.raw(9).decode() for header in headers]
    assert list(zip(types, [msa[2] for msa in msas], strict=True)) == ANSWERED
    assert [msa[1] for msa in msas] == ["AA"] * len(ANSWERED)


def is_kept_whole(lab: Lab) -> None:
    assert [[line.rstrip("|") for line in lines] for lines in kept(lab)] == [
        [line.rstrip("|") for line in order.strip().split("\r")] for order in ORDERS
    ]


@pytest.mark.parametrize("library", ["simple-hl7", "node-hl7-client"])
def test_a_client_for_node_is_answered_and_what_it_sent_is_kept(lab: Lab, node: str, library: str) -> None:
    async def talk(port: int) -> str:
        command = [node, str(HERE / "client.cjs"), library, str(port)]
        client = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await client.communicate(json.dumps(ORDERS).encode())
        assert client.returncode == 0
        return said.decode()

    are_answers(json.loads(str(at_the_door(lab, talk))))
    is_kept_whole(lab)


def test_the_command_mllp_send_of_python_hl7_is_answered_and_what_it_sent_is_kept(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "orders.hl7").write_bytes(b"".join(frame(order.encode()) for order in ORDERS))

    async def talk(port: int) -> str:
        program = Path(sys.executable).parent / "mllp_send"
        arguments = ["--port", str(port), "--file", str(tmp_path / "orders.hl7"), "127.0.0.1"]
        client = await asyncio.create_subprocess_exec(str(program), *arguments, stdout=asyncio.subprocess.PIPE)
        said, _ = await client.communicate()
        assert client.returncode == 0
        return said.decode()

    said = str(at_the_door(lab, talk))
    are_answers(["MSH" + one.strip("\x0b\x1c\r\n") for one in said.split("MSH")[1:]])
    is_kept_whole(lab)


def test_the_asyncio_client_of_python_hl7_is_answered_and_what_it_sent_is_kept(lab: Lab) -> None:
    async def talk(port: int) -> list[str]:
        reader, writer = await hl7.mllp.open_hl7_connection("127.0.0.1", port, encoding="utf-8")
        answers = []
        for order in ORDERS:
            writer.writemessage(hl7.parse(order))
            await writer.drain()
            answers.append(str(await reader.readmessage()))
        writer.close()
        return answers

    answers = at_the_door(lab, talk)
    assert isinstance(answers, list)
    are_answers(answers)
    is_kept_whole(lab)


@contextmanager
def served(node: str, library: str) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    command = [node, str(HERE / "server.cjs"), library]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "LANG": "C.UTF-8"}) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline()), server
        finally:
            server.kill()


def tell(port: int) -> tuple[list[Answer], int]:
    """Send each message until it is answered, as the step ``send`` does; return answers and the tries that failed."""
    answers: list[Answer] = []
    failed = 0
    with MllpSender("127.0.0.1", port, SenderLimits(answer_seconds=5.0)) as sender:
        for number, message in enumerate(TELLS):
            while len(answers) == number:
                try:
                    answers.append(sender.send(message, f"C{number}"))
                except TransientError:
                    failed += 1
                    assert failed < 10
    return answers, failed


def test_the_server_of_simple_hl7_hears_what_we_send(node: str) -> None:
    with served(node, "simple-hl7") as (port, server):
        answers, failed = tell(port)
        assert server.stdout is not None
        heard = [json.loads(server.stdout.readline()).strip("\x0b\x1c\r").encode() for _ in TELLS]
    assert [answer.code for answer in answers] == ["AA"] * len(TELLS)
    assert heard == [message.strip() for message in TELLS]
    assert failed == 0


def test_an_answer_that_node_hl7_server_gives_twice_is_never_taken_for_the_next_message(node: str) -> None:
    # It never forgets what it heard on a connection, and answers a second message with the number of the first.
    with served(node, "node-hl7-server") as (port, _):
        answers, failed = tell(port)
    assert [answer.code for answer in answers] == ["AA"] * len(TELLS)
    assert [b"|C%d" % number in answer.raw for number, answer in enumerate(answers)] == [True] * len(TELLS)
    assert failed == len(TELLS) - 1


def test_the_asyncio_server_of_python_hl7_hears_what_we_send() -> None:
    heard: list[str] = []

    async def serve(reader: hl7.mllp.HL7StreamReader, writer: hl7.mllp.HL7StreamWriter) -> None:
        for _ in TELLS:
            message = await reader.readmessage()
            heard.append(str(message))
            writer.writemessage(message.create_ack())
            await writer.drain()
        writer.close()

    async def talk() -> tuple[list[Answer], int]:
        server = await hl7.mllp.start_hl7_server(serve, "127.0.0.1", 0, encoding="utf-8")
        async with server:
            return await asyncio.to_thread(tell, server.sockets[0].getsockname()[1])

    answers, failed = asyncio.run(talk())
    assert ([answer.code for answer in answers], failed) == (["AA"] * len(TELLS), 0)
    assert [one.strip().encode() for one in heard] == [message.strip() for message in TELLS]
