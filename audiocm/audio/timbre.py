"""What sets two speakers apart, on log-mels [..., bin, frame]: the length of the vocal tract, and the levels of bands."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

LOUD = 2.0  # nepers below the loudest frame: louder ones are speech
SHARPEST, DULLEST = 1.5, -6.0  # nepers by which `bands_apart` raises and lowers a band of speech at most
SMOOTH = 9  # bands over which that is smoothed
RATIOS = 1.02 ** np.arange(-13, 14)  # of frequencies that `frequency_ratio` tries, 0.77 to 1.29
FORMANTS = (700.0, 6000.0)  # Hz between which it compares
BLUR = 5  # bands over which it smooths, so that harmonics do not count


def louder(mel: Tensor, where: Tensor) -> Tensor:
    """Returns which of some frames are speech: not LOUD quieter than the loudest, bool [frame]. where: bool [frame]."""
    level = mel.flatten(0, -2).mean(0).masked_fill(~where, -torch.inf)
    return where & (level >= level.max() - LOUD)


def bin_centres(filters: Tensor, sample_rate: int) -> Tensor:
    """Returns the mean frequency in Hz [bin] of mel filters [bin, frequency] that reach to half the sample rate."""
    frequency = torch.linspace(0, sample_rate / 2, filters.shape[1], device=filters.device)
    return (filters * frequency).sum(1) / filters.sum(1).clamp_min(1e-12)


def stretch_frequencies(mel: Tensor, ratio: float, centres: Tensor) -> Tensor:
    """Returns log-mels whose frequencies are `ratio` times as high: as those of a vocal tract 1 / ratio times as long.

    centres: of the bins, Hz [bin]; between them log-mels are linear. Pitch moves along with formants."""
    wanted = (centres / ratio).clamp(centres[0], centres[-1])
    low = (torch.searchsorted(centres, wanted, right=True) - 1).clamp(0, len(centres) - 2)
    share = ((wanted - centres[low]) / (centres[low + 1] - centres[low]))[:, None]
    return mel[..., low, :] * (1 - share) + mel[..., low + 1, :] * share


def frequency_ratio(given: Tensor, made: Tensor, centres: Tensor) -> float:
    """Returns by what factor the frequencies of one speaker are higher than another's who says the same, of RATIOS.

    given, made [bin, frame]: frames at which both say the same. With that factor their difference varies least over
    time, whatever the levels of the bands: vocal tract length normalisation (Lee & Rose 1996) of log-mels."""
    inside = (centres > FORMANTS[0]) & (centres < FORMANTS[1])

    def blurred(mel: Tensor) -> Tensor:
        return F.avg_pool1d(mel.T, BLUR, 1, BLUR // 2, count_include_pad=False).T

    given, made = blurred(given), blurred(made)
    apart = [(given - stretch_frequencies(made, ratio, centres))[inside].var(1).mean() for ratio in RATIOS]
    return float(RATIOS[int(torch.stack(apart).argmin())])


def bands_apart(
    given: Tensor,
    made: Tensor,
    known: Tensor,
    is_alike: bool = True,
    least: float = DULLEST,
    most: float = SHARPEST,
    smooth: int = SMOOTH,
) -> Tensor:
    """Returns what log-mels lack of others, by band, [channel, bin, 1]: the mean difference of their frames of speech.

    given, made [channel, bin, frame]; known: bool [frame], where `given` holds. is_alike: both say the same there; else
    frames of `made` elsewhere are compared with these. At least `least`, at most `most` nepers, over `smooth` bands;
    0 if there is no such frame."""
    here = louder(given, known)
    there = here if is_alike else louder(made, ~known)
    if not (here.any() and there.any()):
        return torch.zeros_like(given[:, :, :1])
    apart = (given[:, :, here].mean(2) - made[:, :, there].mean(2)).clamp(least, most)
    padded = F.pad(apart, (smooth // 2, smooth // 2), mode="replicate")
    return F.avg_pool1d(padded, smooth, 1)[..., None]
