"""The text-to-audio teacher: EDM diffusion of latents conditioned on words.

    torchrun --nproc-per-node 2 -m -- audiocm train recipes/text_to_audio/teacher.py
    audiocm train recipes/text_to_audio/teacher.py --start audiocm/pretrained/tta-teacher --corpora SOUNDS --minutes 5

The first command made the bundled `tta-teacher`: 22 minutes on two H100s, 23,000 steps of 418 clips on average
(samples/tta_teacher_training.json). Networks with a latent's known frames and its duration as conditions, so that one
training serves sounds of any length and editing. The second command trains it on to other sounds: a folder with a
manifest.jsonl, or a file packed by recipes.text_to_audio.data.
"""

from pathlib import Path

import torch
from torch import Tensor

from audiocm.diffusion.denoiser import Condition, Net
from audiocm.distillation import methods
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines.loading import save_bundle
from audiocm.training.run import Run, cosine_decay
from recipes.text_to_audio.data import CODEC, CORPORA, latent_run, load_batches

LEVELS = (0.3, 1.0, 3.0, 10.0, 40.0)  # noise levels of validation


def export(net: LatentTransformer, folder: Path) -> None:
    """Writes a folder like the bundled tta-teacher."""
    ranges = {"guidance_range": [0.0, 10.0], "seconds_range": [0.5, 10.0]}
    save_bundle(folder, net, num_inference_steps=18, guidance_scale=3.0, **ranges)


def held_out_error(net: Net, held_out: list[tuple[Tensor, Condition]]) -> dict[str, float]:
    """Returns the relative error of clean estimates of held-out latents by noise level; 1 is that of the mean."""
    values = {}
    for sigma in LEVELS:
        errors = []
        for i, (x, cond) in enumerate(held_out):
            noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(i)).to(x)
            cond.null = torch.zeros_like(cond.null)
            clean = net(x + sigma * noise, torch.full((len(x),), sigma, device=x.device), None, cond).float()
            valid = cond.mask[:, None].float()
            errors.append((((clean - x) ** 2) * valid).sum() / (valid.sum() * x.shape[1]))
        values[f"error_{sigma:g}"] = float(torch.stack(errors).mean())
    return values | {"error": sum(values.values()) / len(values)}


def run(
    corpora: list[Path] = CORPORA,
    vae: str = f"{CODEC}/vae",
    start: str = "",
    minutes: float = 22.0,
    steps: int = 200_000,
    scale: float = 1.0,
    width: int = 640,
    depth: int = 10,
    dropout: float = 0.1,
    lr: float = 6e-4,
    part: tuple[float, float] = (0.0, 1.0),
    call_minutes: float | None = None,
    compile: bool = True,
    seed: int = 0,
) -> Run:
    """Returns the training: `minutes` in all calls together, at most `steps`. `start` is a teacher to train on.

    `part` is the part of the learning rate's cosine that these minutes cover, for a training in several parts on
    machines that share no checkpoint, each from the exported network of the one before. `call_minutes` ends a call."""
    source = load_batches(corpora, vae, seed, scale=scale)
    valid = load_batches(corpora, vae, seed + 1, "valid", min(scale, 0.5))
    held_out = [next(valid) for _ in range(4)]
    shape = {"channels": source.silence.shape[0], "width": width, "depth": depth, "heads": width // 64}
    shape |= {"takes_duration": True, "takes_kept": True}
    net = LatentTransformer.from_pretrained(start) if start else LatentTransformer(**shape, dropout=dropout)
    settings = {"steps": steps, "lr": lr, "warmup": 500, "weight_decay": 0.01, "ema": 0.9995, "seed": seed}
    settings["decay"] = lambda progress: cosine_decay(part[0] + (part[1] - part[0]) * progress)
    settings["max_wall_seconds"] = None if call_minutes is None else 60 * call_minutes
    settings |= {"validate": lambda net: held_out_error(net, held_out), "validate_every": 3000, "log_every": 200}
    method = methods.diffusion(methods.latent_times)
    return latent_run("tta_teacher", net, method, source, minutes, compile, export=export, **settings)
