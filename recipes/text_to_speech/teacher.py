"""The text-to-speech teacher: speech encoder, durations and EDM diffusion of latents, trained as one network.

    audiocm train recipes/text_to_speech/teacher.py --output runs/tts_first
    audiocm train recipes/text_to_speech/teacher.py --output runs/tts_teacher --start runs/tts_first/model --lr 3e-4

CoMoSpeech (Ye et al. 2023) and Grad-TTS (Popov et al. 2021). The calls that made the bundled `tts-teacher` and
`speech-encoder` are in recipes/README.md ("Speech that is read and edited"). A new voice: `--corpora FOLDER --start
audiocm/pretrained/tts-teacher`. Exact durations are used where a corpus has them, alignment search elsewhere. Writes
model/ and, beside it, speech-encoder/.

The network also takes the known frames of a recording, which a share `--editing` of the samples has, so that one
training serves reading and the editing of speech (Voicebox, Le et al. 2023, section 3.2). A `--start` without known
frames is trained on as one with them.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from audiocm.distillation import methods
from audiocm.distillation.states import independent_noise, prior_centred_noise
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines.loading import SPEECH_ENCODER, save_bundle
from audiocm.speech.encoder import SpeechEncoder
from audiocm.speech.encoder_net import SpeechBatch
from audiocm.speech.losses import SpeechLoss, SpeechModel
from audiocm.training.run import Run, best_device
from recipes.text_to_audio.data import CACHE, latent_run
from recipes.text_to_audio.teacher import LEVELS
from recipes.text_to_speech.data import (
    CORPORA,
    EDITING,
    MAX_FRAMES,
    VAE,
    choose_timing,
    corpus_voices,
    load_batches,
    load_speech_encoder,
)


def make_export(noise_mean: float) -> Callable[[SpeechModel, Path], None]:
    """Returns a function that writes folders like the bundled tts-teacher and, beside it, speech-encoder."""

    def export(net: SpeechModel, folder: Path) -> None:
        settings = {"num_inference_steps": 50, "guidance_scale": 1.0, "noise_mean": noise_mean}
        save_bundle(folder, net.transformer, SPEECH_ENCODER, **settings)
        net.encoder.save_pretrained(Path(folder).parent / "speech-encoder", variant="int8")

    return export


def held_out_errors(
    loss: SpeechLoss, held_out: list[tuple[Tensor, SpeechBatch]], noise_mean: float
) -> Callable[[SpeechModel], dict[str, float]]:
    """Returns a function that computes the errors of a network on held-out speech.

    They are those of the prior, of durations (share of the length, and of each symbol) and of clean estimates by noise
    level."""

    def relative_error(estimate: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        return ((estimate.float() - x).square() * mask).sum() / (mask.sum() * x.shape[1])

    def validate(net: SpeechModel) -> dict[str, float]:
        values: dict[str, list[float]] = {}
        for i, (x, speech) in enumerate(held_out):
            speech.null = torch.zeros_like(speech.null)
            states = net.encoder.states(speech)
            durations, _ = loss.timing(net.encoder, states, speech, x)
            cond = net.encoder.condition(states, speech, durations, x.shape[2])
            mask, rate = cond.mask[:, None], net.encoder.log_durations(states, speech).exp() * speech.token_mask
            noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(i)).to(x) + noise_mean * cond.prior
            errors = {"prior": relative_error(cond.prior, x, mask)}
            errors["duration"] = ((rate - durations).abs() * speech.token_mask).sum() / durations.sum()
            errors["length"] = (rate.sum(1) / durations.sum(1)).mean()
            for sigma in LEVELS:
                t = torch.full((len(x),), sigma, device=x.device)
                estimate = net.transformer(x + sigma * noise, t, None, cond)
                errors[f"error_{sigma:g}"] = relative_error(estimate, x, mask)
            for name, value in errors.items():
                values.setdefault(name, []).append(float(value))
        means = {name: sum(one) / len(one) for name, one in values.items()}
        return means | {"error": sum(means[f"error_{sigma:g}"] for sigma in LEVELS) / len(LEVELS)}

    return validate


def load_weights(net: SpeechModel, start: str) -> None:
    """Loads the weights of an earlier teacher's model folder; new voices start as the mean of the voices it knows.

    Raises ValueError if it takes known frames, or shares its states, and this network does not."""
    encoder = net.encoder
    old = load_speech_encoder(start, encoder.device)
    if old.shares_states and not encoder.shares_states:
        raise ValueError(f"the token states of {start} are those of no voice: shares_states must be true")
    known, weights = list(old.config.voices), old.state_dict()
    rows = weights.pop("voice.weight")
    if encoder.shares_states and not old.shares_states:  # whose states had a voice
        weights["symbol.weight"] = weights["symbol.weight"] + rows.mean(0)
    encoder.load_state_dict(weights, strict=False)
    with torch.no_grad():
        for row, voice in zip(encoder.voice.weight, encoder.config.voices, strict=True):
            row.copy_(rows[known.index(voice)] if voice in known else rows.mean(0))
    transformer = LatentTransformer.from_pretrained(start)
    if transformer.takes_kept and not net.transformer.takes_kept:
        raise ValueError(f"{start} takes known frames: editing must be over 0")
    net.transformer.load_weights_of(transformer)


def run(
    corpora: list[Path] = CORPORA,
    vae: str = VAE,
    start: str = "",
    minutes: float = 15.0,
    steps: int = 200_000,
    scale: float = 1.0,
    width: int = 320,
    depth: int = 10,
    encoder_width: int = 256,
    encoder_depth: int = 5,
    shares_states: bool = True,
    noise_mean: float = 1.0,
    editing: float = EDITING,
    lr: float = 5e-4,
    warmup: int = 500,
    compile: bool = True,
    jobs: int = 1,
    cache: Path = CACHE,
    seed: int = 0,
) -> Run:
    """Returns the training: `minutes` in all calls together, at most `steps`. `start` is a teacher to train on.

    shares_states: token states are those of no voice, so that a voice with few clips reads as well as the others.
    noise_mean: 1 centres the noise on the prior (CoMoSpeech), 0 on zero. editing: share of samples of which a part is
    known, which the network is then told; 0 for a network that takes no known frames. Raises ValueError for another
    value."""
    if noise_mean not in (0.0, 1.0):
        raise ValueError(f"noise_mean {noise_mean:g}: must be 1 (around the prior) or 0 (zero-mean)")
    device, voices = best_device(), corpus_voices(corpora)
    source = load_batches(corpora, voices, vae, device, seed, scale=scale, cache=cache, n_jobs=jobs, editing=editing)
    valid = load_batches(corpora, voices, vae, device, seed + 1, "valid", min(scale, 0.25), cache, jobs)
    held_out = [next(valid) for _ in range(4)]
    channels = source.silence.shape[0]
    options = {"voices": voices, "follows_pitch": True, "shares_states": shares_states}
    encoder = SpeechEncoder(channels, encoder_width, encoder_depth, **options)
    inputs = {"token_width": encoder_width, "pooled_width": encoder_width, "prior_channels": channels}
    shape = {"width": width, "depth": depth, "heads": max(1, width // 64), "max_frames": MAX_FRAMES}
    shape["takes_kept"] = editing > 0
    net = SpeechModel(encoder, LatentTransformer(channels, **shape, **inputs))
    if start:
        load_weights(net, start)
    coupling = prior_centred_noise if noise_mean else independent_noise
    loss = SpeechLoss(methods.diffusion(methods.latent_times, coupling=coupling), choose_timing(source, vae))
    settings = {"steps": steps, "lr": lr, "warmup": warmup, "weight_decay": 0.01, "ema": 0.9995, "seed": seed}
    settings |= {"validate": held_out_errors(loss, held_out, noise_mean), "validate_every": 3000, "log_every": 200}
    return latent_run("tts_teacher", net, loss, source, minutes, compile, export=make_export(noise_mean), **settings)
