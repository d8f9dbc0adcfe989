"""Shared by the stages of the one-step text-to-audio student: networks, settings and export. Not a recipe itself.

The bundled `tta` went through guidance.py, regression.py and adversarial_matching.py, each from where the one before
ended. consistency.py is an alternative to the last.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines.loading import save_bundle
from audiocm.training.compile import compile_blocks
from audiocm.training.run import Loss, Run, best_device
from recipes.text_to_audio.data import latent_run

GUIDANCE = (0.0, 6.0)  # range of the student's input w
TEACHER = "audiocm/pretrained/tta-teacher"


def export(net: LatentTransformer, folder: Path) -> None:
    """Writes a folder like the bundled tta."""
    ranges = {"guidance_range": [*GUIDANCE], "seconds_range": [0.5, 10.0]}
    save_bundle(folder, net, num_inference_steps=1, guidance_scale=3.0, **ranges)


def prepare(net: LatentTransformer, compile: bool) -> LatentTransformer:
    """Moves a network that is not the Run's own to the device and, on a GPU and by choice, compiles its blocks."""
    net = net.to(best_device())
    if compile and net.device.type == "cuda":
        compile_blocks(net)
    return net


def load_teacher(folder: str, compile: bool) -> LatentTransformer:
    """Returns the frozen teacher."""
    return prepare(LatentTransformer.from_pretrained(folder).requires_grad_(False), compile)


def student_run(
    stage: str, net: LatentTransformer, method: Loss, source: Iterator, minutes: float, compile: bool, **settings: Any
) -> Run:
    """Returns the training of a stage, with the settings that all stages share."""
    settings |= {"ema": 0.999, "log_every": 100, "export": export}
    return latent_run(f"tta_{stage}", net, method, source, minutes, compile, **settings)
