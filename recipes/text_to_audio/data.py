"""What the text-to-audio recipes share: the codec, latents with words, and stored trajectories of the teacher.

    python -m recipes.text_to_audio.data --corpora data/corpus,data/rendered,data/mixtures,data/augmented --output data/latents.safetensors

encodes the train and valid clips and packs them in one file that travels to another machine; the recipes take it as `--corpora`.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from audiocm.codec.codec import Codec
from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from audiocm.data.batches import LatentBatches, encode_captions
from audiocm.data.latents import Latents, cached_latents, codec_key, concatenate_latents, pack, unpack
from audiocm.data.manifest import Clip, in_split, read_manifest
from audiocm.diffusion import paths, solvers
from audiocm.diffusion.denoiser import Condition, Net
from audiocm.diffusion.guidance import guided_net
from audiocm.distillation.states import NoisePair
from audiocm.models.text_encoder import TextConditioner
from audiocm.training.run import best_device

CORPORA = "data/corpus,data/rendered,data/mixtures,data/augmented"
CODEC = "audiocm/pretrained/codec"
SHARES = {"effect": 0.58, "instrument": 0.22, "mixture": 0.13, "music": 0.04, "speech": 0.03}  # of samples
BUCKETS = [(256, 128), (136, 240)]  # the same number of frames a step


def codec(vae: str, vocoder: str, device: torch.device) -> Codec:
    """The trained codec; an empty `vocoder` is an untrained one (encoding needs only its mel front end)."""
    voice = Vocoder.from_pretrained(vocoder) if vocoder else Vocoder()
    return Codec(MelVAE.from_pretrained(vae).to(device).eval(), voice.to(device).eval())


def clips_of(corpora: Sequence[str], split: str) -> list[Clip]:
    """The captioned clips of one split of corpus folders that the teacher learns from."""
    clips: list[Clip] = []
    for root in corpora:
        try:
            clips += read_manifest(Path(root) / "manifest.jsonl", in_split(split))
        except ValueError as error:
            if "no clip in it" not in str(error):  # mixtures have no held-out part
                raise
    return [clip for clip in clips if clip.captions and clip.kind in SHARES]


def latents_of(corpora: str, vae: str, split: str, device: torch.device, cache: str = "data/latents") -> Latents:
    """Latents of one split of comma-separated corpus folders (encoded once, kept in `cache`) and packed files."""
    names = corpora.split(",")
    packed = [name for name in names if name.endswith(".safetensors")]
    parts = [unpack(name, in_split(split)) for name in packed]
    folders = [name for name in names if name not in packed]
    if folders:
        voice = codec(vae, "", device)
        parts.append(cached_latents(clips_of(folders, split), voice, codec_key(voice.vae), cache, device, batch=64))
    return concatenate_latents(parts)


def batches(
    corpora: str,
    vae: str,
    device: torch.device,
    seed: int,
    split: str = "train",
    scale: float = 1.0,
    cache: str = "data/latents",
) -> LatentBatches:
    """Latents and words of one split of all corpora. `scale` shrinks the batches for small machines."""
    latents = latents_of(corpora, vae, split, device, cache)
    words = encode_captions(latents.clips, TextConditioner.from_pretrained().to(device), device)
    weight = weights(latents.clips)
    buckets = [(max(2, round(batch * scale)), frames) for batch, frames in BUCKETS]
    return LatentBatches(
        latents,
        words,
        buckets,
        dropout=0.12,
        tail=0.4,
        weight=lambda clip: weight[clip.file, clip.source],
        seed=seed,
        device=device,
    )


def weights(clips: list[Clip]) -> dict[tuple[str, str], float]:
    """Kinds by `SHARES`; inside a kind, clips that share their name with n others count 1 / sqrt(n)."""
    names = Counter((clip.kind, clip.captions[0]) for clip in clips)
    raw = {(clip.file, clip.source): names[clip.kind, clip.captions[0]] ** -0.5 for clip in clips}
    total = Counter[str]()
    for clip in clips:
        total[clip.kind] += raw[clip.file, clip.source]
    return {(c.file, c.source): raw[c.file, c.source] * SHARES[c.kind] / total[c.kind] for c in clips}


class Trajectories:
    """Stored pairs of the guided teacher (its noise, its end point) with the w and the words they were made with.

    An endless source of `(Coupled, Condition)`; the pairs stay on the device in float16.
    """

    def __init__(self, teacher: Net, source: LatentBatches, count: int, steps: int = 10, w=(0.0, 6.0), seed: int = 0):
        self.step, self.seed, self.parts = 0, seed, []
        made, bar = 0, tqdm(total=count, desc="trajectories")
        while made < count:
            x, cond = next(source)
            cond = cond.with_guidance(w[0] + (w[1] - w[0]) * torch.rand(len(x), device=x.device))
            cond.null = torch.zeros_like(cond.null)
            eps = torch.randn_like(x)
            with torch.no_grad(), torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda):
                end = solvers.sample(
                    guided_net(teacher), paths.edm, eps, cond, solvers.ode_times(paths.edm, steps), solvers.heun
                )
            self.parts.append((end.half(), eps.half(), cond.to(x.device, torch.float16)))
            made += len(x)
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


def held_out_error(teacher_like: Net, held: list[tuple[Tensor, Condition]]) -> dict[str, float]:
    """Error of the clean estimate on held-out latents at five noise levels (1: no better than guessing the mean)."""
    values = {}
    for sigma in (0.3, 1.0, 3.0, 10.0, 40.0):
        errors = []
        for i, (x, cond) in enumerate(held):
            noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(i)).to(x)
            t = torch.full((len(x),), sigma, device=x.device)
            cond.null = torch.zeros_like(cond.null)
            clean = teacher_like(x + sigma * noise, t, None, cond).float()
            valid = cond.mask[:, None].float()
            errors.append((((clean - x) ** 2) * valid).sum() / (valid.sum() * x.shape[1]))
        values[f"error_{sigma:g}"] = float(torch.stack(errors).mean())
    return values | {"error": sum(values.values()) / len(values)}


def main() -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", default=CORPORA)
    parser.add_argument("--vae", default=CODEC + "/vae")
    parser.add_argument("--cache", default="data/latents")
    parser.add_argument("--output", default="data/latents.safetensors")
    args = parser.parse_args()
    both = [latents_of(args.corpora, args.vae, split, best_device(), args.cache) for split in ("train", "valid")]
    pack(concatenate_latents(both), args.output)
    print(f"{args.output}: {sum(len(part.clips) for part in both)} clips")


if __name__ == "__main__":
    main()
