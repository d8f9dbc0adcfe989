"""Filling in a part of a sound: what the editors of sounds and of speech share.

The model works on latents at its own rate. What is known is kept in latents, mels and phases, and only what was made is
put into the sound: all other samples are the sound's own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..audio.io import resample
from ..audio.seams import splice
from ..audio.spectral import griffin_lim
from ..checks import check_number, check_text, check_whole
from ..diffusion import editing, solvers
from ..diffusion.denoiser import Condition
from .failures import MAX_FRAME_RMS, SILENCE_RMS, AudioError, attempt, audio_faults
from .sampler import LatentSampler, PerItemNoise

SEAM = 0.02  # seconds of a cross-fade
MARGIN = 1  # latent frames on each side of an interval that are made with it: the encoder's windows reach into it
LEVEL = 0.1  # RMS to which a sound is scaled before it is encoded
PHASE_ITERATIONS = 16  # of Griffin-Lim around known phases
MAX_STEPS = 1000
TEACHER_STEPS = 25  # by default
# (latents [channel, latent channel, frame], which frames are known, bool [frame], seed) -> log-mels [channel, bin, frame]
FillMel = Callable[[Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class EditSettings:
    """How an edited part is made; None stands for the model's default. Raises ValueError for a value out of range.

    prompt       what the part should sound like; None: whatever fits the sound around it (guidance 0)
    seed         0 to 2^63 - 1; the same seed makes the same sound
    steps        network calls of a student, solver steps of a teacher, 1 to MAX_STEPS
    guidance     Imagen's weight w: 0 ignores the prompt, 1 follows it, more exaggerates it
    temperature  standard deviation of the noise, above 0 and at most 2; less is safer and less varied
    max_retries  times that a silent, clipped or non-finite part is made again with another seed"""

    prompt: str | None = None
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    temperature: float | None = None
    max_retries: int = 3

    def __post_init__(self):
        """Raises ValueError for a setting that is not allowed."""
        if self.prompt is not None:
            check_text("prompt", self.prompt)
        check_whole("seed", self.seed, least=0, below=2**63)
        check_whole("max_retries", self.max_retries, least=0)
        if self.steps is not None:
            check_whole("steps", self.steps, least=1, most=MAX_STEPS)
        for name in ("guidance", "temperature"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), **({"above": 0, "most": 2} if name == "temperature" else {}))


DEFAULTS = EditSettings()


class PartEditor:
    """Base of the editors: a part of a sound is made anew by the networks of a pipeline."""

    def __init__(self, pipe: LatentSampler):
        self.pipe, self.codec = pipe, pipe.codec
        self.max_frames: int = pipe.transformer.config.max_frames
        self.takes_kept: bool = bool(pipe.transformer.config.takes_kept)

    def _fill_part(
        self, part: np.ndarray, rate: int, first: int, end: int, fill_mel: FillMel, settings: EditSettings
    ) -> np.ndarray:
        """Returns a part of a sound with its samples from `first` to `end` made anew, and the seams around them."""
        own = self.pipe.sample_rate
        audible, gain = self._audible(part, rate, np.r_[0:first, end : len(part)])
        if not gain.any():
            raise ValueError("the sound around is silent: there is nothing to go by; generate a sound instead")
        interval = round(first * own / rate), round(end * own / rate)

        def make(_: list[int], seeds: list[int]) -> Iterator[tuple[np.ndarray, str | None]]:
            made = self._made_between(audible, interval, fill_mel, seeds[0])
            fault = next(filter(None, audio_faults(made[:, slice(*interval)])), None)
            yield self._at_rate(made, gain, rate, part), fault

        return splice(part, self._first_good(make, settings), first, end, round(SEAM * rate))

    def _first_good(self, make: Callable, settings: EditSettings) -> np.ndarray:
        tried = attempt(make, [settings.seed], settings.max_retries)[0]
        if tried.fault:
            raise AudioError(f"what was made {tried.fault} with every seed tried: {', '.join(map(str, tried.seeds))}")
        return tried.made

    def _audible(self, part: np.ndarray, rate: int, known: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Returns the input of the encoder for a part of a sound, and the gain of each channel [channel].

        The input is [channel, sample] at the model's rate and at LEVEL, without the channels whose known samples are
        silent, which have gain 0."""
        channels = np.atleast_2d(part.T)
        level = np.sqrt(np.mean(np.square(channels[:, known], dtype=np.float64), axis=1)) if len(known) else np.zeros(1)
        gain = np.where(level < SILENCE_RMS / 10, 0.0, LEVEL / np.maximum(level, SILENCE_RMS / 10))
        if not gain.any():
            return torch.zeros(0, 0), gain
        audible = resample((channels[gain > 0] * gain[gain > 0, None]).T, rate, self.pipe.sample_rate)
        return torch.from_numpy(np.ascontiguousarray(audible.T, np.float32)).to(self.pipe.device), gain

    def _at_rate(self, made: Tensor, gain: np.ndarray, rate: int, part: np.ndarray) -> np.ndarray:
        """Returns what was made of the audible channels at the rate, level, length and shape of a part of the sound.

        It is no louder than full scale, or than that part."""
        wav = resample(made.float().cpu().numpy().T, self.pipe.sample_rate, rate)[: len(part)]
        whole = np.zeros((len(part), len(gain)))
        whole[: len(wav), gain > 0] = wav / gain[gain > 0]
        highest, peak = max(0.99, float(np.abs(part).max())), float(np.abs(whole).max())
        whole *= highest / peak if peak > max(1.0, highest) else 1.0
        return whole.reshape(part.shape).astype(part.dtype)

    @torch.no_grad()
    def _made_between(self, audible: Tensor, interval: tuple[int, int], fill_mel: FillMel, seed: int) -> Tensor:
        """Returns a sound [channel, sample] with its interval of samples made anew; the other samples come close to it."""
        first, end = interval
        frame = self.codec.samples_per_frame
        sound = mirrored(audible, first, end)
        sound = torch.nn.functional.pad(sound, (0, -sound.shape[1] % frame), mode="replicate")
        reference = self.codec.encode(sound)
        index = torch.arange(reference.shape[2], device=audible.device)
        known = (index < first // frame - MARGIN) | (index >= -(-end // frame) + MARGIN)
        mel = self.codec.vocoder.mel
        start = torch.arange(sound.shape[1] // mel.hop, device=audible.device) * mel.hop
        pad = (mel.n_fft - mel.hop) // 2
        given = (start + mel.hop + pad <= first) | (start - pad >= end)
        spectrum = mel.stft(sound)
        log_mel = joined_mel(mel.from_spectrum(spectrum), fill_mel(reference, known, seed), given)
        log_mel = mel.limit(log_mel, MAX_FRAME_RMS)
        estimate = self.codec.vocoder.initial_spectrum(log_mel)
        made = griffin_lim(mel, log_mel, estimate, PHASE_ITERATIONS, known=given, known_spectrum=spectrum)
        return made[:, : audible.shape[1]]

    @torch.no_grad()
    def _denoise(
        self,
        cond: Condition,
        reference: Tensor,
        settings: EditSettings,
        seed: int,
        w: float,
        strength: float = 1.0,
        known: Tensor | None = None,
        hook: Callable[[Tensor, float], Tensor] | None = None,
        mean: Tensor | float = 0.0,
        temperature: float = 1.0,
    ) -> Tensor:
        """Samples latents [channel, latent channel, frame] from a reference noised by `strength`, with known frames.

        w: the guidance weight. mean, temperature: of the noise. A network with `takes_kept` is conditioned on the known
        frames; for others they are set before and after each call of a student, after each step of a teacher."""
        pipe, path, device = self.pipe, self.pipe.path, reference.device
        rows, frames = len(reference), reference.shape[2]
        steps = settings.steps or (1 if pipe.is_student else TEACHER_STEPS)
        pipe.check_sampling(steps, w)
        net, cond = pipe.apply_guidance(cond, float(w))
        unit = PerItemNoise([seed] * rows, reference.shape[1], self.max_frames)

        def draw_noise(_: Tensor | None = None) -> Tensor:
            return temperature * unit(frames, device) + mean

        times = (solvers.student_times if pipe.is_student else solvers.ode_times)(path, int(steps))
        if strength < 1:
            top, bottom = (torch.tensor([time], dtype=torch.float64) for time in (path.t_max, path.t_min))
            highest = path.interpolate(top, bottom, 1 - strength)
            share = torch.linspace(0, 1, int(steps) + pipe.is_student, dtype=torch.float64)
            times = [*path.interpolate(highest, bottom, share)[: int(steps)].tolist(), 0.0]
        options = {"solver": solvers.student_step if pipe.is_student else solvers.heun, "draw_noise": draw_noise}
        options |= {"gamma": 1.0 if pipe.is_student else 0.0, "start": reference if strength < 1 else None}
        if known is not None and self.takes_kept:
            cond.kept, cond.kept_mask = reference, known.expand(rows, -1)
        elif known is not None and pipe.is_student:
            hook = editing.keep_known(reference, ~known)
            options["start"] = editing.fill_unknown(reference, ~known)
        elif known is not None:
            hook = editing.replace_known(path, reference, ~known, draw_noise)
            options["gamma"] = 0.5
        return solvers.sample(net, path, draw_noise(), cond, times, hook=hook, **options)


def check_sound(wav: np.ndarray) -> np.ndarray:
    """Returns a wav that can be edited. Raises ValueError if it is empty, silent, not finite or of another shape."""
    if not isinstance(wav, np.ndarray) or wav.ndim not in (1, 2) or not np.issubdtype(wav.dtype, np.floating):
        raise ValueError("the sound must be a float array [sample] or [sample, channel]")
    if not len(wav):
        raise ValueError("the sound is empty")
    if not np.isfinite(wav).all():
        raise ValueError("the sound holds samples that are not finite")
    if float(np.abs(wav).max()) < SILENCE_RMS:
        raise ValueError("the sound is silent: there is nothing to go by")
    return wav


def mirrored(sound: Tensor, first: int, end: int) -> Tensor:
    """Returns a sound [channel, sample] whose samples from `first` to `end` mirror what lies beside them.

    What the encoder's windows see next to the interval is then neither silence nor what is to be replaced."""
    result = sound.clone()
    index = torch.arange(end - first, device=sound.device)
    before, after = sound[:, :first].flip(1), sound[:, end:].flip(1)
    sides = []
    for side, distance in ((before, index), (after.flip(1), (end - first - 1) - index)):
        sides.append(side[:, distance % side.shape[1]] if side.shape[1] else None)
    share = ((index + 0.5) / max(len(index), 1))[None]
    if sides[0] is None or sides[1] is None:
        result[:, first:end] = sides[1] if sides[0] is None else sides[0]
    else:
        result[:, first:end] = (1 - share).sqrt() * sides[0] + share.sqrt() * sides[1]
    return result


def joined_mel(given: Tensor, made: Tensor, known: Tensor, frames: int = 8, limit: float = 0.7) -> Tensor:
    """Returns log-mels [channel, bin, frame]: `given` in known frames, else `made` at the level that fits both sides.

    The level on each side is the mean difference in the last `frames` known frames, at most `limit` nepers."""
    unknown = (~known).nonzero()[:, 0]
    if not len(unknown):
        return given
    first, end = int(unknown[0]), int(unknown[-1]) + 1
    difference = (given - made).mean(1, keepdim=True).clamp(-limit, limit)
    sides = [difference[:, :, max(0, first - frames) : first], difference[:, :, end : end + frames]]
    left, right = (side.mean(2, keepdim=True) if side.shape[2] else None for side in sides)
    left, right = right if left is None else left, left if right is None else right
    if left is None or right is None:
        return made
    share = torch.linspace(0, 1, end - first, device=made.device)
    level = left + share * (right - left)
    return torch.cat([given[:, :, :first], made[:, :, first:end] + level, given[:, :, end:]], 2)


def joined_band(given: Tensor, made: Tensor, known: Tensor, bins: int = 6, limit: float = 2.0) -> Tensor:
    """Returns log-mels [channel, bin, frame]: `given` in known bins [bin, 1], above them `made` at the level that fits
    the highest `bins` known ones, frame by frame, at most `limit` nepers."""
    top = int(known.sum())
    level = (given - made)[:, max(0, top - bins) : top].mean(1, keepdim=True).clamp(-limit, limit)
    return torch.where(known, given, made + level)
