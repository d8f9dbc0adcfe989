"""One thread that makes all sounds of a server: jobs in the order they came, those of equal settings in one batch."""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

Call = Callable[[list[Any]], Sequence[Any]]  # items -> a result for each, or the exception that stands for it


class ClosingError(RuntimeError):
    """The server is shutting down: the job was not done."""


@dataclass
class Job:
    """An item, the call that makes its result, and the key of those that may share a call (None: alone)."""

    call: Call
    item: Any
    key: Hashable = None
    future: Future = field(default_factory=Future)


class Worker:
    """Does jobs one batch at a time. An idle worker starts at once; while it is busy, batches form by themselves."""

    def __init__(self, max_batch: int = 8):
        self.max_batch = max_batch
        self.seconds_a_job = 1.0  # a running mean
        self._waiting: deque[Job] = deque()
        self._change, self._closed = threading.Condition(), False
        self._thread = threading.Thread(target=self._work, name="audiocm-worker", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """The number of jobs that are not begun."""
        return len(self._waiting)

    def submit(self, call: Call, item: Any, key: Hashable = None) -> Future:
        """Returns the future of a job; cancelled before its turn, it costs nothing.

        Its exception is the job's own, or ClosingError."""
        job = Job(call, item, key)
        with self._change:
            if self._closed:
                job.future.set_exception(ClosingError("the server is shutting down"))
                return job.future
            self._waiting.append(job)
            self._change.notify()
        return job.future

    def close(self) -> None:
        """Ends the thread after the batch at work; jobs that wait end with ClosingError."""
        with self._change:
            self._closed = True
            left, self._waiting = self._waiting, deque()
            self._change.notify()
        for job in left:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(ClosingError("the server is shutting down"))

    def join(self, seconds: float) -> bool:
        """Waits for the thread to end; returns whether it did."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            start = time.monotonic()
            for job, result in zip(batch, _results(batch), strict=True):
                if isinstance(result, Exception):
                    job.future.set_exception(result)
                else:
                    job.future.set_result(result)
            if batch:
                spent = (time.monotonic() - start) / len(batch)
                self.seconds_a_job += 0.2 * (spent - self.seconds_a_job)

    def _next_batch(self) -> list[Job] | None:
        """Takes the oldest job and those of equal key, in their order, as soon as there is one; None at the end."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            batch, others = [], deque()
            for job in self._waiting:
                if job.future.cancelled():
                    continue
                fits = not batch or (job.key is not None and job.key == batch[0].key)
                (batch if fits and len(batch) < self.max_batch else others).append(job)
            self._waiting = others
        return [job for job in batch if job.future.set_running_or_notify_cancel()]


def _results(batch: list[Job]) -> list[Any]:
    """Does a batch; if its call fails, each job alone, so that one cannot take others with it."""
    if not batch:
        return []
    try:
        results = list(batch[0].call([job.item for job in batch]))
        if len(results) != len(batch):
            raise RuntimeError(f"{len(results)} results of {len(batch)} jobs")
        return results
    except Exception as error:
        if len(batch) == 1:
            return [error]
    return [result for job in batch for result in _results([job])]
