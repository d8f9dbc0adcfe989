"""Three folders of noise: two systems, the second of another colour, and a reference."""

import pytest
from toy_scoring import noise_folder


@pytest.fixture
def folders(tmp_path):
    generated = noise_folder(tmp_path / "a", 40, 1), noise_folder(tmp_path / "b", 40, 2, 0.7)
    return *generated, noise_folder(tmp_path / "real", 60, 3)
