"""Weight files are read without running code."""

import sys

import pytest
import torch

from audiocm.embedders.checkpoints import load_without_code, package_file


def test_no_code_is_unpickled(tmp_path):
    import io
    import pickle

    class Evil:
        def __reduce__(self):
            return (sys.exit, (3,))

    buffer = io.BytesIO()
    torch.save({"w": torch.ones(2), "evil": Evil()}, buffer)
    with pytest.raises(pickle.UnpicklingError):
        load_without_code(buffer.getvalue())


def test_a_missing_package_is_named():
    with pytest.raises(ValueError, match="needs the package no_such_package"):
        package_file("no_such_package", "x")
