"""One Apache Kafka node in KRaft mode on loopback, for development, the tests and CI: never for a hospital.

``python -m infra.kafka.broker`` runs one in the foreground until Ctrl-C, as ``make kafka`` does.
"""

import argparse
import base64
import json
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.kafka.credentials import AUDIENCE, ISSUER, Authority, TokenIssuer, password
from infra.kafka.libraries import CACHE, KafkaNotToBeHadError, libraries

START_LIMIT_S = 90
STOP_LIMIT_S = 20
READY = "Kafka Server started"
LOGGING = Path(__file__).with_name("log4j2.properties")

# Small: a test broker shares two cores with what it serves, and is started far more often than it is busy.
_JAVA = ("java", "-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")

# One node cannot replicate, and groups and transactions of a test need few partitions and no politeness.
_NODE: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "log.cleaner.dedupe.buffer.size": "4194304",
    # A killed node is let in again when its last sign of life is older than this; 9 s as Kafka comes.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "log.retention.check.interval.ms": "1000",
    "log.segment.delete.delay.ms": "1000",
}


class BrokerDidNotStartError(Exception):
    """The broker ended, or was not ready in time; the message is the end of its log."""


@dataclass(frozen=True)
class Security:
    """What a secured broker believes: certificates of its authority, passwords (SCRAM), signed tokens (OAUTHBEARER).

    Topics are closed to everybody without an ACL, except for ``admin``.
    """

    authority: Authority
    tokens: TokenIssuer
    passwords: Mapping[str, str]

    @classmethod
    def make(cls, folder: Path, users: Sequence[str] = ()) -> "Security":
        """Make everything anew, with a password and a client certificate for ``admin`` and each user."""
        everybody = ("admin", *users)
        authority = Authority.make(folder, "authority")
        for user in everybody:
            authority.issue(user)
        made = cls(authority, TokenIssuer.make(folder), {user: password() for user in everybody})
        for user, word in made.passwords.items():
            made.password_file(user).touch(mode=0o600)
            made.password_file(user).write_text(f"{word}\n")
        return made

    @property
    def ca_file(self) -> Path:
        """Whom a client has to believe."""
        return self.authority.file

    def password_file(self, user: str) -> Path:
        """Return the file with a user's SCRAM password."""
        return self.authority.folder / f"{user}.password"

    def certificate_files(self, user: str) -> tuple[Path, Path]:
        """Return a user's client certificate and its key."""
        return self.authority.folder / f"{user}.pem", self.authority.folder / f"{user}.key"

    def token_file(self, user: str) -> Path:
        """Write a fresh token of a user, good for an hour, and return its file."""
        path = self.authority.folder / f"{user}.token"
        path.touch(mode=0o600)
        path.write_text(f"{self.tokens.token(user)}\n")
        return path


@dataclass
class Broker:
    """A node that keeps its ports and its state over any number of starts and ends, clean or not.

    It dies with the thread that started it, so that a test run that is killed leaves none behind.
    """

    folder: Path
    ports: Mapping[str, int]
    security: Security | None = field(default=None, repr=False)
    more: Mapping[str, str] = field(default_factory=dict)
    """Settings of the broker beside, or instead of, the usual ones."""
    _process: "subprocess.Popen[bytes] | None" = None

    @classmethod
    def make(
        cls,
        folder: Path,
        security: Security | None = None,
        more: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> "Broker":
        """Format a new node in a folder; ``port`` is its plaintext port, a free one if it is 0.

        Raises
        ------
        KafkaNotToBeHadError
            Java or Kafka can't be had on this machine.
        BrokerDidNotStartError
            The storage could not be formatted.
        """
        listeners = ["PLAINTEXT", "CONTROLLER", *(("SASL_SSL", "SASL_PLAINTEXT", "SSL") if security else ())]
        ports = dict(zip(listeners, free_ports(len(listeners)), strict=True)) | ({"PLAINTEXT": port} if port else {})
        made = cls(folder, ports, security, more or {})
        folder.mkdir(parents=True, exist_ok=True)
        made._format()
        made._note_ports()
        return made

    @classmethod
    def opened(cls, folder: Path) -> "Broker":
        """Return the plaintext node that was made in this folder before."""
        return cls(folder, json.loads((folder / "ports.json").read_text()))

    @property
    def bootstrap(self) -> str:
        """Where plaintext clients begin. On a secured broker everybody there may do everything."""
        return self.address("PLAINTEXT")

    def address(self, protocol: str) -> str:
        """Return where clients of a protocol begin: PLAINTEXT, or of a secured one SASL_SSL, SASL_PLAINTEXT or SSL."""
        return f"127.0.0.1:{self.ports[protocol]}"

    @property
    def pid(self) -> int:
        """The process id of the running node."""
        return self._running().pid

    @property
    def log(self) -> Path:
        """What the node said, in all its starts."""
        return self.folder / "broker.log"

    def start(self) -> "Broker":
        """Start the node and return once clients are served.

        Raises
        ------
        BrokerDidNotStartError
            It ended, or was not ready in time.
        """
        said_before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._java("kafka.Kafka", str(self.folder / "server.properties"))],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for us, and we end it
            )
        limit = time.monotonic() + START_LIMIT_S
        while self._process.poll() is None and time.monotonic() < limit:
            if READY.encode() in self._said(said_before):
                return self
            time.sleep(0.05)
        self.kill()
        raise BrokerDidNotStartError(self._said(said_before)[-2_000:].decode(errors="replace"))

    def stop(self) -> None:
        """End the node cleanly, else by force; a frozen one too, and one that ended already."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_LIMIT_S)
        self._process = None

    def kill(self) -> None:
        """End the node as a power cut would, but for what the kernel still writes."""
        process = self._running()
        process.kill()
        process.wait(STOP_LIMIT_S)
        self._process = None

    def freeze(self) -> None:
        """Make the node hang: its connections stay, and nothing is answered."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen node go on."""
        self._running().send_signal(signal.SIGCONT)

    def wait(self) -> int:
        """Wait until the node ends by itself; return its exit code."""
        return self._running().wait()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            message = "the broker does not run: start it first"
            raise RuntimeError(message)
        return self._process

    def _said(self, after: int) -> bytes:
        with self.log.open("rb") as log:
            log.seek(after)
            return log.read()

    def _java(self, main: str, *arguments: str) -> list[str]:
        command = tool(main, *arguments)
        if self.security is None:
            return command
        # Kafka reads the keys of a token's issuer from nowhere but what this names.
        allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self.security.tokens.keys_file.as_uri()}"
        return [command[0], allowed, *command[1:]]

    def _note_ports(self) -> None:
        (self.folder / "ports.json").write_text(json.dumps(dict(self.ports)))

    def _format(self) -> None:
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in self._settings().items()))
        cluster_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=").replace("-", "x")
        users = [
            f"{mechanism}=[name={user},password={word}]"
            for user, word in (self.security.passwords if self.security else {}).items()
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        ]
        added = [part for user in users for part in ("--add-scram", user)]
        command = self._java("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(properties), *added)
        done = subprocess.run(command, cwd=self.folder, capture_output=True, timeout=START_LIMIT_S, check=False)
        if done.returncode != 0:
            raise BrokerDidNotStartError((done.stdout + done.stderr)[-2_000:].decode(errors="replace"))

    def _settings(self) -> dict[str, str]:
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in self.ports.items())
        protocols = ",".join(f"{name}:{'PLAINTEXT' if name == 'CONTROLLER' else name}" for name in self.ports)
        place = {
            "listeners": listeners,
            "listener.security.protocol.map": protocols,
            "controller.quorum.voters": f"1@127.0.0.1:{self.ports['CONTROLLER']}",
            "log.dirs": str(self.folder / "data"),
        }
        return dict(_NODE) | place | (_secured(self.security) if self.security else {}) | dict(self.more)


