"""Training batches of crops of waveforms, gathered on the device that holds all clips."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .batches import StepSeededBatches, cumulative_probabilities, draw_indices
from .manifest import Clip, read_waves, warn_of_skipped


class WaveBatches(StepSeededBatches):
    """Endless batches of (wav [batch, sample], None): random crops of clips that stay on the device as int16.

    seconds     length of a crop, rounded to a multiple of `multiple` samples; shorter clips lie anywhere in silence
    gain        range of a random level change in decibels; a crop that would then exceed full scale is scaled down
    weight      relative probability of a clip; default: its length, at least that of a crop

    Unreadable clips are skipped with a warning. Raises ValueError if none is left."""

    def __init__(
        self,
        clips: Sequence[Clip],
        sample_rate: int,
        seconds: float,
        batch: int,
        gain: tuple[float, float] = (0.0, 0.0),
        weight: Callable[[Clip], float] | None = None,
        multiple: int = 1024,
        seed: int = 0,
        device: torch.device | str = "cpu",
        rank: int | None = None,
    ):
        super().__init__(seed, device, rank)
        self.batch, self.gain = batch, gain
        self.samples = max(1, round(seconds * sample_rate / multiple)) * multiple
        self.skipped: dict[str, str] = {}
        self.clips, waves = [], []
        for clip, wave in read_waves(clips, sample_rate, self.skipped):
            self.clips.append(clip)
            waves.append(torch.from_numpy((wave * 32767).round().astype(np.int16)))
        warn_of_skipped(self.skipped, len(clips))
        if not waves:
            raise ValueError(f"none of {len(clips)} clips could be read")
        self.lengths = np.array([len(wave) for wave in waves])
        self.starts = self.lengths.cumsum() - self.lengths
        self.waves = torch.cat(waves).to(self.device)
        by_length = np.maximum(self.lengths, self.samples).astype(np.float64)
        weights = by_length if weight is None else np.array([float(weight(clip)) for clip in self.clips])
        self.chances = cumulative_probabilities(weights)

    def __next__(self) -> tuple[Tensor, Any]:
        generator = self.step_generator()
        return self.crops(self.draw_clips(generator), generator), None

    def draw_clips(self, generator: np.random.Generator) -> np.ndarray:
        """Draws the clips of a batch [batch] by weight: indices of `self.clips`."""
        return draw_indices(generator, self.chances, self.batch)

    def crops(self, clips: np.ndarray, generator: np.random.Generator) -> Tensor:
        """Returns a random crop of each clip at a random level [batch, sample]."""
        spare = self.lengths[clips] - self.samples  # negative: as much silence around the clip
        shift = np.floor(generator.random(self.batch) * (np.abs(spare) + 1)).astype(np.int64) * np.sign(spare)
        millibels = (100 * generator.uniform(*self.gain, self.batch)).round()
        columns = (self.starts[clips], shift, self.lengths[clips], millibels)
        start, shift, length, millibels = self.columns_to_device(*columns)
        position = shift[:, None] + torch.arange(self.samples, device=self.device)
        inside = (position >= 0) & (position < length[:, None])
        source = start[:, None] + position.clamp_min(0).minimum(length[:, None] - 1)
        wav = self.waves[source].float() * inside / 32767
        wav = wav * (10.0 ** (millibels / 2000.0))[:, None]
        return wav / wav.abs().amax(1, keepdim=True).clamp_min(1.0)
