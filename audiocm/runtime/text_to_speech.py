"""Text to speech with the graphs of an exported student, sentence by sentence."""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..failed_sounds import Failure, check_retries
from ..speech.phonemes import encode_phonemes
from ..speech.pieces import SPEEDS, SpokenPiece, Timeline, in_context, read_pieces, speaking_rate, without_context
from ..speech.singing import Notes, align_notes, check_notes, resample_contour
from ..speech.times import SentenceTimes, place_of_middle, split_sentence
from ..text.pronunciation import Lexicon
from ..text.reading import Sentence, validate_text
from .checks import make_valid, raise_failures
from .noise import drawn_seed, normal_noise
from .text_to_audio import ExportedModel, SoundOutput


@dataclass(frozen=True)
class SpokenSentence:
    """A sentence as `stream` yields it; `audio`, float32 [sample], begins with the pause after the one before.

    One that failed with every seed tried is silence, and has the `failure`."""

    audio: np.ndarray
    sentence: Sentence
    times: SentenceTimes  # in seconds from the beginning of the text's sound
    failure: Failure | None = None

    @property
    def durations(self) -> list[tuple[str, float]]:
        """Its symbols, each with its seconds, which sum to the length of `audio`; "_" is silence."""
        return self.times.durations


class OnnxTextToSpeech(ExportedModel):
    """A one-call text-to-speech student without torch; the same seed makes the same speech as with it, to rounding."""

    kind = "text-to-speech"

    @property
    def voices(self) -> tuple[str, ...]:
        """Allowed values of `voice`; the first is the default."""
        return tuple(self.settings["voices"])

    def __call__(
        self,
        text: str,
        speed: float = 1.0,
        voice: str | None = None,
        guidance_scale: float | None = None,
        seed: int = 0,
        notes: Notes | None = None,
        max_retries: int = 3,
        on_failure: str = "raise",
        lexicon: Lexicon | None = None,
    ) -> SoundOutput:
        """Speaks a text as one sound, audios [1, sample]; the options are those of `stream`."""
        pieces = list(self.stream(text, speed, voice, guidance_scale, seed, notes, max_retries, on_failure, lexicon))
        wav = np.concatenate([piece.audio for piece in pieces])
        return SoundOutput(wav[None], self.sample_rate, [piece.failure for piece in pieces if piece.failure])

    def stream(
        self,
        text: str | Iterable[str],
        speed: float = 1.0,
        voice: str | None = None,
        guidance_scale: float | None = None,
        seed: int = 0,
        notes: Notes | None = None,
        max_retries: int = 3,
        on_failure: str = "raise",
        lexicon: Lexicon | None = None,
    ) -> Iterator[SpokenSentence]:
        """Yields the sentences of a text one by one; with `notes`, (MIDI number, seconds) a syllable, it is one sung.

        seed: that of `audiocm speak --seed`. Raises ValueError before the first sentence if an argument is not allowed
        and, unless on_failure is "return", SoundsFailedError after the last one if any failed."""
        check_retries(max_retries, on_failure)
        if not SPEEDS[0] <= speed <= SPEEDS[1]:
            raise ValueError(f"speed {speed:g} is outside what the model allows: {SPEEDS[0]:g} to {SPEEDS[1]:g}")
        if voice is not None and voice not in self.voices:
            raise ValueError(f"unknown voice {voice!r}: this model has {', '.join(self.voices)}")
        w, number = self.check_guidance(guidance_scale), 0 if voice is None else self.voices.index(voice)
        if notes is not None:
            text = text if isinstance(text, str) else "".join(text)
        if isinstance(text, str):
            validate_text(text)
        if notes is not None:
            if not self.settings.get("follows_pitch"):
                raise ValueError("this model was not trained to follow a pitch contour: leave notes out")
            check_notes(text, notes, lexicon)

        def pieces() -> Iterator[SpokenSentence]:
            failures: list[Failure] = []
            timeline = Timeline(self.sample_rate)
            for k, sentence in enumerate(read_pieces(text, lexicon, notes is not None)):
                for piece, line in self._split_to_fit(sentence, number, speed, notes is not None):

                    def make(seed: int, piece: Sentence = piece, line: str = line) -> tuple[SpokenPiece, str | None]:
                        return self._speak(piece, line, number, speed, w, seed, notes)

                    stride = self.settings["retry_stride"]
                    spoken, fault, seeds = make_valid(make, drawn_seed(seed) + k, max_retries, stride)
                    failure = Failure(0, piece.text, fault, seeds) if fault else None
                    failures += [failure] if failure else []
                    audio, times = timeline.place(spoken)
                    yield SpokenSentence(audio, piece, times, failure)
            raise_failures(failures if on_failure == "raise" else [])

        return pieces()

    def _split_to_fit(self, sentence: Sentence, voice: int, speed: float, is_sung: bool) -> list[tuple[Sentence, str]]:
        """Splits a sentence into pieces that the network can make at once, each with the phonemes to synthesise, those
        of a short one in context if that fits."""
        for line in (sentence.phonemes,) if is_sung else (in_context(sentence.phonemes), sentence.phonemes):
            durations = self._encode(line, voice, speaking_rate(sentence, speed))[2]
            if durations.sum() <= self.settings["max_frames"] or len(sentence.phonemes) < 4:
                return [(sentence, line)]
        parts = split_sentence(sentence, place_of_middle(sentence.phonemes))
        return [piece for part in parts for piece in self._split_to_fit(part, voice, speed, is_sung)]

    @functools.lru_cache(maxsize=4)  # noqa: B019 (of the last lines: each is asked for to fit, and then to speak)
    def _encode(self, line: str, voice: int, speed: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the symbols [1, token], states [1, width, token] and durations [1, token] of a phoneme line."""
        numbers, stress = (np.array([row], np.int64) for row in encode_phonemes(line, self.settings["symbols"]))
        states, durations = self.graphs.graph("durations")(
            symbols=numbers,
            stress=stress,
            token_mask=np.ones_like(numbers),
            voice=np.array([voice], np.int64),
            speed=np.array([speed], np.float32),
        )
        return numbers, states, durations

    def _speak(
        self, sentence: Sentence, line: str, voice: int, speed: float, w: float, seed: int, notes: Notes | None
    ) -> tuple[SpokenPiece, str | None]:
        """Speaks a sentence by a phoneme line, its own or that in context, with the noise of a seed; returns it with its
        fault or None. Raises ValueError if it is too long."""
        numbers, states, durations = self._encode(line, voice, speaking_rate(sentence, speed))
        symbols = [self.settings["symbols"][number] for number in numbers[0]]
        contour = None
        if notes is not None:
            step = 1 / self.frame_rate / self.settings["subframes"]
            seconds, contour = align_notes(symbols, durations[0] / self.frame_rate, notes, step)
            durations = np.array([seconds], np.float32) * np.float32(self.frame_rate)
            durations *= np.float32(max(1, round(float(durations.sum()))) / durations.sum())
        frames = round(float(durations.sum()))
        if frames > self.settings["max_frames"]:
            seconds = self.settings["max_frames"] / self.frame_rate
            raise ValueError(f"{sentence.text[:40]!r} is too long to speak at once: at most {seconds:.1f} seconds")
        number = np.array([voice], np.int64)
        tokens, pooled, prior = self.graphs.graph("prior")(
            states=states, durations=durations, voice=number, pitch=self._pitch(contour, frames)
        )
        shape = (self.settings["max_frames"], self.settings["channels"])
        (latent,) = self.graphs.graph("transformer")(
            noise=normal_noise(seed, shape)[:frames].T[None],
            temperature=np.ones(1, np.float32),
            guidance=np.array([w], np.float32),
            tokens=tokens,
            token_mask=np.ones_like(numbers),
            pooled=pooled,
            duration=np.zeros(1, np.float32),  # unknown: the prior has the length
            prior=prior,
        )
        wav, fault = self.decode(latent)
        piece = SpokenPiece(wav, sentence, symbols, [float(one) for one in durations[0] / self.frame_rate])
        return piece if line == sentence.phonemes else without_context(piece, self.sample_rate), fault

    def _pitch(self, hertz: np.ndarray | None, frames: int) -> np.ndarray:
        """Returns pitch features [1, 3 * subframes, frame] as `audiocm.speech.encoder_net.pitch_features`; None: free."""
        count = self.settings["subframes"]
        if hertz is None:
            return np.zeros((1, 3 * count, frames), np.float32)
        hertz = resample_contour(hertz, frames * count)
        known = np.isfinite(hertz)
        voiced = known & (np.nan_to_num(hertz) > 0)
        centre = np.float32(self.settings["pitch_centre"])
        rows = np.stack([np.log2(np.where(voiced, hertz, centre) / centre), voiced, known]).astype(np.float32)
        return rows.reshape(3, frames, count).transpose(0, 2, 1).reshape(1, 3 * count, frames)
