"""What every request passes before the application: who may ask, how much and how long, and the end of those who left."""

import asyncio
import hmac
import ipaddress
import sys
from collections.abc import Awaitable, Callable
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import RequestError

BODY_SECONDS = 20.0  # for a client to send its body
STALL_SECONDS = 60.0  # for a client to take a piece of the answer
DRAINED_BYTES = 16 << 20  # of a body that is too large: read, so that the client gets to read the answer


class ClientLeftError(Exception):
    """The client closed the connection."""


class Guard:
    """ASGI middleware: token, Host header, size of the body, number of sounds in the making.

    It reads the body before the application starts and cancels the application when the client leaves."""

    def __init__(
        self,
        app: ASGIApp,
        max_body: int,
        max_requests: int,
        seconds_to_wait: Callable[[], int],
        token: str | None = None,
        local_only: bool = False,
    ):
        """max_body: bytes; max_requests: POST requests at work or waiting; seconds_to_wait: for those turned away;
        local_only: refuse the Host header of another machine, so that no web page can reach a server without a token
        under a name of its own (DNS rebinding)."""
        self.app, self.max_body, self.max_requests = app, max_body, max_requests
        self.seconds_to_wait, self.token, self.local_only = seconds_to_wait, token, local_only
        self.requests = 0  # POST requests at work or waiting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check_headers(scope)
            body = await self._read_body(scope, receive)
            with self._place(scope):
                await self._run(scope, body, receive, send)
        except RequestError as error:
            await error.response()(scope, receive, send)
        except ClientLeftError:
            pass

    def _check_headers(self, scope: Scope) -> None:
        """Raises RequestError for a wrong token or Host header."""
        headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
        if self.local_only and not is_local(headers.get("host", b"localhost").decode("latin-1")):
            message = "this server answers to localhost only: give it a token (AUDIOCM_TOKEN) to use another name"
            raise RequestError(403, message, "wrong_host")
        if self.token is not None and scope["path"].startswith("/v1/"):
            given = headers.get("authorization", b"")
            if not hmac.compare_digest(given, b"Bearer " + self.token.encode()):
                headers = {"www-authenticate": "Bearer"}
                message = "the token is wrong" if given else "a token is needed: Authorization: Bearer TOKEN"
                raise RequestError(401, message, "invalid_api_key", headers=headers)

    async def _read_body(self, scope: Scope, receive: Receive) -> bytes:
        """Returns the body. Raises RequestError if it is too large or too slow, ClientLeftError."""
        body, size = bytearray(), 0

        async def read() -> None:
            nonlocal size
            more = True
            while more and size <= DRAINED_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeftError
                size += len(message.get("body", b""))
                if size <= self.max_body:
                    body.extend(message.get("body", b""))
                more = message.get("more_body", False)

        closing = {"connection": "close"}
        try:
            await asyncio.wait_for(read(), BODY_SECONDS)
        except asyncio.TimeoutError:
            message = f"the request did not arrive within {BODY_SECONDS:g} seconds"
            raise RequestError(408, message, "request_timeout", headers=closing) from None
        if size > self.max_body:
            message = f"the request is larger than the {self.max_body} bytes that are allowed"
            raise RequestError(413, message, "request_too_large", headers=closing)
        return bytes(body)

    @contextmanager
    def _place(self, scope: Scope):
        """Counts a request that makes sound. Raises RequestError if there are too many."""
        if scope["method"] != "POST":
            yield
            return
        if self.requests >= self.max_requests:
            message = f"the server is busy with {self.requests} requests, as many as it takes: try again later"
            headers = {"retry-after": str(self.seconds_to_wait())}
            raise RequestError(429, message, "rate_limit_exceeded", headers=headers)
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    async def _run(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Runs the application until it ends or the client leaves."""
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            if messages:
                return messages.pop()
            return await asyncio.Event().wait()  # the guard itself waits for the end of the connection

        async def watched_send(message: Message) -> None:
            await asyncio.wait_for(send(message), STALL_SECONDS)

        answer = asyncio.ensure_future(self.app(scope, replay, watched_send))
        left = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({answer, left}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done() and isinstance(answer.exception(), asyncio.TimeoutError):  # it has told of any other
                print("audiocm: an answer was cut off: the client stalled", file=sys.stderr)
        finally:
            await _cancel(answer, left)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancel(*tasks: Awaitable) -> None:
    """Cancels tasks and waits for their ends, whatever they are."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def is_local(host: str) -> bool:
    """Returns whether a host, with or without a port, is this machine by its loopback address or `localhost`."""
    name = host.rsplit("]", 1)[0].lstrip("[") if host.startswith("[") else host.rsplit(":", 1)[0]
    name = host if host.count(":") > 1 and not host.startswith("[") else name
    if name.lower().rstrip(".") == "localhost" or name.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
