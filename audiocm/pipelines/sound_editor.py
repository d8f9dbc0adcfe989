"""Editing of sounds with a text-to-audio model: fill in, continue, vary, transform, widen the band, make stereo.

The model works on latents of at most ten seconds at its own rate. The editor chooses the window, keeps what is known in
latents, mels and phases, and puts only what was made into the sound: all other samples are the sound's own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..audio.io import resample
from ..audio.seams import fade_in, high_pass, match_level
from ..audio.spectral import griffin_lim
from ..checks import check_number, check_whole
from .failures import MAX_FRAME_RMS, AudioError, audio_faults
from .filling import (
    DEFAULTS,
    PHASE_ITERATIONS,
    SEAM as SEAM,
    EditSettings as EditSettings,
    PartEditor,
    check_sound as check_sound,
    joined_band as joined_band,
    joined_mel as joined_mel,
    mirrored as mirrored,
)
from .sampler import LatentSampler

CONTEXT = 3.0  # seconds of the sound on each side that the model hears, and up to one more
LOOP_GAP = 1.0  # seconds between the end and the beginning of a loop that join them
ANCHOR = 1.0  # seconds of a long sound that stand after a part of it while it is made
RISE = 0.3  # seconds until a quieter part has the level of the one before
BAND_CALLS = 4  # by default, of a student that extends a band
DEFAULT_PROMPT = "a sound"  # what a network that ignores its words is given


class SoundEditor(PartEditor):
    """Edits sounds with a text-to-audio pipeline.

    A wav is float [sample] or [sample, channel] in [-1, 1] at `rate` Hz, and so is the result; the channels of a sound
    are made from equal noise. `pipe` is a text-to-audio pipeline. All methods raise ValueError if an argument is not
    allowed, AudioError if what was made is silent, clipped or not finite with every seed tried."""

    def inpaint(
        self, wav: np.ndarray, rate: int, start: float, end: float, settings: EditSettings = DEFAULTS
    ) -> np.ndarray:
        """Makes the sound between `start` and `end` seconds anew."""
        seconds = len(check_sound(wav)) / rate
        if not 0 <= start < end <= seconds:
            raise ValueError(f"the interval {start:g}:{end:g} must lie inside the sound, 0 to {seconds:g} seconds")
        first, stop = round(start * rate), round(end * rate)
        if stop - first >= len(wav):
            raise ValueError("the interval is the whole sound: nothing would be kept; generate one instead")
        if stop <= first:
            raise ValueError(f"the interval {start:g}:{end:g} is empty: it holds no sample")
        return self._fill(wav, rate, first, stop, settings)

    def extend(
        self,
        wav: np.ndarray,
        rate: int,
        after: float = 0.0,
        before: float = 0.0,
        settings: EditSettings = DEFAULTS,
    ) -> np.ndarray:
        """Continues the sound by `after` seconds, and begins it `before` seconds earlier."""
        check_sound(wav)
        if min(after, before) < 0 or not max(after, before) > 0 or not np.isfinite(after + before):
            raise ValueError(f"after and before must be seconds, one of them over 0, not {after:g} and {before:g}")
        for seconds, at_end in ((after, True), (before, False)):
            if count := round(seconds * rate):
                padding = [(0, count) if at_end else (count, 0), *[(0, 0)] * (wav.ndim - 1)]
                first = len(wav) if at_end else 0
                wav = self._fill(np.pad(wav, padding), rate, first, first + count, settings)
        return wav

    def transform(self, wav: np.ndarray, rate: int, strength: float, settings: EditSettings = DEFAULTS) -> np.ndarray:
        """Makes another take of the sound, or with a prompt another sound of its shape.

        strength: 0 the sound itself, 1 nothing of it. The sound's latents are noised to that fraction of the path's
        grid and denoised (SDEdit, Meng et al. 2022)."""
        check_sound(wav)
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must lie between 0 and 1, not {strength:g}")
        if strength == 0:
            return wav

        def make(heard: Tensor, settings: EditSettings, seed: int) -> Tensor:
            latent = self.codec.encode(heard)
            made = self._sample(latent, settings, seed, strength)
            return self.codec.decode(made, MAX_FRAME_RMS)[:, : heard.shape[1]]

        return self._in_windows(wav, rate, make, settings)

    def extend_bandwidth(
        self, wav: np.ndarray, rate: int, cutoff: float, settings: EditSettings = DEFAULTS, strength: float = 0.5
    ) -> np.ndarray:
        """Makes up what lies above `cutoff` Hz, at the model's rate if that is higher; what lies below is the sound's.

        After every call the mel bins below the cutoff are set to the sound's (`diffusion.editing` in mel bins)."""
        check_sound(wav)
        out_rate = max(rate, self.pipe.sample_rate)
        if not 500 <= cutoff <= 0.45 * self.pipe.sample_rate:
            highest = 0.45 * self.pipe.sample_rate
            raise ValueError(f"the cutoff must lie between 500 and {highest:g} Hz, not {cutoff:g}")
        base = resample(wav, rate, out_rate)
        base = base - high_pass(base, out_rate, cutoff)

        def make(heard: Tensor, settings: EditSettings, seed: int) -> Tensor:
            return self._made_above(heard, cutoff, strength, settings, seed)

        return base + high_pass(self._in_windows(base, out_rate, make, settings), out_rate, cutoff)

    def widen(self, wav: np.ndarray, rate: int, width: float = 0.5, settings: EditSettings = DEFAULTS) -> np.ndarray:
        """Makes a mono sound stereo, [sample, 2], whose mean over the channels is the sound.

        The side signal is half the difference of two takes of the sound, at `width` times its level, above 120 Hz."""
        mid = check_sound(wav)
        if mid.ndim == 2 and mid.shape[1] > 1:
            raise ValueError(f"the sound has {mid.shape[1]} channels already: a mono sound can be made stereo")
        if not 0 < width <= 1:
            raise ValueError(f"width must be over 0 and at most 1, not {width:g}")
        mid = mid.reshape(-1)
        takes = [self.transform(mid, rate, 0.3, replace(settings, seed=settings.seed + take)) for take in (0, 1)]
        side = match_level(high_pass((takes[0] - takes[1]) / 2, rate, 120.0, 0.5), width * mid)
        room = np.maximum(1 - np.abs(mid), 0)
        side = side * min(1.0, float(np.min(np.where(np.abs(side) > room, room / np.maximum(np.abs(side), 1e-9), 1.0))))
        return np.stack([mid + side, mid - side], axis=1)

    def stream(self, seconds: float, settings: EditSettings, loop: bool = False) -> Iterator[np.ndarray]:
        """Yields a sound of any length in parts [sample] at the pipeline's rate: a first window, and continuations.

        A part that dies away is continued from where it does. loop: the end leads into the beginning without a seam.
        Raises ValueError without a prompt, and AudioError if what was made cannot be continued."""
        rate = self.pipe.sample_rate
        if settings.prompt is None:
            raise ValueError("the prompt is empty: describe a sound in words")
        gap = round(LOOP_GAP * rate) if loop else 0
        left, context, seam = (
            round(check_number("seconds", seconds) * rate) - gap,
            round(CONTEXT * rate),
            round(SEAM * rate),
        )
        if left <= 0:
            least = gap / rate
            raise ValueError(f"a {'loop' if loop else 'sound'} must last over {least:g} seconds, not {seconds:g}")
        window = self.max_frames * self.codec.samples_per_frame
        tail = self._first_sound(min(left / rate, self.pipe.config.seconds_range[1]), settings)[:left]
        head, part, tries, least = tail[:context].copy(), 0, 0, rate // 2
        skipped = seam if loop else 0  # of the beginning, which returns at the end in its cross-faded form
        if left > len(tail):
            tail = without_end(tail, rate)
        level = loud_level(tail, rate)
        while len(tail) < left:
            tries = tries + 1 if len(tail) < least else 0
            if tries > settings.max_retries:
                raise AudioError(f"the sound made for {settings.prompt!r} dies away: try another seed")
            done, tail, part = tail[:-context], tail[-context:], part + 1
            if len(done):
                yield done[skipped:]
            left, skipped, least = left - len(done), 0 if len(done) else skipped, len(tail) + rate // 2
            count = min(left - len(tail), window - len(tail) - round(1.5 * rate))
            given = replace(settings, seed=settings.seed + 7919 * part)
            tail = without_end(self._go_on(tail, count, level, given), rate)
        if not loop:
            yield tail
            return
        end = len(tail)
        joined = np.concatenate([tail, np.zeros(gap, tail.dtype), head])
        joined = self._fill(joined, rate, end, end + gap, replace(settings, seed=settings.seed + 7919 * (part + 1)))
        yield joined[skipped : end + gap + seam]

    def _go_on(self, tail: np.ndarray, count: int, level: float, settings: EditSettings) -> np.ndarray:
        """Returns a part of a sound [sample] at the pipeline's rate with `count` more samples.

        They are made as if the part's beginning came again after them, so that the sound does not end: recordings, which
        the network learnt from, die away. What is quieter than `level` is raised to it, by up to 6 dB."""
        rate, end = self.pipe.sample_rate, len(tail) + count
        joined = np.concatenate([tail, np.zeros(count, tail.dtype), tail[: round(ANCHOR * rate)]])
        filled = self._fill(joined, rate, len(tail), end, settings)[:end]
        made = filled[len(tail) :]
        gain = np.clip(level / max(loud_level(made, rate), 1e-9), 1.0, 2.0)
        gain = max(1.0, min(gain, 0.99 / max(float(np.abs(made).max()), 1e-9)))
        ramp = np.minimum(np.arange(count) / (RISE * rate), 1.0).astype(filled.dtype)
        return np.concatenate([filled[: len(tail)], made * (1 + (gain - 1) * ramp)])

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

    def _fill(self, wav: np.ndarray, rate: int, first: int, end: int, settings: EditSettings) -> np.ndarray:
        """Returns wav with its samples from `first` to `end` made anew, and the seams around them."""
        begin = max(0, int(first / rate - CONTEXT)) * rate  # a whole second is a whole sample at any rate
        stop = min(len(wav), round(end + CONTEXT * rate))

        def fill_mel(reference: Tensor, known: Tensor, seed: int) -> Tensor:
            return self.codec.vae.decode(self._fill_latents(reference, known, settings, seed))

        made = self._fill_part(wav[begin:stop], rate, first - begin, end - begin, fill_mel, settings)
        return np.concatenate([wav[:begin], made, wav[stop:]])

    def _in_windows(
        self, wav: np.ndarray, rate: int, make: Callable[[Tensor, EditSettings, int], Tensor], settings: EditSettings
    ) -> np.ndarray:
        """Returns what `make` makes of the whole sound, [channel, sample] at the model's rate, window by window, with
        cross-fades of half a second."""
        fade = rate // 2
        window = int(self.max_frames * self.codec.samples_per_frame / self.pipe.sample_rate) * rate
        result, begin = np.zeros_like(wav), 0
        while True:
            part = wav[begin : begin + window]
            heard, gain = self._heard(part, rate, np.arange(len(part)))

            def tried(
                _: list[int], seeds: list[int], heard: Tensor = heard, gain: float = gain, part: np.ndarray = part
            ) -> Iterator[tuple[np.ndarray, str | None]]:
                made = make(heard, settings, seeds[0])
                yield self._at_rate(made, gain, rate, part), next(filter(None, audio_faults(made)), None)

            made = self._first_good(tried, settings)
            overlap = min(fade, len(part)) if begin else 0
            rise = np.sqrt(fade_in(overlap)).reshape(-1, *(1,) * (wav.ndim - 1))  # of equal power: the takes differ
            fall = np.sqrt(fade_in(overlap)[::-1]).reshape(rise.shape)
            result[begin : begin + overlap] = result[begin : begin + overlap] * fall + made[:overlap] * rise
            result[begin + overlap : begin + len(part)] = made[overlap:]
            if begin + window >= len(wav):
                return result
            begin += window - fade

    def _fill_latents(self, reference: Tensor, known: Tensor, settings: EditSettings, seed: int) -> Tensor:
        """Fills the unknown frames of a reference [channel, latent channel, frame], in windows if it is too long."""
        context = int(CONTEXT * self.codec.frame_rate)
        latent, known, part = reference.clone(), known.clone(), 0
        while not known.all():
            unknown = (~known).nonzero()[:, 0]
            begin = max(0, int(unknown[0]) - context)
            end = min(begin + self.max_frames, latent.shape[2])
            window = self._sample(latent[:, :, begin:end], settings, seed + 7919 * part, known=known[begin:end])
            kept = end if end > int(unknown[-1]) else end - context // 4  # the end of a window may die away
            made = torch.where(known[begin:kept], latent[:, :, begin:kept], window[:, :, : kept - begin])
            latent = torch.cat([latent[:, :, :begin], made, latent[:, :, kept:]], 2)
            known[begin:kept] = True
            part += 1
        return latent

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

    @torch.no_grad()
    def _made_above(self, heard: Tensor, cutoff: float, strength: float, settings: EditSettings, seed: int) -> Tensor:
        """Returns heard [channel, sample] with the band above the cutoff made up; the phases below are its own."""
        samples = heard.shape[1]
        sound = torch.nn.functional.pad(heard, (0, -samples % self.codec.samples_per_frame))
        vae, mel = self.codec.vae, self.codec.vocoder.mel
        spectrum = mel.stft(sound)
        given = mel.from_spectrum(spectrum)
        frequency = torch.arange(mel.n_fft // 2 + 1, device=heard.device) * self.pipe.sample_rate / mel.n_fft
        below = frequency <= cutoff
        covered = (mel.filters * ~below).sum(1, keepdim=True) == 0  # mel bins without anything above

        def with_band(x: Tensor, _: float = 0.0) -> Tensor:
            return vae.encode(joined_band(given, vae.decode(x), covered))

        calls = replace(settings, steps=settings.steps or (BAND_CALLS if self.pipe.is_student else None))
        hook = with_band if self.pipe.is_student else None
        latent = self._sample(vae.encode(given), calls, seed, strength, hook=hook)
        log_mel = mel.limit(joined_band(given, vae.decode(latent), covered), MAX_FRAME_RMS)
        estimate = self.codec.vocoder.initial_spectrum(log_mel)
        known = below[:, None]
        made = griffin_lim(mel, log_mel, estimate, PHASE_ITERATIONS, known=known, known_spectrum=spectrum)
        return made[:, :samples]


def edit_audio(
    pipe: LatentSampler,
    audio: Tensor | np.ndarray,
    takes: Sequence[EditSettings],
    sampling_rate: int | None = None,
    mask_start_seconds: float | None = None,
    mask_end_seconds: float | None = None,
    strength: float | None = None,
) -> Tensor:
    """Returns takes [take, sample] or [take, channel, sample] of a sound, as a call of the pipeline edits it.

    Raises ValueError for another shape, and unless either both seconds or a strength are given."""
    mask = (mask_start_seconds, mask_end_seconds)
    if (strength is None) == (mask == (None, None)) or (strength is None and None in mask):
        raise ValueError("audio is edited by mask_start_seconds and mask_end_seconds, or by strength: give either")
    sound = np.asarray(audio.detach().cpu().float() if isinstance(audio, Tensor) else audio)
    if sound.ndim == 3 and len(sound) == 1:
        sound = sound[0]
    if sound.ndim not in (1, 2):
        raise ValueError(f"audio must be [sample], [channel, sample] or [1, channel, sample], not {list(sound.shape)}")
    rate = pipe.sample_rate if sampling_rate is None else check_whole("sampling_rate", sampling_rate, least=1000)
    editor, made = SoundEditor(pipe), []
    for settings in takes:
        if strength is None:
            made.append(editor.inpaint(sound.T, rate, *mask, settings))
        else:
            made.append(editor.transform(sound.T, rate, strength, settings))
    return torch.from_numpy(np.stack([wav.T for wav in made]).astype(np.float32))


def frame_levels(wav: np.ndarray, rate: int) -> np.ndarray:
    """Returns the RMS of each tenth of a second of a wav [sample], [tenth]; 0 for a shorter one."""
    hop = rate // 10
    frames = wav[: len(wav) // hop * hop].reshape(-1, hop)
    return np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1)) if len(frames) else np.zeros(1)


def loud_level(wav: np.ndarray, rate: int) -> float:
    """Returns the RMS that a tenth of the tenths of a second of a wav [sample] exceed."""
    return float(np.quantile(frame_levels(wav, rate), 0.9))


def without_end(wav: np.ndarray, rate: int) -> np.ndarray:
    """Returns a wav [sample] without what dies away at its end: tenths of a second 12 dB below its louder ones."""
    levels = frame_levels(wav, rate)
    loud = np.flatnonzero(levels >= 0.25 * loud_level(wav, rate))
    return wav[: (int(loud[-1]) + 1) * (rate // 10)] if loud[-1] + 1 < len(levels) else wav
