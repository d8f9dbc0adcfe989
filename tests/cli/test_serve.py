"""`audiocm serve` as a process: its start, its end on a signal, and one line for each thing that is wrong."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_speech import tiny_speech

from audiocm.cli.main import main
from audiocm.serving.server import serve

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """A folder with a tiny speech model."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_speech().save_pretrained(folder)
    return str(folder)


def refused(capsys, *arguments: str) -> str:
    """The one line of a server that does not start."""
    try:
        code = main(["serve", *arguments])
    except SystemExit as stopped:
        code = stopped.code
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2
    return line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_starts_answers_and_ends_on_a_signal(model, number):
    command = [sys.executable, "-m", "audiocm", "serve", "--port", "0", "--speech", model, "--sounds", "none"]
    command += ["--device", "cpu", "--host", "0.0.0.0" if number == signal.SIGINT else "127.0.0.1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"audiocm: listening on http://([\d.]+):(\d+) \(speech: tiny\); Ctrl-C ends it\n", line)
        assert found, line + process.stderr.read()
        address = f"http://127.0.0.1:{found[2]}"
        text = "One sentence. " * 200

        def ask() -> bytes:
            body = json.dumps({"model": "tiny", "input": text, "response_format": "pcm"}).encode()
            headers = {"Content-Type": "application/json"}
            return urllib.request.urlopen(urllib.request.Request(f"{address}/v1/audio/speech", body, headers)).read()

        failures = []

        def ask_too_long() -> None:
            try:
                ask()
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=ask_too_long)  # a text that is not done when the signal comes
        thread.start()
        while json.load(urllib.request.urlopen(f"{address}/health"))["requests"] == 0:
            assert thread.is_alive()
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
        thread.join(30)
        assert process.returncode == (143 if number == signal.SIGTERM else 130) and len(failures) == 1
        assert "Traceback" not in errors
        assert ("everyone who reaches 0.0.0.0 may use this server" in errors) == (number == signal.SIGINT)
        assert errors.endswith(f"audiocm: {'terminated' if number == signal.SIGTERM else 'interrupted'}\n")
    finally:
        process.kill()


def test_a_server_ends_as_interrupted_where_a_shell_ignores_the_signal():
    """As shells do for their background jobs; uvicorn then raises the signal again in vain."""
    worker = SimpleNamespace(close=lambda: None, join=lambda seconds: True)
    server = SimpleNamespace(
        ended_by=signal.SIGINT, worker=worker, run=lambda sockets: signal.raise_signal(signal.SIGINT)
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(KeyboardInterrupt):
            serve(server, listener)
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_cannot_be_served_is_one_line(capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refused(capsys, "--port", port)
    assert line == f"audiocm: cannot listen on 127.0.0.1, port {port}: Address already in use"
    assert "the port must lie between 0 and 65535, not 70000" in refused(capsys, "--port", "70000")
    assert "cannot listen on no.such.name.invalid" in refused(capsys, "--host", "no.such.name.invalid")
    assert "--queue must lie between 1 and 10000, not 0" in refused(capsys, "--queue", "0")
    assert "--batch must lie between" in refused(capsys, "--batch", "65")
    assert "--max-characters must lie between" in refused(capsys, "--max-characters", "0")
    assert "there is nothing to serve" in refused(capsys, "--speech", "none", "--sounds", "none")
    assert "unknown model 'ttz'" in refused(capsys, "--speech", "ttz", "--port", "0")
    assert "the token must be printable ASCII" in refused(capsys, "--token", "")
    monkeypatch.setenv("AUDIOCM_TOKEN", "é")
    assert "the token must be printable ASCII" in refused(capsys)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert refused(capsys).endswith('pip install "audiocm[serve]"')


def test_help_needs_no_extra(capsys):
    without = "import sys; sys.modules['fastapi'] = sys.modules['uvicorn'] = None; "
    code = f"{without} from audiocm.cli.main import main; main(['serve', '--help'])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0 and "AUDIOCM_TOKEN" in run.stdout and not run.stderr
