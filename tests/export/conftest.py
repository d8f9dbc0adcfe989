"""Tiny students, exported once for all tests: tracing takes seconds, whatever the size of a network."""

import pytest
import tiny_model
import tiny_speech
from transformers import BertModel

from audiocm.cli.main import main
from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from audiocm.pipelines.text_to_audio import TextToAudioPipeline
from audiocm.pipelines.text_to_speech import TextToSpeechPipeline

pytest.importorskip("onnxscript", reason="torch exports ONNX with the package onnxscript")


@pytest.fixture(scope="session")
def sound_pipe(tmp_path_factory):
    """A student of text to audio that also takes a duration and kept frames, loaded from its folder."""
    sizes = {"token_width": 16, "pooled_width": 16, "depth": 1, "guidance_range": (0.0, 6.0)}
    net = tiny_model.tiny_transformer(**sizes, takes_duration=True, takes_kept=True)
    vae = MelVAE(mel_bins=100, channels=4, widths=(8, 8, 8), blocks=(1, 1, 1), noise_channels=2).eval()
    vae.linear_decoder.weight.data.mul_(0.3)
    vocoder = Vocoder(width=16, depth=1, noise_channels=2, iterations=2).eval()
    encoder = BertModel(tiny_model.ENCODER).eval()
    pipe = TextToAudioPipeline(net, vae, vocoder, encoder, tiny_model.tokenizer(), temperature=0.9)
    folder = tmp_path_factory.mktemp("sound") / "tiny"
    pipe.save_pretrained(folder)
    return TextToAudioPipeline.from_pretrained(folder), folder


@pytest.fixture(scope="session")
def sound_folder(sound_pipe, tmp_path_factory):
    """Its graphs in float32."""
    folder = tmp_path_factory.mktemp("graphs") / "sound"
    assert main(["export", str(sound_pipe[1]), "-o", str(folder), "--precision", "fp32"]) == 0
    return folder


@pytest.fixture(scope="session")
def speech_pipe(tmp_path_factory):
    """A student of text to speech, and its folder."""
    home = tiny_speech.save_tiny_speech(tmp_path_factory.mktemp("speech"))
    return TextToSpeechPipeline.from_pretrained(home / "tts"), home / "tts"


@pytest.fixture(scope="session")
def speech_folder(speech_pipe, tmp_path_factory):
    """Its graphs in float32, and the one graph."""
    folder = tmp_path_factory.mktemp("graphs") / "speech"
    assert main(["export", str(speech_pipe[1]), "-o", str(folder), "--precision", "fp32", "--one-graph"]) == 0
    return folder
