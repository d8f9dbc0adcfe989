"""Text -> speech, with the base class, keyword names and folders of the other pipelines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.utils import BaseOutput
from torch import Tensor

from ..diffusion.denoiser import Condition
from ..diffusion.solvers import Solver
from ..speech.alignment import whole_frames
from ..speech.encoder import SUBFRAMES, SpeechBatch, phoneme_batch, pitch_features
from ..speech.phonemes import Sentence, sentences, split_in_halves, validate_text
from ..speech.singing import align_notes, check_notes, resample_contour
from .latent_pipeline import ItemNoise, LatentPipeline, Seeds, decode_checked, item_generators


@dataclass
class SpeechOutput(BaseOutput):
    """audios: one float32 [sample] in [-1, 1] for each text (numpy for output_type "np"). durations: for each text, each
    symbol spoken with its seconds at the chosen speed; stress marks stand with their vowels, "_" is silence."""

    audios: list[Any]
    durations: list[list[tuple[str, float]]]
    sample_rate: int


@dataclass(frozen=True)
class SpokenSentence:
    """One sentence as `stream` yields it; `audio` float32 [sample] ends with the sentence's pause."""

    audio: Tensor
    sentence: Sentence
    durations: list[tuple[str, float]]


@dataclass(frozen=True)
class SpeechOptions:
    """The options of a call."""

    steps: int
    w: float
    speed: float
    voice: int
    pitch: Any = None
    notes: Sequence[tuple[float, float]] | None = None
    solver: Solver | None = None
    callback: Callable[[int, float, Tensor], None] | None = None

    @property
    def melody(self) -> bool:
        return self.pitch is not None or self.notes is not None


