"""Shared by the methods of the one-step text-to-speech student: teacher, batches and export. Not a recipe itself.

The bundled `tts` was made by zipvoice.py and then zipvoice_self.py; recipes/README.md has the commands. comospeech.py is the alternative in the tables. Only the denoiser is trained; the encoder remains the
teacher's. A teacher that takes known frames (teacher.py) has students that do: a share `--editing` of the samples has them.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiocm.diffusion.guidance import uniform_guidance
from audiocm.distillation.states import independent_noise, prior_centred_noise
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines.loading import SPEECH_ENCODER, save_bundle
from audiocm.speech.encoder import SpeechEncoder
from audiocm.speech.losses import ConditionedBatches
from audiocm.training.compile import compile_blocks
from audiocm.training.run import Loss, Run, best_device
from recipes.text_to_audio.data import latent_run
from recipes.text_to_speech.data import choose_timing, load_batches, load_speech_encoder

GUIDANCE = (1.0, 3.0)  # range of the student's input w
TEACHER = "audiocm/pretrained/tts-teacher"


@dataclass(frozen=True)
class Teacher:
    """The frozen teacher: denoiser, speech encoder, and the mean of its noise (1: the prior, 0: zero)."""

    net: LatentTransformer
    encoder: SpeechEncoder
    noise_mean: float

    def method_options(self, w: tuple[float, float]) -> dict[str, Any]:
        """Returns the options of a method whose noise is centred as the teacher's, with w uniform in a range."""
        coupling = prior_centred_noise if self.noise_mean else independent_noise
        return {"coupling": coupling, "guidance": uniform_guidance(*w)}


def load_teacher(folder: str) -> Teacher:
    """Returns the teacher of a model folder, with the speech encoder beside it."""
    device = best_device()
    noise_mean = float(json.loads((Path(folder) / "bundle.json").read_text())["noise_mean"])
    encoder = load_speech_encoder(folder, device)
    return Teacher(LatentTransformer.from_pretrained(folder).to(device).requires_grad_(False), encoder, noise_mean)


def make_export(teacher: Teacher, w: tuple[float, float]) -> Callable[[LatentTransformer, Path], None]:
    """Returns a function that writes folders like the bundled tts and, beside it, the teacher's speech-encoder."""

    def export(net: LatentTransformer, folder: Path) -> None:
        settings = {"guidance_scale": 1.0, "guidance_range": [*w], "noise_mean": teacher.noise_mean}
        save_bundle(folder, net, SPEECH_ENCODER, num_inference_steps=1, **settings)
        teacher.encoder.save_pretrained(Path(folder).parent / "speech-encoder", variant="int8")

    return export


def student_run(
    name: str,
    net: LatentTransformer,
    method: Loss,
    teacher: Teacher,
    w: tuple[float, float],
    corpora: Sequence[Path],
    vae: str,
    minutes: float,
    scale: float,
    compile: bool,
    jobs: int,
    cache: Path,
    seed: int,
    editing: float,
    **settings: Any,
) -> Run:
    """Returns the training of a student, with the settings that all methods share.

    editing: share of samples of which a part is known; 0 is taken for a teacher or a student without known frames."""
    if compile and teacher.net.device.type == "cuda":
        compile_blocks(teacher.net)
    voices, device = tuple(teacher.encoder.config.voices), teacher.net.device
    editing = editing if teacher.net.takes_kept and net.takes_kept else 0.0
    options = {"scale": scale, "cache": cache, "n_jobs": jobs, "editing": editing}
    batches = load_batches(corpora, voices, vae, device, seed, **options)
    source = ConditionedBatches(batches, teacher.encoder, choose_timing(batches, vae))
    settings |= {"warmup": 200, "ema": 0.999, "log_every": 100, "seed": seed, "export": make_export(teacher, w)}
    return latent_run(f"tts_{name}", net, method, source, minutes, compile, **settings)
