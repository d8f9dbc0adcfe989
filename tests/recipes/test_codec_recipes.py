"""The codec's recipes on a toy corpus, and their defaults against the bundled codec."""

import functools
import inspect
import json

import numpy as np
import pytest
import soundfile
import torch

from audiocm.codec.codec import Codec
from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from audiocm.models.folders import PRETRAINED
from audiocm.training.recipe import train_recipe
from recipes.codec import data, vae as vae_recipe, vocoder as vocoder_recipe


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Four noisy tones of two kinds, one of each kind held out."""
    root, rng, lines = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0), []
    for i, kind in enumerate(("effect", "speech") * 2):
        wav = 0.3 * np.sin(0.02 * (i + 1) * np.arange(48000)) + 0.02 * rng.standard_normal(48000)
        soundfile.write(root / f"{i}.wav", wav.astype(np.float32), 24000)
        split = "valid" if i > 1 else "train"
        lines.append(json.dumps({"file": f"{i}.wav", "seconds": 2.0, "kind": kind, "split": split}))
    (root / "manifest.jsonl").write_text("\n".join(lines))
    return root


def test_vae_then_vocoder_train_and_make_a_codec(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "held_out", functools.partial(data.held_out, count=4, seconds=0.34))
    fields = ["--corpora", str(corpus), "--steps", "2", "--batch", "2"]
    vae, vocoder = tmp_path / "vae", tmp_path / "vocoder"
    train_recipe("recipes/codec/vae.py", [*fields, "--channels", "8", "--seconds_per_crop", "0.34"], vae)
    train_recipe("recipes/codec/vocoder.py", [*fields, "--width", "16"], vocoder)
    more = ["--start", str(vocoder / "model"), "--vae", str(vae / "model")]
    train_recipe("recipes/codec/vocoder.py", [*fields, *more], tmp_path / "final")
    codec = Codec(MelVAE.from_pretrained(vae / "model"), Vocoder.from_pretrained(tmp_path / "final" / "model"))
    latent = codec.encode(0.1 * torch.randn(1, 24000))
    assert latent.shape == (1, 8, 24) and codec.decode(latent).isfinite().all()
    with pytest.raises(ValueError, match=r"no train clip in .*: build the corpora first"):
        (corpus / "empty").mkdir()
        (corpus / "empty" / "manifest.jsonl").write_text('{"file": "a.wav", "seconds": 1, "split": "valid"}')
        train_recipe("recipes/codec/vae.py", ["--corpora", str(corpus / "empty")], tmp_path / "none")


@pytest.mark.parametrize("part, model, recipe", [("vae", MelVAE, vae_recipe), ("vocoder", Vocoder, vocoder_recipe)])
def test_defaults_make_the_bundled_codec(part, model, recipe):
    """A default run makes a network of the sizes that the bundled config.json has."""
    shipped = json.loads((PRETRAINED / "codec" / part / "config.json").read_text())
    sizes, fields = inspect.signature(model.__init__).parameters, inspect.signature(recipe.run).parameters
    made = {name: fields.get(name, sizes[name]).default for name in sizes if name != "self"}
    assert json.loads(json.dumps(made)) == {name: value for name, value in shipped.items() if name[0] != "_"}


def test_default_minutes_are_those_of_the_bundled_codec(corpus):
    runs = [vae_recipe.run(str(corpus), batch=2, channels=8), vocoder_recipe.run(str(corpus), batch=2)]
    assert [run.train_seconds for run in runs] == [150, 156] and [run.lr for run in runs] == [1e-3, 1e-3]
