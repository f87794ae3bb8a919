import socket
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from connectors.eventlog.connection import client_options, greet
from connectors.first_lab import write_first_lab
from connectors.settings import Settings, load
from infra.kafka.broker import Broker
from infra.kafka.credentials import Authority
from models.errors import RefusedError, TransientError
from tests.connectors.eventlog.laboratory import by_certificate, by_password, by_token, laboratory, security

SOON = timedelta(seconds=5)


def refusal(settings: Settings) -> str:
    """Return the one sentence that somebody is told who can't come in, without any secret."""
    with pytest.raises(RefusedError) as refused:
        greet(settings, SOON)
    told = str(refused.value)
    assert "\n" not in told
    return told


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_whoever_is_set_right_comes_in(secure_kafka_broker: Broker, tmp_path: Path) -> None:
    broker = secure_kafka_broker
    token = security(broker).token_file("intake")
    sasl_ssl, tls = broker.address("SASL_SSL"), broker.address("SSL")
    greet(laboratory(tmp_path, sasl_ssl, **by_password(broker, "intake")))
    greet(laboratory(tmp_path, sasl_ssl, **by_password(broker, "intake", "SCRAM-SHA-256")))
    greet(laboratory(tmp_path, sasl_ssl, **by_token(broker, token)))
    greet(laboratory(tmp_path, tls, **by_certificate(broker, "intake")))
    in_the_open = by_password(broker, "intake") | {"security": "sasl_plaintext"}
    in_the_open.pop("ca_file")
    greet(laboratory(tmp_path, broker.address("SASL_PLAINTEXT"), **in_the_open))
    greet(laboratory(tmp_path, f'127.0.0.1:1", "{broker.bootstrap}'))


def test_a_wrong_password_is_told_with_the_user_and_without_the_password(
    secure_kafka_broker: Broker, tmp_path: Path
) -> None:
    broker = secure_kafka_broker
    wrong = tmp_path / "wrong"
    wrong.write_text("hush-hush\n")
    said = by_password(broker, "intake") | {"password_file": str(wrong)}
    settings = laboratory(tmp_path, broker.address("SASL_SSL"), **said)
    with pytest.raises(RefusedError) as refused:
        greet(settings)
    told = "does not believe user intake: see kafka.username and kafka.password_file"
    assert str(refused.value) == f"Kafka at {broker.address('SASL_SSL')} {told}"
    assert "hush" not in "".join(traceback.format_exception(refused.value))


def test_a_token_that_is_old_or_of_somebody_else_is_not_believed(secure_kafka_broker: Broker, tmp_path: Path) -> None:
    broker = secure_kafka_broker
    token = tmp_path / "token"
    good = security(broker).tokens.token("intake")
    for bad in (security(broker).tokens.token("intake", timedelta(hours=-1)), f"{good[:-9]}AAAAAAAAA", "no-token"):
        token.write_text(bad)
        settings = laboratory(tmp_path, broker.address("SASL_SSL"), **by_token(broker, token))
        assert "does not believe the bearer of our token: see kafka.token_file" in refusal(settings)
    token.write_text(good)
    greet(settings)  # the file is read again


def test_a_certificate_that_nobody_vouches_for_or_of_another_host_is_not_believed(
    secure_kafka_broker: Broker, tmp_path: Path
) -> None:
    broker = secure_kafka_broker
    address = broker.address("SASL_SSL")
    other = Authority.make(tmp_path / "other", "other")
    for ca_file in (other.file, None):
        said = {**by_password(broker, "intake"), "ca_file": str(ca_file)}
        settings = laboratory(tmp_path, address, **{name: it for name, it in said.items() if it != "None"})
        assert "shows a certificate that is not believed (unable to get local issuer certificate)" in refusal(settings)
    settings = laboratory(tmp_path, address.replace("127.0.0.1", "localhost"), **by_password(broker, "intake"))
    assert "not believed (Hostname mismatch, certificate is not valid for 'localhost'): see kafka.ca_file" in refusal(
        settings
    )


def test_a_certificate_of_ours_that_the_broker_does_not_believe_is_told(
    secure_kafka_broker: Broker, tmp_path: Path
) -> None:
    broker = secure_kafka_broker
    certificate, key = Authority.make(tmp_path / "other", "other").issue("intake")
    strange = by_certificate(broker, "intake") | {"certificate_file": str(certificate), "key_file": str(key)}
    nobody = {"security": "ssl", "ca_file": strange["ca_file"]}
    for said in (strange, nobody):
        told = refusal(laboratory(tmp_path, broker.address("SSL"), **said))
        assert "closed the connection before we were known to it" in told
        assert "a certificate of ours that it believes (kafka.certificate_file)" in told


