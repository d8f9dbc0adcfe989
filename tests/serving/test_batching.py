"""The worker: order, batches of equal settings, failures, cancelled jobs, and the end."""

import itertools
import queue
import threading

import pytest

from audiocm.serving.batching import AHEAD, END, ClosingError, Worker


@pytest.fixture
def worker():
    worker = Worker(max_batch=3)
    yield worker
    worker.close()
    assert worker.join(10)


@pytest.fixture
def hold(worker):
    """Keeps the worker busy until it is called."""
    begun, free = threading.Event(), threading.Event()

    def wait(items):
        begun.set()
        return [free.wait(20) for _ in items]

    worker.submit(wait, None)
    assert begun.wait(20)
    yield free.set
    free.set()


def test_jobs_of_equal_key_share_a_call_and_none_is_overtaken(worker, hold):
    calls = []

    def call(items):
        calls.append(list(items))
        return [10 * item for item in items]

    keys = ["a", "b", "a", None, None, "a", "a"]
    futures = [worker.submit(call, i, key) for i, key in enumerate(keys)]
    assert worker.waiting == 7
    hold()
    assert [future.result(10) for future in futures] == [10 * i for i in range(7)]
    assert calls == [[0, 2, 5], [1], [3], [4], [6]]


def test_a_failure_takes_no_other_of_its_batch_with_it(worker, hold):
    sizes = []

    def call(items):
        sizes.append(len(items))
        if "bad" in items:
            raise ValueError("bad")
        return [item if item != "odd" else OSError("odd") for item in items]

    futures = {item: worker.submit(call, item, "key") for item in ("one", "bad", "two")}
    odd = worker.submit(call, "odd", "key")
    hold()
    assert futures["one"].result(10) == "one" and futures["two"].result(10) == "two" and sizes[0] == 3
    with pytest.raises(ValueError, match="bad"):
        futures["bad"].result(10)
    with pytest.raises(OSError, match="odd"):
        odd.result(10)
    with pytest.raises(RuntimeError, match="0 results of 1 jobs"):
        worker.submit(lambda items: [], 1).result(10)
    assert worker.submit(call, "three").result(10) == "three"


def test_cancelled_jobs_are_not_done_and_waiting_ones_end_with_the_worker(worker, hold):
    done = []
    call = lambda items: [done.append(item) for item in items]  # noqa: E731
    left, kept = worker.submit(call, "left", "key"), worker.submit(call, "kept", "key")
    assert left.cancel()
    worker.close()
    with pytest.raises(ClosingError, match="shutting down"):
        kept.result(10)
    with pytest.raises(ClosingError, match="shutting down"):
        worker.submit(call, "late").result(10)
    hold()
    assert worker.join(10) and not done


def test_a_stream_is_delivered_to_its_end_or_its_error_and_short_ones_in_one_turn(worker, hold):
    done, got = [], queue.Queue()

    def results(name, count):
        for number in range(count):
            done.append(name)
            yield number

    def fails():
        yield 0
        raise ValueError("broken")

    first, second = (worker.submit_stream(results(name, AHEAD - 1), got.put) for name in "ab")
    job = worker.submit(lambda items: [done.append("job")], None)
    hold()
    job.result(10)
    assert [got.get(timeout=10) for _ in range(2 * AHEAD)] == [*range(AHEAD - 1), END] * 2
    assert done == ["a"] * (AHEAD - 1) + ["b"] * (AHEAD - 1) + ["job"] and first is not second
    worker.submit_stream(fails(), got.put)
    assert got.get(timeout=10) == 0 and str(got.get(timeout=10)) == "broken"


def test_a_stream_waits_for_its_reader_and_ends_when_that_leaves(worker):
    made, got = [], queue.Queue()
    stream = worker.submit_stream((made.append(number) or number for number in itertools.count()), got.put)
    for number in range(5):
        assert got.get(timeout=10) == number
        worker.submit(lambda items: items, None).result(10)
        assert len(made) <= number + AHEAD
        worker.take(stream)
    assert [got.get(timeout=10), got.get(timeout=10)] == [5, 6] and len(made) == 5 + AHEAD and got.empty()
    worker.leave(stream)
    worker.take(stream)
    worker.submit(lambda items: items, None).result(10)
    assert len(made) == 5 + AHEAD


def test_long_streams_take_turns(worker, hold, monkeypatch):
    monkeypatch.setattr("audiocm.serving.batching.TURN_SECONDS", 0.0)
    monkeypatch.setattr("audiocm.serving.batching.AHEAD", 100)
    done, got = [], queue.Queue()
    for name in "ab":
        worker.submit_stream(map(done.append, [name] * 3), got.put)
    hold()
    results = [got.get(timeout=10) for _ in range(8)]
    assert results.count(END) == 2 and done == list("ababab")


def test_streams_end_with_the_worker(worker, hold):
    got = queue.Queue()
    worker.submit_stream(iter(range(3)), got.put)
    worker.close()
    assert isinstance(got.get(timeout=10), ClosingError)
    worker.submit_stream(iter(range(3)), got.put)
    assert isinstance(got.get(timeout=10), ClosingError)
