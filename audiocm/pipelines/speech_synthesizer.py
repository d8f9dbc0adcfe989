"""Sentences -> speech in batches: durations, melody, latents and sound, and what is done with long and failed ones."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..devices import usual_defaults
from ..diffusion.denoiser import Condition
from ..diffusion.solvers import Solver
from ..failed_sounds import Failure
from ..speech.alignment import whole_frames
from ..speech.encoder_net import SUBFRAMES, SpeechBatch, phoneme_batch, pitch_features
from ..speech.pieces import SpokenPiece, Timeline, in_context, speaking_rate, without_context
from ..speech.singing import Notes, align_notes, resample_contour
from ..speech.times import SentenceTimes, place_of_middle, split_sentence
from ..text.reading import Sentence
from .failures import attempt, decode_checked
from .sampler import Hook, LatentSampler, PerItemNoise


@dataclass(frozen=True)
class SpokenSentence:
    """A sentence, or a clause of a long one, as `stream` yields it.

    audio     float32 [sample] at the pipeline's `sample_rate`; it begins with the pause after the sentence before
    sentence  its text, words and phonemes
    times     its seconds, and those of its words and phonemes, from the beginning of the whole text's sound
    failure   None, or why it is silence: every seed tried failed"""

    audio: Tensor
    sentence: Sentence
    times: SentenceTimes
    failure: Failure | None = None

    @property
    def durations(self) -> list[tuple[str, float]]:
        """Its symbols, each with its seconds, which sum to the length of `audio`; "_" is silence."""
        return self.times.durations


class _Line(NamedTuple):
    """A sentence and the phonemes that are synthesised for it, its own or those in context, perhaps `encoded` already."""

    sentence: Sentence
    phonemes: str
    encoded: tuple[SpeechBatch, Tensor] | None = None


@dataclass(frozen=True)
class SpeechOptions:
    """The options of a call, with the model's defaults filled in."""

    steps: int
    w: float
    speed: float
    voice: int
    pitch: Any = None
    notes: Notes | None = None
    solver: Solver | None = None
    new_hook: Callable[[], Hook] | None = None
    max_retries: int = 3

    @property
    def has_melody(self) -> bool:
        """Whether pitch or notes are given."""
        return self.pitch is not None or self.notes is not None


