"""How we come to Kafka: the client's options from our settings, and one clear sentence when it does not work."""

import socket
import ssl
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final

from kafka import errors
from kafka.net.manager import KafkaConnectionManager
from kafka.net.sasl.oauth import AbstractTokenProvider
from kafka.net.selector import NetworkSelector
from kafka.protocol.metadata import MetadataRequest

from connectors.eventlog.token_endpoint import TokenEndpoint
from connectors.settings import Settings
from connectors.settings_kafka import Kafka
from models.errors import RefusedError, TransientError

Options = Mapping[str, object]

_FIRST_ANSWER: Final = timedelta(seconds=10)
"""How long a broker may take to greet us, name, network and sign-in in all."""
_CLOSED_AGAIN: Final = timedelta(seconds=1)
"""A broker that just ends closes connections too: only one that does so again, this much later, turns us away."""
_LARGEST_ANSWER: Final = 64 << 20
"""Bytes of one answer: kafka-python would take 100 MB, and our largest message is far smaller."""


def client_options(settings: Settings) -> dict[str, object]:
    """Return what kafka-python's consumer, producer and admin client have in common: where to, and who we are.

    Raises
    ------
    RefusedError
        Kafka is not set, or a file of a password, token or certificate can't be used.
    """
    kafka = _set(settings)
    options: dict[str, object] = {
        "bootstrap_servers": list(kafka.bootstrap),
        "client_id": "coverslip",
        "security_protocol": kafka.security.upper(),
        "receive_message_max_bytes": _LARGEST_ANSWER,
        # A broker that comes back is found within a second or two, not half a minute.
        "reconnect_backoff_max_ms": 2_000,
    }
    if kafka.security.endswith("ssl"):
        options["ssl_context"] = _tls(settings, kafka)
    if kafka.mechanism == "OAUTHBEARER":
        tokens = _TokenFile(settings, kafka) if kafka.token_file else _Asked(_endpoint(settings, kafka))
        options |= {"sasl_mechanism": kafka.mechanism, "sasl_oauth_token_provider": tokens}
    elif kafka.mechanism:
        password = _secret(settings, "password_file", kafka.password_file)
        options |= {"sasl_mechanism": kafka.mechanism, "sasl_plain_username": kafka.username}
        options["sasl_plain_password"] = password
    return options


def greet(settings: Settings, within: timedelta = _FIRST_ANSWER) -> None:
    """Come as far as being known to one of the brokers, and leave again; the time is for each of them.

    kafka-python itself tries on, says only that it could not, and waits without end for a broker that is silent
    during TLS: so whoever starts a client greets first.

    Raises
    ------
    RefusedError
        What is set is wrong: a name, a certificate, a password, a token, a protocol. One sentence says which.
    TransientError
        Nothing answers there now, or not in time.
    """
    kafka, options = _set(settings), client_options(settings)
    tokens = options.get("sasl_oauth_token_provider")
    if isinstance(tokens, _Asked):
        # What kafka-python would make of its trouble is not one sentence.
        tokens.endpoint.token()
    faults: list[RefusedError | TransientError] = []
    for address in kafka.bootstrap:
        try:
            try:
                _come_in(address, kafka, options, within)
            except _ClosedError:
                time.sleep(_CLOSED_AGAIN.total_seconds())
                _come_in(address, kafka, options, within)
        except (RefusedError, TransientError) as fault:
            faults.append(fault)
        else:
            return
    # One that is only away may be the one that is right.
    raise next((fault for fault in faults if isinstance(fault, TransientError)), faults[0])


def sentence(error: errors.KafkaError, kafka: Kafka) -> str:
    """Return what an answer of Kafka means, in one sentence without its own words, which may hold names."""
    for kind, said in _SENTENCES:
        if isinstance(error, kind):
            return said.format(who=_who(kafka), where=", ".join(kafka.bootstrap))
    return f"Kafka at {', '.join(kafka.bootstrap)} answered {type(error).__name__}"


