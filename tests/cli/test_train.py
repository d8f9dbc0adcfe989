"""`audiocm train` on the command line."""

from audiocm.cli.main import main
from audiocm.training import recipe


def test_train_hands_recipe_fields_and_output_on(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(recipe, "train_recipe", lambda *call: seen.append(call))
    assert main(["train", "recipes/tiny.py", "--steps", "10", "--lr=-1", "-o", "runs/a"]) == 0
    assert main(["train", "recipes/tiny.py"]) == 0
    assert seen == [("recipes/tiny.py", ["--steps", "10", "--lr=-1"], "runs/a"), ("recipes/tiny.py", [], None)]
    monkeypatch.undo()
    assert main(["train", "nowhere.py"]) == 2
    assert "nowhere.py: no such file" in capsys.readouterr().err
