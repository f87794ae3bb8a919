"""What every answer of the page keeps to: its headers, its hosts, and no word of an error's own."""

import logging
from collections.abc import Callable
from secrets import token_hex
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import TransientError

_log = logging.getLogger(__name__)

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Names of slides must not stay in a shared workstation's cache.
    "Cache-Control": "no-store",
}

# A foreign name that resolves to this machine would let a foreign page read ours (DNS rebinding).
_HOSTS: Final = frozenset(("127.0.0.1", "localhost", "[::1]"))


class Guard:
    """ASGI middleware around everything that the page answers."""

    def __init__(self, app: ASGIApp, trouble: Callable[[str], str]) -> None:
        self._app = app
        self._trouble = trouble

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass through what is none."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        if _host(scope) not in _HOSTS:
            refusal = PlainTextResponse("This page answers to 127.0.0.1 and localhost only.", 421)
            await refusal(scope, receive, send_guarded)
            return
        try:
            await self._app(scope, receive, send_guarded)
        except Exception as error:  # noqa: BLE001 - the edge to people: they get an id, the log gets the place
            if not begun:
                await self._answer_trouble(error)(scope, receive, send_guarded)

    def _answer_trouble(self, error: Exception) -> HTMLResponse:
        if isinstance(error, TransientError):
            sentence = "The books can't be read just now. Slides are safe and go on; this page asks again by itself."
            return HTMLResponse(self._trouble(sentence), 503)
        number = token_hex(4)
        # Without its text, which may quote a patient.
        told = type(type(error).__name__, (Exception,), {})().with_traceback(error.__traceback__)
        _log.error("the page failed, number %s", number, exc_info=told)
        sentence = f"The page failed by a fault of ours. Slides are safe. Report it with the number {number}."
        return HTMLResponse(self._trouble(sentence), 500)


def _host(scope: Scope) -> str:
    """Return the host that was asked for, without its port."""
    host = Headers(scope=scope).get("host", "").lower()
    return host if host.endswith("]") else host.rpartition(":")[0] or host
