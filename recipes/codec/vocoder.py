"""The vocoder of the bundled codec: first without, then with a critic.

audiocm train recipes/codec/vocoder.py --output runs/vocoder_plain --adversarial False --minutes 5
audiocm train recipes/codec/vocoder.py --output runs/vocoder --start runs/vocoder_plain/model --vae runs/codec_vae/model --minutes 20
"""

from audiocm.codec.discriminators import WaveCritic
from audiocm.codec.losses import CodecCritic, SpectralDistance, VocoderLoss
from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from audiocm.training.run import Run, best_device
from recipes.codec.data import held_out, waves


def run(
    corpora: str = "data/corpus,data/rendered,data/speech",
    adversarial: bool = True,
    width: int = 320,
    start: str = "",
    vae: str = "",
    minutes: float = 5.0,
    steps: int = 300_000,
    batch: int = 32,
    seconds_per_crop: float = 0.68267,  # 64 mel frames
    lr: float = 0.0,
    seed: int = 0,
) -> Run:
    """`start`: a folder with the vocoder to go on from. `vae`: half of every batch voices this VAE's mels."""
    device = best_device()
    net = Vocoder.from_pretrained(start) if start else Vocoder(width=width)
    judge = WaveCritic().to(device) if adversarial else None
    frozen = MelVAE.from_pretrained(vae).to(device).requires_grad_(False) if vae else None
    distance = SpectralDistance().to(device)
    terms = VocoderLoss(judge, frozen, distance)
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
        "codec_vocoder" if adversarial else "codec_vocoder_plain",
        net,
        terms,
        waves(corpora, seconds_per_crop, batch, seed, device),
        steps=steps,
        lr=lr or (3e-4 if adversarial else 1e-3),
        warmup=500,
        betas=(0.8, 0.99),
        weight_decay=1e-3,
        ema=0.9995 if adversarial else 0.999,
        critic=CodecCritic(judge, terms) if judge is not None else None,
        critic_lr=2e-4,
        clip=5.0,
        precision="bf16" if device.type == "cuda" else "no",
        seed=seed,
        budget=60 * minutes,
        save_every=5000,
        log_every=200,
        validate=validate,
        validate_every=2000,
        cuda_graph=True,
        shard_mb=15.0,
    )