class TextToSpeechPipeline(LatentPipeline):
    """Text -> speech: phonemes, speech encoder, latent transformer (a one-step student or a teacher), mel VAE, vocoder.

    `noise_mean`: how much of the encoder's prior the noise is centred on, as in training: 1 CoMoSpeech, 0 zero-mean.
    """

    def __init__(
        self,
        transformer: torch.nn.Module,
        vae: torch.nn.Module,
        vocoder: torch.nn.Module,
        speech_encoder: torch.nn.Module,
        num_inference_steps: int = 1,
        guidance_scale: float = 1.0,
        guidance_range: tuple[float, float] = (0.0, 10.0),
        noise_mean: float = 1.0,
        vocoder_iterations: int | None = 0,
    ):
        """num_inference_steps, guidance_scale: defaults of a call. vocoder_iterations: see `Codec`."""
        super().__init__()
        self.register_modules(transformer=transformer, vae=vae, vocoder=vocoder, speech_encoder=speech_encoder)
        self.register_to_config(
            num_inference_steps=num_inference_steps, guidance_scale=guidance_scale,
            guidance_range=tuple(guidance_range), noise_mean=noise_mean, vocoder_iterations=vocoder_iterations,
        )  # fmt: skip
        self.join(vocoder_iterations)

    @property
    def voices(self) -> tuple[str, ...]:
        """Names for `voice`; the first is the default."""
        return tuple(self.speech_encoder.config.voices)

    @torch.no_grad()
    def __call__(
        self,
        text: str | Sequence[str],
        num_inference_steps: int | None = None,
        speed: float = 1.0,
        voice: str | None = None,
        guidance_scale: float | None = None,
        generator: Seeds = None,
        pitch: Any = None,
        notes: Sequence[tuple[float, float]] | None = None,
        solver: Solver | None = None,
        output_type: str = "pt",
        batch_size: int = 8,
        callback: Callable[[int, float, Tensor], None] | None = None,
    ) -> SpeechOutput:
        """Speak each text. The same seed is the same speech, alone or among others, in one piece or streamed.

        For models trained to follow F0, and texts of one sentence: pitch, in Hz over the whole of it, any number of points
        (0: unvoiced, nan: free); or notes to sing, (MIDI number, seconds) for each syllable, see `singing.sung`.
        solver: any of audiocm.solvers (a teacher's default: heun, two calls a step; a student's: jump).
        ValueError for what is not allowed, SoundError when a result is silent or broken.
        """
        texts = [text] if isinstance(text, str) else list(text)
        if output_type not in ("pt", "np"):
            raise ValueError(f"output_type must be 'pt' or 'np', not {output_type!r}")
        self.check_inputs(texts, num_inference_steps, speed, voice, guidance_scale)
        asked = self._asked(num_inference_steps, speed, voice, guidance_scale, pitch, notes, solver, callback)
        told = [list(sentences(one)) for one in texts]
        if asked.melody and any(len(parts) > 1 for parts in told):
            raise ValueError("pitch and notes are for one sentence: speak the text sentence by sentence")
        seeds = item_generators(generator, len(texts), 1)
        jobs = [
            (i, seed + k, one)
            for i, (seed, own) in enumerate(zip(seeds, told, strict=True))
            for k, one in enumerate(own)
        ]
        parts: list[list[SpokenSentence]] = [[] for _ in texts]
        for i, piece in self._spoken(jobs, batch_size, asked):
            parts[i].append(piece)
        audios = [torch.cat([piece.audio for piece in part]) for part in parts]
        audios = [
            wav[: len(wav) - self._samples(part[-1].sentence.pause)] for wav, part in zip(audios, parts, strict=True)
        ]
        durations = [[pair for piece in part for pair in piece.durations] for part in parts]
        return SpeechOutput([a.numpy() for a in audios] if output_type == "np" else audios, durations, self.sample_rate)

    def stream(
        self,
        text: str,
        num_inference_steps: int | None = None,
        speed: float = 1.0,
        voice: str | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | None = None,
        notes: Sequence[tuple[float, float]] | None = None,
    ) -> Iterator[SpokenSentence]:
        """The sentences of one text as they are ready, one in memory at a time; one sentence where `notes` are to be sung.

        Bad input raises before the first."""
        self.check_inputs([text], num_inference_steps, speed, voice, guidance_scale)
        asked = self._asked(num_inference_steps, speed, voice, guidance_scale, notes=notes)
        if notes is not None:
            check_notes(text, notes)
        seed = item_generators(generator, 1, 1)[0]
        jobs = ((0, seed + k, sentence) for k, sentence in enumerate(sentences(text)))
        return (piece for _, piece in self._spoken(jobs, 1, asked))

    def check_inputs(
        self,
        texts: Sequence[str],
        num_inference_steps: int | None = None,
        speed: float = 1.0,
        voice: str | None = None,
        guidance_scale: float | None = None,
    ) -> None:
        """ValueError, in one line, for the first input that is not allowed."""
        if not texts:
            raise ValueError("the text is empty: say what should be spoken")
        if not 0.5 <= speed <= 2:
            raise ValueError(f"speed {speed:g} is outside what the model allows: 0.5 to 2")
        if voice is not None and voice not in self.voices:
            raise ValueError(f"unknown voice {voice!r}: this model has {', '.join(self.voices)}")
        asked = self._asked(num_inference_steps, speed, voice, guidance_scale)
        self.check_sampling(asked.steps, asked.w)
        for text in texts:
            validate_text(text)

    def _asked(self, steps, speed, voice, w, pitch=None, notes=None, solver=None, callback=None) -> SpeechOptions:
        """A call's options with the model's defaults. ValueError for a melody that the model cannot follow."""
        if (pitch is not None or notes is not None) and not self.speech_encoder.config.follows_pitch:
            raise ValueError("this model was not trained to follow a pitch contour: leave pitch and notes out")
        steps = self.config.num_inference_steps if steps is None else steps
        w = float(self.config.guidance_scale if w is None else w)
        return SpeechOptions(
            steps, w, speed, 0 if voice is None else self.voices.index(voice), pitch, notes, solver, callback
        )

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.sample_rate)

    @torch.no_grad()
    def _spoken(
        self, jobs: Iterable[tuple[int, int, Sentence]], batch_size: int, asked: SpeechOptions
    ) -> Iterator[tuple[int, SpokenSentence]]:
        """Every (text, seed, sentence) spoken, a batch at a time; sentences too long for the net are cut in two."""
        jobs = iter(jobs)
        while batch := list(islice(jobs, batch_size)):
            pieces = [(i, seed, piece) for i, seed, one in batch for piece in self._fitting(one, asked)]
            for start in range(0, len(pieces), batch_size):
                part = pieces[start : start + batch_size]
                spoken = self._speak([seed for _, seed, _ in part], [piece for *_, piece in part], asked)
                yield from zip([i for i, *_ in part], spoken, strict=True)

    def _lines(self, parts: Sequence[Sentence], asked: SpeechOptions) -> tuple[SpeechBatch, Tensor]:
        """Lines, and their states, with durations and what is asked of the pitch."""
        encoder = self.speech_encoder
        spoken = phoneme_batch([part.phonemes for part in parts], asked.voice, encoder.config.symbols).to(
            self.transformer.device
        )
        states = encoder.states(spoken)
        spoken.durations = encoder.predicted(states, spoken, asked.speed)
        return spoken, states

    def _fitting(self, sentence: Sentence, asked: SpeechOptions) -> list[Sentence]:
        longest = self.transformer.config.max_frames
        if self._lines([sentence], asked)[0].durations.sum() <= longest or len(sentence.phonemes) < 4:
            return [sentence]
        first, second = split_in_halves(sentence.phonemes)
        parts = [replace(sentence, phonemes=first, pause=0.0), replace(sentence, phonemes=second)]
        return [piece for part in parts for piece in self._fitting(part, asked)]

    def _speak(self, seeds: Sequence[int], parts: Sequence[Sentence], asked: SpeechOptions) -> list[SpokenSentence]:
        spoken, states = self._lines(parts, asked)
        if asked.melody:
            spoken = replace(spoken, **self._melody(spoken, asked))
        counts = spoken.durations.sum(1).round().long().tolist()
        if max(counts) > self.transformer.config.max_frames:
            seconds = self.transformer.config.max_frames / self.codec.frame_rate
            raise ValueError(f"{parts[0].text[:40]!r} is too long to speak at once: at most {seconds:.1f} seconds")
        cond = self.speech_encoder.condition(states, spoken, spoken.durations, max(counts))
        latent = self._latent(cond, seeds, asked)
        found = []
        for i, part in enumerate(parts):  # decoded alone: nothing after its last frame is heard
            wav = decode_checked(self.codec, latent[i : i + 1, :, : counts[i]], [part.text])[0]
            found.append(SpokenSentence(F.pad(wav, (0, self._samples(part.pause))), part, self._timed(spoken, i)))
        return found

    def _timed(self, spoken: SpeechBatch, row: int) -> list[tuple[str, float]]:
        """Symbols of one line with their seconds."""
        real = spoken.token_mask[row]
        seconds = (spoken.durations[row][real] / self.codec.frame_rate).tolist()
        names = [self.speech_encoder.config.symbols[k] for k in spoken.symbols[row][real].tolist()]
        return list(zip(names, seconds, strict=True))

    def _melody(self, spoken: SpeechBatch, asked: SpeechOptions) -> dict[str, Tensor]:
        """Durations and pitch of lines that are sung, or follow a contour."""
        durations, rate = spoken.durations.clone(), self.codec.frame_rate
        hertz, points = [], []
        for row in range(len(durations)):
            curve = asked.pitch
            if asked.notes is not None:
                names, seconds = zip(*self._timed(spoken, row), strict=True)
                seconds, curve = align_notes(names, seconds, asked.notes, 1 / rate / SUBFRAMES)
                durations[row, : len(seconds)] = torch.tensor(seconds, device=durations.device) * rate
            durations[row : row + 1], frames = whole_frames(durations[row : row + 1])
            points.append(int(frames) * SUBFRAMES)
            hertz.append(torch.from_numpy(resample_contour(np.asarray(curve, dtype=np.float32), points[-1])))
        curves = torch.stack([F.pad(one, (0, max(points) - len(one))) for one in hertz])
        return {"durations": durations, "pitch": pitch_features(curves).to(durations.device)}

    def _latent(self, cond: Condition, seeds: Sequence[int], asked: SpeechOptions) -> Tensor:
        unit = ItemNoise(seeds, self.codec.channels, self.transformer.config.max_frames)
        frames, mean = cond.mask.shape[1], self.config.noise_mean * cond.prior
        net, cond = self.field(cond, asked.w)
        return self.solved(
            net, cond, lambda: unit(frames, mean.device) + mean, asked.steps, None, asked.solver, asked.callback
        )
