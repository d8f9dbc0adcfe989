"""The table of methods on a toy: methods are trained and sampled once, and every one has a setting or a reason."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from audiocm.codec.vae import MelVAE
from audiocm.data.latents import Latents, pack
from audiocm.data.manifest import Clip
from audiocm.distillation import methods
from audiocm.models.transformer import LatentTransformer
from recipes.methods import table
from recipes.methods.settings import LEVELS, NOT_RUN, SETTINGS
from recipes.text_to_audio.data import load_codec
from recipes.text_to_audio.generate import entry_name

CHANNELS = 4
WORDS = ("a dog barks", "rain", "a bell rings", "wind")


def toy(home: Path, width: int = 32) -> list[str]:
    """A teacher, a VAE, packed latents and a plan; returns the command line for them."""
    torch.manual_seed(0)
    net = LatentTransformer(channels=CHANNELS, width=width, depth=2, heads=2)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    net.save_pretrained(home / "teacher")
    vae = MelVAE(mel_bins=100, channels=CHANNELS, widths=(8, 8, 8), blocks=(1, 1, 1), noise_channels=2)
    with torch.no_grad():
        vae.linear_decoder.weight.mul_(0.3)
    vae.save_pretrained(home / "codec" / "vae")
    lengths = torch.tensor([30, 90, 60, 200] * 3)
    clips = [
        Clip(f"{i}.flac", home / f"{i}.flac", length / 23.4, captions=(WORDS[i % 4],), kind="effect", source="toy")
        for i, length in enumerate(lengths.tolist())
    ]
    frames = torch.randn(int(lengths.sum()), CHANNELS).half()
    pack(
        Latents(clips, frames, lengths.cumsum(0) - lengths, lengths, torch.zeros(CHANNELS)),
        home / "latents.safetensors",
    )
    (home / "out").mkdir(exist_ok=True)
    entries = [
        {"set": "prompts", "id": i, "take": take, "prompt": words, "labels": [], "seconds": 1.0 + (i % 2), "seed": 10 * i + take}
        for i, words in enumerate(WORDS[:2])
        for take in range(2)
    ]  # fmt: skip
    (home / "out" / "plan.json").write_text(json.dumps(entries))
    names = {
        "teacher": "teacher",
        "vae": "codec/vae",
        "corpora": "latents.safetensors",
        "cache": "cache",
        "output": "out",
    }
    return [
        "train",
        "--scale",
        "0.02",
        *(part for key, value in names.items() for part in (f"--{key}", f"{home / value}")),
    ]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    home = tmp_path_factory.mktemp("methods")
    return home, toy(home)


def test_two_methods_are_trained_once(place, capsys):
    home, words = place
    words = [*words, "--seconds", "0.3", "--methods", "consistencytta,consistencytta-outside,meanflow,teacher-euler-2"]
    table.main(words)
    plan = json.loads((home / "out" / "plan.json").read_text())
    for name in ("consistencytta", "meanflow"):
        facts = json.loads((home / "out" / f"{name}.json").read_text())
        assert facts["finite"] and facts["steps"] > 0 and facts["seconds"] > 0.2
        assert facts["stages"][0]["warm_up_steps"] >= 4 and facts["steps/s"] == facts["steps"] / facts["seconds"]
        latents = load_file(home / "out" / f"{name}.safetensors")
        assert set(latents) == {f"{calls}/{entry_name(entry)}" for calls in (1, 2, 4) for entry in plan}
        assert latents["1/prompts_000_0"].shape == (CHANNELS, 24) and latents["1/prompts_000_0"].dtype == torch.float16
    assert set(load_file(home / "out" / "teacher-euler-2.safetensors")) == {f"2/{entry_name(entry)}" for entry in plan}
    (home / "out" / "meanflow.json").unlink()
    before = (home / "out" / "consistencytta.safetensors").stat().st_mtime_ns
    capsys.readouterr()
    table.main(words)
    assert "3 done, to do: meanflow" in capsys.readouterr().out and (home / "out" / "meanflow.json").exists()
    assert (home / "out" / "consistencytta.safetensors").stat().st_mtime_ns == before


def test_what_fails_is_named_and_tried_again(place, monkeypatch):
    home, words = place
    words = [*words, "--seconds", "0.1", "--methods", "cd"]
    with monkeypatch.context() as broken:
        broken.setattr(methods, "METHODS", {})
        table.main(words)
    assert "ValueError" in table.why_not(home / "out", "cd") and not (home / "out" / "cd.json").exists()
    table.main(words)
    assert (home / "out" / "cd.json").exists() and not (home / "out" / "cd.failed").exists()


def test_every_method_has_a_setting_or_a_reason():
    family = set(methods.METHODS)
    variants = {"tta_student", "consistencytta-fixed", "consistencytta-outside"}
    assert family == (set(SETTINGS) - variants) | set(NOT_RUN) and not set(SETTINGS) & set(NOT_RUN)
    trained = {stage.method.partition("-8")[0] for setting in SETTINGS.values() for stage in setting.stages}
    assert family - trained <= {"diffusion"}
    for setting in SETTINGS.values():
        assert sum(stage.share for stage in setting.stages) == pytest.approx(1)
        assert sorted(calls for stage in setting.stages for calls in stage.calls) == [1, 2, 4]
    assert len(LEVELS) == 4 and LEVELS[0] == pytest.approx(80)


def test_latents_become_sounds_once(place):
    home, _ = place
    entries = json.loads((home / "out" / "plan.json").read_text())
    stored = {f"{calls}/{entry_name(entry)}": torch.randn(CHANNELS, 24).half() for calls in (1, 2) for entry in entries}
    save_file(stored, home / "out" / "toy.safetensors")
    (home / "out" / "toy.json").write_text(
        json.dumps({"calls": [1, 2], "trained_at": 1, "steps": 3, "group": "follow"})
    )
    both = load_codec(str(home / "codec" / "vae"), "", torch.device("cpu"))
    voice, out = SimpleNamespace(codec=both, sample_rate=both.sample_rate), home / "out"
    rows = table.rows_of(out, ["toy"])
    assert rows == {"toy-1": ("toy", 1), "toy-2": ("toy", 2)}
    for row, (name, calls) in rows.items():
        table.decode(out, entries, voice, row, name, calls)
    files = sorted((home / "out" / "toy-2" / "prompts").glob("*.flac"))
    sounds = [file for file in files if file.stat().st_size]  # a refused sound is an empty file
    facts = json.loads((home / "out" / "toy-2" / "facts.json").read_text())
    assert len(files) == len(sounds) + facts["refused"] == len(entries) and facts["steps"] == 3 and facts["calls"] == 2
    (home / "out" / "toy.json").write_text(json.dumps({"calls": [1], "trained_at": 2}))
    table.decode(out, entries, voice, "toy-1", "toy", 1)
    assert "steps" not in json.loads((home / "out" / "toy-1" / "facts.json").read_text())
