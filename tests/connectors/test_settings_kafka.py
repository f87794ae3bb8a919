from pathlib import Path

import pytest

from connectors.first_lab import write_first_lab
from connectors.settings import load
from connectors.settings_kafka import Kafka
from models.errors import RefusedError

PLAIN = 'bootstrap = ["127.0.0.1:9092"]\n'
SCRAM = 'security = "sasl_ssl"\nmechanism = "SCRAM-SHA-512"\nusername = "intake"\npassword_file = "kafka.password"\n'
TOKEN = 'security = "sasl_ssl"\nmechanism = "OAUTHBEARER"\ntoken_file = "/run/kafka/token"\n'
ENDPOINT = (
    'security = "sasl_ssl"\nmechanism = "OAUTHBEARER"\ntoken_endpoint = "https://login.example/token"\n'
    'client_id = "coverslip"\nclient_secret_file = "kafka.secret"\n'
)
CERTIFICATE = 'security = "ssl"\nca_file = "ca.pem"\ncertificate_file = "us.pem"\nkey_file = "us.key"\n'


def laboratory(home: Path, section: str) -> Path:
    path = write_first_lab(home)
    path.write_text(f"{path.read_text()}\n[kafka]\n{section}")
    return path


def test_without_the_section_there_is_no_kafka(tmp_path: Path) -> None:
    write_first_lab(tmp_path)
    assert load(tmp_path).kafka is None


@pytest.mark.parametrize(
    "how",
    [
        *("", SCRAM, SCRAM + 'ca_file = "ca.pem"\n', TOKEN, CERTIFICATE, 'security = "ssl"\n'),
        *(ENDPOINT, ENDPOINT + 'token_scope = "kafka events"\ntoken_ca_file = "ca.pem"\n'),
    ],
)
def test_each_way_to_be_known_is_taken(tmp_path: Path, how: str) -> None:
    laboratory(tmp_path, PLAIN + how)
    kafka = load(tmp_path).kafka
    assert kafka is not None
    assert (kafka.bootstrap, kafka.group, kafka.prefix) == (("127.0.0.1:9092",), "coverslip", "coverslip.")


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ("", "kafka.bootstrap: is missing"),
        ("bootstrap = []\n", "kafka.bootstrap: Tuple should have at least 1 item"),
        ('bootstrap = ["kafka.example"]\n', "kafka.bootstrap.0: must be host:port, for example kafka.example:9093"),
        ('bootstrap = ["kafka.example:0"]\n', "kafka.bootstrap.0: must be host:port"),
        ('bootstrap = ["kafka.example:65536"]\n', "kafka.bootstrap.0: must be host:port"),
        ('bootstrap = ["SASL_SSL://kafka.example:9093"]\n', "kafka.bootstrap.0: must be host:port"),
        (PLAIN + 'prefix = "Über."\n', "kafka.prefix: String should match pattern"),
        (PLAIN + 'group = ""\n', "kafka.group: String should match pattern"),
        (PLAIN + 'security = "tls"\n', "kafka.security: Input should be 'plaintext', 'ssl', 'sasl_ssl'"),
        (PLAIN + 'security = "sasl_ssl"\nmechanism = "PLAIN"\n', "kafka.mechanism: Input should be 'SCRAM-SHA-512'"),
        (
            PLAIN + 'ca_file = "ca.pem"\nusername = "intake"\n',
            'kafka: ca_file and username can\'t be used with security = "plaintext": leave it out',
        ),
        (
            PLAIN + 'security = "sasl_ssl"\n',
            'kafka: mechanism and username and password_file must be set with security = "sasl_ssl"',
        ),
        (
            PLAIN + SCRAM.replace('password_file = "kafka.password"\n', ""),
            'kafka: password_file must be set with security = "sasl_ssl" and mechanism = "SCRAM-SHA-512"',
        ),
        (
            PLAIN + TOKEN + 'username = "intake"\n',
            'kafka: username can\'t be used with security = "sasl_ssl" and mechanism = "OAUTHBEARER": leave it out',
        ),
        (
            PLAIN + SCRAM + 'certificate_file = "us.pem"\n',
            "kafka: certificate_file can't be used with security",
        ),
        (
            PLAIN + CERTIFICATE.replace('key_file = "us.key"\n', ""),
            "kafka: certificate_file and key_file belong together: set both or none",
        ),
        (
            PLAIN + TOKEN.replace("sasl_ssl", "sasl_plaintext"),
            'kafka: a token that is sent in the open is anybody\'s: use security = "sasl_ssl"',
        ),
        (
            PLAIN + ENDPOINT + 'token_file = "token"\n',
            'kafka: token_file can\'t be used with security = "sasl_ssl" and mechanism = "OAUTHBEARER": leave it out',
        ),
        (
            PLAIN + ENDPOINT.replace('client_id = "coverslip"\n', ""),
            'kafka: client_id must be set with security = "sasl_ssl" and mechanism = "OAUTHBEARER"',
        ),
        (PLAIN + TOKEN + 'client_id = "us"\n', "kafka: client_id can't be used with"),
        *(
            (PLAIN + ENDPOINT.replace("https://login.example/token", address), "kafka.token_endpoint: must be https://")
            for address in ("http://login.example", "https://us:hush@login.example/", "https://", "https://[::1", "a")
        ),
        (PLAIN + 'password = "hush"\n', "kafka.password: is not a setting: check its spelling"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_sentence(tmp_path: Path, section: str, sentence: str) -> None:
    path = laboratory(tmp_path, section)
    with pytest.raises(RefusedError) as refused:
        load(tmp_path)
    told = str(refused.value)
    assert told.startswith(f"{path}: {sentence}")
    assert "\n" not in told
    assert "hush" not in told


def test_ipv6_addresses_and_several_brokers_are_taken() -> None:
    kafka = Kafka(bootstrap=("[::1]:9092", "kafka-2.example:9093"))
    assert len(kafka.bootstrap) == 2
