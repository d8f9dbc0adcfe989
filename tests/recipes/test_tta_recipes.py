"""The text-to-audio recipes on toy latents: teacher, every stage of the student, averages and the rows of the table."""

import inspect
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from audiocm.data.latents import Latents, pack
from audiocm.data.manifest import Clip
from audiocm.models.transformer import LatentTransformer
from audiocm.training.recipe import load_recipe, train_recipe
from recipes.average_weights import average_models
from recipes.text_to_audio import evaluate
from recipes.text_to_audio.data import THING_POWER, captioned_clips, clip_weights, wordings
from recipes.text_to_audio.generate import System, parse_row, systems

CHANNELS = 4
SMALL = ["--scale", "0.01", "--steps", "2", "--compile", "False"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Packed latents with words, and a teacher of two steps with dropout."""
    home = tmp_path_factory.mktemp("tta")
    lengths = torch.tensor([30, 90, 60, 200] * 3)
    clips = [
        Clip(
            f"{i}.flac", home / f"{i}.flac", n / 23.4, "valid" if i > 9 else "train", ("rain", "a bell"), kind="effect"
        )
        for i, n in enumerate(lengths.tolist())
    ]
    frames = torch.randn(int(lengths.sum()), CHANNELS, generator=torch.Generator().manual_seed(0)).half()
    latents = Latents(clips, frames, lengths.cumsum(0) - lengths, lengths, torch.zeros(CHANNELS))
    pack(latents, home / "latents.safetensors")
    small = ["--width", "64", "--depth", "2", "--dropout", "0.1", "--corpora", str(home / "latents.safetensors")]
    train_recipe("recipes/text_to_audio/teacher.py", [*SMALL, *small], home / "teacher")
    return home


def test_every_stage_trains_and_writes_a_student(home):
    """Each from where the one before ended; all are finite and take w as an input."""
    common = {"teacher": home / "teacher" / "model", "corpora": home / "latents.safetensors"}
    start = {}
    for stage in ("guidance", "regression", "consistency", "adversarial_matching"):
        more = {"pairs": 4} if stage == "regression" else {}
        fields = [part for name, value in (common | start | more).items() for part in (f"--{name}", str(value))]
        train_recipe(f"recipes/text_to_audio/{stage}.py", [*SMALL, *fields], home / stage)
        start = {"start": home / stage / "model"}
        net = LatentTransformer.from_pretrained(home / stage / "model")
        assert tuple(net.config.guidance_range) == (0.0, 6.0) and net.config.dropout == 0
        assert all(weight.isfinite().all() for weight in net.parameters())
        assert json.loads((home / stage / "model" / "bundle.json").read_text())["num_inference_steps"] == 1


SHIPPED = {  # the cards of tta-teacher and tta, section "How it was made"
    "teacher": {"dropout": 0.1, "minutes": 22.0, "lr": 6e-4, "width": 640, "depth": 10},
    "guidance": {"minutes": 1.3, "lr": 2e-4, "w": (0.0, 6.0)},
    "regression": {"pairs": 14_000, "minutes": 1.3, "lr": 3e-4, "w": (0.0, 6.0)},
    "adversarial_matching": {"minutes": 8.0, "lr": 5e-5, "scale": 0.5, "adversarial_weight": 0.2, "warmup": 200}
    | {"lower": (0.25, 0.75), "first_share": 0.7},
}


@pytest.mark.parametrize("recipe", SHIPPED)
def test_defaults_are_what_was_shipped(recipe):
    run = load_recipe(Path(f"recipes/text_to_audio/{recipe}.py"))
    defaults = {name: parameter.default for name, parameter in inspect.signature(run).parameters.items()}
    assert {name: defaults[name] for name in SHIPPED[recipe]} == SHIPPED[recipe] and defaults["seed"] == 0


def test_things_of_a_kind_have_weights_by_the_power_of_their_number():
    clips = [
        Clip(f"{i}", None, 1.0, captions=("x",), kind="effect", thing="Rain" if i < 16 else "Dog") for i in range(17)
    ]
    clips.append(Clip("music", None, 1.0, captions=("a tune",), kind="music"))
    weights = clip_weights(clips, {"effect": 0.8, "music": 0.2})
    rain, dog = sum(weights[f"{i}", ""] for i in range(16)), weights["16", ""]
    assert rain + dog == pytest.approx(0.8) and weights["music", ""] == pytest.approx(0.2)
    assert rain / dog == pytest.approx(16**THING_POWER)


def test_wordings_go_from_one_word_to_a_sentence():
    clip = Clip("x", None, 1.0, captions=("a dog barks", "barking"), kind="effect", thing="Bark, dog")
    assert set(wordings(clip)) == {"a dog barks", "barking", "dog barks", "the sound of a dog barks", "bark", "dog"}
    assert wordings(clip).count("a dog barks") == 2


def test_only_the_longer_version_of_a_texture_is_used(tmp_path):
    line = {"split": "train", "captions": ["rain"], "kind": "effect", "role": "texture", "thing": "Rain"}
    for name, seconds, source in (("corpus", 2.0, "debian:x"), ("extended", 10.3, "extended:debian:x")):
        (tmp_path / name).mkdir()
        row = line | {"file": f"{name}.flac", "seconds": seconds, "source": source}
        (tmp_path / name / "manifest.jsonl").write_text(json.dumps(row) + "\n")
    short, longer = tmp_path / "corpus", tmp_path / "extended"
    assert [c.file for c in captioned_clips([short, longer], "train")] == ["extended.flac"]
    assert [c.file for c in captioned_clips([short], "train")] == ["corpus.flac"]


def test_average_lies_between_and_asks_for_one_shape():
    torch.manual_seed(0)
    first, second = (LatentTransformer(channels=4, width=32, depth=1, heads=2, guidance_range=(0, 6)) for _ in range(2))
    with torch.no_grad():
        second.output.weight.add_(1.0)
    wanted = first.output.weight + 0.25
    with pytest.raises(ValueError, match=r"shares 0\.5, 0\.6: must be 2 numbers with the sum 1"):
        average_models([first, second], [0.5, 0.6])
    assert torch.allclose(average_models([first, second], [0.75, 0.25]).output.weight, wanted)
    with pytest.raises(ValueError, match="must have one shape"):
        average_models([first, LatentTransformer(channels=4, width=32, depth=2, heads=2)], [0.5, 0.5])


def test_rows_of_other_students_join_the_table():
    """NAME=MODEL[@GUIDANCE]: one call, prompts too; the same name twice is the later one."""
    args = SimpleNamespace(
        guidance=3.0, student="tta", teacher="tta-teacher", teacher_steps=[18], sweep=[2.0], systems=[], row=[]
    )
    assert [row.name for row in systems(args)][-1] == "student-1 w=2" and systems(args)[-1].only_captions
    args.row = ["student-1 w=2=tta@2", "a=runs/a/model"]
    two, other = systems(args)[-2:]
    assert two == System("student-1 w=2", "tta", 1, 2.0) and other == System("a", "runs/a/model", 1, 3.0)
    with pytest.raises(ValueError, match="row 'a': must be NAME=MODEL"):
        parse_row("a", 3.0)


def test_time_measures_the_rows_of_models(tmp_path, monkeypatch):
    file = tmp_path / "scores.json"
    rows = {"real": {"scores": {}, "seconds a sound": 9.0}, "student-1": {"scores": {}, "clips": "1"}}
    file.write_text(json.dumps({"card": {}, "systems": rows}))
    arguments = ["time", "--results", str(file), "--device", "cpu", "--seconds", "0.5", "--systems", "real,student-1"]
    monkeypatch.setattr("sys.argv", ["evaluate", *arguments])
    evaluate.main()
    systems = json.loads(file.read_text())["systems"]
    assert systems["real"] == {"scores": {}} and systems["student-1"]["clips"] == "1"
    assert systems["student-1"]["seconds a sound"] > 0 and systems["student-1"]["batch"] == 8
    assert "student-1" in file.with_suffix(".md").read_text()
