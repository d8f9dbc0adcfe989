"""The vocoder: log-mel to waveform, a network's estimate made consistent by a few fast Griffin-Lim iterations."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from ..audio.spectral import LogMel, griffin_lim
from ..models.configured import Configured, register_to_config
from ..models.weights import StoredWeights
from ..schema import Rule, whole
from .vae_net import MEL_MEAN, MEL_STD, ConvBlock, WithNoise


class VocoderNet(StoredWeights, Configured, nn.Module):
    """Maps a log-mel [batch, bins, frame] to a waveform [batch, frame * hop].

    A network predicts magnitudes and phases (as Vocos, Siuzdak 2023). Griffin-Lim iterations make them a consistent
    signal with exactly the given mel, which restores noisy textures, smoothed away by regression, and steady phases."""

    stored_name = "Vocoder"
    config_rules: ClassVar[dict[str, Rule]] = {
        "mel_bins": whole(1, 512),
        "width": whole(1, 4096),
        "depth": whole(0, 64),
        "sample_rate": whole(1000, 384_000),
        "n_fft": whole(16, 16384),
        "hop": whole(1, 16384),
        "noise_channels": whole(0, 256),
        "iterations": whole(0, 1000),
    }

    @register_to_config
    def __init__(
        self,
        mel_bins: int = 100,
        width: int = 320,
        depth: int = 8,
        sample_rate: int = 24000,
        n_fft: int = 1024,
        hop: int = 256,
        noise_channels: int = 8,
        iterations: int = 8,
    ):
        super().__init__()
        self.mel = LogMel(sample_rate, n_fft, hop, mel_bins)
        self.body = nn.Sequential(
            WithNoise(noise_channels),
            nn.Conv1d(mel_bins + noise_channels, width, 7, padding=3),
            *[ConvBlock(width) for _ in range(depth)],
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3 * (n_fft // 2 + 1))
        nn.init.zeros_(self.head.weight[: n_fft // 2 + 1])  # training starts at the mel's own magnitudes
        nn.init.zeros_(self.head.bias[: n_fft // 2 + 1])

    def initial_spectrum(self, log_mel: Tensor) -> Tensor:
        """Returns the network's complex spectrum [batch, n_fft / 2 + 1, frame]: gains of the magnitudes, and phases."""
        return torch.complex(*self.initial_parts(log_mel))

    def initial_parts(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the real and the imaginary part of `initial_spectrum`."""
        h = self.norm(self.body((log_mel - MEL_MEAN) / MEL_STD).transpose(1, 2))
        gain, real, imag = self.head(h).float().transpose(1, 2).chunk(3, dim=1)
        magnitude = self.mel.magnitude(log_mel, 3) * gain.clamp(-8.0, 4.0).exp()
        scale = magnitude * (real.square() + imag.square() + 1e-8).rsqrt()
        return real * scale, imag * scale

    def forward(self, log_mel: Tensor, iterations: int | None = None, max_rms: float | None = None) -> Tensor:
        """Returns the waveform after `iterations` Griffin-Lim steps (None: as many as the config says).

        `max_rms` limits each mel frame's RMS."""
        if max_rms is not None:
            log_mel = self.mel.limit(log_mel, max_rms)
        count = self.config.iterations if iterations is None else iterations
        return griffin_lim(self.mel, log_mel.float(), self.initial_spectrum(log_mel), count)
