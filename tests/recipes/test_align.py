"""Alignment by warping, of a recording to a voice that speaks the same line at another pace and pitch, and by CTC."""

import json

import numpy as np
import pytest
import torch
from vowels import say

from audiocm.speech.phonemes import encode_phonemes
from recipes.corpora.speech import align


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
    recording, line = say([0, 1, 2, 3, 4], [0.3, 0.2, 0.3, 0.2, 0.5], 120.0), "həlˈO wˈɜɹld"
    seconds = align.recognised_seconds(recording, line, recogniser)
    assert len(seconds) == len(encode_phonemes(line)[0]) and (seconds >= 0).all()
    assert seconds.sum() == pytest.approx(1.5)
    with pytest.raises(ValueError, match="the recogniser has no label for k"):
        align.recognised_seconds(recording, "kˈO", recogniser)
