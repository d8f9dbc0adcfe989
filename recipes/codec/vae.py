"""The mel VAE of the bundled codec, trained on sounds, instruments and speech.

    audiocm train recipes/codec/vae.py --output runs/codec_vae

Made audiocm/pretrained/codec/vae: 2.5 minutes on one H100 (13,343 steps), seed 0. The budget is by the clock: another
run differs. Through Griffin-Lim, the VAE's mels keep 0.876 of the tagger's hits and true mels 0.922, at a log-mel L1 of
0.188 and 0.105 (samples/codec_scores.json).
"""

from pathlib import Path

import torch

from audiocm.audio.spectral import LogMel
from audiocm.codec.losses import VAELoss
from audiocm.codec.vae import MelVAE
from audiocm.training.run import Run, best_device
from recipes.codec.data import held_out, waves, whiten


def run(
    corpora: str = "data/corpus,data/rendered,data/speech",
    minutes: float = 2.5,
    steps: int = 60_000,
    batch: int = 48,
    seconds_per_crop: float = 2.73067,  # 256 mel frames
    channels: int = 160,
    start: str = "",
    kl: float = 1e-2,
    sensitivity_power: float = 0.5,
    lr: float = 0.0,
    seed: int = 0,
) -> Run:
    """Trains for `minutes` in all calls together, or for `steps` if they come first.

    `corpora`: comma-separated folders. `start`: folder of a VAE to fine-tune. `sensitivity_power`: see
    `MelVAE.rescale_by_sensitivity`. `lr` 0: 1e-3, or 3e-4 with `start`."""
    device = best_device()
    mel, net = LogMel().to(device), MelVAE.from_pretrained(start) if start else MelVAE(channels=channels)
    batches = waves(corpora, seconds_per_crop, batch, seed, device)
    wavs = held_out(corpora, device)
    if not start:
        net.to(device).init_from_pca(torch.cat([mel(next(batches)[0]) for _ in range(24)]))

    def validate(vae: MelVAE) -> dict[str, float]:
        log_mel = mel(wavs)
        mean, std = vae.reconstruct(vae.posterior(log_mel)[0])
        return {"mel_l1": (mean - log_mel).abs().mean(), "std": std.mean()}

    def export(vae: MelVAE, folder: Path) -> None:
        whiten(vae.eval(), mel, batches).rescale_by_sensitivity(vae.encode(mel(wavs[:16])), sensitivity_power)
        vae.save_pretrained(folder)

    return Run(
        "codec_vae",
        net,
        VAELoss(mel, kl),
        batches,
        steps=steps,
        lr=lr or (3e-4 if start else 1e-3),
        warmup=300,
        betas=(0.8, 0.99),
        weight_decay=1e-3,
        max_grad_norm=5.0,
        precision="bf16" if device.type == "cuda" else "no",
        seed=seed,
        train_seconds=60 * minutes,
        save_every=4000,
        log_every=100,
        validate=validate,
        validate_every=1000,
        cuda_graph=True,
        export=export,
        shard_mb=15.0,
    )
