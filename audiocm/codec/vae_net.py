"""The mel VAE: 100 log-mel bins at 93.75 frames/s to whitened latents at 23.4375 frames/s (1,024 samples at 24 kHz)."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..audio.spectral import LogMel
from ..models.configured import Configured, register_to_config
from ..models.weights import StoredWeights
from ..schema import Rule, list_of, whole

MEL_MEAN, MEL_STD = -4.0, 3.0  # of log-mels of levelled audio, roughly; the whitening of latents is measured


class ConvBlock(nn.Module):
    """One-dimensional ConvNeXt block (Liu et al. 2022) on [batch, width, frame].

    Depthwise convolution of width 7, norm, pointwise MLP, residual connection with a learned scale."""

    def __init__(self, width: int, expansion: int = 4, scale: float = 0.1):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, width * expansion), nn.Linear(width * expansion, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.depthwise(x).transpose(1, 2))
        return x + (self.down(F.gelu(self.up(h))) * self.scale).transpose(1, 2)


def tile_frames(pattern: Tensor, frames: int) -> Tensor:
    """Repeats a pattern [row, period] up to [row, frames]."""
    return pattern.repeat(1, math.ceil(frames / pattern.shape[1]))[:, :frames]


class WithNoise(nn.Module):
    """Appends `channels` rows of fixed Gaussian noise to [batch, channel, frame]: texture without random decoding."""

    def __init__(self, channels: int, period: int = 4096):
        super().__init__()
        noise = torch.randn(channels, period, generator=torch.Generator().manual_seed(20240601))
        self.register_buffer("noise", noise, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        noise = tile_frames(self.noise, x.shape[2]).to(x.dtype)
        return torch.cat([x, noise.expand(x.shape[0], -1, -1)], dim=1)


class Texture(nn.Module):
    """Adds the log-mel fluctuation of white noise, a fixed pattern of zero mean and unit std per bin, to a mel."""

    def __init__(self, bins: int, period: int = 4096):
        super().__init__()
        mel = LogMel(bins=bins)
        wav = torch.randn(1, period * mel.hop, generator=torch.Generator().manual_seed(20240602))
        log_mel = mel(wav)[0]
        spread = log_mel.std(1, keepdim=True)
        self.register_buffer("spread", spread, persistent=False)  # [bins, 1], std of white noise's log-mel
        self.register_buffer("pattern", (log_mel - log_mel.mean(1, keepdim=True)) / spread, persistent=False)

    def noise_share(self, std: Tensor) -> Tensor:
        """Returns the fraction of the predicted std [..., bins, frame] that is rendered as noise, in (0, 1).

        Where the std is close to that of white noise, the residual is treated as noise; where it is smaller, as missing
        tonal detail, to which no noise is added."""
        return torch.sigmoid((std / self.spread - 0.65) / 0.07)

    def forward(self, mean: Tensor, std: Tensor) -> Tensor:
        """Adds the pattern, scaled by the noise share of std, to the mean; all [batch, bins, frame]."""
        return mean + std * self.noise_share(std) * tile_frames(self.pattern, mean.shape[2])


class MelVAENet(StoredWeights, Configured, nn.Module):
    """Variational autoencoder (Kingma & Welling 2014) of log-mels, with latents whitened after training.

    Maps log-mels [batch, bins, 4 * frame] to latents [batch, channels, frame]. A linear path, set by `init_from_pca` to
    the principal components of blocks of mel frames, is summed with a convolutional network that starts at zero, so
    training starts at the best linear codec. The decoder also predicts a standard deviation per mel bin. Where it
    reaches the level of white noise, decoding adds a fixed noise pattern scaled by it (`Texture`), since the mean of a
    noisy texture is not a noisy texture: a tagger takes smoothed wind for a hum."""

    stored_name = "MelVAE"
    config_rules: ClassVar[dict[str, Rule]] = {
        "mel_bins": whole(1, 512),
        "channels": whole(1, 4096),
        "widths": list_of(whole(1, 4096), 1, 8),
        "blocks": list_of(whole(0, 64), 1, 8),
        "noise_channels": whole(0, 256),
    }

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
        if len(widths) != len(blocks):
            raise ValueError(
                f"widths and blocks must have one number a resolution, not {len(widths)} and {len(blocks)}"
            )
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
    def init_from_pca(self, log_mel: Tensor, log_variance: float = -4.0) -> None:
        """Sets the linear path to the leading principal components of log-mels [batch, bins, 4 * frame], at unit std.

        The decoder's std is set to that of the residual in each bin, the posterior's log-variance to `log_variance`."""
        count, bins, channels = self.compression, log_mel.shape[1], self.config.channels
        scaled = (log_mel - MEL_MEAN) / MEL_STD
        blocks = scaled.unflatten(2, (-1, count)).permute(0, 2, 1, 3).reshape(-1, bins * count).double()
        mean = blocks.mean(0)
        variances, axes = torch.linalg.eigh(torch.cov(blocks.T))  # ascending
        stds, axes = variances[-channels:].flip(0).clamp_min(1e-8).sqrt(), axes[:, -channels:].flip(1)
        analysis, synthesis = (axes / stds).T, (axes * stds).T  # [channels, bins * count]
        self.linear_encoder.weight[:channels] = analysis.reshape(channels, bins, count).float()
        self.linear_encoder.bias[:channels] = -(analysis @ mean).float()
        self.linear_encoder.weight[channels:] = 0
        self.linear_encoder.bias[channels:] = log_variance
        self.linear_decoder.weight.copy_(synthesis.reshape(channels, bins, count))
        self.linear_decoder.bias.copy_(mean.view(bins, count).mean(1))
        residual = self.reconstruct(self.posterior(log_mel)[0])[0] - log_mel
        self.decoder[-1].bias[bins:] = residual.std((0, 2)).clamp_min(1e-2).log()

    def posterior(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the posterior's mean and log-variance [batch, channels, frame], before whitening."""
        scaled = (log_mel - MEL_MEAN) / MEL_STD
        mean, log_variance = (self.encoder(scaled).float() + self.linear_encoder(scaled).float()).chunk(2, dim=1)
        return mean, log_variance.clamp(-12.0, 4.0)

    def reconstruct(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Decodes an unwhitened latent to mean and std of the log-mel, each [batch, bins, 4 * frame]."""
        mean, log_scale = self.decoder(raw).float().chunk(2, dim=1)
        mean = mean + self.linear_decoder(raw).float()
        return mean * MEL_STD + MEL_MEAN, log_scale.clamp(-6.0, 1.0).exp()

    def encode(self, log_mel: Tensor) -> Tensor:
        """Returns the whitened latent (the posterior's mean) of a log-mel [batch, bins, 4 * frame].

        Raises ValueError unless the number of mel frames is a multiple of `compression`."""
        if log_mel.shape[-1] % self.compression:
            raise ValueError(f"mel frames must be a multiple of {self.compression}, got {log_mel.shape[-1]}")
        return (self.posterior(log_mel)[0] - self.latent_mean) / self.latent_std

    def decode(self, latent: Tensor) -> Tensor:
        """Decodes a whitened latent [batch, channels, frame] to a log-mel [batch, bins, 4 * frame] with its texture."""
        return self.texture(*self.reconstruct(latent * self.latent_std + self.latent_mean))

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns, for training, mean and std of the log-mel from a sampled latent, and the posterior's parameters."""
        latent, log_variance = self.posterior(log_mel)
        sample = latent + (0.5 * log_variance).exp() * torch.randn_like(latent)
        return *self.reconstruct(sample), latent, log_variance

    @torch.no_grad()
    def whiten(self, mean: Tensor, std: Tensor) -> None:
        """Stores the measured mean and std [channels] of unwhitened latents."""
        self.latent_mean.copy_(mean[:, None])
        self.latent_std.copy_(std[:, None].clamp_min(1e-4))

    @torch.no_grad()
    def mel_sensitivity(self, latent: Tensor, amount: float = 0.3) -> Tensor:
        """Returns the log-mel's RMS change per unit of noise in each channel [channels], measured around `latent`."""
        raw, changes = latent * self.latent_std + self.latent_mean, []
        before = self.reconstruct(raw)[0]
        for channel in range(latent.shape[1]):
            noisy = raw.clone()
            noise = torch.randn(latent[:, 0].shape, generator=torch.Generator().manual_seed(channel)).to(raw)
            noisy[:, channel] += amount * self.latent_std[channel] * noise
            changes.append((self.reconstruct(noisy)[0] - before).square().mean().sqrt() / amount)
        return torch.stack(changes)

    @torch.no_grad()
    def rescale_by_sensitivity(self, latent: Tensor, power: float) -> Tensor:
        """Makes each channel's std proportional to its sensitivity ** `power` and returns the gains [channels].

        Gains have mean square 1; power 0 changes nothing. At 1, equal noise in all channels is equal noise in the
        log-mel. With unit-variance channels, diffusion noise destroys the loudness channel long before fine detail, so
        the network must determine the most audible component at the lowest noise levels."""
        gains = self.mel_sensitivity(latent) ** power
        gains /= gains.square().mean().sqrt()
        self.latent_std /= gains[:, None]
        return gains
