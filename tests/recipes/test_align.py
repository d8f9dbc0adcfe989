"""Alignment by warping, of a recording to a voice that speaks the same line at another pace and pitch, and by CTC."""

import json

import numpy as np
import pytest
import torch

from audiocm.speech.phonemes import encode_phonemes
from recipes.corpora.manifests import RATE
from recipes.corpora.speech import align

RESONANCES = ((300, 900), (800, 1300), (500, 2300), (350, 2900), (650, 1700))  # Hz, of five vowels


def synthesize(seconds: list[float], pitch: float, seed: int) -> np.ndarray:
    """Returns five "vowels" that last `seconds`: harmonics of `pitch` Hz through two resonances each."""
    rng, parts = np.random.default_rng(seed), []
    for length, (low, high) in zip(seconds, RESONANCES, strict=True):
        at = np.arange(int(length * RATE)) / RATE
        tones = [k * pitch for k in range(1, int(6000 / pitch))]
        gains = [np.exp(-(((f - low) / 150) ** 2)) + 0.7 * np.exp(-(((f - high) / 250) ** 2)) for f in tones]
        wav = sum(a * np.sin(2 * np.pi * f * at) for a, f in zip(gains, tones, strict=True))
        parts.append(0.1 * wav + 1e-3 * rng.standard_normal(len(at)))
    return np.concatenate(parts).astype(np.float32)


def test_neighbours_meet_halfway_and_pauses_take_the_rest():
    spans = np.array([[5, 6], [8, 9], [11, 12], [30, 31], [33, 34]])  # two frames between neighbours, 18 at the pause
    is_pause = [True, False, False, False, True, True, False, False, True]
    found = align.fill_gaps(spans, is_pause, 40)
    assert found.tolist() == [4, 3, 3, 3, 8, 8, 3, 3, 5] and found.sum() == 40
    assert align.fill_gaps(np.array([[2, 4]]), [False], 10).tolist() == [10]


@pytest.fixture
def recogniser(tmp_path):
    """A transformers folder of a small CTC model with random weights."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    labels = ["<pad>", "h", "ə", "l", "oʊ", "w", "ɜː", "d", "ɹ"]
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"conv_dim": [8] * 7, "vocab_size": len(labels), "pad_token_id": 0, "num_conv_pos_embeddings": 4}
    Wav2Vec2ForCTC(Wav2Vec2Config(**sizes, num_conv_pos_embedding_groups=2)).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps({label: k for k, label in enumerate(labels)}))
    return str(tmp_path)


def test_a_ctc_model_times_every_symbol(recogniser):
    recording, line = synthesize([0.3, 0.2, 0.3, 0.2, 0.5], 120.0, 0), "həlˈO wˈɜɹld"
    seconds = align.recognised_seconds(recording, line, recogniser)
    assert len(seconds) == len(encode_phonemes(line)[0]) and (seconds >= 0).all()
    assert seconds.sum() == pytest.approx(1.5)
    with pytest.raises(ValueError, match="the recogniser has no label for k"):
        align.recognised_seconds(recording, "kˈO", recogniser)
