"""Shared by the text-to-audio recipes: codec, latents with captions, stored teacher trajectories, common settings.

    python -m recipes.text_to_audio.data

As a program it encodes the train and valid clips of all corpora and packs them in one file, data/latents.safetensors,
that can be copied to a machine without the corpora: training recipes take it as `--corpora`. Latents are also kept in
data/latents, so that a second call encodes new clips only.
"""

import argparse
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from tqdm import tqdm

from audiocm.codec.codec import Codec
from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from audiocm.data.captions import encode_captions
from audiocm.data.latent_batches import LatentBatches, Role
from audiocm.data.latents import Latents, cached_latents, codec_key, concatenate_latents, pack, unpack
from audiocm.data.manifest import Clip, in_split, read_manifest
from audiocm.diffusion import paths, solvers
from audiocm.diffusion.denoiser import Condition, Net
from audiocm.diffusion.guidance import guided_net
from audiocm.distillation.states import NoisePair
from audiocm.models.text_encoder import TextConditioner
from audiocm.training.run import Loss, Run, best_device

NAMES = ("corpus", "rendered", "mixtures", "augmented", "extended", "everyday", "everyday1")
CORPORA = [Path("data") / name for name in NAMES]
CODEC = "audiocm/pretrained/codec"
CACHE = Path("data/latents")
_ARTICLE = re.compile(r"(an?|the) ", re.IGNORECASE)
SHARES = {
    "effect": 0.4,
    "everyday": 0.22,
    "instrument": 0.22,
    "mixture": 0.1,
    "music": 0.03,
    "speech": 0.03,
}  # of training samples, by kind
BUCKETS = [(256, 128), (136, 240)]  # (batch, frames): about the same number of frames a step
THING_POWER = 0.35  # a thing with n clips is drawn in proportion to n to this power
EDITING = 0.25  # share of training samples of which a part is known


def load_codec(vae: str, vocoder: str, device: torch.device) -> Codec:
    """Returns a trained codec. An empty `vocoder` is an untrained one; encoding needs only its mel front end."""
    net = Vocoder.from_pretrained(vocoder) if vocoder else Vocoder()
    return Codec(MelVAE.from_pretrained(vae).to(device).eval(), net.to(device).eval())


def captioned_clips(corpora: Sequence[Path], split: str, shares: Mapping[str, float] = SHARES) -> list[Clip]:
    """Returns the captioned clips of one split of corpus folders, of the kinds in `shares`.

    Of a texture that was extended, only the longer version is used."""
    clips: list[Clip] = []
    for root in corpora:
        try:
            clips += read_manifest(Path(root) / "manifest.jsonl", in_split(split))
        except ValueError as error:
            if "no clip in it" not in str(error):  # mixtures have no held-out part
                raise
    extended = any(clip.source.startswith("extended:") for clip in clips)
    short = [extended and clip.kind == "effect" and clip.role == "texture" and clip.seconds < 9 for clip in clips]
    return [c for c, is_short in zip(clips, short, strict=True) if c.captions and c.kind in shares and not is_short]


def clip_weights(clips: Sequence[Clip], shares: Mapping[str, float] = SHARES) -> dict[tuple[str, str], float]:
    """Returns the sampling weight of each clip by (file, source).

    Kinds are weighted by `shares`; inside a kind, a thing of n clips has the weight n^THING_POWER.
    """
    counts = Counter((clip.kind, clip.thing or clip.captions[0]) for clip in clips)
    raw = {(c.file, c.source): counts[c.kind, c.thing or c.captions[0]] ** (THING_POWER - 1) for c in clips}
    total = Counter[str]()
    for clip in clips:
        total[clip.kind] += raw[clip.file, clip.source]
    return {(c.file, c.source): raw[c.file, c.source] * shares[c.kind] / total[c.kind] for c in clips}


def role_of(clip: Clip) -> Role:
    """Returns how a clip may fill a window."""
    return {"event": Role.EVENT, "texture": Role.TEXTURE}.get(clip.role, Role.WHOLE)


def wordings(clip: Clip) -> tuple[str, ...]:
    """Returns the captions of a clip, each twice, and shorter and longer wordings of them: without the article, "the
    sound of" it, and the words of its AudioSet class."""
    short = [_ARTICLE.sub("", caption) for caption in clip.captions]
    phrases = [caption for caption in clip.captions if _ARTICLE.match(caption)]
    named = clip.thing.lower().split(", ") if clip.kind == "effect" and "(" not in clip.thing else []
    longer = [f"the sound of {caption}" for caption in phrases[:3]]
    return (*clip.captions, *clip.captions, *dict.fromkeys([*short, *longer, *named]))


