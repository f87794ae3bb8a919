"""The MLLP client: one message at a time, and an answer counts only for the message it names.

In enhanced mode the application's answer is waited for on the connection that the message went over; one that comes
later, or in another way, settles nothing: the same message goes out again, and the peer answers it again.

Nothing is known of a message without an answer: it may have arrived. So the same bytes are sent again, later
and by whoever keeps them; a sender keeps nothing.
"""

import socket
import ssl
from collections import deque
from dataclasses import dataclass, replace
from time import monotonic
from types import TracebackType
from typing import Self

from connectors.lims.framing import Deframer, FrameRefused, frame
from connectors.lims.message import Message, Segment
from connectors.lims.tls import handshake_fault
from models.errors import TransientError
from models.failpoint import failpoint

_ANSWER_BYTES = 1024 * 1024
_READ_BYTES = 65_536
_TEXT_CHARACTERS = 500
_COMMITTED = "CA"
_FILLING = b"\r\n\0 \t"


@dataclass(frozen=True, slots=True)
class SenderLimits:
    """How long a peer may take: to accept a connection, and from our first byte to the last of its answer.

    ``application_seconds`` are those from its commit answer (CA) to its application's, in enhanced mode (HL7 2.5.1,
    2.9.3); without any, CA is an answer like the others.
    """

    connect_seconds: float = 5.0
    answer_seconds: float = 30.0
    application_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the peer said: MSA-1 (AA, AE, AR, CA, CE, CR), its words (MSA-3, else ERR-8) and its bytes.

    The bytes of both answers of enhanced mode stand one after the other; code and words are the later one's.

    The words are the peer's and may name a patient: they belong to the database, never to a log.
    """

    code: str
    text: str
    raw: bytes

    @property
    def accepted(self) -> bool:
        """Whether the peer took the message."""
        return self.code in {"AA", "CA"}


class MllpSender:
    """Send over one connection, opened when it is needed and kept; not for two threads at once."""

    def __init__(
        self,
        host: str,
        port: int,
        limits: SenderLimits | None = None,
        tls: ssl.SSLContext | None = None,
        certificate_name: str | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._limits = limits or SenderLimits()
        self._tls = tls
        self._certificate_name = certificate_name or host
        self._socket: socket.socket | None = None
        self._answered = False

    def send(self, payload: bytes, control_id: str) -> Answer:
        """Send one message and return the answer whose MSA-2 is ``control_id``, whatever it says.

        Raises
        ------
        RejectedError
            When the payload cannot be framed.
        TransientError
            When there was no such answer in time: whether the message arrived is not known. The connection
            is dropped, so that a late answer can never be taken for the next message's.
        """
        framed = frame(payload)
        try:
            connection = self._connection()
            deadline = monotonic() + self._limits.answer_seconds
            failpoint("sender.before_send")
            connection.settimeout(self._limits.answer_seconds)
            connection.sendall(framed)
            failpoint("sender.after_send")
            answer = self._answer(connection, control_id, deadline)
            self._answered = True
        except TimeoutError as error:
            self.close()
            raise TransientError(self._silence(committed=False)) from error
        except ssl.SSLError as error:
            # In TLS 1.3 a peer's verdict on our certificate comes after our side of the handshake has ended.
            self.close()
            raise TransientError(f"TLS with {self._peer} failed: {handshake_fault(error)}.") from error
        except OSError as error:
            self.close()
            reason = error.strerror or type(error).__name__
            raise TransientError(f"The connection to {self._peer} failed: {reason}{self._perhaps}.") from error
        except TransientError:
            self.close()
            raise
        return answer

    def close(self) -> None:
        """Close the connection; the next message opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def _peer(self) -> str:
        return f"{self._host}:{self._port}"

    @property
    def _perhaps(self) -> str:
        """What may be behind an end without a word: many peers do not say that they refuse our certificate."""
        return ": it may not accept our certificate" if self._tls is not None and not self._answered else ""

    def _connection(self) -> socket.socket:
        """Return the kept connection, or a new one when it ended or holds bytes that nobody asked for."""
        if self._socket is not None and not _still_ours(self._socket):
            self.close()
        if self._socket is None:
            self._socket, self._answered = self._connect(), False
        return self._socket

    def _connect(self) -> socket.socket:
        """Open a connection; ``TransientError`` names the peer when nobody listens there."""
        try:
            connection = socket.create_connection((self._host, self._port), self._limits.connect_seconds)
        except TimeoutError as error:
            seconds = self._limits.connect_seconds
            raise TransientError(f"{self._peer} accepted no connection within {seconds:g} s.") from error
        except OSError as error:
            raise TransientError(f"Nobody can be reached at {self._peer}: {error.strerror or error}.") from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection if self._tls is None else self._secured(connection, self._tls)

    def _secured(self, connection: socket.socket, tls: ssl.SSLContext) -> socket.socket:
        """Agree on TLS, and let nobody in whose certificate holds another name."""
        try:
            return tls.wrap_socket(connection, server_hostname=self._certificate_name)
        except TimeoutError as error:
            connection.close()
            seconds = self._limits.connect_seconds
            raise TransientError(f"TLS with {self._peer} was not agreed on within {seconds:g} s.") from error
        except OSError as error:
            connection.close()
            raise TransientError(f"TLS with {self._peer} failed: {handshake_fault(error)}.") from error

    def _answer(self, connection: socket.socket, control_id: str, until: float) -> Answer:
        """Return what the peer answers; in enhanced mode its application's answer, which CA only comes before."""
        deframer, heard, commit = Deframer(_ANSWER_BYTES), deque[bytes | FrameRefused](), b""
        while True:
            while not heard:
                heard.extend(deframer.feed(self._receive(connection, until, committed=bool(commit))))
            answer = _read(heard.popleft(), control_id)
            if answer is not None and answer.code == _COMMITTED and self._limits.application_seconds:
                until = until if commit else monotonic() + self._limits.application_seconds
                commit = commit or answer.raw.rstrip(b"\r\n") + b"\r"
                continue
            # More than was asked for: whatever comes next could not be told from an answer.
            if answer is None or heard or deframer.partial:
                raise TransientError(f"{self._peer} answered another message than the one that was sent.")
            return replace(answer, raw=commit + answer.raw)

    def _receive(self, connection: socket.socket, until: float, *, committed: bool) -> bytes:
        """Return the next bytes; ``TransientError`` when none come in time, or none ever will."""
        try:
            connection.settimeout(max(0.001, until - monotonic()))
            data: bytes | None = connection.recv(_READ_BYTES)
        except TimeoutError:
            data = None
        if data is None or monotonic() > until:
            raise TransientError(self._silence(committed=committed))
        if not data:
            raise TransientError(f"{self._peer} closed the connection instead of answering{self._perhaps}.")
        return data

    def _silence(self, *, committed: bool) -> str:
        if not committed:
            return f"{self._peer} did not answer within {self._limits.answer_seconds:g} s."
        seconds = self._limits.application_seconds
        return f"{self._peer} took the message (CA), and its application did not answer within {seconds:g} s."


def _still_ours(connection: socket.socket) -> bool:
    """Whether the peer has neither closed the connection nor said anything between two messages.

    What may follow a frame (the CR after FS, a NUL, a probe) is no saying.
    """
    connection.settimeout(0)
    try:
        while data := connection.recv(_READ_BYTES):
            if data.strip(_FILLING):
                return False
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    return False


def _read(found: bytes | FrameRefused, control_id: str) -> Answer | None:
    """Return the answer in one frame, ``None`` when it answers something else or nothing."""
    if isinstance(found, FrameRefused):
        return None
    message = Message(found)
    # An answer's own header may lack much: only its delimiters are needed.
    if not message.header.fields:
        return None
    for msa in message.named("MSA"):
        if msa.raw(2) == control_id:
            return Answer(msa.stated(1).upper(), _words(msa, message.named("ERR")), found)
    return None


def _words(msa: Segment, errors: tuple[Segment, ...]) -> str:
    """Return what the peer says about it, shortened: MSA-3, else the user message or the code of ERR."""
    said = [msa.stated(3), *(error.stated(8) or error.stated(3, 2) or error.stated(1, 4, 2) for error in errors)]
    return next(filter(None, said), "")[:_TEXT_CHARACTERS]
