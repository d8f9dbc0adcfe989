"""The text-to-audio recipes on toy latents: teacher, every stage of the student, and what the last one's adversary may touch."""

import json
from types import SimpleNamespace

import pytest
import torch

from audiocm.data.latents import Latents, pack
from audiocm.data.manifest import Clip
from audiocm.distillation.methods import consistencytta
from audiocm.models.transformer import LatentTransformer
from audiocm.training.recipe import train_recipe
from recipes.average_weights import averaged
from recipes.text_to_audio import evaluate
from recipes.text_to_audio.generate import System, one_call, systems
from recipes.text_to_audio.student import STAGES, sharpened

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
    """Each from where the last one ended: the teacher's weights alone, told w, all finite."""
    start = ""
    for stage in STAGES:
        told = {
            "stage": stage,
            "teacher": home / "teacher" / "model",
            "corpora": home / "latents.safetensors",
            "pairs": 4,
        }
        fields = [part for name, value in told.items() for part in (f"--{name}", str(value))]
        train_recipe(
            "recipes/text_to_audio/student.py", [*SMALL, *fields, *(["--start", start] if start else [])], home / stage
        )
        start = str(home / stage / "model")
        net = LatentTransformer.from_pretrained(start)
        assert tuple(net.config.guidance_range) == (0.0, 6.0) and net.config.dropout == 0
        assert json.loads((home / stage / "model" / "bundle.json").read_text())["num_inference_steps"] == 1


def test_unknown_stage_is_named(home):
    with pytest.raises(ValueError, match="stage 'magic': must be one of guidance"):
        train_recipe("recipes/text_to_audio/student.py", ["--stage", "magic"], home / "never")


def test_adversary_pulls_one_call_towards_what_the_critic_calls_real():
    """A critic that likes large values, and nothing else, makes the student's single calls larger."""
    torch.manual_seed(0)
    teacher = LatentTransformer(channels=CHANNELS, width=64, depth=2, heads=2)
    student, critic = teacher.student((0.0, 6.0)), LatentTransformer(channels=CHANNELS, width=64, depth=2, heads=2)
    with torch.no_grad():
        critic.output.weight.zero_()  # clean = c_skip x: the logit is the noised sample's mean
        critic.output.bias.zero_()
    mix = sharpened(consistencytta(teacher, (0.0, 6.0)), critic, (0.0, 6.0), share=1.0)
    x, adversary = torch.randn(64, CHANNELS, 16), mix.parts[1][1]
    before = [p.clone() for p in critic.parameters()]
    optimiser = torch.optim.Adam(student.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = adversary.loss(student, None, x, None, 0.5)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 0.3
    assert all(torch.equal(a, b) for a, b in zip(before, critic.parameters(), strict=True))
    assert mix.critic is adversary.judge


def test_average_lies_between_and_asks_for_one_shape():
    torch.manual_seed(0)
    first, second = (LatentTransformer(channels=4, width=32, depth=1, heads=2, guidance_range=(0, 6)) for _ in range(2))
    with torch.no_grad():
        second.output.weight.add_(1.0)
    wanted = first.output.weight + 0.25
    with pytest.raises(ValueError, match=r"shares 0\.5, 0\.6: must be 2 numbers with the sum 1"):
        averaged([first, second], [0.5, 0.6])
    assert torch.allclose(averaged([first, second], [0.75, 0.25]).output.weight, wanted)
    with pytest.raises(ValueError, match="not of one shape"):
        averaged([first, LatentTransformer(channels=4, width=32, depth=2, heads=2)], [0.5, 0.5])


def test_rows_of_other_students_join_the_table():
    """NAME=MODEL[@GUIDANCE]: one call, prompts too; the same name twice is the later one."""
    args = SimpleNamespace(
        guidance=3.0, student="tta", teacher="tta-teacher", teacher_steps=[18], sweep=[2.0], systems=[], row=[]
    )
    assert [row.name for row in systems(args)][-1] == "student-1 w=2" and systems(args)[-1].only_captions
    args.row = ["student-1 w=2=tta@2", "a=runs/a/model"]
    two, other = systems(args)[-2:]
    assert two == System("student-1 w=2", "tta", 1, 2.0) and other == System("a", "runs/a/model", 1, 3.0)
    with pytest.raises(ValueError, match="row 'a': write it NAME=MODEL"):
        one_call("a", 3.0)


def test_time_measures_the_rows_that_a_model_made(tmp_path, monkeypatch):
    file = tmp_path / "scores.json"
    rows = {"real": {"scores": {}, "seconds a sound": 9.0}, "student-1": {"scores": {}, "clips": "1"}}
    file.write_text(json.dumps({"card": {}, "systems": rows}))
    told = ["time", "--results", str(file), "--device", "cpu", "--seconds", "0.5", "--systems", "real,student-1"]
    monkeypatch.setattr("sys.argv", ["evaluate_tta", *told])
    evaluate.main()
    made = json.loads(file.read_text())["systems"]
    assert made["real"] == {"scores": {}} and made["student-1"]["clips"] == "1"
    assert made["student-1"]["seconds a sound"] > 0 and made["student-1"]["batch"] == 8
    assert "student-1" in file.with_suffix(".md").read_text()
