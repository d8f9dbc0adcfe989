"""Recipes: files with run(), the fields of the command line, and what they can import."""

import ast
import sys
from pathlib import Path

import pytest

from audiocm.training.recipe import load_recipe, parse_fields, parse_value, train_recipe
from audiocm.training.run import Run

ROOT = Path(__file__).parents[2]
RECIPES = [
    path
    for path in sorted(ROOT.glob("recipes/**/*.py"))
    if any(getattr(node, "name", "") == "run" for node in ast.parse(path.read_text(encoding="utf-8")).body)
]
RECIPE = """
from pathlib import Path
import torch
import neighbour
from audiocm.training.run import Run

class Batches:
    def __next__(self):
        return torch.randn(4, 2), None

class Loss:
    def loss(self, student, target, x, cond, progress):
        return student(x).square().mean()

def run(steps: int = 2, lr: float = 1e-3, quick: bool = False, name: str = "r", limit: float | None = 3.0) -> Run:
    assert quick is True and limit is None and steps == 3
    return Run(name, torch.nn.Linear(2, 2), Loss(), Batches(), steps=steps, lr=lr)
"""


def test_recipe_from_the_command_line(tmp_path):
    (tmp_path / "mine.py").write_text(RECIPE)
    (tmp_path / "neighbour.py").write_text("")
    out = tmp_path / "out"
    train_recipe(str(tmp_path / "mine.py"), ["--steps", "3", "--quick=true", "--limit", "none"], str(out))
    assert (out / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (["--stepz", "3"], r"unknown field '--stepz'; this recipe takes: --steps, --name"),
        (["3"], "unknown field '3'"),
        (["--steps", "many"], "'many' is not int"),
        (["--steps"], "--steps needs a value"),
        ([], "needs: --steps"),
    ],
)
def test_bad_fields_name_the_allowed_ones(fields, message):
    def recipe(steps: int, name: str = "a") -> Run: ...

    with pytest.raises(ValueError, match=message):
        parse_fields(recipe, fields)


def test_what_is_no_recipe(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        train_recipe(tmp_path / "none.py", [], tmp_path)
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ValueError, match="defines no run"):
        train_recipe(tmp_path / "empty.py", [], tmp_path)
    (tmp_path / "wrong.py").write_text("x = 1\ndef run(:")
    with pytest.raises(ValueError, match=r"wrong\.py, line 2: "):
        train_recipe(tmp_path / "wrong.py", [], tmp_path)
    (tmp_path / "none.py").write_text("def run(): pass")
    with pytest.raises(ValueError, match=r"run\(\) returned NoneType, not a Run"):
        train_recipe(tmp_path / "none.py", [], tmp_path)


def test_recipes_in_folders_import_each_other(tmp_path):
    """Below the folder `recipes`, however deep, and without a trace on sys.path afterwards."""
    folder = tmp_path / "recipes" / "toy_group" / "deeper"
    folder.mkdir(parents=True)
    (tmp_path / "recipes" / "toy_group" / "shared.py").write_text("ANSWER = 42")
    (folder / "mine.py").write_text("from recipes.toy_group.shared import ANSWER\ndef run(): return ANSWER")
    before = list(sys.path)
    assert load_recipe(folder / "mine.py")() == 42 and sys.path == before


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_recipes_of_this_project_load_from_anywhere(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if Path(entry).resolve() != ROOT])
    assert callable(load_recipe(path))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (tuple[int, ...], "1, 2,3", (1, 2, 3)),
        (tuple[float, ...] | None, "0.5", (0.5,)),
        (tuple[float, ...] | None, "None", None),
        (list[Path], "a/b,c", [Path("a/b"), Path("c")]),
        (tuple[str, ...], "", ()),
        (int | float, "0.5", 0.5),
        (bool, "False", False),
    ],
)
def test_values_have_the_type_of_the_field(kind, text, value):
    assert parse_value("--a", text, kind) == value


def test_a_wrong_item_names_the_whole_type():
    with pytest.raises(ValueError, match=r"field --a: '1,x' is not tuple\[int, \.\.\.\]"):
        parse_value("--a", "1,x", tuple[int, ...])


def test_tiny_takes_typed_fields():
    make_run = load_recipe(ROOT / "recipes" / "tiny.py")
    assert parse_fields(make_run, ["--steps", "10", "--teacher", "a/b"]) == {"steps": 10, "teacher": Path("a/b")}
    with pytest.raises(ValueError, match=r"takes: --steps, --teacher_steps"):
        parse_fields(make_run, ["--rate", "10"])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys\nsys.exit(0)\n", "SystemExit: 0 .line 2 of"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("def run(): return {}['a']\n", "run.. failed: KeyError: 'a' .line 1 of"),
        ("def run(): raise SystemExit(3)\n", "run.. failed: SystemExit: 3"),
    ],
)
def test_errors_of_a_recipe_are_one_line_that_names_the_place(code, message, tmp_path):
    (tmp_path / "r.py").write_text(code)
    with pytest.raises(ValueError, match=message) as caught:
        train_recipe(tmp_path / "r.py", [], tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()
