"""Sounds of the rows of a table are made once; one that fails is told and left out."""

import numpy as np
import soundfile

from recipes.sounds import write_missing_sounds


def test_missing_sounds_are_made_once_and_failures_told(tmp_path, capsys):
    tried = []

    def make(value: float, seed: int) -> np.ndarray:
        tried.append(seed)
        if seed == 2:
            raise ValueError("too short")
        return np.full(10, value)

    clips = {"a": (0.1, 1), "b": (0.2, 2), "c": (0.3, 3)}
    for _ in range(2):
        write_missing_sounds(tmp_path / "row", clips, make, 8000)
    assert tried == [1, 2, 3, 2] and capsys.readouterr().out.count("row, b: too short\nrow: done\n") == 2
    assert sorted(file.name for file in (tmp_path / "row").iterdir()) == ["a.wav", "c.wav"]
    np.testing.assert_allclose(soundfile.read(tmp_path / "row" / "c.wav")[0], 0.3, atol=1e-6)
