"""Files that take long to make, made once for all test processes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Returns a folder of this test session that `make(folder)` has filled, once for all workers of pytest-xdist.

    The others wait. What is made must not depend on the worker, and a test that changes it must copy it. A folder
    that `make` leaves unfinished is never used: it gets its name when it is whole."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, partial = base / f"once-{name}", base / f"once-{name}.partial"
    with FileLock(base / f"once-{name}.lock"):
        if not folder.exists():
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            make(partial)
            partial.rename(folder)
    return folder
