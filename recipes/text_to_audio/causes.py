"""What a teacher's knowledge of its words depends on: short trainings that differ in one thing each, and guidance.

    python -m recipes.text_to_audio.causes --variants base,narrow,captions,clips --minutes 1.5 --output runs/causes
    python -m recipes.text_to_audio.causes --variants "" --intervals 0.3:5,1:80 --output runs/causes
    python -m recipes.text_to_audio.everyday score --prompts runs/causes/prompts.jsonl --latents runs/causes/base.safetensors

Each variant of VARIANTS trains for the same time and then makes the sounds of OUTPUT/prompts.jsonl: the prompts of
everyday_choice_prompts.jsonl, training captions and captions of held-out clips, with 18 steps of Heun's method and
guidance 3. `--intervals`: the bundled teacher, guided at the noise levels of each interval alone. It writes latents of
each, rounded to int8, for `everyday.py score`, which needs no GPU. CAUSES.md has the table of what came out.
"""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from audiocm.data.manifest import Clip
from audiocm.diffusion import paths, solvers
from audiocm.diffusion.denoiser import Condition
from audiocm.diffusion.guidance import guided_net
from audiocm.distillation import methods
from audiocm.distillation.timesteps import lognormal, loguniform, mixture
from audiocm.files import read_json_lines, write_json_lines
from audiocm.models.text_encoder import TextConditioner
from audiocm.models.transformer import LatentTransformer
from audiocm.training.run import best_device
from audiocm.training.trainer import train
from recipes.judges import corpus_entries
from recipes.text_to_audio.data import CODEC, CORPORA, SHARES, latent_run, load_batches
from recipes.text_to_audio.everyday import sounds
from recipes.text_to_audio.student import TEACHER

STEP = 0.2  # of the rounded latents
FRAMES = 94  # of a sound of 4 s


def own_captions(clip: Clip) -> tuple[str, ...]:
    """Returns the captions of the manifest alone."""
    return clip.captions


def weights_by_caption(clips: Sequence[Clip]) -> dict[tuple[str, str], float]:
    """Returns weights by clip instead of by thing: n^-0.5 for a clip that shares its first caption with n others."""
    counts = Counter((clip.kind, clip.captions[0]) for clip in clips)
    raw = {(c.file, c.source): counts[c.kind, c.captions[0]] ** -0.5 for c in clips}
    total = Counter[str]()
    for clip in clips:
        total[clip.kind] += raw[clip.file, clip.source]
    return {(c.file, c.source): raw[c.file, c.source] * SHARES[c.kind] / total[c.kind] for c in clips}


@dataclass(frozen=True)
class Variant:
    """What differs from the base: shape of the network, batches, noise levels, conditions."""

    shape: dict[str, int] = field(default_factory=dict)
    batches: dict[str, Any] = field(default_factory=dict)
    times: Any = methods.latent_times
    sentence: bool = True  # whether the sentence vector is a condition
    layers: int = 6  # of the text encoder: token states are those of the last of them

    def conditioner(self) -> TextConditioner:
        """Returns the text encoder up to a layer."""
        conditioner = TextConditioner.from_pretrained().to(best_device())
        conditioner.encoder.encoder.layer = conditioner.encoder.encoder.layer[: self.layers]
        return conditioner


VARIANTS = {
    "base": Variant(),
    "narrow": Variant({"width": 384, "depth": 12, "heads": 6}),
    "deep": Variant({"width": 512, "depth": 16, "heads": 8}),
    "captions": Variant(batches={"captions": own_captions}),
    "clips": Variant(batches={"weigh": weights_by_caption}),
    "sentence": Variant(sentence=False),
    "middle": Variant(layers=3),
    "words": Variant(layers=0),  # what the tokenizer's words are, without their context
    "noisy": Variant(times=mixture(0.88, lognormal(1.0, 1.3), loguniform(0.002, 80.0))),
    "smooth": Variant(times=mixture(0.88, lognormal(-0.4, 1.3), loguniform(0.002, 80.0))),
}


def plan(corpora: Sequence[Path], prompts: Path, count: int) -> list[dict[str, Any]]:
    """Returns the lines of a bench as everyday.py reads them: all prompts, and the captions of `count` clips each of the
    train and valid splits."""
    lines = list(read_json_lines(prompts))
    clips = [e for e in corpus_entries([str(root) for root in corpora]) if e.get("captions") and e.get("labels")]
    for split, form in (("train", "training caption"), ("valid", "held-out caption")):
        own = [e for e in clips if e["split"] == split]
        chosen = torch.randperm(len(own), generator=torch.Generator().manual_seed(0))[:count].tolist()
        more = {"form": form, "group": "captions", "thing": form, "words": [], "continuous": False}
        lines += [{"prompt": own[i]["captions"][0], "labels": own[i]["labels"]} | more for i in chosen]
    return lines


