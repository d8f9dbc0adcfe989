"""What commands do without: sounds without diffusers and transformers, help without torch."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import soundfile
import torch

from audiocm.pipelines import TextToAudioPipeline, TextToSpeechPipeline

ROOT = Path(__file__).parents[2]
HEAVY = ("diffusers", "transformers", "accelerate", "peft", "librosa", "torchaudio", "torch._dynamo", "onnxruntime")


def run_without(refused: tuple[str, ...], folder: Path, *words: str) -> None:
    """Runs `audiocm WORDS` in a process in which an import of the refused packages raises."""
    code = f"""
        import sys

        class Refusal:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if any(name == one or name.startswith(one + ".") for one in {refused!r}):
                    raise AssertionError("imported " + name)

        sys.meta_path.insert(0, Refusal)
        sys.path.insert(0, {str(ROOT)!r})
        from audiocm.cli.main import main
        sys.exit(main(sys.argv[1:]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_sound_needs_no_diffusers_and_is_that_of_the_pipeline(tmp_path):
    run_without(
        HEAVY, tmp_path, "generate", "a dog barks", "-o", "x.wav", "--backend", "torch", "--seconds", "1", "--seed", "7"
    )
    wav, rate = soundfile.read(tmp_path / "x.wav", dtype="int16")
    pipe = TextToAudioPipeline.from_pretrained("tta")
    out = pipe("a dog barks", 1.0, generator=torch.Generator().manual_seed(7), output_type="np")
    soundfile.write(tmp_path / "y.wav", out.audios[0], out.sample_rate, subtype="PCM_16")
    assert rate == out.sample_rate and abs(soundfile.read(tmp_path / "y.wav", dtype="int16")[0] - wav).max() <= 1


def test_speech_needs_no_diffusers_and_is_that_of_the_pipeline(tmp_path):
    run_without(HEAVY, tmp_path, "speak", "It is late.", "-o", "x.wav", "--backend", "torch", "--seed", "3")
    wav, rate = soundfile.read(tmp_path / "x.wav", dtype="int16")
    out = TextToSpeechPipeline.from_pretrained("tts")(
        "It is late.", generator=torch.Generator().manual_seed(3), output_type="np"
    )
    soundfile.write(tmp_path / "y.wav", out.audios[0], out.sample_rate, subtype="PCM_16")
    assert rate == out.sample_rate and abs(soundfile.read(tmp_path / "y.wav", dtype="int16")[0] - wav).max() <= 1


def test_an_edit_needs_no_diffusers(tmp_path):
    soundfile.write(
        tmp_path / "x.wav", 0.1 * torch.randn(24000, generator=torch.Generator().manual_seed(0)).numpy(), 24000
    )
    run_without(HEAVY, tmp_path, "edit", "x.wav", "-o", "y.wav", "--inpaint", "0.4:0.6", "--steps", "1")
    assert soundfile.info(tmp_path / "y.wav").frames == 24000


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["score", "--help"], ["compare", "--help"]])
def test_help_needs_no_torch(words, tmp_path):
    run_without(("torch", *HEAVY), tmp_path, *words)
