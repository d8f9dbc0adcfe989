"""What is wrong with a made sound, and trying again with other seeds, as the pipelines of torch do."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..failed_sounds import Failure, describe_failures


class SoundsFailedError(ValueError):
    """Sounds are silent, clipped or not finite with every seed tried; `output` holds all others and the failures."""

    def __init__(self, message: str, output: Any = None):
        super().__init__(message)
        self.output = output


def sound_fault(wav: np.ndarray, limits: Mapping[str, float]) -> str | None:
    """Returns what is wrong with a sound [sample]: not finite, silent or clipped; None for nothing.

    limits: "silence_rms" of full scale, and "clipped_share", of samples beyond it or at the maximum."""
    if not np.isfinite(wav).all():
        return "has numbers that are not finite"
    if np.sqrt(np.mean(np.square(wav))) < limits["silence_rms"]:
        return "is silent"
    level, peak = np.abs(wav), np.abs(wav).max()
    share = max(np.mean(level > 1), np.mean(level >= peak * (1 - 1e-5)))
    return "is clipped" if share > limits["clipped_share"] else None


def checked_sound(wav: np.ndarray, limits: Mapping[str, float]) -> tuple[np.ndarray, str | None]:
    """Returns a sound, scaled to a peak of 0.99 if it exceeds full scale, or silence, and its fault if it has one."""
    fault = sound_fault(wav, limits)
    if fault:
        return np.zeros_like(wav), fault
    peak = float(np.abs(wav).max())
    return (wav * np.float32(0.99 / peak) if peak > 1 else wav), None


def make_valid(
    make: Callable[[int], tuple[Any, str | None]], seed: int, max_retries: int, stride: int
) -> tuple[Any, str | None, tuple[int, ...]]:
    """Returns what make(seed) makes, its fault or None, and the seeds tried, each `stride` further than the last."""
    seeds: tuple[int, ...] = ()
    for retry in range(max_retries + 1):
        seeds = (*seeds, seed + retry * stride)
        made, fault = make(seeds[-1])
        if not fault:
            break
    return made, fault, seeds


def raise_failures(failures: Sequence[Failure], output: Any = None) -> None:
    """Raises SoundsFailedError, which names the prompts, if there are failures."""
    if failures:
        raise SoundsFailedError(f"{describe_failures(failures)}; try another seed or less guidance", output)