@pytest.mark.parametrize(
    ("protocol", "said", "sentence"),
    [
        ("SASL_SSL", "plain", "closed the connection before we were known to it: it wants another kafka.security"),
        ("SASL_PLAINTEXT", "plain", "closed the connection before we were known to it: it wants another"),
        ("PLAINTEXT", "password", "does not speak TLS, or not with us: see kafka.security"),
        ("PLAINTEXT", "open password", "does not offer SCRAM-SHA-512: see kafka.mechanism and kafka.security"),
        ("SASL_SSL", "certificate", "closed the connection before we were known to it: it wants another"),
    ],
)
def test_another_protocol_than_the_brokers_is_told(
    secure_kafka_broker: Broker, tmp_path: Path, protocol: str, said: str, sentence: str
) -> None:
    broker = secure_kafka_broker
    open_password = by_password(broker, "intake") | {"security": "sasl_plaintext"}
    open_password.pop("ca_file")
    ways = {
        "plain": {},
        "password": by_password(broker, "intake"),
        "open password": open_password,
        "certificate": by_certificate(broker, "intake"),
    }
    assert sentence in refusal(laboratory(tmp_path, broker.address(protocol), **ways[said]))


def test_an_unknown_host_is_told(tmp_path: Path) -> None:
    told = refusal(laboratory(tmp_path, "kafka.invalid:9093"))
    assert told == "Kafka at kafka.invalid:9093 can't be found: nobody knows a host of that name (kafka.bootstrap)"


def test_a_broker_that_is_away_may_come_back_so_it_is_tried_again(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        away = laboratory(tmp_path, f"127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(TransientError, match="refuses connections: nothing listens there"):
            greet(away, SOON)
        nobody.listen()  # and never answers
        with pytest.raises(TransientError, match="did not answer in time"):
            greet(away, timedelta(seconds=0.5))
    # A broker that is only away may be the one that is right.
    with pytest.raises(TransientError, match="refuses connections"):
        greet(laboratory(tmp_path, 'kafka.invalid:9093", "127.0.0.1:1'), SOON)


def test_a_broker_that_ends_while_it_greets_us_is_only_away(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ending:
        away = laboratory(tmp_path, f"127.0.0.1:{ending.getsockname()[1]}")

        def end() -> None:
            reached, _ = ending.accept()
            asked, _ = ending.accept()
            asked.recv(1)
            ending.shutdown(socket.SHUT_RDWR)
            ending.close()
            for connection in (reached, asked):
                connection.close()

        with ThreadPoolExecutor(1) as broker:
            ended = broker.submit(end)
            with pytest.raises(TransientError, match="refuses connections: nothing listens there"):
                greet(away, SOON)
            ended.result()


def test_a_broker_that_hangs_during_tls_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = laboratory(tmp_path, f"127.0.0.1:{silent.getsockname()[1]}", security="ssl")
        with pytest.raises(TransientError, match="did not answer in time"):
            greet(settings, timedelta(seconds=0.5))


def test_files_of_secrets_are_read_when_they_are_used_and_each_fault_is_a_sentence(tmp_path: Path) -> None:
    said = {"security": "sasl_plaintext", "mechanism": "SCRAM-SHA-512", "username": "intake"}
    settings = laboratory(tmp_path, "127.0.0.1:9092", **said, password_file="kafka.password")
    password = tmp_path / "kafka.password"
    with pytest.raises(RefusedError, match=r"^kafka.password_file: .*kafka.password can't be read: No such file"):
        client_options(settings)
    password.write_text("\n")
    with pytest.raises(RefusedError, match=r"^kafka.password_file: .*kafka.password is empty$"):
        client_options(settings)
    password.write_bytes(b"\xff\xfe")
    with pytest.raises(RefusedError, match=r"kafka.password can't be read: it is no text$"):
        client_options(settings)
    password.write_text("first\n")
    assert client_options(settings)["sasl_plain_password"] == "first"
    password.write_text("second")
    assert client_options(settings)["sasl_plain_password"] == "second"


def test_files_of_certificates_that_are_none_are_refused(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ours", "ours")
    certificate, key = authority.issue("intake")
    _, other_key = authority.issue("other")
    (tmp_path / "empty.pem").touch()
    for ca_file in ("empty.pem", "missing.pem", str(key)):
        settings = laboratory(tmp_path, "127.0.0.1:9092", security="ssl", ca_file=ca_file)
        with pytest.raises(RefusedError, match=r"^kafka.ca_file: .* holds no certificate that can be read$"):
            client_options(settings)
    files = {"certificate_file": str(certificate), "key_file": str(other_key)}
    settings = laboratory(tmp_path, "127.0.0.1:9092", security="ssl", **files)
    with pytest.raises(RefusedError, match=r"^kafka.certificate_file: .* are no certificate with its key"):
        client_options(settings)


def test_without_the_section_it_is_said_what_is_missing(tmp_path: Path) -> None:
    write_first_lab(tmp_path)
    with pytest.raises(RefusedError, match=r"coverslip\.toml has no \[kafka\] section"):
        greet(load(tmp_path))


def test_greeting_leaves_nothing_open(kafka_broker: Broker, tmp_path: Path) -> None:
    settings = laboratory(tmp_path, kafka_broker.bootstrap)
    greet(settings)
    before = open_files()
    for _ in range(3):
        greet(settings)
    assert open_files() <= before
