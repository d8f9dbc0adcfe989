"""wav <-> latent: VAE and vocoder together."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .vae import MelVAE
from .vocoder import Vocoder


class Codec:
    """A `MelVAE` and a `Vocoder` as one wav <-> latent map. Holds no weights of its own.

    `iterations`: Griffin-Lim steps after the vocoder's proposal (None: the vocoder's own). Noisy sounds want them, speech sounds
    better without.
    """

    def __init__(self, vae: MelVAE, vocoder: Vocoder, iterations: int | None = None):
        self.vae, self.vocoder, self.iterations = vae, vocoder, iterations
        self.sample_rate: int = vocoder.config.sample_rate
        self.samples_per_frame: int = vocoder.config.hop * vae.compression
        self.frame_rate: float = self.sample_rate / self.samples_per_frame
        self.channels: int = vae.config.channels

    def frames(self, seconds: float) -> int:
        """Latent frames that cover `seconds`."""
        return max(1, math.ceil(seconds * self.frame_rate - 1e-9))

    @torch.no_grad()
    def encode(self, wav: Tensor) -> Tensor:
        """wav `[batch, sample]` at `sample_rate` (zero-padded to whole frames) -> latent `[batch, channels, frame]`."""
        if wav.ndim != 2:
            raise ValueError(f"wav must be [batch, sample], got shape {tuple(wav.shape)}")
        wav = F.pad(wav, (0, -wav.shape[1] % self.samples_per_frame))
        return self.vae.encode(self.vocoder.mel(wav))

    @torch.no_grad()
    def decode(self, latent: Tensor, loudest: float | None = None) -> Tensor:
        """Latent `[batch, channels, frame]` -> wav `[batch, sample]`, float32. Not clipped: see `pipelines` for the checks.

        `loudest`: RMS that no frame may pass, for latents that a net made up: one in the loudness channel that is half a
        std too high is four times too loud.
        """
        log_mel = self.vae.decode(latent)
        return self.vocoder(log_mel if loudest is None else self.vocoder.mel.limited(log_mel, loudest), self.iterations)
