"""Training losses of speech, and the batches that distillation takes from a frozen speech encoder."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..codec.vae_net import MEL_MEAN, MEL_STD
from ..diffusion.denoiser import Condition
from .alignment import distribute_frames, monotonic_alignment
from .encoder import SpeechEncoder
from .encoder_net import SUBFRAMES, SpeechBatch

# (encoder, token states, batch, latent) -> durations [batch, token] in frames, and the loss of estimating them
Timing = Callable[[SpeechEncoder, Tensor, SpeechBatch, Tensor], tuple[Tensor, Tensor]]


class DenoiserLoss(Protocol):
    """The loss of a denoiser on latents and their Condition, such as a distillation method."""

    def loss(
        self, student: nn.Module, target: nn.Module | None, x: Tensor, cond: Condition, progress: Any
    ) -> Tensor: ...


class SpeechSource(Protocol):
    """Endless, resumable batches of (latents [batch, channel, frame], SpeechBatch)."""

    def __next__(self) -> tuple[Tensor, SpeechBatch]: ...

    def state_dict(self) -> dict[str, int]: ...

    def load_state_dict(self, state: dict[str, int]) -> None: ...


def known_durations(encoder: SpeechEncoder, states: Tensor, speech: SpeechBatch, x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the durations of the batch and no loss; for corpora whose durations are all known."""
    return speech.durations, x.new_zeros(())


def aligned_durations(mel_of: Callable[[Tensor], Tensor]) -> Timing:
    """Returns a timing that estimates unknown durations by alignment search over each token's average mel.

    `mel_of` maps latents to mel: `MelVAE.decode`. Deviation: Glow-TTS and CoMoSpeech align the frames of the prior; a
    latent frame (43 ms) is too long for that."""

    def timing(encoder: SpeechEncoder, states: Tensor, speech: SpeechBatch, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            mel = ((mel_of(x) - MEL_MEAN) / MEL_STD).float()
        template = encoder.template(states.transpose(1, 2)).float()
        mask = speech.mask.repeat_interleave(SUBFRAMES, 1)
        score = -torch.cdist(mel.transpose(1, 2), template.detach()).square()
        durations = monotonic_alignment(score, speech.token_mask, mask) / SUBFRAMES
        if speech.durations is not None:
            durations = torch.where(speech.durations.isfinite(), speech.durations, durations)
        fitted = torch.einsum("bnm,bfn->bmf", template, distribute_frames(durations * SUBFRAMES, mel.shape[2]))
        return durations, _masked_mean((mel - fitted).square().mean(1), mask)

    return timing


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Returns the mean of [batch, place] over the places of the mask."""
    return (values * mask).sum() / mask.sum().clamp_min(1)


class SpeechModel(nn.Module):
    """Speech encoder and denoiser, trained as one network."""

    def __init__(self, encoder: SpeechEncoder, transformer: nn.Module):
        super().__init__()
        self.encoder, self.transformer = encoder, transformer


@dataclass(frozen=True)
class SpeechLoss:
    """Duration, prior and denoiser loss of a `SpeechModel` on (latents, SpeechBatch).

    CoMoSpeech (Ye et al. 2023), eq. 9. Deviation: a Poisson likelihood of durations, whose optimum is their mean; the
    paper's squared error of logarithms gives speech faster than the voice. `pitch_share`: the share of rows whose pitch
    the encoder gets."""

    method: DenoiserLoss
    timing: Timing = known_durations
    pitch_share: float = 0.5
    prior_weight: float = 1.0
    duration_weight: float = 1.0

    def loss(
        self, student: SpeechModel, target: SpeechModel | None, x: Tensor, speech: SpeechBatch, progress: Any
    ) -> Tensor:
        """Returns the total loss."""
        encoder = student.encoder
        speech = hide_pitch(speech, self.pitch_share)
        states = encoder.states(speech)
        durations, timing_loss = self.timing(encoder, states, speech, x)
        log_rate = encoder.log_durations(states, speech).float()
        duration_loss = SUBFRAMES * (log_rate.exp() - durations * log_rate)  # Poisson, up to a constant, in subframes
        cond = encoder.condition(states, speech, durations, x.shape[2])
        prior_loss = _masked_mean((cond.prior - x).square().mean(1), cond.mask) / 2
        net = None if target is None else target.transformer
        loss = self.method.loss(student.transformer, net, x, cond, progress) + self.prior_weight * prior_loss
        return loss + self.duration_weight * _masked_mean(duration_loss, speech.token_mask) + timing_loss


def hide_pitch(speech: SpeechBatch, pitch_share: float) -> SpeechBatch:
    """Returns the batch with the pitch of a random share 1 - `pitch_share` of the rows set free."""
    if speech.pitch is None:
        return speech
    keep = torch.rand(len(speech.pitch), 1, 1, device=speech.pitch.device) < pitch_share
    return dataclasses.replace(speech, pitch=speech.pitch * keep)


class ConditionedBatches:
    """Converts batches of (latents, SpeechBatch) to (latents, Condition) by a frozen encoder, for distillation."""

    def __init__(
        self, source: SpeechSource, encoder: SpeechEncoder, timing: Timing = known_durations, pitch_share: float = 0.5
    ):
        self.source, self.encoder = source, encoder.requires_grad_(False).eval()
        self.timing, self.pitch_share = timing, pitch_share
        self.state_dict, self.load_state_dict = source.state_dict, source.load_state_dict

    def __iter__(self) -> "ConditionedBatches":
        return self

    @torch.no_grad()
    def __next__(self) -> tuple[Tensor, Condition]:
        x, speech = next(self.source)
        speech = hide_pitch(speech, self.pitch_share)
        states = self.encoder.states(speech)
        durations, _ = self.timing(self.encoder, states, speech, x)
        return x, self.encoder.condition(states, speech, durations, x.shape[2])
