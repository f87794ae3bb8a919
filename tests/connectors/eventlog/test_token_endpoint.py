"""Tokens are asked of one address over TLS, in seconds and kilobytes, and nothing that it says leads elsewhere."""

import json
import ssl
import threading
import time
import traceback
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from connectors.eventlog.connection import greet
from connectors.eventlog.token_endpoint import TokenEndpoint
from infra.kafka.broker import Broker
from infra.kafka.credentials import Authority
from models.errors import RefusedError, TransientError
from tests.connectors.eventlog.laboratory import laboratory, security

SECRET = "hush hush:%"
GOOD = {"access_token": "abc.def-_~+/==", "token_type": "bearer", "expires_in": 300}


@dataclass
class Server:
    """Gives what it is told to give, over TLS, and keeps what it was asked."""

    authority: Authority
    status: int = 200
    body: bytes = field(default_factory=lambda: json.dumps(GOOD).encode())
    headers: dict[str, str] = field(default_factory=dict)
    pause_s: float = 0.0
    """Between two bytes of the answer."""
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)
    address: str = ""

    def endpoint(self, within: float = 5.0, ca_file: Path | None = None) -> TokenEndpoint:
        context = ssl.create_default_context(cafile=str(ca_file or self.authority.file))
        return TokenEndpoint(self.address, "coverslip", SECRET, context, "kafka", timedelta(seconds=within))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    kept = Server(Authority.make(tmp_path / "authority", "authority"))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            kept.asked.append((self.path, self.headers["Authorization"], self.rfile.read(length)))
            self.send_response(kept.status)
            for name, value in kept.headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for at in range(len(kept.body)) if kept.pause_s else ():
                    self.wfile.write(kept.body[at : at + 1])
                    time.sleep(kept.pause_s)
                self.wfile.write(b"" if kept.pause_s else kept.body)
            except OSError:
                pass

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    certificate, key = kept.authority.issue("endpoint")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        http.socket = context.wrap_socket(http.socket, server_side=True)
        http.handle_error = lambda *_: None  # type: ignore[method-assign] # who hangs up is no trouble
        kept.address = f"https://127.0.0.1:{http.server_port}/oauth/token"
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield kept
        finally:
            http.shutdown()
            thread.join()


def test_a_token_is_asked_for_as_the_standard_says_and_used_while_it_is_fresh(server: Server) -> None:
    endpoint = server.endpoint()
    assert [endpoint.token(), endpoint.token()] == [GOOD["access_token"]] * 2
    [(path, who, body)] = server.asked
    assert (path, body) == ("/oauth/token", b"grant_type=client_credentials&scope=kafka")
    assert b64decode(who.removeprefix("Basic ")) == b"coverslip:hush+hush%3A%25"

    server.body = json.dumps(GOOD | {"expires_in": 0}).encode()
    stale = server.endpoint()
    stale.token()
    stale.token()
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("status", "body", "kind", "sentence"),
    [
        (401, b"{}", RefusedError, r"does not believe client coverslip \(it answered 401\): see kafka.client_id and"),
        (302, b"", RefusedError, "answered 302 in place of a token; nowhere else is asked"),
        (503, b"", TransientError, "can't give a token now: it answered 503"),
        (200, b"x" * 70_000, RefusedError, "answered more than 65536 bytes"),
        (200, b"no json", RefusedError, "answered something that is no bearer token"),
        (200, b"[" * 60_000, RefusedError, "answered something that is no bearer token"),
        (200, b'{"access_token": "a\\u0001auth=b"}', RefusedError, "no bearer token"),
        (200, b'{"access_token": "abc", "token_type": "mac"}', RefusedError, "no bearer token"),
        (200, b'{"access_token": "abc", "expires_in": "soon"}', RefusedError, "no bearer token"),
    ],
)
def test_what_is_no_token_is_one_sentence_without_any_secret(
    server: Server, status: int, body: bytes, kind: type[Exception], sentence: str
) -> None:
    server.status, server.body, server.headers = status, body, {"Location": "https://127.0.0.1:1/elsewhere"}
    endpoint = server.endpoint()
    with pytest.raises(kind, match=sentence) as told:
        endpoint.token()
    assert len(server.asked) == 1
    assert "hush" not in repr(endpoint) + "".join(traceback.format_exception(told.value))


def test_an_answer_that_comes_a_byte_at_a_time_is_cut_off(server: Server) -> None:
    server.body, server.pause_s = b"x" * 600, 0.05
    began = time.monotonic()
    with pytest.raises(TransientError, match="did not answer in time"):
        server.endpoint(within=0.6).token()
    assert time.monotonic() - began < 5


def test_a_certificate_of_somebody_else_is_not_believed_and_nothing_is_asked(server: Server, tmp_path: Path) -> None:
    other = Authority.make(tmp_path / "other", "other")
    with pytest.raises(RefusedError, match="a certificate that is not believed"):
        server.endpoint(ca_file=other.file).token()
    assert server.asked == []


def test_an_endpoint_that_is_away_is_asked_again_later(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "authority", "authority")
    away = TokenEndpoint("https://127.0.0.1:1/", "us", SECRET, ssl.create_default_context(cafile=str(authority.file)))
    with pytest.raises(TransientError, match=r"^the token endpoint 127\.0\.0\.1:1 gave no answer"):
        away.token()


def test_kafka_lets_in_whom_the_endpoint_gives_a_token(
    server: Server, secure_kafka_broker: Broker, tmp_path: Path
) -> None:
    broker = secure_kafka_broker
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    said = {"security": "sasl_ssl", "mechanism": "OAUTHBEARER", "ca_file": str(security(broker).ca_file)}
    said |= {"token_endpoint": server.address, "client_id": "coverslip", "client_secret_file": str(tmp_path / "secret")}
    said |= {"token_ca_file": str(server.authority.file)}
    settings = laboratory(tmp_path / "home", broker.address("SASL_SSL"), **said)
    server.body = json.dumps({"access_token": security(broker).tokens.token("intake")}).encode()
    greet(settings)

    server.body = json.dumps(GOOD).encode()
    with pytest.raises(RefusedError, match=r"does not believe the bearer of our token: see kafka\.token_endpoint"):
        greet(settings)
    server.status = 401
    with pytest.raises(RefusedError, match="does not believe client coverslip"):
        greet(settings)
