"""The benchmark of killed trainings, with one training."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_training_that_is_killed_three_times_ends_with_the_same_bits(tmp_path):
    words = [sys.executable, "-m", "recipes.benchmarks.kills", "--runs", "1", "--output", str(tmp_path / "kills.json")]
    subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    result = json.loads((tmp_path / "kills.json").read_text())
    assert result["kills"] == result["identical"] == 3
    assert result["runs"] == [result["runs"][0] | {"kills": 3, "ended": True, "curve": True, "weights": True}]
