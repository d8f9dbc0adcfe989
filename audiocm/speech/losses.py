"""Training losses of speech."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..codec.vae import MEL_MEAN, MEL_STD
from ..diffusion.denoiser import Condition
from .alignment import distribute_frames, monotonic_alignment
from .encoder import SUBFRAMES, SpeechBatch, SpeechEncoder

# --- training ---------------------------------------------------------------------------------------------------------

Timing = Callable[
    [SpeechEncoder, Tensor, SpeechBatch, Tensor], tuple[Tensor, Tensor]
]  # -> durations, loss of finding them


def known_durations(encoder: SpeechEncoder, states: Tensor, spoken: SpeechBatch, x: Tensor) -> tuple[Tensor, Tensor]:
    """The corpus' own durations, as a synthesiser knows them."""
    return spoken.durations, x.new_zeros(())


def aligned_durations(mel_of: Callable[[Tensor], Tensor]) -> Timing:
    """Durations by alignment search of each token's average mel, known ones as they are. Latent x -> mel: `MelVAE.decode`.

    Deviation from Glow-TTS and CoMoSpeech, which align what the prior predicts: a latent frame (43 ms) is too long for that.
    """

    def timing(encoder: SpeechEncoder, states: Tensor, spoken: SpeechBatch, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            mel = ((mel_of(x) - MEL_MEAN) / MEL_STD).float()
        template = encoder.template(states.transpose(1, 2)).float()
        mask = spoken.mask.repeat_interleave(SUBFRAMES, 1)
        found = (
            monotonic_alignment(-torch.cdist(mel.transpose(1, 2), template.detach()).square(), spoken.token_mask, mask)
            / SUBFRAMES
        )
        if spoken.durations is not None:
            found = torch.where(spoken.durations.isfinite(), spoken.durations, found)
        guess = torch.einsum("bnm,bfn->bmf", template, distribute_frames(found * SUBFRAMES, mel.shape[2]))
        return found, _mean((mel - guess).square().mean(1), mask)

    return timing


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of [batch, place] over the real places."""
    return (values * mask).sum() / mask.sum().clamp_min(1)


class Speaker(nn.Module):
    """Encoder and denoiser trained as one net."""

    def __init__(self, encoder: SpeechEncoder, transformer: nn.Module):
        super().__init__()
        self.encoder, self.transformer = encoder, transformer


@dataclass(frozen=True)
class SpeechLoss:
    """Duration + prior + the denoiser's method, for a `Speaker` on (latents, Spoken). CoMoSpeech (Ye et al. 2023), eq. 9.

    Durations by Poisson likelihood, whose best guess is the mean, so that sentences keep their length (squared errors of
    the logarithm, as in the paper, speak faster than the voice). `knowing`: share of the rows that are told their pitch.
    """

    method: object
    timing: Timing = known_durations
    knowing: float = 0.5
    prior_weight: float = 1.0
    duration_weight: float = 1.0

    def loss(self, student: Speaker, target: Speaker | None, x: Tensor, spoken: SpeechBatch, progress) -> Tensor:
        encoder = student.encoder
        spoken = hide_pitch(spoken, self.knowing)
        states = encoder.states(spoken)
        durations, aligning = self.timing(encoder, states, spoken, x)
        rate = encoder.log_durations(states, spoken).float()
        expected = SUBFRAMES * (rate.exp() - durations * rate)  # Poisson, without its constant, counted in subframes
        cond = encoder.condition(states, spoken, durations, x.shape[2])
        prior = _mean((cond.prior - x).square().mean(1), cond.mask) / 2
        net = None if target is None else target.transformer
        told = self.method.loss(student.transformer, net, x, cond, progress)
        return told + self.prior_weight * prior + self.duration_weight * _mean(expected, spoken.token_mask) + aligning


def hide_pitch(spoken: SpeechBatch, knowing: float) -> SpeechBatch:
    """The same, with the pitch of a random share of the rows made free."""
    if spoken.pitch is None:
        return spoken
    keep = torch.rand(len(spoken.pitch), 1, 1, device=spoken.pitch.device) < knowing
    return dataclasses.replace(spoken, pitch=spoken.pitch * keep)


class ConditionedBatches:
    """Batches of (latents, Spoken) as batches of (latents, Condition) by a frozen encoder: what distillation takes."""

    def __init__(self, source, encoder: SpeechEncoder, timing: Timing = known_durations, knowing: float = 0.5):
        self.source, self.encoder = source, encoder.requires_grad_(False).eval()
        self.timing, self.knowing = timing, knowing

    def __getattr__(self, name: str):
        return getattr(self.source, name)

    def __iter__(self):
        return self

    @torch.no_grad()
    def __next__(self) -> tuple[Tensor, Condition]:
        x, spoken = next(self.source)
        spoken = hide_pitch(spoken, self.knowing)
        states = self.encoder.states(spoken)
        durations, _ = self.timing(self.encoder, states, spoken, x)
        return x, self.encoder.condition(states, spoken, durations, x.shape[2])
