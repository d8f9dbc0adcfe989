"""What every test process needs.

One thread a process: the tests' nets are tiny, and two threads on busy cores spend their time waiting for each other.
A folder of its own for the code that numba compiles for librosa: numba's files are not safe against two processes that
write them at once (the index of one beside the code of the other ends in a segmentation fault). What it takes long to
compile is copied from one folder, see `compiled_librosa`, and is not optimized: that takes longer than all of its calls.
No garbage collection among what is imported for all tests: it has a million objects, which stay.
"""

import atexit
import gc
import os
import shutil
import sys
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_OPT", "0")

import pytest
import torch
from compiled_librosa import CompiledOnce

import audiocm  # noqa: F401  before transformers, which the tests import themselves: see audiocm.native_libraries

os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="audiocm-tests-numba-")
atexit.register(shutil.rmtree, os.environ["NUMBA_CACHE_DIR"], ignore_errors=True)

THREADS = int(os.environ["OMP_NUM_THREADS"])
torch.set_num_threads(THREADS)


def pytest_collection_finish():
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def same_threads():
    """Takes back a number of threads that a test sets; CTranslate2 sets torch's too when it loads Whisper."""
    yield
    torch.set_num_threads(THREADS)


@pytest.fixture(scope="session", autouse=True)
def compiled_librosa(tmp_path_factory):
    """Code of librosa that is compiled once for all workers, before the first import that needs it."""
    sys.meta_path.insert(0, CompiledOnce(tmp_path_factory))
