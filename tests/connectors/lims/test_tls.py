"""TLS on the wire, with certificates made for the test and both sides real."""

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from connectors.lims.framing import frame
from connectors.lims.sender import MllpSender, SenderLimits
from connectors.lims.tls import Credentials, door_context, peer_context, valid_until
from infra.kafka.credentials import Authority
from models.errors import RefusedError, TransientError
from tests.connectors.lims.doors import Store, answer_from, listening
from tests.connectors.lims.orders import PID, orc, slide, text

ORDER = text("OML^O33^OML_O33", PID, slide("S1"), orc()).encode()
QUICK = SenderLimits(connect_seconds=2.0, answer_seconds=2.0)
EXPIRED = timedelta(minutes=-1)


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path, "hospital")


@pytest.fixture
def others(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path / "others", "elsewhere")


def credentials(
    authority: Authority, name: str, *, mutual: bool = True, valid_for: timedelta | None = None
) -> Credentials:
    certificate, key = authority.issue(name, valid_for) if valid_for else authority.issue(name)
    return Credentials(f"listeners {name}", authority.file if mutual else None, certificate, key)


def send(door: ssl.SSLContext, tls: ssl.SSLContext | None, host: str = "127.0.0.1", name: str | None = None) -> str:
    """Send one order to a door and return MSA-1, or the sentence that says why there was none."""

    def say(port: int) -> str:
        with MllpSender(host, port, QUICK, tls, name) as sender:
            try:
                return sender.send(ORDER, "M1").code
            except TransientError as error:
                return str(error).replace(str(port), "PORT")

    async def talk() -> str:
        async with listening(Store().keep, tls=door) as listener:
            return await asyncio.to_thread(say, listener.port)

    return asyncio.run(talk())


def test_both_sides_show_a_certificate_and_the_newest_version_is_spoken(ours: Authority) -> None:
    assert send(door_context(credentials(ours, "door")), peer_context(credentials(ours, "lims"))) == "AA"


def test_a_door_without_an_authority_takes_peers_without_a_certificate(ours: Authority) -> None:
    door = door_context(credentials(ours, "door", mutual=False))
    assert send(door, peer_context(Credentials("lims a", ours.file))) == "AA"


def test_a_certificate_may_hold_a_name_that_is_not_the_host(ours: Authority) -> None:
    door, tls = door_context(credentials(ours, "door")), peer_context(credentials(ours, "lims"))
    assert send(door, tls, host="localhost", name="127.0.0.1") == "AA"


def test_one_certificate_may_be_all_that_is_believed(ours: Authority) -> None:
    known, stranger = credentials(ours, "lims"), credentials(ours, "stranger")
    door = door_context(replace(credentials(ours, "door"), ca=known.certificate))
    assert send(door, peer_context(known)) == "AA"
    assert "accept our certificate" in send(door, peer_context(stranger))


def test_the_sender_says_why_it_does_not_believe_the_door(ours: Authority, others: Authority) -> None:
    door, mine = door_context(credentials(ours, "door")), credentials(ours, "lims")
    found = {
        "unknown authority": send(door, peer_context(replace(mine, ca=others.file))),
        "wrong name": send(door, peer_context(mine), host="localhost"),
        "wrong given name": send(door, peer_context(mine), name="lims.example"),
    }
    assert found == {
        "unknown authority": "TLS with 127.0.0.1:PORT failed: "
        "its certificate comes from an authority that is not the one of ca_file.",
        "wrong name": "TLS with localhost:PORT failed: its certificate holds another name.",
        "wrong given name": "TLS with 127.0.0.1:PORT failed: its certificate holds another name.",
    }


def test_the_sender_does_not_believe_a_door_whose_certificate_has_expired(ours: Authority) -> None:
    expired = credentials(ours, "door", valid_for=EXPIRED)
    door = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    door.load_cert_chain(str(expired.certificate), str(expired.key))
    told = send(door, peer_context(credentials(ours, "lims")))
    assert told == "TLS with 127.0.0.1:PORT failed: its certificate has expired."


