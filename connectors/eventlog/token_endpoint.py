"""Bearer tokens by the client credentials grant (RFC 6749, 4.4): asked of one address, that the settings name.

Whatever stands behind that address, it gets seconds and kilobytes, and leads nowhere else.
"""

import base64
import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import quote_plus, urlencode, urlsplit

from models.errors import RefusedError, TransientError

_WITHIN: Final = timedelta(seconds=5)
"""For name, network, TLS and answer in all: kafka-python does nothing else meanwhile."""
_LARGEST_ANSWER: Final = 64 << 10
# RFC 6750 2.1. A token with a control character would say more to the broker than who we are.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]{1,32768}=*")
_LONGEST_USE: Final = timedelta(hours=1)
_UNSAID_USE: Final = timedelta(minutes=1)
_USED_SHARE: Final = 0.8
"""Of a token's life: one that ends on its way to the broker is believed by nobody."""
# RFC 6749 5.2; some say with 403 what it says with 401.
_NOT_BELIEVED: Final = (400, 401, 403)
_NOT_NOW: Final = (408, 425, 429)


@dataclass
class TokenEndpoint:
    """Whoever gives us tokens; one is asked for when the last has lived most of its time.

    Parameters
    ----------
    address
        ``https://host[:port]/path``.
    context
        Whose certificates are believed.
    scope
        What the token is to be good for, if the endpoint wants to know.
    """

    address: str
    client_id: str
    secret: str = field(repr=False)
    context: ssl.SSLContext = field(repr=False)
    scope: str = ""
    within: timedelta = _WITHIN
    _token: str = field(default="", repr=False)
    _fresh_until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def token(self) -> str:
        """Return a token that is still good for a while.

        Raises
        ------
        RefusedError
            The endpoint does not believe us or its certificate is not believed, or its answer is no token.
        TransientError
            It does not answer, not in time, or says that it can't now.
        """
        with self._lock:
            if time.monotonic() >= self._fresh_until:
                self._token, use = self._said(*self._asked())
                self._fresh_until = time.monotonic() + use.total_seconds()
            return self._token

    def _asked(self) -> tuple[int, bytes]:
        """Return the status and the body of one answer."""
        parts = urlsplit(self.address)
        wanted = {"grant_type": "client_credentials"} | ({"scope": self.scope} if self.scope else {})
        # RFC 6749 2.3.1: both are encoded before they are joined.
        who = base64.b64encode(f"{quote_plus(self.client_id)}:{quote_plus(self.secret)}".encode()).decode()
        headers = {"Authorization": f"Basic {who}", "Accept": "application/json", "Connection": "close"}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            with self._connected(parts.hostname or "", parts.port or 443) as connection:
                connection.request("POST", parts.path or "/", urlencode(wanted), headers)
                answer = connection.getresponse()
                return answer.status, answer.read(_LARGEST_ANSWER + 1)
        except ssl.SSLCertVerificationError as error:
            why = error.verify_message.rstrip(".")
            raise RefusedError(f"{self._where} shows a certificate that is not believed ({why})") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = "did not answer in time" if isinstance(error, TimeoutError) else "gave no answer that can be read"
            raise TransientError(f"{self._where} {why}") from error

    @contextmanager
    def _connected(self, host: str, port: int) -> Iterator[http.client.HTTPSConnection]:
        """Connect, and cut the line when the time is over: a timeout of a socket is that of one packet only."""
        limit = self.within.total_seconds()
        with socket.create_connection((host, port), timeout=limit) as plain, plain.dup() as line:
            is_over = threading.Event()

            def cut() -> None:
                is_over.set()
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

            watch = threading.Timer(limit, cut)
            watch.daemon = True
            watch.start()
            connection = http.client.HTTPSConnection(host, port, context=self.context)
            try:
                connection.sock = self.context.wrap_socket(plain, server_hostname=host)
                yield connection
                if is_over.is_set():
                    # What was cut off may look like the whole.
                    raise TimeoutError
            except (OSError, http.client.HTTPException) as error:
                if is_over.is_set():
                    raise TimeoutError from error
                raise
            finally:
                watch.cancel()
                connection.close()

    def _said(self, status: int, body: bytes) -> tuple[str, timedelta]:
        """Return the token of an answer, and for how long it is used."""
        if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR or status in _NOT_NOW:
            raise TransientError(f"{self._where} can't give a token now: it answered {status}")
        if status in _NOT_BELIEVED:
            raise RefusedError(
                f"{self._where} does not believe client {self.client_id} (it answered {status}): see kafka.client_id "
                "and kafka.client_secret_file"
            )
        if status != http.HTTPStatus.OK:
            raise RefusedError(f"{self._where} answered {status} in place of a token; nowhere else is asked")
        if len(body) > _LARGEST_ANSWER:
            raise RefusedError(f"{self._where} answered more than {_LARGEST_ANSWER} bytes, which is no token")
        try:
            said = json.loads(body)
            token, kind, use = said["access_token"], said.get("token_type", "Bearer"), said.get("expires_in")
            if not _TOKEN.fullmatch(token) or kind.lower() != "bearer":
                raise ValueError  # noqa: TRY301 - told below
            seconds = _UNSAID_USE.total_seconds() if use is None else min(float(use), _LONGEST_USE.total_seconds())
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            # Not as its cause: the text of the error may quote the answer.
            raise RefusedError(f"{self._where} answered something that is no bearer token") from None
        return token, timedelta(seconds=max(0.0, seconds * _USED_SHARE))

    @property
    def _where(self) -> str:
        return f"the token endpoint {urlsplit(self.address).netloc}"