def load_latents(corpora: Sequence[Path], vae: str, split: str, cache: Path = CACHE) -> Latents:
    """Returns the latents of one split of corpus folders (encoded once and kept in `cache`) and of packed files."""
    packed = [path for path in corpora if Path(path).suffix == ".safetensors"]
    parts = [unpack(path, in_split(split)) for path in packed]
    if folders := [path for path in corpora if path not in packed]:
        codec, clips = load_codec(vae, "", best_device()), captioned_clips(folders, split)
        parts.append(cached_latents(clips, codec, codec_key(codec.vae), cache, best_device(), batch=64))
    return concatenate_latents(parts)


def load_batches(
    corpora: Sequence[Path],
    vae: str,
    seed: int,
    split: str = "train",
    scale: float = 1.0,
    cache: Path = CACHE,
    captions: Callable[[Clip], tuple[str, ...]] = wordings,
    weigh: Callable[[Sequence[Clip]], dict[tuple[str, str], float]] = clip_weights,
    conditioner: TextConditioner | None = None,
) -> LatentBatches:
    """Returns batches of latents and captions of one split of all corpora. `scale` multiplies the batch sizes.

    conditioner: default the bundled one."""
    device = best_device()
    latents = load_latents(corpora, vae, split, cache)
    clips = [replace(clip, captions=captions(clip)) for clip in latents.clips]
    table = encode_captions(clips, conditioner or TextConditioner.from_pretrained().to(device), device)
    weights = weigh(latents.clips)
    buckets = [(max(2, round(batch * scale)), frames) for batch, frames in BUCKETS]
    sampling = {"dropout": 0.12, "tail": 0.4, "weight": lambda clip: weights[clip.file, clip.source]}
    sampling |= {"role": role_of, "editing": EDITING}
    return LatentBatches(latents, table, buckets, seed=seed, device=device, **sampling)


class Trajectories:
    """An endless source of stored (NoisePair, Condition): noise and end point of the guided teacher, its w and words.

    `count` pairs of each rank are made by 10 steps of Heun's method with w uniform in a range, and stay on the device in
    float16."""

    def __init__(self, teacher: Net, source: Iterator, count: int, w: tuple[float, float], seed: int = 0):
        self.step, self.seed, self.parts = 0, seed, []
        stored, bar = 0, tqdm(total=count, desc="trajectories")
        generator = torch.Generator(best_device()).manual_seed(seed + 1_000_003 * Accelerator().process_index)
        while stored < count:
            x, cond = next(source)
            cond = cond.with_guidance(w[0] + (w[1] - w[0]) * torch.rand(len(x), device=x.device, generator=generator))
            cond.null = torch.zeros_like(cond.null)
            eps = torch.randn(x.shape, device=x.device, generator=generator)
            times = solvers.ode_times(paths.edm, 10)
            with torch.no_grad(), torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda):
                end = solvers.sample(guided_net(teacher), paths.edm, eps, cond, times, solvers.heun)
            self.parts.append((end.half(), eps.half(), cond.to(x.device, torch.float16)))
            stored += len(x)
            bar.update(len(x))
        bar.close()

    def state_dict(self) -> dict[str, int]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.step = state["step"]

    def __next__(self) -> tuple[NoisePair, Condition]:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + self.step)
        self.step += 1
        end, eps, cond = self.parts[int(torch.randint(len(self.parts), (), generator=generator))]
        return NoisePair(end.float(), eps.float()), cond.to(end.device, torch.float32)


def latent_run(
    name: str, net: nn.Module, method: Loss, source: Iterator, minutes: float, compile: bool, **settings: Any
) -> Run:
    """Returns a Run of `minutes` in all calls, on a GPU in bfloat16 with CUDA graphs and, if set, compiled blocks."""
    on_gpu = best_device().type == "cuda"
    common = {"precision": "bf16" if on_gpu else "no", "cuda_graph": True, "save_every": 5000, "shard_mb": 15.0}
    settings = common | settings | {"compile": compile and on_gpu, "train_seconds": 60 * minutes}
    return Run(name, net, method, source, **settings)


def main() -> None:
    parser = argparse.ArgumentParser(description="Encode and pack the clips of the text-to-audio corpora.")
    parser.add_argument("--corpora", type=lambda s: [Path(p) for p in s.split(",")], default=CORPORA)
    parser.add_argument("--vae", default=f"{CODEC}/vae")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--output", type=Path, default=Path("data/latents.safetensors"))
    args = parser.parse_args()
    both = [load_latents(args.corpora, args.vae, split, args.cache) for split in ("train", "valid")]
    pack(concatenate_latents(both), args.output)
    print(f"{args.output}: {sum(len(part.clips) for part in both)} clips")


if __name__ == "__main__":
    main()
