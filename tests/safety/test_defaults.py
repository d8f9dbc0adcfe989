"""torch.set_default_dtype and torch.set_default_device change no number."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import soundfile
import torch
from tiny_model import tiny_pipeline
from tiny_speech import tiny_speech

from audiocm.devices import usual_defaults
from audiocm.evaluation import score
from audiocm.pipelines.text_to_audio import TextToAudioPipeline
from audiocm.pipelines.text_to_speech import TextToSpeechPipeline


@pytest.fixture(params=["float64", "meta", "both"])
def other_defaults(request):
    """A function that sets other defaults, which are taken back."""

    def change():
        if request.param in ("float64", "both"):
            torch.set_default_dtype(torch.float64)
        if request.param in ("meta", "both"):
            torch.set_default_device("meta")

    yield change
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_sounds_and_speech(other_defaults, tmp_path):
    tiny_pipeline().save_pretrained(tmp_path / "audio")
    tiny_speech().save_pretrained(tmp_path / "speech")

    def make():
        audio = TextToAudioPipeline.from_pretrained(tmp_path / "audio")("rain", 1.0, generator=seeded()).audios
        speech = TextToSpeechPipeline.from_pretrained(tmp_path / "speech")
        streamed = [one.audio for one in speech.stream("Hello there. Two.", generator=seeded())]
        return [audio, *speech("Hello there. Two.", generator=seeded()).audios, *streamed]

    expected = make()
    other_defaults()
    found = make()
    assert all(torch.equal(a, b) and b.dtype == torch.float32 for a, b in zip(expected, found, strict=True))


def test_scores(other_defaults, tmp_path):
    for i in range(6):
        wav = np.random.default_rng(i).normal(size=8000) * 0.1
        soundfile.write(tmp_path / f"{i}.wav", wav, 16000)

    def measured():
        return score(tmp_path, tmp_path, metrics=("fad", "kad"), resamples=40).to_dict()["scores"]

    expected = measured()
    other_defaults()
    assert measured() == expected


def test_the_defaults_come_back_with_the_last_thread(other_defaults):
    other_defaults()
    dtype, inside, go = torch.get_default_dtype(), threading.Barrier(2), threading.Event()

    def work():
        with usual_defaults():
            inside.wait()
            go.wait()
            assert torch.get_default_dtype() == torch.float32

    thread = threading.Thread(target=work)
    with usual_defaults():
        thread.start()
        inside.wait()
        assert torch.zeros(1).dtype == torch.float32 and torch.zeros(1).device.type == "cpu"
    assert torch.get_default_dtype() == torch.float32  # the thread still runs under it
    go.set()
    thread.join()
    assert torch.get_default_dtype() == dtype


def test_the_callers_block_of_a_device_is_left_as_it_was():
    with torch.device("meta"):
        with usual_defaults():
            assert torch.zeros(1).device.type == "cpu"
        assert torch.zeros(1).device.type == "meta"