class SpeechSynthesizer(LatentSampler):
    """Synthesises sentences with a speech encoder, a latent transformer, a mel VAE and a vocoder."""

    @torch.no_grad()
    def synthesize(
        self, jobs: Iterable[tuple[int, int, Sentence]], batch_size: int, options: SpeechOptions
    ) -> Iterator[tuple[int, SpokenSentence]]:
        """Yields (text number, speech) of each job (text number, seed, sentence), batch by batch.

        A sentence too long for the network gives several pieces with the same seed; one that fails is made again."""
        jobs, timelines = iter(jobs), defaultdict(lambda: Timeline(self.sample_rate))
        while batch := list(islice(jobs, batch_size)):
            with usual_defaults():
                pieces = [
                    (i, seed, piece) for i, seed, sentence in batch for piece in self._split_to_fit(sentence, options)
                ]
            for start in range(0, len(pieces), batch_size):
                numbers, seeds, lines = zip(*pieces[start : start + batch_size], strict=True)
                make = partial(self._synthesize_batch, lines, options)
                with usual_defaults():
                    attempts = attempt(make, seeds, options.max_retries)
                for i, one in zip(numbers, attempts, strict=True):
                    failure = Failure(i, one.made.sentence.text, one.fault, one.seeds) if one.fault else None
                    audio, times = timelines[i].place(one.made)
                    yield i, SpokenSentence(torch.from_numpy(audio), one.made.sentence, times, failure)

    def _split_to_fit(self, sentence: Sentence, options: SpeechOptions) -> list[_Line]:
        """Splits a sentence into pieces that the network can make at once, a short one in context if that fits."""
        alone = _Line(sentence, sentence.phonemes)
        for line in (alone,) if options.has_melody else (_Line(sentence, in_context(sentence.phonemes)), alone):
            batch, states = self._encode([line], options)
            if batch.durations.sum() <= self.transformer.config.max_frames or len(sentence.phonemes) < 4:
                return [line._replace(encoded=(batch, states))]
        parts = split_sentence(sentence, place_of_middle(sentence.phonemes))
        return [piece for part in parts for piece in self._split_to_fit(part, options)]

    def _encode(self, lines: Sequence[_Line], options: SpeechOptions) -> tuple[SpeechBatch, Tensor]:
        """Returns the batch of lines with predicted durations, and its token states."""
        if len(lines) == 1 and lines[0].encoded:
            return lines[0].encoded
        encoder, device = self.speech_encoder, self._execution_device
        batch = phoneme_batch([line.phonemes for line in lines], options.voice, encoder.config.symbols)
        batch = batch.to(device)
        states = encoder.states(batch)
        speeds = torch.tensor([[speaking_rate(line.sentence, options.speed)] for line in lines], device=device)
        batch.durations = encoder.predict_durations(states, batch, speeds)
        return batch, states

    def _synthesize_batch(
        self, lines: Sequence[_Line], options: SpeechOptions, rows: Sequence[int], seeds: Sequence[int]
    ) -> Iterator[tuple[SpokenPiece, str | None]]:
        """Synthesises some of the lines in one batch, each with its fault. Raises ValueError if one is too long."""
        lines = [lines[row] for row in rows]
        batch, states = self._encode(lines, options)
        if options.has_melody:
            batch = self._set_melody(batch, options.pitch, options.notes)
        frames = batch.durations.sum(1).round().long().tolist()
        max_frames = self.transformer.config.max_frames
        if max(frames) > max_frames:
            seconds = max_frames / self.codec.frame_rate
            raise ValueError(
                f"{lines[0].sentence.text[:40]!r} is too long to speak at once: at most {seconds:.1f} seconds"
            )
        cond = self.speech_encoder.condition(states, batch, batch.durations, max(frames))
        latent = self._sample(cond, seeds, options)
        for i, line in enumerate(lines):  # decoded one by one, so that padding does not reach the sound
            (wav,), (fault,) = decode_checked(self.codec, latent[i : i + 1, :, : frames[i]])
            symbols, seconds = zip(*self._symbol_seconds(batch, i), strict=True)
            piece = SpokenPiece(wav.numpy(), line.sentence, symbols, seconds)
            is_repeated = line.phonemes != line.sentence.phonemes
            yield without_context(piece, self.sample_rate) if is_repeated else piece, fault

    def _set_melody(self, batch: SpeechBatch, pitch: Any, notes: Notes | None) -> SpeechBatch:
        """Returns the batch with pitch, and durations of whole frames, that follow notes or an F0 contour."""
        durations, frame_rate = batch.durations.clone(), self.codec.frame_rate
        contours = []
        for row in range(len(durations)):
            contour = pitch
            if notes is not None:
                symbols, seconds = zip(*self._symbol_seconds(batch, row), strict=True)
                seconds, contour = align_notes(symbols, seconds, notes, 1 / frame_rate / SUBFRAMES)
                durations[row, : len(seconds)] = torch.tensor(seconds, device=durations.device) * frame_rate
            durations[row : row + 1], frames = whole_frames(durations[row : row + 1])
            contour = resample_contour(np.asarray(contour, dtype=np.float32), int(frames) * SUBFRAMES)
            contours.append(torch.from_numpy(contour))
        features = pitch_features(pad_sequence(contours, batch_first=True))
        return replace(batch, durations=durations, pitch=features.to(durations.device))

    def _sample(self, cond: Condition, seeds: Sequence[int], options: SpeechOptions) -> Tensor:
        """Samples latents from noise that is centred on the prior."""
        unit = PerItemNoise(seeds, self.codec.channels, self.transformer.config.max_frames)
        frames, mean = cond.prior.shape[2], self.config.noise_mean * cond.prior
        net, cond = self.apply_guidance(cond, options.w)
        return self.sample_latents(
            net, cond, lambda: unit(frames, mean.device) + mean, options.steps, None, options.solver, options.new_hook
        )

    def _symbol_seconds(self, batch: SpeechBatch, row: int) -> list[tuple[str, float]]:
        """Returns the symbols of a line with their seconds."""
        real = batch.token_mask[row]
        seconds = (batch.durations[row][real] / self.codec.frame_rate).tolist()
        symbols = [self.speech_encoder.config.symbols[number] for number in batch.symbols[row][real].tolist()]
        return list(zip(symbols, seconds, strict=True))
