"""The adapter of audiocm's own text-to-audio pipelines, whose transformer is a contract net as it is."""

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..diffusion.denoiser import Condition, clean_prediction
from .adapter import Adapter, register_adapter
from .lora import add_lora, merge_lora
from .schedulers import NoiseSchedule

USAGE = """from audiocm import TextToAudioPipeline

pipe = TextToAudioPipeline.from_pretrained(FOLDER)
audio = pipe("a dog barks", 10.0).audios[0]"""

LORA = """# audiocm generate "a dog barks" -o dog.wav --model TEACHER --lora FOLDER --steps 1 --guidance 1
audiocm.teachers.load_lora(pipe.transformer, FOLDER)  # pipe: the teacher, to be called with one step and guidance 1"""


def transformer_student(net: Any, inputs: tuple[Any, bool], lora: int | None) -> nn.Module:
    """Returns a student of a `LatentTransformer` with inputs (guidance_range, target_time)."""
    student = net.student(*inputs).to(net.device).eval()
    if lora is not None:
        add_lora(student, lora, "^(?!guidance$|target$)")
        for layer in (student.guidance, student.target):
            if layer is not None:
                layer.requires_grad_(True)
    return student


def student_pipeline(pipe: Any, student: Any, w: float | None) -> Any:
    """Returns a pipeline with a student, its difference merged, whose calls have guidance weight w by default.

    Raises ValueError unless w is one that the student takes or, without an input for w, the one it was trained for."""
    net = copy.deepcopy(student).cpu().eval()
    merge_lora(net)
    low, high = net.config.guidance_range or (-math.inf, math.inf)
    if w is None or not low <= w <= high:
        raise ValueError(f"w must be between {low:g} and {high:g}, the weight that calls have by default, not {w}")
    if net.config.guidance_range is None:
        net = net.student((w, w))  # its input for w is zero, so it stays as it is
    parts = {**pipe.config, **pipe.components, "transformer": net, "guidance_scale": w, "num_inference_steps": 1}
    return type(pipe)(**{name: part for name, part in parts.items() if not name.startswith("_")})


@register_adapter("TextToAudioPipeline")
class TextToAudio(Adapter):
    """Students take w, and s, by inputs of their own, and are saved as pipelines of audiocm."""

    components: ClassVar[dict[str, str]] = {"transformer": "LatentTransformer", "vae": "MelVAE", "vocoder": "Vocoder"}
    denoiser = "transformer"

    @property
    def sample_rate(self) -> int:
        return self.pipe.sample_rate

    @property
    def schedule(self) -> NoiseSchedule:
        return NoiseSchedule(self.pipe.path, clean_prediction, lambda t: t)

    def latent_shape(self, seconds: float) -> tuple[int, ...]:
        return (self.pipe.codec.channels, self.pipe.codec.frames(seconds))

    def condition(self, prompts: Sequence[str], seconds: float) -> Condition:
        cond, frames = self.pipe.conditioner(prompts).to(self.device), self.latent_shape(seconds)[1]
        cond.mask = torch.ones(len(prompts), frames, dtype=torch.bool, device=self.device)
        cond.duration = cond.mask.sum(1).float()  # for networks that take it
        return cond

    def encode(self, wav: Tensor) -> Tensor:
        return self.pipe.codec.encode(wav)

    def decode(self, latent: Tensor) -> Tensor:
        return self.pipe.codec.decode(latent)

    def build_net(self) -> nn.Module:
        return self.pipe.transformer

    def build_student(self, net: Any, guidance_range: Any, target_time: bool, lora: int | None) -> nn.Module:
        return transformer_student(net, (guidance_range, target_time), lora)

    def save(self, student: Any, folder: Path, w: float | None) -> None:
        student_pipeline(self.pipe, student, w).save_pretrained(folder)

    def usage(self, of_lora: bool = False) -> str:
        return LORA if of_lora else USAGE
