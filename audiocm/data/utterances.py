"""Speech batches: phonemes, voice and, where they are known, durations and pitch of the clips of `LatentBatches`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..speech.encoder_net import SUBFRAMES, SpeechBatch, phoneme_batch, pitch_features
from ..text.reading import read_sentences
from .latents import Latents
from .manifest import Clip


@dataclass(frozen=True)
class TimedPhonemes:
    """The phoneme line of a clip and, if a synthesiser or an aligner provides them, its durations and pitch."""

    phonemes: str  # as `encode_phonemes` reads them
    seconds: Sequence[float] | None = None  # of each symbol, with the silence before and after
    hertz: Sequence[float] | None = None  # F0 at any even rate over the clip; 0: unvoiced


def pronounce_clip(clip: Clip) -> TimedPhonemes:
    """Returns the phonemes of a clip's text as one line. Raises ValueError if it cannot be pronounced."""
    return TimedPhonemes(" ".join(sentence.phonemes for sentence in read_sentences(clip.text)))


@dataclass
class Utterances:
    """The phoneme lines of some clips, one for each: the `ClipConditions` of speech. Row i is clip i."""

    lines: SpeechBatch

    def __len__(self) -> int:
        return len(self.lines.voice)

    def choose(self, clips: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Returns the clips [batch], which have one row each."""
        return clips

    def condition(self, rows: Tensor, null: Tensor, mask: Tensor) -> SpeechBatch:
        """Returns the SpeechBatch of clips [batch], with pitch cut to the frames of the mask [batch, frame]."""
        fields = {name: value[rows] for name, value in vars(self.lines).items() if value is not None}
        if "pitch" in fields:
            fields["pitch"] = fields["pitch"][:, :, : mask.shape[1]].float()
        return SpeechBatch(**fields | {"mask": mask, "null": null})


def build_utterances(
    latents: Latents,
    voices: Sequence[str],
    frame_rate: float,
    timed: Mapping[str, TimedPhonemes] | Callable[[Clip], TimedPhonemes] = pronounce_clip,
    max_frames: int | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Latents, Utterances]:
    """Returns the latents of the clips that have a phoneme line and at most `max_frames`, and these lines.

    `timed` maps files or clips to lines. Durations are scaled to the whole frames of a latent. Other clips are added to
    `skipped`. Raises ValueError if the voice of a clip is not among `voices`, or if no clip is left."""
    line_of = timed if callable(timed) else lambda clip: timed[clip.file]
    lines, rows, skipped = [], [], dict(latents.skipped)
    for i, clip in enumerate(latents.clips):
        if clip.voice not in voices:
            raise ValueError(f"{clip.file} is spoken by {clip.voice!r}, not one of {', '.join(voices)}")
        if max_frames is not None and latents.lengths[i] > max_frames:
            skipped[clip.file] = f"is longer than the longest bucket, {max_frames} frames"
            continue
        try:
            lines.append(line_of(clip))
            rows.append(i)
        except (ValueError, KeyError) as error:
            skipped[clip.file] = f"has no phoneme line: {error}"
    if not rows:
        first = next(iter(skipped.values()), "")
        raise ValueError(f"none of {len(latents.clips)} clips has a usable phoneme line; the first: {first}")
    clips = [latents.clips[i] for i in rows]
    starts, lengths = latents.starts[rows], latents.lengths[rows]
    batch = phoneme_batch([line.phonemes for line in lines], [voices.index(clip.voice) for clip in clips])
    batch.durations = _durations(lines, batch.token_mask, lengths, frame_rate)
    batch.pitch = _pitch(lines, lengths)
    return Latents(clips, latents.frames, starts, lengths, latents.silence, skipped), Utterances(batch.to(device))


def _durations(lines: Sequence[TimedPhonemes], token_mask: Tensor, lengths: Tensor, frame_rate: float) -> Tensor | None:
    """Returns durations in frames [clip, token] that sum to `lengths`; rows of nan: unknown; None: all are unknown."""
    if not any(line.seconds is not None for line in lines):
        return None
    table = torch.zeros(token_mask.shape)
    for i, line in enumerate(lines):
        count = int(token_mask[i].sum())
        if line.seconds is None:
            table[i] = torch.nan
            continue
        if len(line.seconds) != count:
            raise ValueError(f"{len(line.seconds)} durations for {count} symbols of {line.phonemes!r}")
        frames = torch.tensor(line.seconds) * frame_rate
        padding = float(lengths[i] - frames.sum())  # that fills the last frame belongs to the silence at the end
        frames[-1] += max(padding, -float(frames[-1]) / 2)
        table[i, :count] = frames * (lengths[i] / frames.sum())
    return table


def _pitch(lines: Sequence[TimedPhonemes], lengths: Tensor) -> Tensor | None:
    """Returns pitch features [clip, 3 * SUBFRAMES, frame] in float16; 0 (free) if unknown; None: all are unknown."""
    if not any(line.hertz is not None for line in lines):
        return None
    table = torch.zeros(len(lines), 3 * SUBFRAMES, int(lengths.max()), dtype=torch.float16)
    for i, line in enumerate(lines):
        if line.hertz is not None:
            points, hertz = int(lengths[i]) * SUBFRAMES, torch.tensor(line.hertz, dtype=torch.float32)
            nearest = ((torch.arange(points) + 0.5) * len(hertz) / points).long().clamp_max(len(hertz) - 1)
            table[i, :, : int(lengths[i])] = pitch_features(hertz[nearest][None])[0]
    return table
