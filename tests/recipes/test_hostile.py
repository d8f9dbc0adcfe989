"""A sample of the hostile cases, with something of every kind."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_sample_of_wrong_inputs_is_refused_in_one_line_and_nothing_is_lost(tmp_path):
    words = [
        sys.executable,
        "-m",
        "recipes.benchmarks.hostile",
        "--sample",
        "60",
        "--output",
        str(tmp_path / "all.json"),
    ]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(words, cwd=ROOT, check=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}, **quiet)
    result = json.loads((tmp_path / "all.json").read_text())
    assert result["cases"] == 60 and result["composed"] > 1000 and len(result["counts"]) > 8
    assert result["failed"] == []
