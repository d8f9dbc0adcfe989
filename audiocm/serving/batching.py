"""One thread that makes all sounds of a server: in the order they came, those of equal settings in one batch, and
streams in turns."""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

Call = Callable[[list[Any]], Sequence[Any]]  # items -> a result for each, or the exception that stands for it

AHEAD = 2  # results of a stream that its reader has not taken; then it pauses
TURN_SECONDS = 1.0  # of a stream at once, while others wait
GATHER_SECONDS = 0.01  # that a job which can share a call waits for others
END = object()  # delivered after the last result of a stream


class ClosingError(RuntimeError):
    """The server is shutting down: the job was not done."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down")


@dataclass
class Job:
    """An item, the call that makes its result, and the key of those that may share a call (None: alone)."""

    call: Call
    item: Any
    key: Hashable = None
    future: Future = field(default_factory=Future)


@dataclass(eq=False)
class Stream:
    """Results that are made one by one and handed to `deliver`, then an exception or END."""

    results: Iterator[Any]
    deliver: Callable[[Any], None]
    ahead: int = 0  # delivered and not taken
    is_paused: bool = False
    is_left: bool = False


class Worker:
    """Does jobs one batch at a time; while it is busy, batches form by themselves."""

    def __init__(self, max_batch: int = 8):
        self.max_batch = max_batch
        self.seconds_a_job = 1.0  # a running mean
        self._waiting: deque[Job | Stream] = deque()
        self._change, self._closed = threading.Condition(), False
        self._thread = threading.Thread(target=self._work, name="audiocm-worker", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """The number of jobs and streams that wait for their turn."""
        return len(self._waiting)

    def submit(self, call: Call, item: Any, key: Hashable = None) -> Future:
        """Returns the future of a job; cancelled before its turn, it costs nothing.

        Its exception is the job's own, or ClosingError."""
        job = Job(call, item, key)
        self._enqueue(job)
        return job.future

    def submit_stream(self, results: Iterator[Any], deliver: Callable[[Any], None]) -> Stream:
        """Makes the results of an iterator in turns of TURN_SECONDS and delivers each, at most AHEAD more than were taken.

        `deliver` is called in the thread of the worker, or of `close` or `take`."""
        stream = Stream(results, deliver)
        self._enqueue(stream)
        return stream

    def take(self, stream: Stream) -> None:
        """Counts a result of a stream as taken, so that another can be made."""
        with self._change:
            stream.ahead -= 1
            goes_on, stream.is_paused = stream.is_paused, False
        if goes_on:
            self._enqueue(stream)

    def leave(self, stream: Stream) -> None:
        """Ends a stream that nobody reads any more, after the result at work."""
        stream.is_left = True

    def close(self) -> None:
        """Ends the thread after the batch or result at work; what waits ends with ClosingError."""
        with self._change:
            self._closed = True
            left, self._waiting = self._waiting, deque()
            self._change.notify()
        for one in left:
            _refuse(one)

    def join(self, seconds: float) -> bool:
        """Waits for the thread to end; returns whether it did."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _enqueue(self, one: Job | Stream) -> None:
        with self._change:
            if not self._closed:
                self._waiting.append(one)
                self._change.notify()
                return
        _refuse(one)

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            start = time.monotonic()
            if isinstance(batch, Stream):
                self._advance(batch)
            else:
                for job, result in zip(batch, _results(batch), strict=True):
                    if isinstance(result, Exception):
                        job.future.set_exception(result)
                    else:
                        job.future.set_result(result)
            if batch:
                spent = (time.monotonic() - start) / (1 if isinstance(batch, Stream) else len(batch))
                self.seconds_a_job += 0.2 * (spent - self.seconds_a_job)

    def _next_batch(self) -> list[Job] | Stream | None:
        """Takes the oldest stream, or the oldest job and those of equal key, in their order; None at the end."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._closed)
            if not self._closed and getattr(self._waiting[0], "key", None) is not None:
                self._change.wait_for(lambda: len(self._waiting) >= self.max_batch or self._closed, GATHER_SECONDS)
            if self._closed:
                return None
            if isinstance(self._waiting[0], Stream):
                return self._waiting.popleft()
            batch, others = [], deque()
            for one in self._waiting:
                if isinstance(one, Job) and one.future.cancelled():
                    continue
                fits = not batch or (getattr(one, "key", None) is not None and one.key == batch[0].key)
                (batch if fits and isinstance(one, Job) and len(batch) < self.max_batch else others).append(one)
            self._waiting = others
        return [job for job in batch if job.future.set_running_or_notify_cancel()]

    def _advance(self, stream: Stream) -> None:
        """Makes results of a stream until its turn is over, its reader is behind or has left, or it ends."""
        end = time.monotonic() + TURN_SECONDS
        while not stream.is_left:
            try:
                result = next(stream.results, END)
            except Exception as error:
                result = error
            with self._change:
                stream.ahead += 1
                stream.is_paused = pauses = stream.ahead >= AHEAD
            stream.deliver(result)
            if result is END or isinstance(result, Exception) or pauses:
                return
            if self._closed or (self._waiting and time.monotonic() >= end):
                self._enqueue(stream)
                return


def _refuse(one: Job | Stream) -> None:
    if isinstance(one, Stream):
        one.deliver(ClosingError())
    elif one.future.set_running_or_notify_cancel():
        one.future.set_exception(ClosingError())


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
