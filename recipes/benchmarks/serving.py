"""The speed of `audiocm serve`: sounds per second and latency by number of clients, memory over many requests, restarts.

    python -m recipes.benchmarks.serving --machine "two CPU cores, shared"
    python -m recipes.benchmarks.serving --machine "random networks" --models FOLDER FOLDER --only soak

Starts servers of its own, on a free port, and writes a row named after the machine into samples/serving_benchmark.json,
beside its other rows; parts that were not measured anew stay, `commit` has the commit of each. `levels`: for each number of
clients, each of which sends its next request when it has the answer to the one before, the answers per second and
the 50th and 95th percentile of their seconds; of speech also those until the first byte. `soak`: the cheapest sounds,
half a second each, from 16 clients, and the server's resident memory on the way. `overload`: twice as many clients as
the queue has places. `restart`: seconds from a start, after kill -9 on the same port, to the first answer, and whether
a sound is the same as before. Every answer is checked: status, length, and that it is not silence.
"""

import argparse
import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np
import torch

from audiocm.evaluation.provenance import commit
from audiocm.files import write_json

PROMPTS = ("a dog barks", "rain on a tin roof", "a violin plays a scale", "someone types on a keyboard")
SENTENCE = "The ferry turned slowly in the harbor."
SPEECH = ("/v1/audio/speech", {"model": "tts", "input": SENTENCE, "response_format": "pcm"})
QUEUE = 64
PARTS = ("levels", "overload", "soak", "restart")


class Process:
    """A server in a process of its own."""

    def __init__(self, models: Sequence[str], port: int = 0):
        """models: speech and sounds, as of the command."""
        start = time.monotonic()
        command = [sys.executable, "-m", "audiocm", "serve", "--device", "cpu", "--queue", str(QUEUE)]
        command += ["--speech", models[0], "--sounds", models[1]]
        self.process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if "listening on" not in line:
            raise RuntimeError(f"the server did not start: {line}")
        self.port = int(line.split("http://127.0.0.1:")[1].split()[0])
        self.seconds_to_start = time.monotonic() - start

    def megabytes(self) -> float:
        """The resident memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def end(self, force: bool = False) -> int:
        """Ends it with SIGTERM, or with SIGKILL, and returns its exit code."""
        self.process.kill() if force else self.process.terminate()
        return self.process.wait(30)


@contextmanager
def running(models: Sequence[str], port: int = 0) -> Iterator[Process]:
    """Yields a server that ends with the block."""
    server = Process(models, port)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.end()


class Client:
    """One connection; `ask` returns status, content and the seconds until the first byte and the last."""

    def __init__(self, port: int):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def ask(self, path: str, body: dict[str, Any]) -> tuple[int, bytes, float, float]:
        start = time.perf_counter()
        self.connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        first = answer.read(1)
        began = time.perf_counter() - start
        content = first + answer.read()
        return answer.status, content, began, time.perf_counter() - start


def sound(seconds: float, seed: int) -> tuple[str, dict[str, Any]]:
    """Returns path and body of a request for a sound."""
    prompt = PROMPTS[seed % len(PROMPTS)]
    return "/v1/audio/sounds", {"prompt": prompt, "seconds": seconds, "seed": seed, "response_format": "pcm"}


def fault(content: bytes, samples: int) -> str | None:
    """Returns what is wrong with 16-bit sound that should have at least so many samples, or None."""
    if len(content) < 2 * samples or len(content) % 2:
        return "is too short"
    return None if np.square(np.frombuffer(content, "<i2") / 32768.0).mean() ** 0.5 > 1e-4 else "is silent"


def load(
    port: int,
    clients: int,
    request: Callable[[int], tuple[str, dict[str, Any]]],
    samples: int,
    seconds: float,
    most: int = 10**9,
    watch: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Sends request(0), request(1) ... from so many clients for so many seconds, or until there are `most`.

    `watch` is called with the number of answers so far."""
    numbers, lock = itertools.count(), threading.Lock()
    times: list[tuple[float, float]] = []
    outcomes: Counter[str] = Counter()
    end = time.monotonic() + seconds

    def work() -> None:
        client = Client(port)
        while time.monotonic() < end and (number := next(numbers)) < most:
            try:
                status, content, began, whole = client.ask(*request(number))
            except (OSError, http.client.HTTPException) as error:
                status, content, began, whole = type(error).__name__, b"", 0.0, 0.0
                client = Client(port)
            outcome = (fault(content, samples) or "valid") if status == 200 else str(status)
            with lock:
                outcomes[outcome] += 1
                if outcome == "valid":
                    times.append((began, whole))
                watch(sum(outcomes.values()))
            if status == 429:
                time.sleep(0.5)

    start = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.monotonic() - start
    result = {"clients": clients, "answers": dict(outcomes), "seconds": spent, "per_second": len(times) / spent}
    began, whole = ([one[i] for one in times] for i in (0, 1))
    return result | {"latency": percentiles(whole), "first_byte": percentiles(began)}


