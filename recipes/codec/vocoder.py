"""The vocoder of the bundled codec: first on true mels, then half of each batch on the VAE's.

    audiocm train recipes/codec/vocoder.py --output runs/vocoder1
    audiocm train recipes/codec/vocoder.py --output runs/vocoder --start runs/vocoder1/model --vae runs/codec_vae/model

Made audiocm/pretrained/codec/vocoder: 2.6 minutes (24,328 steps), then 2.4 minutes (20,997 steps) on one H100, seed 0.
The budget is by the clock: runs differ. On held-out audio the codec keeps 0.915 of the tagger's hits at an FD of 2.15
in YAMNet's space; PESQ of speech is 3.22, DNSMOS 3.00 (originals 3.09), see samples/codec_scores.json. With a critic in
place of the second command (2.4 minutes), PESQ on ten sentences was 3.16, with this one 3.35.
"""

from audiocm.codec.losses import SpectralDistance, VocoderLoss
from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from audiocm.training.run import Run, best_device
from recipes.codec.data import held_out, waves


def run(
    corpora: str = "data/corpus,data/rendered,data/speech",
    width: int = 320,
    start: str = "",
    vae: str = "",
    minutes: float = 0.0,
    steps: int = 300_000,
    batch: int = 32,
    seconds_per_crop: float = 0.68267,  # 64 mel frames
    lr: float = 0.0,
    seed: int = 0,
) -> Run:
    """Trains for `minutes` in all calls together, or for `steps` if they come first.

    `corpora`: comma-separated folders. `start`: folder of a vocoder to go on from. `vae`: folder of the VAE whose mels
    are the input of half of each batch. `minutes` 0: 2.6, or 2.4 with `start`. `lr` 0: 1e-3, or 5e-4 with `start`."""
    device = best_device()
    net = Vocoder.from_pretrained(start) if start else Vocoder(width=width)
    frozen = MelVAE.from_pretrained(vae).to(device).requires_grad_(False) if vae else None
    recode = None if frozen is None else lambda log_mel: frozen.decode(frozen.encode(log_mel))
    distance = SpectralDistance().to(device)
    wavs = held_out(corpora, device)

    def validate(vocoder: Vocoder) -> dict[str, float]:
        log_mel = vocoder.mel(wavs)
        plain, refined = vocoder(log_mel, 0), vocoder(log_mel)
        return {
            "distance": distance(refined, wavs),
            "distance_plain": distance(plain, wavs),
            "mel_l1": (vocoder.mel(refined) - log_mel).abs().mean(),
            "mel_l1_plain": (vocoder.mel(plain) - log_mel).abs().mean(),
        }

    return Run(
        "codec_vocoder",
        net,
        VocoderLoss(distance, recode),
        waves(corpora, seconds_per_crop, batch, seed, device),
        steps=steps,
        lr=lr or (5e-4 if start else 1e-3),
        warmup=500,
        betas=(0.8, 0.99),
        weight_decay=1e-3,
        max_grad_norm=5.0,
        precision="bf16" if device.type == "cuda" else "no",
        seed=seed,
        train_seconds=60 * (minutes or (2.4 if start else 2.6)),
        save_every=5000,
        log_every=200,
        validate=validate,
        validate_every=2000,
        cuda_graph=True,
        shard_mb=15.0,
    )
