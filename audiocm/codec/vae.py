"""wav <-> latent: log-mel -> variational autoencoder -> whitened latent, and back through a vocoder.

24 kHz mono; 100 mel bins at 93.75 frames/s; latents at 23.4375 frames/s (1,024 samples a frame), unit std per channel.
The vocoder is a network that proposes magnitudes and phases (Vocos-like, Siuzdak 2023) followed by a few fast Griffin-Lim
iterations that make the proposal a consistent signal with exactly the asked mel: noisy textures, which a regression smooths away, and
steady phases come from the mel itself.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from ..audio.spectral import LogMel
from ..models.weights import StoredWeights

MEL_MEAN, MEL_STD = -4.0, 3.0  # of log-mels over levelled audio; only a scale, the whitening of latents is measured


class ConvBlock(nn.Module):
    """ConvNeXt block in one dimension (Liu et al. 2022): depthwise 7, norm, pointwise x4, residual with a learned scale."""

    def __init__(self, width: int, expansion: int = 4, scale: float = 0.1):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width * expansion)
        self.down = nn.Linear(width * expansion, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.depthwise(x).transpose(1, 2))
        return x + (self.down(F.gelu(self.up(h))) * self.scale).transpose(1, 2)


def fixed_noise_pattern(channels: int, frames: int, period: int = 4096) -> Tensor:
    """The same Gaussian noise `[channels, frames]` at every call: texture to shape, without making decoding random."""
    noise = torch.randn(channels, period, generator=torch.Generator().manual_seed(20240601))
    return noise.repeat(1, math.ceil(frames / period))[:, :frames]


class WithNoise(nn.Module):
    """Appends `channels` rows of frozen noise to `[batch, channel, frame]`."""

    def __init__(self, channels: int, frames: int = 4096):
        super().__init__()
        self.channels = channels
        self.register_buffer("noise", fixed_noise_pattern(channels, frames), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] > self.noise.shape[1]:
            self.noise = fixed_noise_pattern(self.channels, 2 * x.shape[2]).to(x.device)
        noise = self.noise[:, : x.shape[2]].to(x.dtype)
        return torch.cat([x, noise.expand(x.shape[0], -1, -1)], dim=1)


class Texture(nn.Module):
    """How the log-mel of white noise fluctuates: `frames` -> `[bins, frames]`, zero mean and unit std per bin, always the same."""

    def __init__(self, bins: int, frames: int = 4096):
        super().__init__()
        self.bins = bins
        mel = LogMel(bins=bins)
        wav = torch.randn(1, frames * mel.hop, generator=torch.Generator().manual_seed(20240602))
        log_mel = mel(wav)[0]
        spread = log_mel.std(1, keepdim=True)
        self.register_buffer("spread", spread, persistent=False)  # [bins, 1], std before it was made 1
        self.register_buffer("pattern", (log_mel - log_mel.mean(1, keepdim=True)) / spread, persistent=False)

    def share(self, std: Tensor) -> Tensor:
        """How much of `std` [..., bins, frames] is texture, in (0, 1): a mean that is off by nearly what white noise fluctuates by has
        missed noise; one that is closer than that has missed a detail of something tonal, which noise would only hide."""
        return torch.sigmoid((std / self.spread - 0.65) / 0.07)

    def added(self, mean: Tensor, std: Tensor, pattern: Tensor) -> Tensor:
        """The log-mel `[batch, bins, frames]` with the texture's share of `std` in a pattern of `self(frames)` or `anywhere`."""
        return mean + std * self.share(std) * pattern

    def forward(self, frames: int) -> Tensor:
        count = math.ceil(frames / self.pattern.shape[1])
        return self.pattern.repeat(1, count)[:, :frames]

    def anywhere(self, batch: int, frames: int) -> Tensor:
        """For training: pieces from random places, `[batch, bins, frames]`, so that no critic learns the pattern by heart."""
        period = self.pattern.shape[1]
        start = torch.randint(period, (batch, 1), device=self.pattern.device)
        at = (start + torch.arange(frames, device=self.pattern.device)) % period
        return self.pattern[:, at].transpose(0, 1)


