"""The table of embedders and judges in the scoring guide is that of the registry and of the checked originals."""

import json
import re
from pathlib import Path

from audiocm.embedders.registry import EMBEDDERS, JUDGES

GUIDE = Path(__file__).parents[2] / "audiocm" / "evaluation" / "README.md"
CASES = json.loads(Path(__file__).with_name("originals.json").read_text(encoding="utf-8"))
SECTION = GUIDE.read_text(encoding="utf-8").split("\n## Embedders\n")[1].split("\n## ")[0]
ROWS = {match[2]: match[0] for match in re.finditer(r"^\| (metric )?`([\w.-]+)(?::[^`]*)?`.*$", SECTION, re.M)}


def test_every_embedder_and_judge_has_a_row():
    assert set(ROWS) - {"FILE.pt"} == EMBEDDERS.keys() | JUDGES.keys()
    assert {name for name, row in ROWS.items() if row.startswith("| metric")} == JUDGES.keys()


def test_rows_name_what_follows_the_colon_and_the_published_file():
    for name, entry in (EMBEDDERS | JUDGES).items():
        assert entry.takes is None or f"`{name}:{entry.takes}`" in ROWS[name]
        file = entry.source.split(" ")[0]
        own = "your own copy" in ROWS[name]  # named on the command line only
        assert own or not file.endswith((".pt", ".pth", ".h5")) or file in ROWS[name]


def test_rows_name_the_originals_that_were_run():
    for case, stored in CASES.items():
        row = ROWS[re.sub(r"-(base|large|\d+)$", "", case)]
        assert re.search(rf"{re.escape(stored['package'].split('[')[0])} {re.escape(stored['version'])}\b", row), case
