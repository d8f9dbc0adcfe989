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
from ..checks import check_whole
from .failures import MAX_FRAME_RMS, audio_faults
from .filling import DEFAULTS, LEVEL, PHASE_ITERATIONS, EditSettings, check_sound, joined_band
from .long_sounds import SoundFiller
from .sampler import LatentSampler

SLOPE = 0.05  # nepers by which a mel bin above the cutoff is guessed to be quieter than the one below it


class SoundEditor(SoundFiller):
    """Edits sounds with a text-to-audio pipeline.

    A wav is float [sample] or [sample, channel] in [-1, 1] at `rate` Hz, and so is the result; its channels are
    made from the same noise, and silent ones stay silent. `pipe` is a text-to-audio pipeline. All methods raise ValueError
    if an argument is not allowed, AudioError if what was made is silent, clipped or not finite with every seed tried."""

    def transform(self, wav: np.ndarray, rate: int, strength: float, settings: EditSettings = DEFAULTS) -> np.ndarray:
        """Makes another take of the sound, or with a prompt another sound of its shape.

        strength: 0 the sound itself, 1 nothing of it. The sound's latents are noised to that fraction of the path's
        grid and denoised (SDEdit, Meng et al. 2022). Each ten seconds keep their level, channel by channel."""
        check_sound(wav)
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must lie between 0 and 1, not {strength:g}")
        if strength == 0:
            return wav

        def make(audible: Tensor, settings: EditSettings, seed: int) -> Tensor:
            latent = self.codec.encode(audible)
            made = self.codec.decode(self._sample(latent, settings, seed, strength), MAX_FRAME_RMS)
            made = made[:, : audible.shape[1]]
            level = made.square().mean(1, keepdim=True).sqrt()
            return made * (audible.square().mean(1, keepdim=True).sqrt() / level.clamp_min(LEVEL / 10))

        return self._in_windows(wav, rate, make, settings)

    def extend_bandwidth(
        self, wav: np.ndarray, rate: int, cutoff: float, settings: EditSettings = DEFAULTS, strength: float = 0.5
    ) -> np.ndarray:
        """Makes up what lies above `cutoff` Hz, at the model's rate if that is higher; what lies below is the sound's.

        A guess, which falls off from the highest bins below the cutoff, is noised by `strength` and denoised; after every
        call the mel bins below the cutoff are set to the sound's (`diffusion.editing` in mel bins). The guess alone is
        strength 0."""
        check_sound(wav)
        out_rate = max(rate, self.pipe.sample_rate)
        if not 500 <= cutoff <= 0.45 * self.pipe.sample_rate:
            highest = 0.45 * self.pipe.sample_rate
            raise ValueError(f"the cutoff must lie between 500 and {highest:g} Hz, not {cutoff:g}")
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must lie between 0 and 1, not {strength:g}")
        base = resample(wav, rate, out_rate)
        base = base - high_pass(base, out_rate, cutoff)

        def make(audible: Tensor, settings: EditSettings, seed: int) -> Tensor:
            return self._made_above(audible, cutoff, strength, settings, seed)

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
            audible, gain = self._audible(part, rate, np.arange(len(part)))

            def tried(
                _: list[int],
                seeds: list[int],
                audible: Tensor = audible,
                gain: np.ndarray = gain,
                part: np.ndarray = part,
            ) -> Iterator[tuple[np.ndarray, str | None]]:
                made = make(audible, settings, seeds[0])
                yield self._at_rate(made, gain, rate, part), next(filter(None, audio_faults(made)), None)

            made = self._first_good(tried, settings) if gain.any() else part
            overlap = min(fade, len(part)) if begin else 0
            rise = np.sqrt(fade_in(overlap)).reshape(-1, *(1,) * (wav.ndim - 1))  # of equal power: the takes differ
            fall = np.sqrt(fade_in(overlap)[::-1]).reshape(rise.shape)
            result[begin : begin + overlap] = result[begin : begin + overlap] * fall + made[:overlap] * rise
            result[begin + overlap : begin + len(part)] = made[overlap:]
            if begin + window >= len(wav):
                return result
            begin += window - fade

    @torch.no_grad()
    def _made_above(self, audible: Tensor, cutoff: float, strength: float, settings: EditSettings, seed: int) -> Tensor:
        """Returns a sound [channel, sample] with the band above the cutoff generated; the phases below are its own."""
        samples = audible.shape[1]
        sound = torch.nn.functional.pad(audible, (0, -samples % self.codec.samples_per_frame))
        vae, mel = self.codec.vae, self.codec.vocoder.mel
        spectrum = mel.stft(sound)
        given = mel.from_spectrum(spectrum)
        frequency = torch.arange(mel.n_fft // 2 + 1, device=audible.device) * self.pipe.sample_rate / mel.n_fft
        below = frequency <= cutoff
        covered = (mel.filters * ~below).sum(1, keepdim=True) == 0  # mel bins without anything above

        def with_band(x: Tensor, _: float = 0.0) -> Tensor:
            return vae.encode(joined_band(given, vae.decode(x), covered))

        hook, guess = with_band if self.pipe.is_student else None, with_slope(given, covered)
        if strength > 0:
            latent = self._sample(vae.encode(guess), settings, seed, strength, hook=hook)
            guess = joined_band(given, vae.decode(latent), covered)
        log_mel = mel.limit(guess, MAX_FRAME_RMS)
        estimate = self.codec.vocoder.initial_spectrum(log_mel)
        known = below[:, None]
        made = griffin_lim(mel, log_mel, estimate, PHASE_ITERATIONS, known=known, known_spectrum=spectrum)
        return made[:, :samples]


def with_slope(given: Tensor, known: Tensor, bins: int = 6) -> Tensor:
    """Returns log-mels [channel, bin, frame]: `given` in known bins [bin, 1], above them the mean of the highest `bins` of
    these less SLOPE a bin, frame by frame."""
    top = int(known.sum())
    level = given[:, max(0, top - bins) : top].mean(1, keepdim=True)
    above = torch.arange(given.shape[1], device=given.device)[:, None] - (top - 1 - bins / 2)
    return torch.where(known, given, level - SLOPE * above)


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
