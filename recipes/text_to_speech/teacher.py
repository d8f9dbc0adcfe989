"""The text-to-speech teacher: speech encoder, durations and EDM diffusion of latents, trained as one (CoMoSpeech, Grad-TTS).

    audiocm train recipes/text_to_speech/teacher.py --output runs/tts_teacher --minutes 20
    audiocm train recipes/text_to_speech/teacher.py --output runs/my_teacher --corpora my/recordings --start audiocm/pretrained/tts-teacher --minutes 5

The second line trains a new voice from a folder (see recipes/text_to_speech/data.py for the layouts, and for packed files that take a
folder's place). What it learns of following F0 it learns from recipes/corpora/speech/singing.py. Writes model/ and speech-encoder/
beside it; copy them to audiocm/pretrained/tts-teacher and audiocm/pretrained/speech-encoder to use them by name.
Durations: the synthetic voice's own, since they are exact; for recordings alignment search, since it needs nothing but them.
"""

from pathlib import Path

import torch

from audiocm.distillation import methods
from audiocm.distillation.states import independent_noise, prior_centred_noise
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines.loading import SPEECH, save_bundle
from audiocm.speech.encoder import SpeechEncoder
from audiocm.speech.losses import Speaker, SpeechLoss
from audiocm.training.run import Run, best_device
from recipes.text_to_speech.data import CODEC, CORPORA, MAX_FRAMES, batches, encoder_of, timing, voices_of

LEVELS = (0.3, 1.0, 3.0, 10.0, 40.0)


def exporter(noise_mean: float, steps: int = 50):
    """Writes the bundled folders tts-teacher and, beside it, speech-encoder."""

    def export(net: Speaker, folder: Path) -> None:
        settings = {"num_inference_steps": steps, "guidance_scale": 1.0, "noise_mean": noise_mean}
        save_bundle(folder, net.transformer, SPEECH, **settings)
        net.encoder.save_pretrained(Path(folder).parent / "speech-encoder", variant="int8")

    return export


def held_out(loss: SpeechLoss, held: list, noise_mean: float):
    """Errors on held-out speech: of the prior, of durations (share of the length, and of each symbol) and denoising."""

    def validate(net: Speaker) -> dict[str, float]:
        values: dict[str, list] = {}
        for i, (x, spoken) in enumerate(held):
            spoken.null = torch.zeros_like(spoken.null)
            states = net.encoder.states(spoken)
            durations, _ = loss.timing(net.encoder, states, spoken, x)
            cond = net.encoder.condition(states, spoken, durations, x.shape[2])
            mask, rate = cond.mask[:, None], net.encoder.log_durations(states, spoken).exp() * spoken.token_mask
            noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(i)).to(x)
            noise = noise + noise_mean * cond.prior
            found = {"prior": _error(cond.prior, x, mask)}
            found["duration"] = ((rate - durations).abs() * spoken.token_mask).sum() / durations.sum()
            found["length"] = (rate.sum(1) / durations.sum(1)).mean()
            for sigma in LEVELS:
                t = torch.full((len(x),), sigma, device=x.device)
                found[f"error_{sigma:g}"] = _error(net.transformer(x + sigma * noise, t, None, cond), x, mask)
            for name, value in found.items():
                values.setdefault(name, []).append(float(value))
        means = {name: sum(found) / len(found) for name, found in values.items()}
        return means | {"error": sum(means[f"error_{sigma:g}"] for sigma in LEVELS) / len(LEVELS)}

    return validate


def _error(guess, x, mask):
    return ((guess.float() - x).square() * mask).sum() / (mask.sum() * x.shape[1])


def started(encoder: SpeechEncoder, transformer: LatentTransformer, start: str) -> Speaker:
    """The net, from an earlier teacher's model folder if one is named: a voice that it does not know starts as the mean of
    those that it knows."""
    net = Speaker(encoder, transformer)
    if start:
        old = encoder_of(start, encoder.device)
        known, weights = list(old.config.voices), old.state_dict()
        rows = weights.pop("voice.weight")
        encoder.load_state_dict(weights, strict=False)
        with torch.no_grad():
            for row, voice in zip(encoder.voice.weight, encoder.config.voices, strict=True):
                row.copy_(rows[known.index(voice)] if voice in known else rows.mean(0))
        transformer.load_state_dict(LatentTransformer.from_pretrained(start).state_dict())
    return net


def run(
    corpora: str = CORPORA,
    vae: str = CODEC + "/vae",
    start: str = "",
    minutes: float = 20.0,
    steps: int = 200_000,
    scale: float = 1.0,
    width: int = 384,
    depth: int = 12,
    encoder_width: int = 256,
    encoder_depth: int = 5,
    noise_mean: float = 1.0,
    compile: bool = True,
    lr: float = 5e-4,
    warmup: int = 500,
    jobs: int = 1,
    cache: str = "data/latents",
    seed: int = 0,
) -> Run:
    """`minutes` in all calls together. noise_mean 1: noise around the prior (CoMoSpeech), 0: zero-mean. `start`: a teacher to go on from."""
    if noise_mean not in (0.0, 1.0):
        raise ValueError(f"noise_mean {noise_mean:g}: must be 1 (around the prior) or 0 (zero-mean)")
    device, voices = best_device(), voices_of(corpora)
    source = batches(corpora, voices, vae, device, seed, scale=scale, cache=cache, n_jobs=jobs)
    valid = batches(corpora, voices, vae, device, seed + 1, "valid", min(scale, 0.25), cache, jobs)
    held = [next(valid) for _ in range(4)]
    channels = source.silence.shape[0]
    encoder = SpeechEncoder(channels, encoder_width, encoder_depth, voices=voices, follows_pitch=True)
    transformer = LatentTransformer(
        channels, width, depth, heads=max(1, width // 64), token_width=encoder_width, pooled_width=encoder_width,
        max_frames=MAX_FRAMES, prior_channels=channels,
    )  # fmt: skip
    net = started(encoder, transformer, start)
    coupling = prior_centred_noise if noise_mean else independent_noise
    loss = SpeechLoss(methods.diffusion(methods.latent_times, coupling=coupling), timing(source, home=vae))
    return Run(
        "tts_teacher",
        net,
        loss,
        source,
        steps=steps,
        lr=lr,
        warmup=warmup,
        weight_decay=0.01,
        ema=0.9995,
        precision="bf16" if device.type == "cuda" else "no",
        seed=seed,
        budget=60 * minutes,
        save_every=5000,
        log_every=200,
        validate=held_out(loss, held, noise_mean),
        validate_every=3000,
        cuda_graph=True,
        compile=compile and device.type == "cuda",
        export=exporter(noise_mean),
        shard_mb=15.0,
    )