def percentiles(values: list[float]) -> dict[str, float] | None:
    """Returns the 50th and the 95th percentile, of two values at least."""
    if len(values) < 2:
        return None
    cuts = quantiles(values, n=20, method="inclusive")
    return {"p50": cuts[9], "p95": cuts[18]}


def soak(server: Process, requests: int, minutes: float) -> dict[str, Any]:
    """Makes many sounds of half a second and returns how the server's memory grew after the first tenth of them."""
    memory: list[tuple[int, float]] = []

    def watch(done: int) -> None:
        if done % 100 == 0:
            memory.append((done, server.megabytes()))

    result = load(server.port, 16, lambda i: sound(0.5, i), 12_000, 60 * minutes, requests, watch)
    done = sum(result["answers"].values())
    settled = [one for one in memory if one[0] >= done / 10] or memory
    slope = float(np.polyfit(*zip(*settled, strict=True), 1)[0]) if len(settled) > 1 else None
    result |= {"requests_wanted": requests, "megabytes": memory[:: max(1, len(memory) // 20)]}
    return result | {"megabytes_per_1000_requests": None if slope is None else 1000 * slope}


def restart(models: Sequence[str]) -> dict[str, Any]:
    """Kills a server in the middle of its work, starts it on the same port, and compares a sound."""
    with running(models) as first:
        before = Client(first.port).ask(*sound(1.0, 3))
        threading.Thread(target=lambda: load(first.port, 4, lambda i: sound(1.0, i), 24_000, 2), daemon=True).start()
        time.sleep(1)
        first.end(force=True)
        with running(models, first.port) as second:
            after = Client(second.port).ask(*sound(1.0, 3))
            same = before[:2] == after[:2] and before[0] == 200
            ended = second.end()
    return {"seconds_to_start": second.seconds_to_start, "sound_is_the_same": same, "exit_code_of_sigterm": ended}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", required=True, help="what it is, in words")
    parser.add_argument("--note", default="", help="what else is to be known of this measurement")
    parser.add_argument("--seconds", type=float, default=20, help="of each level")
    parser.add_argument("--requests", type=int, default=10_000, help="of the soak")
    parser.add_argument("--minutes", type=float, default=8, help="of the soak at most")
    parser.add_argument("--models", nargs=2, default=["tts", "tta"], help="speech and sounds")
    parser.add_argument("--only", choices=PARTS, nargs="*", default=PARTS)
    parser.add_argument("--results", type=Path, default=Path("samples/serving_benchmark.json"))
    args = parser.parse_args()
    row: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "torch": torch.__version__}
    row |= {"seed": "request i has seed i", "note": args.note}
    if "levels" in args.only or "overload" in args.only:
        with running(args.models) as server:
            row["seconds_to_start"] = server.seconds_to_start
            for name, request in (("sounds_of_1_s", lambda i: sound(1.0, i)), ("sentences", lambda i: SPEECH)):
                if "levels" in args.only:
                    row[name] = [load(server.port, n, request, 24_000, args.seconds) for n in (1, 4, 16, 64)]
            if "overload" in args.only:
                row["overload"] = load(server.port, 2 * QUEUE, lambda i: sound(1.0, i), 24_000, args.seconds)
    if "soak" in args.only:
        with running(args.models) as server:
            row["soak"] = soak(server, args.requests, args.minutes)
    if "restart" in args.only:
        row["restart"] = restart(args.models)
    rows = json.loads(args.results.read_text()) if args.results.exists() else {}
    before = rows.get(args.machine, {})
    row = before | row | {"commit": before.get("commit", {}) | dict.fromkeys(args.only, commit())}
    print(json.dumps(row, indent=1))
    write_json(args.results, rows | {args.machine: row})


if __name__ == "__main__":
    main()
