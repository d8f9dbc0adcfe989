"""The process of a server: its socket, its start, and its end on SIGTERM or Ctrl-C."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from .batching import Worker
from .service import route_warnings

GRACE_SECONDS = 2  # for answers under way when the server is told to end
WORKER_SECONDS = 5  # for the batch at work then
CONNECTIONS = 500  # open at once; more are answered 503


def open_socket(host: str, port: int) -> socket.socket:
    """Returns a socket that listens; port 0 is a free one. Raises ValueError if it cannot."""
    if not 0 <= port <= 65535:
        raise ValueError(f"the port must lie between 0 and 65535, not {port}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        is_of_system = isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno
        reason = os.strerror(error.errno) if is_of_system else getattr(error, "strerror", None) or error
        raise ValueError(f"cannot listen on {host}, port {port}: {reason}") from error


class Server(uvicorn.Server):
    """uvicorn's server; it says when it is ready, and ends what waits in a worker's queue when it ends."""

    def __init__(self, app: ASGIApp, worker: Worker, on_ready: Callable[[], None] | None = None):
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_level="critical",  # the guard and the command say what there is to say
                access_log=False,
                server_header=False,
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self.worker, self.on_ready = worker, on_ready
        self.ended_by: int | None = None  # the signal that ended it

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to answer, then calls `on_ready`."""
        await super().startup(sockets)
        if self.on_ready is not None and self.started:
            self.on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Remembers the signal, and begins to end."""
        self.ended_by = sig
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends waiting requests with 503 and waits a little for those under way."""
        self.worker.close()
        await super().shutdown(sockets)


def serve(server: Server, listener: socket.socket) -> None:
    """Answers requests until SIGINT, which raises KeyboardInterrupt, or SIGTERM, which does what it did before.

    In a thread other than the main one, until `server.should_exit` is set. Ends the process at once if the batch at
    work does not end in time."""
    code = 0
    with route_warnings():
        try:
            server.run(sockets=[listener])
            if server.ended_by == signal.SIGINT:  # uvicorn raises it again, but a shell's background jobs ignore it
                raise KeyboardInterrupt
            if server.ended_by is not None:
                signal.raise_signal(server.ended_by)
        except KeyboardInterrupt as ended:  # a subclass stands for SIGTERM
            code = 130 if type(ended) is KeyboardInterrupt else 143
            raise
        finally:
            listener.close()
            server.worker.close()
            if not server.worker.join(WORKER_SECONDS) and threading.current_thread() is threading.main_thread():
                print("audiocm: ended in the middle of a sound", file=sys.stderr, flush=True)
                os._exit(code)