@pytest.mark.parametrize(
    ("who", "told"),
    [
        ("nobody", "it shows no certificate, and this door wants one"),
        ("stranger", "its certificate comes from an authority that is not the one of ca_file"),
        ("expired", "its certificate has expired"),
        ("plain", "it does not speak TLS"),
    ],
)
def test_the_door_tells_once_why_a_peer_is_not_let_in(
    ours: Authority, others: Authority, caplog: pytest.LogCaptureFixture, who: str, told: str
) -> None:
    tls = {
        "nobody": peer_context(Credentials("lims a", ours.file)),
        "stranger": peer_context(replace(credentials(others, "lims"), ca=ours.file)),
        "expired": peer_context(credentials(ours, "lims", valid_for=EXPIRED)),
        "plain": None,
    }[who]
    store = Store()

    def say(port: int) -> None:
        for _ in range(3):
            with MllpSender("127.0.0.1", port, QUICK, tls) as sender, pytest.raises(TransientError):
                sender.send(ORDER, "M1")

    async def talk() -> int:
        async with listening(store.keep, tls=door_context(credentials(ours, "door"))) as listener:
            await asyncio.to_thread(say, listener.port)
            return listener.counts["handshakes failed"]

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(talk()) == 3
    assert [record.getMessage().partition("failed: ")[2] for record in caplog.records] == [told]
    assert store.kept == []


def test_a_peer_that_never_shakes_hands_keeps_nobody_out(ours: Authority) -> None:
    tls = peer_context(credentials(ours, "lims"))

    def say(port: int) -> str:
        with socket.create_connection(("127.0.0.1", port)), MllpSender("127.0.0.1", port, QUICK, tls) as sender:
            return sender.send(ORDER, "M1").code

    async def talk() -> str:
        async with listening(Store().keep, tls=door_context(credentials(ours, "door"))) as listener:
            return await asyncio.to_thread(say, listener.port)

    assert asyncio.run(talk()) == "AA"


GCM, CHACHA = "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"
CBC, SHA1 = "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES128-SHA"
V1_1, V1_2, V1_3 = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
OFFERS = [
    pytest.param(V1_1, V1_1, f"{SHA1}:@SECLEVEL=0", None, id="TLS 1.1"),
    pytest.param(V1_2, V1_2, CBC, None, id="TLS 1.2, CBC"),
    pytest.param(V1_2, V1_2, SHA1, None, id="TLS 1.2, CBC and SHA-1"),
    pytest.param(V1_2, V1_2, f"{CBC}:{GCM}", ("TLSv1.2", GCM), id="TLS 1.2, CBC or GCM"),
    pytest.param(V1_2, V1_2, CHACHA, ("TLSv1.2", CHACHA), id="TLS 1.2, ChaCha20"),
    pytest.param(V1_2, V1_3, GCM, ("TLSv1.3", None), id="TLS 1.2 or 1.3"),
    pytest.param(V1_1, V1_3, f"{SHA1}:{GCM}:@SECLEVEL=0", ("TLSv1.3", None), id="anything"),
]


def offering(protocol: int, least: ssl.TLSVersion, most: ssl.TLSVersion, suites: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.set_ciphers(suites)
    context.minimum_version, context.maximum_version = least, most
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize(("least", "most", "suites", "agreed"), OFFERS)
def test_the_door_agrees_on_the_safest_that_is_offered_or_on_nothing(
    ours: Authority, least: ssl.TLSVersion, most: ssl.TLSVersion, suites: str, agreed: tuple[str, str | None] | None
) -> None:
    offer = offering(ssl.PROTOCOL_TLS_CLIENT, least, most, suites)
    offer.load_verify_locations(ours.file)

    async def talk() -> tuple[str, str] | None:
        async with listening(Store().keep, tls=door_context(credentials(ours, "door", mutual=False))) as listener:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=offer)
            except (ssl.SSLError, ConnectionError):
                return None
            writer.write(frame(ORDER))
            assert b"MSA|AA|M1" in await answer_from(reader)
            spoken = writer.get_extra_info("ssl_object")
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            return spoken.version(), spoken.cipher()[0]

    _agree(asyncio.run(talk()), agreed)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize(("least", "most", "suites", "agreed"), OFFERS)
