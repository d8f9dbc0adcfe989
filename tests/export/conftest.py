"""Tiny students, exported once for all tests: tracing takes seconds, whatever the size of a network."""

import pytest
import tiny_model
import tiny_speech
from once import made_once
from transformers import BertModel

from audiocm.cli.main import main
from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from audiocm.pipelines.text_to_audio import TextToAudioPipeline
from audiocm.pipelines.text_to_speech import TextToSpeechPipeline

pytest.importorskip("onnxscript", reason="torch exports ONNX with the package onnxscript")


def save_sound_pipe(folder):
    sizes = {"token_width": 16, "pooled_width": 16, "depth": 1, "guidance_range": (0.0, 6.0)}
    net = tiny_model.tiny_transformer(**sizes, takes_duration=True, takes_kept=True)
    vae = MelVAE(mel_bins=100, channels=4, widths=(8, 8, 8), blocks=(1, 1, 1), noise_channels=2).eval()
    vae.linear_decoder.weight.data.mul_(0.3)
    vocoder = Vocoder(width=16, depth=1, noise_channels=2, iterations=2).eval()
    encoder = BertModel(tiny_model.ENCODER).eval()
    pipe = TextToAudioPipeline(net, vae, vocoder, encoder, tiny_model.tokenizer(), temperature=0.9)
    pipe.save_pretrained(folder / "tiny")


def export(model, folder, *options):
    assert main(["export", str(model), "-o", str(folder), "--precision", "fp32", *options]) == 0


@pytest.fixture(scope="session")
def sound_pipe(tmp_path_factory):
    """A student of text to audio that also takes a duration and kept frames, loaded from its folder, and that folder."""
    folder = made_once(tmp_path_factory, "sound-pipe", save_sound_pipe) / "tiny"
    return TextToAudioPipeline.from_pretrained(folder), folder


@pytest.fixture(scope="session")
def sound_folder(sound_pipe, tmp_path_factory):
    """Its graphs in float32."""
    return made_once(tmp_path_factory, "sound-graphs", lambda place: export(sound_pipe[1], place / "sound")) / "sound"


@pytest.fixture(scope="session")
def speech_pipe(tmp_path_factory):
    """A student of text to speech, and its folder."""
    folder = (
        made_once(tmp_path_factory, "speech-pipe", lambda home: tiny_speech.save_tiny_speech(home, depth=1)) / "tts"
    )
    return TextToSpeechPipeline.from_pretrained(folder), folder


@pytest.fixture(scope="session")
def speech_folder(speech_pipe, tmp_path_factory):
    """Its graphs in float32, and the one graph."""

    def make(place):
        export(speech_pipe[1], place / "speech", "--one-graph")

    return made_once(tmp_path_factory, "speech-graphs", make) / "speech"
