"""The mel VAE of the bundled codec, trained on sounds, instruments and speech alike.

    audiocm train recipes/codec/vae.py --output runs/vae_plain --critic False --minutes 2 [--corpora data/corpus,data/rendered,data/speech]
    audiocm train recipes/codec/vae.py --output runs/codec_vae --start runs/vae_plain/model --minutes 2

L1 for the mean, likelihood for the std; then patch discriminators on the log-mel share the gradient.
"""

from pathlib import Path

import torch

from audiocm.audio.spectral import LogMel
from audiocm.codec.discriminators import MelCritic
from audiocm.codec.losses import CodecCritic, VAELoss
from audiocm.codec.vae import MelVAE
from audiocm.data.batches import WaveBatches
from audiocm.training.run import Run, best_device
from recipes.codec.data import held_out, waves, whitened


def run(
    corpora: str = "data/corpus,data/rendered,data/speech",
    minutes: float = 4.0,
    steps: int = 60_000,
    batch: int = 48,
    seconds_per_crop: float = 2.73067,  # 256 mel frames
    channels: int = 160,
    widths: str = "256,320,384",
    critic: bool = True,
    start: str = "",
    share: float = 0.5,
    kl: float = 1e-2,
    emphasis: float = 0.5,
    lr: float = 0.0,
    seed: int = 0,
) -> Run:
    """`minutes` in all calls together; stops early after `steps`. `start`: a VAE to go on from. `emphasis`: see `MelVAE.emphasise`."""
    device = best_device()
    shape = {"channels": channels, "widths": tuple(int(w) for w in widths.split(","))}
    mel, net = LogMel().to(device), MelVAE.from_pretrained(start) if start else MelVAE(**shape)
    judge = MelCritic().to(device) if critic else None
    terms = VAELoss(mel, judge, kl=kl, share=share, warm=0.1)
    batches: WaveBatches = waves(corpora, seconds_per_crop, batch, seed, device)
    wavs = held_out(corpora, device)
    if not start:
        net.to(device).begin(torch.cat([mel(next(batches)[0]) for _ in range(24)]))

    def validate(vae: MelVAE) -> dict[str, float]:
        log_mel = mel(wavs)
        mean, std = vae.reconstruct(vae.posterior(log_mel)[0])
        return {"mel_l1": (mean - log_mel).abs().mean(), "std": std.mean()}

    def export(vae: MelVAE, folder: Path) -> None:
        whitened(vae.eval(), mel, batches).emphasise(vae.encode(mel(wavs[:16])), emphasis)
        vae.save_pretrained(folder)

    return Run(
        "codec_vae",
        net,
        terms,
        batches,
        steps=steps,
        lr=lr or (3e-4 if start else 1e-3),
        warmup=300,
        betas=(0.8, 0.99),
        weight_decay=1e-3,
        ema=0.999,
        critic=CodecCritic(judge, terms) if judge is not None else None,
        critic_lr=2e-4,
        clip=5.0,
        precision="bf16" if device.type == "cuda" else "no",
        seed=seed,
        budget=60 * minutes,
        save_every=4000,
        log_every=100,
        validate=validate,
        validate_every=1000,
        cuda_graph=True,
        export=export,
        shard_mb=15.0,
    )