class MelVAE(StoredWeights, ModelMixin, ConfigMixin):
    """Log-mel `[batch, bins, 4 * frame]` <-> latent `[batch, channels, frame]` (Kingma & Welling 2014), whitened after training.

    A linear path, set by `begin` to the principal components of blocks of frames, and beside it a convolutional net that starts
    at zero: training begins with the best linear codec instead of with noise. The decoder also says how far off its mean is, bin by
    bin; where that is as much as noise fluctuates, decoding adds the fluctuations of a frozen white noise at that scale. The mean of a
    noisy texture is not a noisy texture: a tagger takes smoothed wind for a hum.
    """

    @register_to_config
    def __init__(
        self,
        mel_bins: int = 100,
        channels: int = 160,
        widths: tuple[int, ...] = (256, 320, 384),
        blocks: tuple[int, ...] = (2, 2, 3),
        noise_channels: int = 8,
    ):
        super().__init__()
        self.compression = 2 ** (len(widths) - 1)
        down: list[nn.Module] = [nn.Conv1d(mel_bins, widths[0], 7, padding=3)]
        up: list[nn.Module] = [nn.Conv1d(channels, widths[-1], 7, padding=3)]
        for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if i:
                down.append(nn.Conv1d(widths[i - 1], width, 2, stride=2))
            down += [ConvBlock(width) for _ in range(count)]
        for i in range(len(widths) - 1, -1, -1):
            if i == 0 and noise_channels:
                up += [WithNoise(noise_channels), nn.Conv1d(widths[0] + noise_channels, widths[0], 1)]
            up += [ConvBlock(widths[i]) for _ in range(blocks[i] + (2 if i == 0 else 0))]
            if i:
                up.append(nn.ConvTranspose1d(widths[i], widths[i - 1], 2, stride=2))
        self.encoder = nn.Sequential(*down, nn.Conv1d(widths[-1], 2 * channels, 3, padding=1))
        self.decoder = nn.Sequential(*up, nn.Conv1d(widths[0], 2 * mel_bins, 7, padding=3))
        self.linear_encoder = nn.Conv1d(mel_bins, 2 * channels, self.compression, stride=self.compression)
        self.linear_decoder = nn.ConvTranspose1d(channels, mel_bins, self.compression, stride=self.compression)
        self.texture = Texture(mel_bins)
        self.register_buffer("latent_mean", torch.zeros(channels, 1))
        self.register_buffer("latent_std", torch.ones(channels, 1))
        for layer in (self.encoder[-1], self.decoder[-1]):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.decoder[-1].bias[mel_bins:], -1.5)

    @torch.no_grad()
    def begin(self, log_mel: Tensor, log_variance: float = -4.0) -> None:
        """Set the linear path to the leading principal components, at unit std, of log-mels `[batch, bins, 4 * frame]`, and the
        decoder's std to what they leave out of each bin."""
        count, bins, channels = self.compression, log_mel.shape[1], self.config.channels
        blocks = (
            ((log_mel - MEL_MEAN) / MEL_STD).unflatten(2, (-1, count)).permute(0, 2, 1, 3).reshape(-1, bins * count)
        )
        centre = blocks.double().mean(0)
        power, axes = torch.linalg.eigh(torch.cov(blocks.double().T))
        power, axes = power[-channels:].flip(0).clamp_min(1e-8).sqrt(), axes[:, -channels:].flip(1)
        into, out = (axes / power).T, (axes * power).T  # [channels, bins * count]
        self.linear_encoder.weight[:channels] = into.reshape(channels, bins, count).float()
        self.linear_encoder.bias[:channels] = -(into @ centre).float()
        self.linear_encoder.weight[channels:] = 0
        self.linear_encoder.bias[channels:] = log_variance
        self.linear_decoder.weight.copy_(out.reshape(channels, bins, count))
        self.linear_decoder.bias.copy_(centre.view(bins, count).mean(1))
        left = self.reconstruct(self.posterior(log_mel)[0])[0] - log_mel
        self.decoder[-1].bias[bins:] = left.std((0, 2)).clamp_min(1e-2).log()

    def posterior(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance `[batch, channels, frame]` before whitening."""
        scaled = (log_mel - MEL_MEAN) / MEL_STD
        mean, log_variance = (self.encoder(scaled).float() + self.linear_encoder(scaled).float()).chunk(2, dim=1)
        return mean, log_variance.clamp(-12.0, 4.0)

    def reconstruct(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Unwhitened latent -> mean and std of the log-mel, each `[batch, bins, 4 * frame]`."""
        mean, log_scale = self.decoder(raw).float().chunk(2, dim=1)
        mean = mean + self.linear_decoder(raw).float()
        return mean * MEL_STD + MEL_MEAN, log_scale.clamp(-6.0, 1.0).exp()

    def encode(self, log_mel: Tensor) -> Tensor:
        """Log-mel -> whitened latent (the posterior's mean). The frame count must be a multiple of `compression`."""
        if log_mel.shape[-1] % self.compression:
            raise ValueError(f"mel frames must be a multiple of {self.compression}, got {log_mel.shape[-1]}")
        return (self.posterior(log_mel)[0] - self.latent_mean) / self.latent_std

    def decode(self, latent: Tensor) -> Tensor:
        """Whitened latent `[batch, channels, frame]` -> log-mel `[batch, bins, 4 * frame]`, with its texture."""
        mean, std = self.reconstruct(latent * self.latent_std + self.latent_mean)
        return self.texture.added(mean, std, self.texture(mean.shape[2]))

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Training pass: mean and std of the log-mel from a sampled latent; the latent's mean and log-variance."""
        latent, log_variance = self.posterior(log_mel)
        sample = latent + (0.5 * log_variance).exp() * torch.randn_like(latent)
        return *self.reconstruct(sample), latent, log_variance

    @torch.no_grad()
    def whiten(self, mean: Tensor, std: Tensor) -> None:
        """Set the measured per-channel mean and std `[channels]` of raw latents."""
        self.latent_mean.copy_(mean[:, None])
        self.latent_std.copy_(std[:, None].clamp_min(1e-4))

    @torch.no_grad()
    def audibility(self, latent: Tensor, amount: float = 0.3) -> Tensor:
        """What is heard of each channel `[channels]`: the log-mel's RMS change per unit of noise in it, around `latent`."""
        raw, changes = latent * self.latent_std + self.latent_mean, []
        before = self.reconstruct(raw)[0]
        for channel in range(latent.shape[1]):
            moved = raw.clone()
            noise = torch.randn(latent[:, 0].shape, generator=torch.Generator().manual_seed(channel)).to(raw)
            moved[:, channel] += amount * self.latent_std[channel] * noise
            changes.append((self.reconstruct(moved)[0] - before).square().mean().sqrt() / amount)
        return torch.stack(changes)

    @torch.no_grad()
    def emphasise(self, latent: Tensor, power: float) -> Tensor:
        """Let every channel's std follow its audibility ** `power` (mean square 1 over channels); returns the gains `[channels]`.

        0 changes nothing. At 1, equal noise in all channels is equal noise in the log-mel; with unit stds the same noise moves the
        loudness of everything by nepers before it touches a detail, and a net has to settle what matters most at the lowest noise.
        """
        gains = self.audibility(latent) ** power
        gains /= gains.square().mean().sqrt()
        self.latent_std /= gains[:, None]
        return gains
