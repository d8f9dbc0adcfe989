"""Spoken clips as batches: what was said, by whom, and, where it is known, when and how high."""

from __future__ import annotations

from dataclasses import dataclass
from collections.abc import Sequence
import numpy as np
from torch import Tensor
import torch
from collections.abc import Callable
from collections.abc import Mapping
from ..speech.phonemes import sentences
from .manifest import Clip
from ..speech.encoder import SpeechBatch, phoneme_batch, SUBFRAMES, pitch_features
from .latents import Latents


@dataclass(frozen=True)
class TimedPhonemes:
    """What a synthesiser or an aligner knows of a clip: its phoneme line (as `phonemes.encode` reads it), the seconds of
    each symbol, and F0 in Hz at any even rate over the clip (0: unvoiced), or none."""

    phonemes: str
    seconds: Sequence[float] | None = None
    hertz: Sequence[float] | None = None


def pronounce_clip(clip: Clip) -> TimedPhonemes:
    """The phonemes of a clip's text; several sentences as one line. ValueError when it cannot be pronounced."""
    return TimedPhonemes(" ".join(one.phonemes for one in sentences(clip.text)))


@dataclass
class Utterances:
    """Every line of some clips. Row i is clip i; takes the place of `data.Words` in `data.LatentBatches`."""

    spoken: SpeechBatch
    first: np.ndarray  # [clip + 1]: one line each
    ids: np.ndarray

    def condition(self, rows: Tensor, null: Tensor, mask: Tensor) -> SpeechBatch:
        """rows: clip of each sample [batch]; mask [batch, frame]."""
        s, room = self.spoken, mask.shape[1]
        pitch = None if s.pitch is None else s.pitch[rows, :, :room].float()
        durations = None if s.durations is None else s.durations[rows]
        return SpeechBatch(s.symbols[rows], s.stress[rows], s.token_mask[rows], s.voice[rows], mask, durations, pitch, null)


def build_utterances(
    latents: Latents,
    voices: Sequence[str],
    frame_rate: float,
    timed: Mapping[str, TimedPhonemes] | Callable[[Clip], TimedPhonemes] = pronounce_clip,
    longest: int | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Latents, Utterances]:
    """The lines of the clips, and the latents of those that have one (up to `longest` frames); others are named.

    timed: by the clip's file, or a function of the clip. Durations are stretched to the latent's whole frames.
    ValueError for a clip whose voice is not among `voices`, or when none is left.
    """
    find = timed if callable(timed) else timed.__getitem__
    found, keep, skipped = [], [], dict(latents.skipped)
    for i, clip in enumerate(latents.clips):
        if clip.voice not in voices:
            raise ValueError(f"{clip.file} is spoken by {clip.voice!r}, not one of {', '.join(voices)}")
        try:
            if longest is not None and latents.lengths[i] > longest:
                raise ValueError("is longer than the longest bucket")
            found.append(find(clip) if callable(timed) else find(clip.file))
            keep.append(i)
        except (ValueError, KeyError) as error:
            skipped[clip.file] = f"has no line: {error}"
    if not keep:
        raise ValueError(
            f"none of {len(latents.clips)} clips can be spoken; the first: {next(iter(skipped.values()), '')}"
        )
    rows = torch.tensor(keep)
    lengths = latents.lengths[rows]
    kept = Latents(
        [latents.clips[i] for i in keep], latents.frames, latents.starts[rows], lengths, latents.silence, skipped
    )
    spoken = phoneme_batch([one.phonemes for one in found], [voices.index(clip.voice) for clip in kept.clips])
    spoken.durations = _durations(found, spoken, lengths, frame_rate)
    spoken.pitch = _pitch(found, lengths)
    return kept, Utterances(spoken.to(device), np.arange(len(keep) + 1), np.arange(len(keep)))


def _durations(found: Sequence[TimedPhonemes], spoken: SpeechBatch, lengths: Tensor, frame_rate: float) -> Tensor | None:
    """[clip, token] in frames, each row its latent's in all; nan where unknown; None where none is known."""
    if not any(one.seconds is not None for one in found):
        return None
    table = torch.zeros(spoken.symbols.shape)
    for i, one in enumerate(found):
        count = int(spoken.token_mask[i].sum())
        if one.seconds is None:
            table[i] = torch.nan
            continue
        if len(one.seconds) != count:
            raise ValueError(f"{len(one.seconds)} durations for {count} symbols of {one.phonemes!r}")
        frames = torch.tensor(one.seconds) * frame_rate
        frames[-1] += max(
            float(lengths[i] - frames.sum()), -float(frames[-1]) / 2
        )  # padding to whole frames is silence
        table[i, :count] = frames * (lengths[i] / frames.sum())
    return table


def _pitch(found: Sequence[TimedPhonemes], lengths: Tensor) -> Tensor | None:
    """[clip, 12, longest frame] in float16; free (0) where unknown; None where none is known."""
    if not any(one.hertz is not None for one in found):
        return None
    table = torch.zeros(len(found), 3 * SUBFRAMES, int(lengths.max()), dtype=torch.float16)
    for i, one in enumerate(found):
        if one.hertz is not None:
            points, hertz = int(lengths[i]) * SUBFRAMES, torch.tensor(one.hertz, dtype=torch.float32)
            at = ((torch.arange(points) + 0.5) * len(hertz) / points).long().clamp_max(len(hertz) - 1)
            table[i, :, : int(lengths[i])] = pitch_features(hertz[at][None])[0]
    return table