def tool(main: str, *arguments: str) -> list[str]:
    """Return the command that runs one of Kafka's own tools, such as ``org.apache.kafka.tools.ConsoleProducer``."""
    return [*_JAVA, f"-Dlog4j2.configurationFile={LOGGING}", "-cp", f"{libraries()}/*", main, *arguments]


def _secured(security: Security) -> dict[str, str]:
    """Return the settings that close a broker: who may come in by which listener, and that nobody may do anything."""
    certificate_file, key_file = security.authority.issue("broker")
    chain = security.authority.folder / "broker.chain.pem"
    chain.touch(mode=0o600)
    chain.write_text(key_file.read_text() + certificate_file.read_text())
    said = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(chain),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(security.ca_file),
        "listener.name.ssl.ssl.client.auth": "required",
        "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # The node itself, and the tests that arrange something, come by the plaintext listener.
        "super.users": "User:admin;User:ANONYMOUS",
    }
    security_package = "org.apache.kafka.common.security"
    for listener in ("sasl_ssl", "sasl_plaintext"):
        for mechanism in ("scram-sha-256", "scram-sha-512"):
            said[f"listener.name.{listener}.{mechanism}.sasl.jaas.config"] = (
                f"{security_package}.scram.ScramLoginModule required;"
            )
        bearer = f"listener.name.{listener}.oauthbearer.sasl"
        said |= {
            f"{bearer}.jaas.config": f"{security_package}.oauthbearer.OAuthBearerLoginModule required;",
            f"{bearer}.server.callback.handler.class": (
                f"{security_package}.oauthbearer.OAuthBearerValidatorCallbackHandler"
            ),
            f"{bearer}.oauthbearer.jwks.endpoint.url": security.tokens.keys_file.as_uri(),
            f"{bearer}.oauthbearer.expected.audience": AUDIENCE,
            f"{bearer}.oauthbearer.expected.issuer": ISSUER,
        }
    return said


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on.

    They lie below those that the kernel gives to clients: while the node is down, no client can sit on its port, nor
    connect to itself there.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(range(max(1024, lowest - 12_000), lowest))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def main() -> int:
    """Run one plaintext node in the foreground; return the exit code."""
    parser = argparse.ArgumentParser(prog="make kafka", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="where clients begin (default: as before, at first 9092)")
    parser.add_argument("--state", type=Path, default=CACHE / "node", help="the folder that keeps its topics")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run kept there")
    arguments = parser.parse_args()
    try:
        return _serve(arguments.state, arguments.port, fresh=arguments.fresh)
    except KafkaNotToBeHadError as error:
        print(error, file=sys.stderr)
    except BrokerDidNotStartError as error:
        print(f"{error}\nApache Kafka did not start: the lines above are the end of its log", file=sys.stderr)
    return 1


def _serve(state: Path, port: int, *, fresh: bool) -> int:
    if fresh:
        shutil.rmtree(state, ignore_errors=True)
    kept = state / "ports.json"
    broker = Broker.opened(state) if kept.exists() else Broker.make(state, port=port or 9092)
    if port not in (0, broker.ports["PLAINTEXT"]):
        message = f"{state} keeps a node of port {broker.ports['PLAINTEXT']}: FRESH=1 forgets it, no PORT keeps it"
        raise KafkaNotToBeHadError(message)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        broker.start()
        print(f'Apache Kafka is up: bootstrap = ["{broker.bootstrap}"], pid {broker.pid}, log {broker.log}', flush=True)
        print("Ctrl-C ends it.", flush=True)
        return broker.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        broker.stop()


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
