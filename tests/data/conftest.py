"""The toy corpus of the data tests."""

import pytest
from toy_corpus import write_corpus


@pytest.fixture
def corpus(tmp_path):
    """The manifest of twelve clips, see `write_corpus`."""
    return write_corpus(tmp_path)
