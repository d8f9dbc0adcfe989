"""What numba compiles for librosa, compiled once for all test processes: it takes half a minute of a core."""

from __future__ import annotations

import importlib.abc
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from once import made_once

MODULES = {"librosa.util.utils", "librosa.core.audio", "librosa.core.pitch", "librosa.sequence"}  # which compile
ALL = """
import librosa, numpy
librosa.pyin(numpy.sin(0.04 * numpy.arange(8000)), fmin=65, fmax=500, sr=24000)
librosa.yin(numpy.sin(0.04 * numpy.arange(8000)), fmin=65, fmax=500, sr=24000)
librosa.zero_crossings(numpy.ones(9))
"""


def compile_all(folder: Path) -> None:
    """Fills a folder with all compiled code, in a process of its own."""
    subprocess.run([sys.executable, "-c", ALL], env=os.environ | {"NUMBA_CACHE_DIR": str(folder)}, check=True)


class CompiledOnce(importlib.abc.MetaPathFinder):
    """Finds no module; before the first of `MODULES` is imported it copies the compiled code to NUMBA_CACHE_DIR."""

    def __init__(self, factory: pytest.TempPathFactory):
        self.factory = factory

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name in MODULES and self in sys.meta_path:
            sys.meta_path.remove(self)
            made = made_once(self.factory, "librosa", compile_all)
            shutil.copytree(made, os.environ["NUMBA_CACHE_DIR"], dirs_exist_ok=True)
