"""Editing of sounds with a text-to-audio model: fill in, continue, vary, transform, widen the band, make stereo.

The model works on latents of at most ten seconds at its own rate. The editor chooses the window, keeps what is known in
latents, mels and phases, and puts only what was made into the sound: all other samples are the sound's own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..audio.io import resample
from ..audio.seams import fade_in, high_pass, match_level, splice
from ..audio.spectral import griffin_lim
from ..checks import check_number, check_text, check_whole
from ..diffusion import editing, solvers
from .failures import MAX_FRAME_RMS, SILENCE_RMS, AudioError, attempt, audio_faults
from .sampler import LatentSampler, PerItemNoise

CONTEXT = 3.0  # seconds of the sound on each side that the model hears, and up to one more
SEAM = 0.02  # seconds of a cross-fade
MARGIN = 1  # latent frames on each side of an interval that are made with it, since they heard a part of it
LEVEL = 0.1  # RMS at which the model hears a sound
PHASE_ITERATIONS = 16  # of Griffin-Lim around known phases
MAX_STEPS = 1000
LOOP_GAP = 1.0  # seconds between the end and the beginning of a loop that join them
BAND_CALLS, TEACHER_STEPS = 4, 25  # by default, of a student that extends a band, and of a teacher
DEFAULT_PROMPT = "a sound"  # what a network that ignores its words is given


@dataclass(frozen=True)
class EditSettings:
    """How a sound is made: None stands for the model's default.

    prompt       what is wanted; None: whatever fits the sound around (guidance 0)
    steps        network calls of a student, solver steps of a teacher"""

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


class SoundEditor:
    """Edits sounds with a text-to-audio pipeline.

    A wav is float [sample] or [sample, channel] in [-1, 1] at `rate` Hz, and so is the result; the channels of a sound
    are made from equal noise. `pipe` is a text-to-audio pipeline. All methods raise ValueError if an argument is not allowed, AudioError if what was made
    is silent, clipped or not finite with every seed tried."""

    def __init__(self, pipe: LatentSampler):
        self.pipe, self.codec = pipe, pipe.codec
        self.max_frames: int = pipe.transformer.config.max_frames
        self.takes_kept: bool = bool(pipe.transformer.config.takes_kept)

    def inpaint(
        self, wav: np.ndarray, rate: int, start: float, end: float, settings: EditSettings = EditSettings()
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
        settings: EditSettings = EditSettings(),
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

    def transform(
        self, wav: np.ndarray, rate: int, strength: float, settings: EditSettings = EditSettings()
    ) -> np.ndarray:
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
        self, wav: np.ndarray, rate: int, cutoff: float, settings: EditSettings = EditSettings(), strength: float = 0.5
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

    def widen(
        self, wav: np.ndarray, rate: int, width: float = 0.5, settings: EditSettings = EditSettings()
    ) -> np.ndarray:
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
        while len(tail) < left:
            tries = tries + 1 if len(tail) < least else 0
            if tries > settings.max_retries:
                raise AudioError(f"the sound made for {settings.prompt!r} dies away: try another seed")
            done, tail, part = tail[:-context], tail[-context:], part + 1
            if len(done):
                yield done[skipped:]
            left, skipped, least = left - len(done), 0 if len(done) else skipped, len(tail) + rate // 2
            count = min(left - len(tail), window - len(tail) - round(1.5 * rate))
            seed = settings.seed + 7919 * part
            tail = without_end(self.extend(tail, rate, count / rate, settings=replace(settings, seed=seed)), rate)
        if not loop:
            yield tail
            return
        end = len(tail)
        joined = np.concatenate([tail, np.zeros(gap, tail.dtype), head])
        joined = self._fill(joined, rate, end, end + gap, replace(settings, seed=settings.seed + 7919 * (part + 1)))
        yield joined[skipped : end + gap + seam]

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
        own = self.pipe.sample_rate
        begin = max(0, int(first / rate - CONTEXT))  # a whole second is a whole sample at any rate
        stop = min(len(wav), round(end + CONTEXT * rate))
        part = wav[begin * rate : stop]
        first, end = first - begin * rate, end - begin * rate
        heard, gain = self._heard(part, rate, np.r_[0:first, end : len(part)])
        interval = round(first * own / rate), round(end * own / rate)

        def make(_: list[int], seeds: list[int]) -> Iterator[tuple[np.ndarray, str | None]]:
            made = self._made_between(heard, interval, settings, seeds[0])
            fault = next(filter(None, audio_faults(made[:, slice(*interval)])), None)
            yield self._at_rate(made, gain, rate, part), fault

        spliced = splice(part, self._first_good(make, settings), first, end, round(SEAM * rate))
        return np.concatenate([wav[: begin * rate], spliced, wav[stop:]])

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

    def _first_good(self, make: Callable, settings: EditSettings) -> np.ndarray:
        tried = attempt(make, [settings.seed], settings.max_retries)[0]
        if tried.fault:
            raise AudioError(f"what was made {tried.fault} with every seed tried: {', '.join(map(str, tried.seeds))}")
        return tried.made

    def _heard(self, part: np.ndarray, rate: int, known: np.ndarray) -> tuple[Tensor, float]:
        """Returns a part of a sound as the model hears it, [channel, sample] at its rate and level, and the gain.

        Raises ValueError if what is known of it is silent."""
        level = float(np.sqrt(np.mean(np.square(part[known], dtype=np.float64)))) if len(known) else 0.0
        if level < SILENCE_RMS / 10:
            raise ValueError("the sound around is silent: there is nothing to go by; generate a sound instead")
        gain = LEVEL / level
        heard = resample(part * gain, rate, self.pipe.sample_rate)
        return torch.from_numpy(np.atleast_2d(heard.T).astype(np.float32)).to(self.pipe.device), gain

    def _at_rate(self, made: Tensor, gain: float, rate: int, part: np.ndarray) -> np.ndarray:
        """Returns what was made at the rate, level, length and shape of a part of the sound."""
        wav = resample(made.float().cpu().numpy().T, self.pipe.sample_rate, rate)[: len(part)] / gain
        wav = np.pad(wav, [(0, len(part) - len(wav)), (0, 0)])
        peak = float(np.abs(wav).max())
        wav = wav * (0.99 / peak if peak > 1 else 1.0)
        return wav.reshape(part.shape).astype(part.dtype)

    @torch.no_grad()
    def _made_between(self, heard: Tensor, interval: tuple[int, int], settings: EditSettings, seed: int) -> Tensor:
        """Returns heard [channel, sample] with the interval of samples made anew; its other samples come close to it."""
        first, end = interval
        frame = self.codec.samples_per_frame
        sound = mirrored(heard, first, end)
        sound = torch.nn.functional.pad(sound, (0, -sound.shape[1] % frame), mode="replicate")
        reference = self.codec.encode(sound)
        index = torch.arange(reference.shape[2], device=heard.device)
        known = (index < first // frame - MARGIN) | (index >= -(-end // frame) + MARGIN)
        latent = self._fill_latents(reference, known, settings, seed)
        mel = self.codec.vocoder.mel
        start = torch.arange(sound.shape[1] // mel.hop, device=heard.device) * mel.hop
        pad = (mel.n_fft - mel.hop) // 2
        given = (start + mel.hop + pad <= first) | (start - pad >= end)
        spectrum = mel.stft(sound)
        log_mel = joined_mel(mel.from_spectrum(spectrum), self.codec.vae.decode(latent), given)
        log_mel = mel.limit(log_mel, MAX_FRAME_RMS)
        estimate = self.codec.vocoder.initial_spectrum(log_mel)
        made = griffin_lim(mel, log_mel, estimate, PHASE_ITERATIONS, known=given, known_spectrum=spectrum)
        return made[:, : heard.shape[1]]

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

    @torch.no_grad()
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
        pipe, path, device = self.pipe, self.pipe.path, reference.device
        rows, frames = len(reference), reference.shape[2]
        steps = settings.steps or (1 if pipe.is_student else TEACHER_STEPS)
        w = pipe.config.guidance_scale if settings.guidance is None else settings.guidance
        w = pipe.guidance_range[0] if settings.prompt is None else w
        pipe.check_sampling(steps, w)
        cond = pipe.sound_condition([settings.prompt or DEFAULT_PROMPT] * rows, frames)
        net, cond = pipe.apply_guidance(cond, float(w))
        temperature = pipe.config.temperature if settings.temperature is None else settings.temperature
        unit = PerItemNoise([seed] * rows, reference.shape[1], self.max_frames)

        def draw_noise(_: Tensor | None = None) -> Tensor:
            return temperature * unit(frames, device)

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
        made = solvers.sample(net, path, draw_noise(), cond, times, hook=hook, **options)
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


def without_end(wav: np.ndarray, rate: int) -> np.ndarray:
    """Returns a wav [sample] without what dies away at its end: tenths of a second 12 dB below its louder ones."""
    hop = rate // 10
    frames = wav[: len(wav) // hop * hop].reshape(-1, hop)
    if not len(frames):
        return wav
    levels = np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1))
    loud = np.flatnonzero(levels >= 0.25 * np.quantile(levels, 0.9))
    return wav[: (int(loud[-1]) + 1) * hop] if loud[-1] + 1 < len(frames) else wav


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

    What the encoder hears next to the interval is then neither silence nor what is to be replaced."""
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
