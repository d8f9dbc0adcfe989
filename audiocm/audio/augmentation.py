"""Random changes of training batches on their device: resampling, speed, noise and masks, by torchaudio.

Random numbers are of torch's global generators. Files are resampled by `io.resample` at higher quality."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio import functional


def resample_batch(wav: Tensor, rate: int, target_rate: int) -> Tensor:
    """Resamples wav [..., sample] from `rate` to `target_rate` Hz on its device, with gradients; [..., sample].

    The result has `sample * target_rate / rate` samples, rounded up. A sinc kernel with a Hann window of 6 zero
    crossings on each side is used: content next to half the lower rate is damped more than by `io.resample`."""
    return functional.resample(wav, rate, target_rate)


def change_speed(wav: Tensor, rate: int, factors: tuple[float, ...] = (0.9, 1.0, 1.1)) -> Tensor:
    """Plays each wav of [batch, sample] at a random one of `factors` of its speed, pitch included (Ko et al. 2015).

    The length stays: what is too long is cut at its end, what is too short is followed by silence. Raises ValueError
    unless all factors are above 0."""
    if not factors or min(factors) <= 0:
        raise ValueError(f"factors must be above 0, got {factors}")
    chosen = torch.randint(len(factors), (len(wav),))
    changed = torch.empty_like(wav)
    for k, factor in enumerate(factors):
        rows = (chosen == k).nonzero()[:, 0].to(wav.device)
        played = resample_batch(wav[rows], round(rate * factor), rate)[:, : wav.shape[1]]
        changed[rows] = F.pad(played, (0, wav.shape[1] - played.shape[1]))
    return changed


def add_white_noise(wav: Tensor, snr: tuple[float, float] = (10.0, 40.0)) -> Tensor:
    """Adds white noise to each wav of [batch, sample] at a random ratio of its power to the noise's, in decibels.

    Silence stays silent."""
    low, high = snr
    ratio = low + (high - low) * torch.rand(len(wav), device=wav.device, dtype=wav.dtype)
    noisy = functional.add_noise(wav, torch.randn_like(wav), ratio)
    return torch.where(wav.any(dim=1, keepdim=True), noisy, wav)


def mask_spectrogram(image: Tensor, value: float, share: float = 0.125, masks: int = 2) -> Tensor:
    """Sets random bands and spans of spectrograms [batch, channel, bin, frame] to `value`: `masks` of each, as wide as
    `share` of the bins or frames at most (SpecAugment, Park et al. 2019)."""
    for axis in (2, 3):
        for _ in range(masks):
            image = functional.mask_along_axis_iid(image, max(1, int(image.shape[axis] * share)), value, axis)
    return image
