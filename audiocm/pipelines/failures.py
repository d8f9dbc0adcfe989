"""Sounds that are silent, clipped or not finite: how they are found, and made again with other seeds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..codec.codec import Codec
from ..failed_sounds import Failure, describe_failures

SILENCE_RMS = 1e-4  # of full scale: -80 dB
MAX_FRAME_RMS = 0.3  # of full scale: -10 dB; training data are well below
CLIPPED_SHARE = 0.01  # share of samples beyond full scale, or at the maximum, from which a sound counts as clipped
FAULTS = ("has numbers that are not finite", "is silent", "is clipped")  # the first one found is named
RETRY_STRIDE = 1_000_000  # from a seed to that of the next try: further than the seeds of takes and sentences reach


class AudioError(ValueError):
    """Sounds are silent, not finite or clipped with every seed tried; `output` holds all others and the failures."""

    def __init__(self, message: str, output: Any = None):
        super().__init__(message)
        self.output = output


def fault_flags(wav: Tensor) -> Tensor:
    """Returns for each of FAULTS whether sounds [item, sample] have it: bool [fault, item]."""
    wav = wav.float()
    peak = wav.abs().amax(-1, keepdim=True)
    too_loud, at_peak = wav.abs() > 1, wav.abs() >= peak * (1 - 1e-5)
    clipped = (too_loud.float().mean(-1) > CLIPPED_SHARE) | (at_peak.float().mean(-1) > CLIPPED_SHARE)
    return torch.stack([~wav.isfinite().all(-1), wav.square().mean(-1).sqrt() < SILENCE_RMS, clipped])


def named_faults(flags: Tensor) -> list[str | None]:
    """Returns the first of a sound's FAULTS, or None, from `fault_flags`."""
    return [next((fault for fault, has in zip(FAULTS, row, strict=True) if has), None) for row in flags.T.tolist()]


def audio_faults(wav: Tensor) -> list[str | None]:
    """Returns what is wrong with each sound [item, sample]: not finite, silent or clipped; None for nothing."""
    return named_faults(fault_flags(wav))


def within_full_scale(wav: Tensor) -> Tensor:
    """Scales the sounds [item, sample] that exceed full scale to a peak of 0.99."""
    peak = wav.abs().amax(-1, keepdim=True)
    return wav * torch.where(peak > 1, 0.99 / peak, torch.ones_like(peak))


def decode_checked(codec: Codec, latent: Tensor, samples: int | None = None) -> tuple[Tensor, list[str | None]]:
    """Decodes generated latents to sounds [item, sample], float32 on the CPU, limited in level and cut to `samples`.

    Also returns the `audio_faults`. Sounds that exceed full scale are scaled to a peak of 0.99, those with a fault
    are silence."""
    wav = codec.decode(latent.float(), MAX_FRAME_RMS)[:, :samples].float()
    faults, wav = audio_faults(wav), within_full_scale(wav).cpu()
    wav[torch.tensor([fault is not None for fault in faults])] = 0.0
    return wav, faults


@dataclass(frozen=True)
class Attempt:
    """The last try of an item."""

    made: Any
    fault: str | None  # None: it is valid
    seeds: tuple[int, ...]  # of all tries


def attempt(
    make: Callable[[list[int], list[int]], Iterable[tuple[Any, str | None]]], seeds: Sequence[int], max_retries: int
) -> list[Attempt]:
    """Makes an item of each seed, and those with a fault again, `max_retries` times, with seeds RETRY_STRIDE further.

    make(rows, seeds) makes some of the items and yields each with its fault or None."""
    attempts, rows = [Attempt(None, None, ()) for _ in seeds], list(range(len(seeds)))
    for retry in range(max_retries + 1):
        tried = [seeds[row] + retry * RETRY_STRIDE for row in rows]
        for row, seed, (made, fault) in zip(rows, tried, make(rows, tried), strict=True):
            attempts[row] = Attempt(made, fault, (*attempts[row].seeds, seed))
        rows = [row for row in rows if attempts[row].fault]
        if not rows:
            break
    return attempts


def summary(attempts: Sequence[Attempt], prompts: Sequence[str]) -> tuple[Tensor, list[Failure], list[int]]:
    """Returns the sounds of attempts [item, sample], the failures among them with their prompts, and the retries."""
    failures = [Failure(i, prompts[i], one.fault, one.seeds) for i, one in enumerate(attempts) if one.fault]
    return torch.stack([one.made for one in attempts]), failures, [len(one.seeds) - 1 for one in attempts]


def raise_failures(failures: Sequence[Failure], output: Any = None) -> None:
    """Raises AudioError, which names the prompts, if there are failures."""
    if failures:
        raise AudioError(f"{describe_failures(failures)}; try another seed, fewer steps or less guidance", output)