def test_the_sender_agrees_on_the_safest_that_a_peer_takes_or_on_nothing(
    ours: Authority, least: ssl.TLSVersion, most: ssl.TLSVersion, suites: str, agreed: tuple[str, str | None] | None
) -> None:
    takes = offering(ssl.PROTOCOL_TLS_SERVER, least, most, suites)
    shown = credentials(ours, "lims")
    takes.load_cert_chain(str(shown.certificate), str(shown.key))
    spoken: list[tuple[str, str]] = []
    tls = peer_context(Credentials("lims a", ours.file))
    with serving(takes, spoken) as port, MllpSender("127.0.0.1", port, QUICK, tls) as sender:
        try:
            assert sender.send(ORDER, "M1").code == "AA"
        except TransientError as error:
            assert "TLS with" in str(error)  # noqa: PT017 - either is right, the table says which
    _agree(spoken[0] if spoken else None, agreed)


@contextmanager
def serving(tls: ssl.SSLContext, spoken: list[tuple[str, str]]) -> Iterator[int]:
    """Answer one message on one connection, if TLS comes about."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            connection, _ = door.accept()
            with suppress(OSError), tls.wrap_socket(connection, server_side=True) as secured:
                spoken.append((str(secured.version()), (secured.cipher() or ("",))[0]))
                secured.recv(65_536)
                secured.sendall(frame(b"MSH|^~\\&|||||||ACK|1|P|2.5.1\rMSA|AA|M1\r"))
                secured.recv(65_536)
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield door.getsockname()[1]
        thread.join()


def _agree(found: tuple[str, str] | None, agreed: tuple[str, str | None] | None) -> None:
    if found is None or agreed is None:
        assert found is agreed
        return
    assert found[0] == agreed[0]
    assert found[1] == (agreed[1] or found[1])
    assert "GCM" in found[1] or "CHACHA20" in found[1]


def test_each_wrong_file_is_told_in_one_sentence(ours: Authority, tmp_path: Path) -> None:
    good, other, expired = (
        credentials(ours, "door"),
        credentials(ours, "other"),
        credentials(ours, "old", valid_for=EXPIRED),
    )
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    broken = tmp_path / "broken.key"
    broken.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    gone = tmp_path / "gone.pem"
    table = [
        (replace(good, certificate=gone), f"certificate_file: {gone} can't be read: No such file or directory"),
        (replace(good, key=gone), f"key_file: {gone} can't be read: No such file or directory"),
        (replace(good, ca=gone), f"ca_file: {gone} can't be read: No such file or directory"),
        (replace(good, certificate=empty), f"certificate_file: {empty} holds no certificate (PEM)"),
        (replace(good, ca=empty), f"ca_file: {empty} holds no certificate (PEM)"),
        (replace(good, key=empty), f"key_file: {empty} holds no private key (PEM)"),
        (replace(good, key=good.certificate), f"key_file: {good.certificate} holds no private key (PEM)"),
        (replace(good, key=broken), f"key_file: {broken} can't be read: it is damaged, or has a pass phrase"),
        (replace(good, key=other.key), f"key_file: {other.key} is not the key of certificate_file {good.certificate}"),
        (
            replace(expired, what=good.what),
            f"certificate_file: {expired.certificate}: the certificate has expired",
        ),
    ]
    for wrong, sentence in table:
        with pytest.raises(RefusedError) as refused:
            door_context(wrong)
        assert str(refused.value) == f"listeners door: {sentence}"


def test_it_is_known_until_when_our_own_certificate_is_good(ours: Authority) -> None:
    assert valid_until(credentials(ours, "old", valid_for=EXPIRED)) is None
    assert valid_until(Credentials("lims a", ours.file)) is None
    until = valid_until(credentials(ours, "door"))
    assert until is not None
    assert until.tzinfo is not None