@torch.no_grad()
def make(
    net: LatentTransformer,
    prompts: Sequence[str],
    conditioner: TextConditioner,
    sentence: bool = True,
    interval: tuple[float, float] | None = None,
    w: float = 3.0,
) -> torch.Tensor:
    """Returns the latents [prompt, channel, frame] of prompts, from noise of seed 0."""
    device = net.device
    cond: Condition = conditioner(list(prompts)).to(device)
    cond.pooled = cond.pooled * sentence
    cond.mask = torch.ones(len(prompts), FRAMES, dtype=torch.bool, device=device)
    cond.duration = torch.full((len(prompts),), float(FRAMES), device=device)
    shape = (len(prompts), net.config.channels, FRAMES)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        return solvers.sample(
            guided_net(net, w, interval), paths.edm, noise, cond, solvers.ode_times(paths.edm, 18), solvers.heun
        )


def write_latents(
    file: Path, net: LatentTransformer, lines: Sequence[dict], conditioner: TextConditioner, **options: Any
) -> None:
    """Writes the latents of a bench's lines, rounded to int8, by the names that everyday.py knows them by."""
    prompts, names = [line["prompt"] for line in lines], [entry["name"] for entry in sounds(lines, 1)]
    parts = [make(net, prompts[i : i + 128], conditioner, **options) for i in range(0, len(prompts), 128)]
    rounded = (torch.cat(parts).float().cpu() / STEP).round().clamp(-127, 127).to(torch.int8)
    save_file({name: one.clone() for name, one in zip(names, rounded, strict=True)}, file, {"step": str(STEP)})


def intervals(text: str) -> list[tuple[float, float]]:
    """Reads intervals of noise levels."""
    pairs = [part.split(":") for part in text.split(",")]
    return [(float(low), float(high)) for low, high in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = {"type": lambda text: list(filter(None, text.split(",")))}
    parser.add_argument("--variants", **names, default=[*VARIANTS], help="comma-separated")
    parser.add_argument("--intervals", type=intervals, default=[], help="of noise levels LOW:HIGH, comma-separated")
    parser.add_argument("--corpora", type=lambda s: [Path(p) for p in s.split(",")], default=CORPORA)
    parser.add_argument("--vae", default=f"{CODEC}/vae")
    parser.add_argument("--prompts", type=Path, default=Path(__file__).with_name("everyday_choice_prompts.jsonl"))
    parser.add_argument("--captions", type=int, default=48, help="captions of each split")
    parser.add_argument("--minutes", type=float, default=1.5, help="of training, for each variant, at most")
    parser.add_argument("--steps", type=int, default=100_000, help="of training, for each variant, at most")
    parser.add_argument("--scale", type=float, default=1.0, help="of the batch sizes")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("runs/causes"))
    args = parser.parse_args()
    lines = plan(args.corpora, args.prompts, args.captions)
    args.output.mkdir(parents=True, exist_ok=True)
    write_json_lines(args.output / "prompts.jsonl", lines)
    for low, high in args.intervals:
        teacher = LatentTransformer.from_pretrained(TEACHER).to(best_device())
        conditioner = TextConditioner.from_pretrained().to(best_device())
        file = args.output / f"interval_{low:g}_{high:g}.safetensors"
        write_latents(file, teacher, lines, conditioner, interval=(low, high))
    for name in args.variants:
        started, variant = time.monotonic(), VARIANTS[name]
        torch.manual_seed(0)
        conditioner = variant.conditioner()
        batches = {"scale": args.scale, "conditioner": conditioner, **variant.batches}
        source = load_batches(args.corpora, args.vae, 0, **batches)
        source.conditions.pooled *= variant.sentence
        shape = {"width": 640, "depth": 10, "heads": 10} | variant.shape
        net = LatentTransformer(source.silence.shape[0], **shape, dropout=0.1, takes_duration=True, takes_kept=True)
        settings = {
            "steps": args.steps,
            "lr": 6e-4,
            "warmup": 200,
            "weight_decay": 0.01,
            "ema": 0.998,
            "log_every": 100,
        }
        settings |= {"export": lambda net, folder: folder.mkdir(), "save_every": 10**6}
        method = methods.diffusion(variant.times)
        run = latent_run(f"causes_{name}", net, method, source, args.minutes, not args.no_compile, **settings)
        averaged = train(run, args.output / "runs" / name)
        write_latents(args.output / f"{name}.safetensors", averaged, lines, conditioner, sentence=variant.sentence)
        print(f"{name}: {time.monotonic() - started:.0f} s in all", flush=True)


if __name__ == "__main__":
    main()
