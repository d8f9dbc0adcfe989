"""A real server of tiny random models, on a free port, in a thread of the test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tiny_model import tiny_pipeline
from tiny_speech import tiny_speech

from audiocm.serving import Limits, Server, Service, build_app, open_socket, serve


def tiny_service(**limits) -> Service:
    """A service with the models "tts" (voices anna, ben) and "tta"."""
    return Service(("tts", tiny_speech()), ("tta", tiny_pipeline()), Limits(**limits))


@contextmanager
def running(service: Service, token: str | None = None, local_only: bool = True) -> Iterator[str]:
    """Yields the address of a server, which ends with the block."""
    ready = threading.Event()
    with open_socket("127.0.0.1", 0) as listener:
        server = Server(build_app(service, token, local_only), service.worker, ready.set)
        thread = threading.Thread(target=serve, args=(server, listener), daemon=True)
        thread.start()
        try:
            assert ready.wait(20)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()
