"""One thread a process: the tests' nets are tiny, and two threads on busy cores spend their time waiting for each other."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

THREADS = int(os.environ["OMP_NUM_THREADS"])
torch.set_num_threads(THREADS)


@pytest.fixture(autouse=True)
def same_threads():
    """Takes back a number of threads that a test sets; CTranslate2 sets torch's too when it loads Whisper."""
    yield
    torch.set_num_threads(THREADS)