# The first that fits.
_SENTENCES: Final[tuple[tuple[type[errors.KafkaError], str], ...]] = (
    (errors.TopicAuthorizationFailedError, "Kafka does not let {who} use a topic: its ACL has to allow it"),
    (errors.GroupAuthorizationFailedError, "Kafka does not let {who} use its consumer group: an ACL has to allow it"),
    (errors.AuthorizationError, "Kafka does not let {who} do this: an ACL has to allow it"),
    (errors.SecurityDisabledError, "Kafka at {where} has no authorizer, so it keeps no ACLs"),
    (errors.SaslAuthenticationFailedError, "Kafka at {where} does not believe {who}"),
    (errors.UnsupportedSaslMechanismError, "Kafka at {where} does not offer the mechanism that is set"),
    (errors.UnknownTopicOrPartitionError, "a topic is missing in Kafka: 'coverslip kafka topics apply' makes it"),
    (errors.InvalidReplicationFactorError, "Kafka at {where} has fewer brokers than copies were asked for"),
    (errors.PolicyViolationError, "Kafka's own policy at {where} forbids it"),
    (errors.KafkaTimeoutError, "Kafka at {where} did not answer in time"),
    (errors.RequestTimedOutError, "Kafka at {where} did not answer in time"),
    (errors.RetriableError, "Kafka at {where} can't be reached now"),
)


class _ClosedError(RefusedError):
    """It closed the connection and did not say why; the sentence names what is most likely set wrong."""


class _TokenFile(AbstractTokenProvider):  # type: ignore[misc]
    """Reads the token anew for every connection: whoever keeps the file fresh needs not tell us."""

    def __init__(self, settings: Settings, kafka: Kafka) -> None:
        self._settings, self._path = settings, kafka.token_file
        self.token()

    def token(self) -> str:
        return _secret(self._settings, "token_file", self._path)


class _Asked(AbstractTokenProvider):  # type: ignore[misc]
    """Asks an endpoint for tokens; what goes wrong is told to kafka-python as trouble that may pass."""

    def __init__(self, endpoint: TokenEndpoint) -> None:
        self.endpoint = endpoint

    def token(self) -> str:
        try:
            return self.endpoint.token()
        except (RefusedError, TransientError) as error:
            raise errors.KafkaConnectionError(str(error)) from error


def _endpoint(settings: Settings, kafka: Kafka) -> TokenEndpoint:
    secret = _secret(settings, "client_secret_file", kafka.client_secret_file)
    context = _believing(settings, "token_ca_file", kafka.token_ca_file)
    address, client_id = kafka.token_endpoint or "", kafka.client_id or ""
    return TokenEndpoint(address, client_id, secret, context, kafka.token_scope or "")


def _set(settings: Settings) -> Kafka:
    if settings.kafka is None:
        message = f"{settings.home / 'coverslip.toml'} has no [kafka] section: it says where Kafka is and who we are"
        raise RefusedError(message)
    return settings.kafka


def _who(kafka: Kafka) -> str:
    if kafka.username:
        return f"user {kafka.username}"
    if kafka.token_file or kafka.token_endpoint:
        return "the bearer of our token"
    return "the holder of our certificate" if kafka.certificate_file else "us"


def _secret(settings: Settings, name: str, path: Path | None) -> str:
    place = settings.resolved(path or Path())
    try:
        said = place.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        message = f"kafka.{name}: {place} can't be read: {why}"
        raise RefusedError(message) from error
    if not said:
        message = f"kafka.{name}: {place} is empty"
        raise RefusedError(message)
    return said


