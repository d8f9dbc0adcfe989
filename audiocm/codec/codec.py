"""The codec: VAE and vocoder as one map between waveforms and latents."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .vae_net import MelVAENet
from .vocoder_net import VocoderNet

CPU_ROWS = 4


class Codec:
    """Encodes waveforms to latents with a `MelVAE` and decodes them with it and a `Vocoder`; owns no weights.

    `iterations`: Griffin-Lim steps of decoding (None: the vocoder's own). They improve noisy sounds; speech is better
    with 0."""

    def __init__(self, vae: MelVAENet, vocoder: VocoderNet, iterations: int | None = None):
        self.vae, self.vocoder, self.iterations = vae, vocoder, iterations
        self.sample_rate: int = vocoder.config.sample_rate
        self.samples_per_frame: int = vocoder.config.hop * vae.compression
        self.frame_rate: float = self.sample_rate / self.samples_per_frame
        self.channels: int = vae.config.channels

    def frames(self, seconds: float) -> int:
        """Returns the number of latent frames that cover `seconds`."""
        return max(1, math.ceil(seconds * self.frame_rate - 1e-9))

    @torch.no_grad()
    def encode(self, wav: Tensor) -> Tensor:
        """Encodes waveforms [batch, sample], zero-padded to whole frames, to latents [batch, channels, frame].

        Raises ValueError for another shape."""
        if wav.ndim != 2:
            raise ValueError(f"wav must be [batch, sample], got shape {tuple(wav.shape)}")
        wav = F.pad(wav, (0, -wav.shape[1] % self.samples_per_frame))
        return self.vae.encode(self.vocoder.mel(wav))

    @torch.no_grad()
    def decode(self, latent: Tensor, max_rms: float | None = None) -> Tensor:
        """Decodes latents [batch, channels, frame] to waveforms [batch, sample], float32, not clipped to [-1, 1].

        max_rms: the largest RMS of a mel frame, as a share of full scale; None: no limit. Set it for generated latents,
        whose loudness may be wrong: an error of half a standard deviation is a factor of four in level. On a CPU,
        CPU_ROWS latents are decoded at a time, since the activations of more do not fit into its cache."""
        groups = latent.split(CPU_ROWS) if latent.device.type == "cpu" else [latent]
        return torch.cat([self.vocoder(self.vae.decode(one), self.iterations, max_rms) for one in groups])
