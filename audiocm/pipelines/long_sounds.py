"""Filling of gaps in sounds with a text-to-audio model: intervals, continuations, beginnings, and sounds of any length.

The network takes at most ten seconds at once. A longer gap is made part by part, each from what lies before it; the
memory that this takes does not grow with the gap.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..audio.loudness import active_level, loud_level, without_end
from ..audio.seams import match_seams, raise_event
from ..audio.timbre import bands_apart
from ..checks import check_number
from .failures import SILENCE_RMS, AudioError
from .filling import DEFAULTS, SEAM, EditSettings, PartEditor, check_sound

CONTEXT = 3.0  # seconds of the sound on each side of a gap that the network is given
LEAST_CONTEXT = 1.0  # seconds of it on each side of a gap that is too long for more
ANCHOR = 1.0  # seconds of a sound that stand after a part of it while it is made
LOOP_GAP = 1.0  # seconds between the end and the beginning of a loop that join them
RISE = 0.3  # seconds until a part of another level has that of the sound
GAIN = 2.0  # at most, up or down, to that level
BANDS = 2.0  # nepers by which the bands of a gap move to those of its sides at most
FAINT = 0.003  # RMS of the loudest frame, beside sides at LEVEL, up to which a gap counts as silent
EVENT = 1.0  # nepers by which a gap is louder than its sides that stays as it is
LONGEST = 24 * 3600  # seconds of a sound
DEFAULT_PROMPT = "a sound"  # what a network that ignores its words is given


class SoundFiller(PartEditor):
    """Fills gaps of any length in sounds, with the pipeline of a text-to-audio model.

    A wav is float [sample] or [sample, channel] in [-1, 1] at `rate` Hz, and so is the result; the channels of a sound
    are made from equal noise. All methods raise ValueError if an argument is not allowed, AudioError if what was made is
    silent, clipped or not finite with every seed tried."""

    def inpaint(
        self, wav: np.ndarray, rate: int, start: float, end: float, settings: EditSettings = DEFAULTS
    ) -> np.ndarray:
        """Makes the sound between `start` and `end` seconds anew."""
        return self.inpaint_intervals(wav, rate, [(start, end)], settings)

    def inpaint_intervals(
        self,
        wav: np.ndarray,
        rate: int,
        intervals: Sequence[tuple[float, float]],
        settings: EditSettings = DEFAULTS,
    ) -> np.ndarray:
        """Makes the sound inside each interval, (start, end) in seconds, anew; overlapping ones are one.

        They are made one after another, each from what lies around it up to the next."""
        seconds = len(check_sound(wav)) / rate
        gaps: list[list[int]] = []
        for start, end in sorted(check_interval(start, end, seconds) for start, end in intervals):
            first, stop = round(start * rate), round(end * rate)
            if stop <= first:
                raise ValueError(f"the interval {start:g}:{end:g} is empty: it holds no sample")
            if gaps and first <= gaps[-1][1] + round(2 * SEAM * rate):
                gaps[-1][1] = max(gaps[-1][1], stop)
            else:
                gaps.append([first, stop])
        if gaps[0][0] <= 0 and gaps[0][1] >= len(wav):
            raise ValueError("the interval is the whole sound: nothing would be kept; generate one instead")
        for i, (first, stop) in enumerate(gaps):
            until = gaps[i + 1][0] if i + 1 < len(gaps) else len(wav)
            given = replace(settings, seed=settings.seed + 104_729 * i)
            wav = np.concatenate([self._fill(wav[:until], rate, first, stop, given, must_sound=True), wav[until:]])
        return wav

    def extend(
        self,
        wav: np.ndarray,
        rate: int,
        after: float = 0.0,
        before: float = 0.0,
        settings: EditSettings = DEFAULTS,
    ) -> np.ndarray:
        """Continues the sound by `after` seconds, and begins it `before` seconds earlier."""
        return np.concatenate(list(self.stream_extended(wav, rate, after, before, settings)))

    def stream_extended(
        self,
        wav: np.ndarray,
        rate: int,
        after: float = 0.0,
        before: float = 0.0,
        settings: EditSettings = DEFAULTS,
    ) -> Iterator[np.ndarray]:
        """Yields what `extend` returns in parts; of what comes after the sound, one at a time is in memory.

        The sound goes on at the level of its end, or of its beginning."""
        check_sound(wav)
        counts = []
        for name, seconds in (("after", after), ("before", before)):
            counts.append(round(check_number(f"seconds {name} the sound", seconds, least=0, most=LONGEST) * rate))
            if seconds > 0 and not counts[-1]:
                raise ValueError(f"{seconds:g} seconds {name} the sound hold no sample")
        if not any(counts):
            raise ValueError("give the seconds after or before the sound, one of them over 0")
        if counts[1]:
            given = replace(settings, seed=settings.seed + 15_485_863) if counts[0] else settings
            wav = np.concatenate([*self._grow(wav[::-1], rate, counts[1], given, is_reversed=True)])[::-1]
        yield from self._grow(wav, rate, counts[0], settings) if counts[0] else [wav]

    def stream(self, seconds: float, settings: EditSettings, loop: bool = False) -> Iterator[np.ndarray]:
        """Yields a sound of any length in parts [sample] at the pipeline's rate: a first window, and continuations.

        A part that dies away is continued from where it does. loop: the end leads into the beginning without a seam.
        Raises ValueError without a prompt, and AudioError if what was made cannot be continued."""
        rate = self.pipe.sample_rate
        if settings.prompt is None:
            raise ValueError("the prompt is empty: describe a sound in words")
        gap = round(LOOP_GAP * rate) if loop else 0
        left, seam = round(check_number("seconds", seconds) * rate) - gap, round(SEAM * rate)
        if left <= 0:
            least = gap / rate
            raise ValueError(f"a {'loop' if loop else 'sound'} must last over {least:g} seconds, not {seconds:g}")
        sound = self._first_sound(min(left / rate, self.pipe.config.seconds_range[1]), settings)[:left]
        head = sound[: round(CONTEXT * rate)].copy()
        if left > len(sound):
            sound = without_end(sound, rate)
        parts = self._grow(sound, rate, left - len(sound), settings, must_sound=True)
        if not loop:
            yield from parts
            return
        skipped, last = seam, next(parts)  # the beginning's seam returns at the end in its cross-faded form
        for part in parts:
            yield last[skipped:]
            skipped, last = 0, part
        end = len(last)
        joined = np.concatenate([last, np.zeros(gap, last.dtype), head])
        joined = self._fill(joined, rate, end, end + gap, replace(settings, seed=settings.seed + 15_485_863))
        yield joined[skipped : end + gap + seam]

    def _grow(
        self,
        sound: np.ndarray,
        rate: int,
        count: int,
        settings: EditSettings,
        is_reversed: bool = False,
        must_sound: bool = False,
    ) -> Iterator[np.ndarray]:
        """Yields a sound in parts, of which the last one lasts at least CONTEXT seconds or is all, with `count` more
        samples.

        Each is made as if a second of the sound came again after it, since recordings, which the network learnt from,
        end; and gets the sound's level. One that dies away nevertheless is made again from where it does, and kept as
        it is after `max_retries` times, or with `must_sound` an AudioError.

        is_reversed: the sound is given and yielded backwards, and goes on before its beginning."""
        context, least, tries, part = round(CONTEXT * rate), 0, 0, 0
        anchor = sound[-context:][: round(ANCHOR * rate)]
        level, tail, left = active_level(sound[-context:], rate), sound, count
        longest = self._window(rate) - context - round(ANCHOR * rate)
        while left > 0:
            tries = tries + 1 if len(tail) < least else 0
            if must_sound and tries > settings.max_retries:
                raise AudioError(f"the sound made for {settings.prompt!r} dies away: try another seed")
            if len(tail) > context:
                yield tail[:-context]
                tail = tail[-context:]
            if len(anchor) < round(ANCHOR * rate):  # of a short sound
                anchor = tail[: round(ANCHOR * rate)]
            given = replace(settings, seed=settings.seed + 7919 * (part := part + 1))
            size = -(-left // -(-left // longest))  # of equal parts
            longer = self._go_on(tail, size, anchor, level, rate, given, is_reversed)
            if tries < settings.max_retries or must_sound:
                longer = longer[: max(len(tail), len(without_end(longer, rate)))]
            least = len(tail) + min(rate // 2, size)
            left -= len(longer) - len(tail)
            tail = longer
        yield tail

    def _go_on(
        self,
        tail: np.ndarray,
        count: int,
        anchor: np.ndarray,
        level: float,
        rate: int,
        settings: EditSettings,
        is_reversed: bool = False,
    ) -> np.ndarray:
        """Returns the end of a sound with `count` more samples, made between it and an anchor, at a level."""
        joined, end = np.concatenate([tail, np.zeros((count, *tail.shape[1:]), tail.dtype), anchor]), len(tail) + count
        if is_reversed:
            filled = self._fill(joined[::-1], rate, len(anchor), len(anchor) + count, settings)[::-1][:end]
        else:
            filled = self._fill(joined, rate, len(tail), end, settings)[:end]
        made = filled[len(tail) :]
        gain = float(np.clip(level / max(active_level(made, rate), 1e-9), 1 / GAIN, GAIN))
        gain = min(gain, max(1.0, 0.99 / max(float(np.abs(made).max()), 1e-9)))
        ramp = np.minimum(np.arange(count) / (RISE * rate), 1.0).reshape(-1, *(1,) * (tail.ndim - 1))
        return np.concatenate([filled[: len(tail)], (made * (1 + (gain - 1) * ramp)).astype(tail.dtype)])

    def _first_sound(self, seconds: float, settings: EditSettings) -> np.ndarray:
        generator = torch.Generator().manual_seed(settings.seed)
        names = {"steps": "num_inference_steps", "guidance": "guidance_scale", "temperature": "temperature"}
        options = {name: getattr(settings, field) for field, name in names.items()}
        if not self.takes_kept and settings.steps is None:
            options["num_inference_steps"] = None  # plain generation needs no more calls than the model's own
        shortest = max(seconds, self.pipe.config.seconds_range[0])
        output = self.pipe(
            settings.prompt,
            shortest,
            generator=generator,
            max_retries=settings.max_retries,
            output_type="np",
            **options,
        )
        return output.audios[0]

    def _window(self, rate: int) -> int:
        """Returns how many samples at a rate the network can take at once."""
        return int((self.max_frames - 1) * self.codec.samples_per_frame / self.pipe.sample_rate * rate)

    def _fill(
        self, wav: np.ndarray, rate: int, first: int, end: int, settings: EditSettings, must_sound: bool = False
    ) -> np.ndarray:
        """Returns wav with its samples from `first` to `end` made anew, and the seams around them.

        must_sound: where the network finds that only silence fits between the sides, and there is a prompt, the gap gets
        the sound of the prompt alone, as loud as the sides' loudest part."""
        gap, window, context = end - first, self._window(rate), round(CONTEXT * rate)
        if gap > window - 2 * round(LEAST_CONTEXT * rate):
            before, after = wav[:first], wav[end:]
            if len(before) and loud_level(before[-context:], rate) > SILENCE_RMS:
                if not len(after):
                    return np.concatenate([*self._grow(before, rate, gap, settings)])
                made = gap - (window - 2 * context)  # the rest has the sound on both sides
                longer = np.concatenate([*self._grow(before, rate, made, settings)])
                joined = np.concatenate([longer, wav[len(longer) :]])
                return self._fill(joined, rate, len(longer), end, replace(settings, seed=settings.seed + 15_485_863))
            reversed_parts = self._grow(after[::-1], rate, gap, settings, is_reversed=True)
            longer = np.concatenate([*reversed_parts])[::-1]
            return np.concatenate([before, longer])
        before, after = min(first, context), min(len(wav) - end, context)
        after = min(after, max((window - gap) // 2, window - gap - before))
        begin, stop = first - min(before, window - gap - after), end + after

        is_alone = False

        def fill_mel(reference: Tensor, known: Tensor, seed: int) -> Tensor:
            nonlocal is_alone
            mel = self.codec.vae.decode(self._sample(reference, settings, seed, known=known))
            given = known.repeat_interleave(mel.shape[2] // reference.shape[2])
            is_faint = float(self.codec.vocoder.mel.rms(mel)[:, ~given].max()) < FAINT
            is_alone = must_sound and settings.prompt is not None and is_faint
            if is_alone:
                mel = self.codec.vae.decode(self._sample_alone(reference, settings, seed, known))
            return like_sides(mel, given)

        part, first, end = wav[begin:stop], first - begin, end - begin
        made = self._fill_part(part, rate, first, end, fill_mel, settings)
        if is_alone:
            made = raise_event(made, first, end, rate, round(SEAM * rate))
        else:
            made = match_seams(made, part, first, end, rate)
        return np.concatenate([wav[:begin], made, wav[stop:]])

    def _sample_alone(self, reference: Tensor, settings: EditSettings, seed: int, known: Tensor) -> Tensor:
        """Returns latents [channel, latent channel, frame] of the reference whose unknown frames are a sound of the prompt."""
        count, least = int((~known).sum()), self.codec.frames(self.pipe.config.seconds_range[0])
        alone = self._sample(reference.new_zeros(*reference.shape[:2], max(count, least)), settings, seed)
        made = reference.clone()
        made[:, :, ~known] = alone[:, :, :count]
        return made

    def _sample(
        self,
        reference: Tensor,
        settings: EditSettings,
        seed: int,
        strength: float = 1.0,
        known: Tensor | None = None,
        hook: Callable[[Tensor, float], Tensor] | None = None,
    ) -> Tensor:
        """Samples latents [channel, latent channel, frame] from a reference noised by `strength`, with known frames."""
        pipe = self.pipe
        w = pipe.config.guidance_scale if settings.guidance is None else settings.guidance
        w = pipe.guidance_range[0] if settings.prompt is None else w
        cond = pipe.sound_condition([settings.prompt or DEFAULT_PROMPT] * len(reference), reference.shape[2])
        temperature = pipe.config.temperature if settings.temperature is None else settings.temperature
        made = self._denoise(cond, reference, settings, seed, w, strength, known, hook, temperature=temperature)
        return made if known is None else torch.where(known, reference, made)


def like_sides(mel: Tensor, known: Tensor) -> Tensor:
    """Returns log-mels [channel, bin, frame] whose unknown frames have the mean spectrum of the known ones, bool [frame].

    A network makes gaps several dB quieter than their sides. Each band moves by at most BANDS nepers; by less the louder
    than its sides a gap is, and from EVENT nepers on not at all: there something happens."""
    apart = bands_apart(mel, mel, known, False, -BANDS, BANDS, 5)
    share = (1 + apart.mean(1, keepdim=True) / EVENT).clamp(0, 1)
    return torch.where(known, mel, mel + share * apart)


def check_interval(start: float, end: float, seconds: float) -> tuple[float, float]:
    """Returns an interval in seconds. Raises ValueError unless it lies inside a sound of `seconds` and is not empty."""
    if start == end:
        raise ValueError(f"the interval {start:g}:{end:g} is empty")
    if start > end:
        raise ValueError(f"the interval {start:g}:{end:g} ends before it begins: give START:END")
    if not 0 <= start < end <= seconds:
        raise ValueError(f"the interval {start:g}:{end:g} must lie inside the sound, 0 to {seconds:g} seconds")
    return start, end
