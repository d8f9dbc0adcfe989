"""A headless Chromium, driven by the DevTools protocol over two pipes, and a server of the page of this folder.

No package is needed. A library of `recipes/benchmarks/export.py` and of tests."""

import functools
import http.server
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent
MADE = "Boolean(globalThis.lastWav)"  # whether the page has made a sound

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    "--window-size=1200,900",
    "--remote-debugging-pipe",
]


class Page:
    """A tab; `errors` holds what its console says in red, failed requests and violations of its policy included."""

    def __init__(self, read: int, write: int):
        self._read, self._write, self._number, self._rest = read, write, 0, b""
        self.errors: list[str] = []
        self._session: str | None = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            self._call(f"{domain}.enable")

    def open(self, address: str) -> None:
        """Loads an address."""
        self._call("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, code: str) -> Any:
        """Returns the value of an expression, awaited if it is a promise. Raises AssertionError if it throws."""
        options = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        answer = self._call("Runtime.evaluate", expression=code, **options)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, code: str, seconds: float = 30) -> None:
        """Waits until an expression is true. Raises AssertionError if it does not become so."""
        end = time.monotonic() + seconds
        while not self.evaluate(code):
            assert time.monotonic() < end, f"not true after {seconds} s: {code}; errors of the page: {self.errors}"
            time.sleep(0.05)

    def screenshot(self) -> str:
        """Returns a PNG in base64."""
        return self._call("Page.captureScreenshot", captureBeyondViewport=True)["data"]

    def _call(self, method: str, **params: Any) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _receive(self) -> dict:
        while b"\0" not in self._rest:
            piece = os.read(self._read, 65_536)
            assert piece, "Chromium has ended"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif event.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(str([one.get("value") for one in params["args"]]))


@contextmanager
def open_browser() -> Iterator[Page]:
    """Yields a tab of a Chromium with an empty profile, which ends with the block."""
    to_browser, from_browser = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        redirect = f'exec "$@" 3<&{to_browser[0]} 4>&{from_browser[1]}'
        command = ["bash", "-c", redirect, "bash", CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(
            command, pass_fds=(to_browser[0], from_browser[1]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_browser[0])
        os.close(from_browser[1])
        try:
            yield Page(from_browser[0], to_browser[1])
        finally:
            process.kill()
            process.wait()
            os.close(to_browser[1])
            os.close(from_browser[0])


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that writes no log."""

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served_page(site: Path, runtime: Path, model: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Lays the page, onnxruntime-web and an exported model into a folder, and yields the address at which a server of this
    machine has them, and a function that ends the server."""
    (site / "node_modules").mkdir(parents=True)
    for name in ("index.html", "audiocm.js", "worker.js"):
        shutil.copyfile(PAGE / name, site / name)
    (site / "node_modules" / "onnxruntime-web").symlink_to(Path(runtime).resolve())
    (site / "model").symlink_to(Path(model).resolve())
    handler = functools.partial(_Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    try:
        yield f"http://127.0.0.1:{server.server_port}/index.html", stop
    finally:
        stop()