def _believing(settings: Settings, name: str, ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        if ca_file:
            # Ours alone: who signs for the public must not be able to sign for a hospital's broker.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(settings.resolved(ca_file))
    except (OSError, ValueError) as error:
        message = f"kafka.{name}: {settings.resolved(ca_file or Path())} holds no certificate that can be read"
        raise RefusedError(message) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _tls(settings: Settings, kafka: Kafka) -> ssl.SSLContext:
    context = _believing(settings, "ca_file", kafka.ca_file)
    if kafka.certificate_file and kafka.key_file:
        certificate, key = settings.resolved(kafka.certificate_file), settings.resolved(kafka.key_file)
        try:
            # A key with a pass phrase is refused: nobody could be asked for it.
            context.load_cert_chain(certificate, key, password="")
        except (OSError, ValueError) as error:
            message = (
                f"kafka.certificate_file: {certificate} and {key} are no certificate with its key, or can't be read"
            )
            raise RefusedError(message) from error
    return context


def _come_in(address: str, kafka: Kafka, options: Options, within: timedelta) -> None:
    _reach(address, options.get("ssl_context"), within)
    _sign_in(address, kafka, options, within)


def _reach(address: str, context: object, within: timedelta) -> None:
    """Resolve the name, connect and, with a context, agree on TLS."""
    host, port = _parts(address)
    try:
        with socket.create_connection((host, port), timeout=within.total_seconds()) as connection:
            if isinstance(context, ssl.SSLContext):
                context.wrap_socket(connection, server_hostname=host).close()
    except OSError as error:
        raise _unreached(f"Kafka at {address}", error) from error


def _unreached(where: str, error: OSError) -> RefusedError | TransientError:
    match error:
        case socket.gaierror(errno=socket.EAI_NONAME | socket.EAI_NODATA):
            return RefusedError(f"{where} can't be found: nobody knows a host of that name (kafka.bootstrap)")
        case ssl.SSLCertVerificationError():
            why = error.verify_message.rstrip(".")
            return RefusedError(f"{where} shows a certificate that is not believed ({why}): see kafka.ca_file")
        case ssl.SSLError() | ConnectionResetError():
            return _ClosedError(f"{where} does not speak TLS, or not with us: see kafka.security")
        case ConnectionRefusedError():
            return TransientError(f"{where} refuses connections: nothing listens there (kafka.bootstrap)")
        case TimeoutError():
            return TransientError(f"{where} did not answer in time")
    return TransientError(f"{where} can't be reached: {error.strerror or type(error).__name__}")


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _sign_in(address: str, kafka: Kafka, options: Options, within: timedelta) -> None:
    """Sign in and ask something that only those who are known are told."""
    milliseconds = int(within.total_seconds() * 1_000)
    network = NetworkSelector()
    only = dict(options) | {"bootstrap_servers": [address], "request_timeout_ms": milliseconds}
    manager = KafkaConnectionManager(network, **only)
    [broker] = manager.cluster.bootstrap_brokers()
    answered = False

    async def come_in() -> None:
        nonlocal answered
        connection = manager.get_connection(broker.node_id, milliseconds, refresh_metadata_on_err=False)
        try:
            await manager.wait_for(connection.init_future, milliseconds)
        finally:
            # It said what it speaks, which anybody is told.
            answered = connection.broker_version_data is not None
        await manager.wait_for(connection.send_request(MetadataRequest(topics=[])), milliseconds)

    network.start()
    try:
        manager.run(come_in)
    except errors.KafkaError as error:
        raise _turned_away(f"Kafka at {address}", error, kafka, answered=answered) from error
    finally:
        manager.close()
        network.stop()
        network.close()


def _turned_away(
    where: str, error: errors.KafkaError, kafka: Kafka, *, answered: bool
) -> RefusedError | TransientError:
    # Whoever speaks TLS may say so before closing, which is no frame of Kafka's.
    closed = isinstance(error, (errors.KafkaConnectionError, errors.InvalidReceiveError))
    # With TLS, kafka-python often loses a broker's last words, since the connection ends with them.
    if isinstance(error, errors.SaslAuthenticationFailedError) or (closed and answered and kafka.mechanism):
        return (_ClosedError if closed else RefusedError)(
            f"{where} does not believe {_who(kafka)}: see kafka.{_credential(kafka)}"
        )
    if isinstance(error, (errors.UnsupportedSaslMechanismError, errors.IllegalSaslStateError)):
        return RefusedError(f"{where} does not offer {kafka.mechanism}: see kafka.mechanism and kafka.security")
    if isinstance(error, (errors.KafkaTimeoutError, errors.RequestTimedOutError)):
        return TransientError(f"{where} did not answer in time")
    if closed:
        wanted = "another kafka.security"
        if kafka.security == "ssl":
            wanted += ", or a certificate of ours that it believes (kafka.certificate_file)"
        return _ClosedError(f"{where} closed the connection before we were known to it: it wants {wanted}")
    return TransientError(sentence(error, kafka))


def _credential(kafka: Kafka) -> str:
    if kafka.mechanism == "OAUTHBEARER":
        return "token_file" if kafka.token_file else "token_endpoint"
    return "username and kafka.password_file"
