"""Two producers that are not ours: librdkafka's, and the console producer that comes with Apache Kafka."""

import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Final

from confluent_kafka import KafkaError, Message, Producer

from infra.kafka.broker import tool
from tests.faults.events.feed import Sent

_PORTION: Final = 100
_LAST_WORDS_S: Final = 90.0
_PATIENT_MS: Final = 300_000

# Without idempotence, so that a broker that dies before its answer leaves real doubles in the log.
_CONFLUENT: Final = {
    "acks": "all",
    "enable.idempotence": False,
    "message.timeout.ms": _PATIENT_MS,
    "request.timeout.ms": 3_000,
    "retry.backoff.ms": 200,
    "reconnect.backoff.max.ms": 1_000,
    "linger.ms": 20,
    "log_level": 0,
}
_CONSOLE: Final = (
    *("--reader-property", "parse.key=true"),
    *("--command-property", "acks=all"),
    *("--command-property", "retries=1000000"),
    *("--command-property", f"delivery.timeout.ms={_PATIENT_MS}"),
    *("--command-property", "request.timeout.ms=3000"),
    *("--command-property", "linger.ms=20"),
)


@dataclass
class Feeding:
    """Both producers at work, in threads; ``rate`` is in records a second, both together."""

    bootstrap: str
    records: Sequence[Sent]
    rate: float
    undelivered: int = 0
    by_console: int = 0
    _threads: list[threading.Thread] = field(default_factory=list)
    _processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self, console: float) -> "Feeding":
        """Start; ``console`` is the part of what it can carry (scanner events on one line) that its producer takes."""
        chosen = self._for_console(console)
        carried = [self.records[index] for index in sorted(chosen)]
        rest = [one for index, one in enumerate(self.records) if index not in chosen]
        self.by_console = len(carried)
        if carried:
            command = tool("org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", self.bootstrap)
            command += ["--topic", carried[0].topic, *_CONSOLE]
            quiet = subprocess.DEVNULL
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.PIPE, stdout=quiet, stderr=quiet
            )
            assert process.stdin is not None
            self._processes.append(process)
            self._threads.append(threading.Thread(target=self._console, args=(process.stdin, carried)))
        self._threads.append(threading.Thread(target=self._confluent, args=(rest,)))
        for thread in self._threads:
            thread.start()
        return self

    def is_over(self) -> bool:
        """Tell whether both have nothing more to send."""
        return not any(thread.is_alive() for thread in self._threads)

    def end(self) -> None:
        """Wait until all is written."""
        for thread in self._threads:
            thread.join(_LAST_WORDS_S)
            assert not thread.is_alive(), "a producer does not get rid of its records"
        for process in self._processes:
            assert process.wait(_LAST_WORDS_S) == 0, "the console producer failed"

    def kill(self) -> None:
        """End the process that was started here, if it runs."""
        for process in self._processes:
            process.kill()
            process.wait()

    def _for_console(self, part: float) -> set[int]:
        """Return which records, of those that it can carry into one topic, the console producer takes."""
        fit = [
            index
            for index, one in enumerate(self.records)
            if one.topic.endswith("scanner") and one.value and not set(one.value) & set(b"\n\t\r\0")
        ]
        return set(fit[:: max(1, round(1 / part))]) if part else set()

    def _console(self, stdin: IO[bytes], records: Sequence[Sent]) -> None:
        with stdin:
            for portion in self._portions(records):
                stdin.writelines(one.key + b"\t" + (one.value or b"") + b"\n" for one in portion)
                stdin.flush()

    def _confluent(self, records: Sequence[Sent]) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap, **_CONFLUENT})
        for portion in self._portions(records):
            for one in portion:
                producer.produce(one.topic, value=one.value, key=one.key, on_delivery=self._told)
                producer.poll(0)
        self.undelivered += producer.flush(_LAST_WORDS_S)

    def _told(self, error: KafkaError | None, _message: Message) -> None:
        self.undelivered += error is not None

    def _portions(self, records: Sequence[Sent]) -> Iterator[Sequence[Sent]]:
        pause = _PORTION / self.rate * len(self.records) / max(1, len(records))
        begun = time.monotonic()
        for number in range(0, len(records), _PORTION):
            time.sleep(max(0.0, begun + number / _PORTION * pause - time.monotonic()))
            yield records[number : number + _PORTION]
