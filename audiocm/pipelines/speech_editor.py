"""Editing of recorded speech with a text-to-speech model: some words are said anew, or more is said after the others.

The words of a recording are timed by warping the model's own reading of the text onto it, so that no recogniser is
needed. New words last as long as in that reading, at the recording's tempo. Their pitch is the reading's, moved to the
recording's; their formants and the levels of their bands are moved by what the model's rendition of the kept words
lacks of the recording. A network with `takes_kept` is also conditioned on the recording around, if its formants are those of
the model's voice: it has heard no others."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..audio.io import resample, to_mono
from ..audio.pitch import estimate_f0
from ..audio.timbre import bands_apart, bin_centres, frequency_ratio, louder, stretch_frequencies
from ..diffusion.denoiser import Condition
from ..speech.encoder_net import SUBFRAMES, SpeechBatch, phoneme_batch, pitch_features
from ..speech.pieces import quietest_place
from ..speech.times import word_places
from ..speech.warping import speech_bounds, warp_around
from ..text.pronunciation import Lexicon
from ..text.reading import Sentence
from .failures import MAX_FRAME_RMS
from .filling import DEFAULTS, LEVEL, EditSettings, PartEditor, check_sound
from .speech_plan import EditPlan, Reading, check_words, plan_edit, read_line, words_around

PAUSE = 0.15  # seconds of silence, at least, between a recording and what is said after it
CONTEXT = 3.0  # seconds of a recording of unknown words that the network is conditioned on when it continues it
INTO, AWAY = 0.03, 0.06  # seconds around the end of a word in which it is cut, where it is quiet
QUIET = 0.01  # seconds of that place
OWN_VOICE = (
    0.06  # a recording whose frequencies differ less from the model's, relatively, is of a voice that it has heard
)
TRANSPOSITION = 3.0  # at most, from the pitch of the model's reading to the recording's


class SpeechEditor(PartEditor):
    """Edits recordings of speech with a text-to-speech pipeline.

    A wav is float [sample] or [sample, channel] in [-1, 1] at `rate` Hz, and so is the result, whose other samples are
    the recording's own, bit for bit, outside a cross-fade of `filling.SEAM` seconds. Text and recording must fit the
    network, which is 17 seconds of the bundled one.

    voice: the model's voice that says the new words; None: the one that sounds most like the recording. Settings are
    those of `EditSettings` but the prompt. All methods raise ValueError if an argument is not allowed or the recording
    does not say the text, AudioError if what was made is silent, clipped or not finite with every seed tried."""

    def replace_words(
        self,
        wav: np.ndarray,
        rate: int,
        text: str,
        words: tuple[int, int],
        voice: str | None = None,
        settings: EditSettings = DEFAULTS,
        lexicon: Lexicon | None = None,
    ) -> np.ndarray:
        """Says some words of a recording anew.

        text: what the result says, all of it. words: the first and the last word of the text, counted from 1 as they are
        written, that are said anew, whatever the recording says in their place; its other words are the recording's.
        Words that are read together, such as "5:45 p.m.", are said anew together."""
        sentence, mono = read_line(text, lexicon), self._mono(wav, rate, settings)
        first, last = check_words(text, words)
        line = self._read(sentence, mono, voice, settings)
        before, after = words_around(line.words, first, last)
        replaced = before[-1].end if before else line.words[0].first, after[0].first if after else line.words[-1].end
        starts = warp_around(line.starts, replaced, bool(before), bool(after), line.wav, mono)
        cut = (
            self._quiet(mono, starts[replaced[0]], INTO, AWAY) if before else starts[replaced[0]],
            self._quiet(mono, starts[replaced[1]], AWAY, INTO) if after else starts[replaced[1]],
        )
        plan = plan_edit(line, replaced, starts, (cut[0], max(cut)), [*before, *after])
        return self._carry_out(plan, wav, rate, mono, settings)

    def extend(
        self,
        wav: np.ndarray,
        rate: int,
        text: str,
        said: str | None = None,
        voice: str | None = None,
        settings: EditSettings = DEFAULTS,
        lexicon: Lexicon | None = None,
    ) -> np.ndarray:
        """Says a text after the recording, in its voice.

        said: what the recording says. Without it the text is said at the model's own tempo, as one of its own."""
        if said is None and (known := len(check_sound(wav)) - round(CONTEXT * rate)) > 0:
            return np.concatenate([wav[:known], self.extend(wav[known:], rate, text, None, voice, settings, lexicon)])
        sentence, mono = read_line(text, lexicon), self._mono(wav, rate, settings)
        total, first = len(mono) / self.pipe.sample_rate, 1
        if said is not None:
            old = read_line(said, lexicon)
            first = self._phonemes(old).symbols.shape[1] - 1  # without the silence at its end
            names = ("text", "phonemes", "words")
            sentence = replace(sentence, **{name: f"{getattr(old, name)} {getattr(sentence, name)}" for name in names})
        line = self._read(sentence, mono, voice, settings)
        made, kept = (first, len(line.seconds)), [word for word in line.words if word.end <= first]
        starts = np.r_[0.0, np.full(len(line.seconds), total)]
        if kept:
            starts = warp_around(line.starts, made, True, False, line.wav, mono)
        plan = plan_edit(line, made, starts, (total, total), kept)
        plan.seconds[first] += max(0.0, PAUSE - (total - speech_bounds(mono)[1]))
        return self._carry_out(plan, wav, rate, mono, settings)

    def closest_voice(self, wav: np.ndarray, rate: int, text: str) -> str:
        """Returns the model's voice that sounds most like a recording of about the same text."""
        mono = self._mono(wav, rate, DEFAULTS)
        return self.pipe.voices[self._closest(read_line(text), mono)]

    @torch.no_grad()
    def _closest(self, sentence: Sentence, mono: np.ndarray) -> int:
        """Returns the number of the voice whose latents of a sentence have the mean nearest to that of a recording's."""
        latent = self.codec.encode(torch.from_numpy(mono)[None].to(self.pipe.device)).mean(2)
        priors = [self.pipe.speech_encoder(self._phonemes(sentence, i))[0].prior for i in range(len(self.pipe.voices))]
        return int(np.argmin([float((prior.mean(2) - latent).square().sum()) for prior in priors]))

    def _mono(self, wav: np.ndarray, rate: int, settings: EditSettings) -> np.ndarray:
        """Returns a recording as one channel at the model's rate, [sample]. Raises ValueError if it cannot be edited."""
        check_sound(wav)
        if settings.prompt is not None:
            raise ValueError("speech is edited by its text: leave the prompt out")
        self._check_length("the recording", len(wav) / rate)
        mono = resample(to_mono(wav), rate, self.pipe.sample_rate)
        return mono * np.float32(LEVEL / max(float(np.sqrt(np.mean(np.square(mono, dtype=np.float64)))), 1e-9))

    def _check_length(self, what: str, seconds: float) -> None:
        most = self.max_frames / self.codec.frame_rate
        if seconds > most:
            raise ValueError(f"{what} lasts {seconds:.1f} seconds: at most {most:.1f} can be edited at once")

    def _phonemes(self, sentence: Sentence, voice: int = 0) -> SpeechBatch:
        batch = phoneme_batch([sentence.phonemes], voice, self.pipe.speech_encoder.config.symbols)
        return batch.to(self.pipe.device)

    def _quiet(self, mono: np.ndarray, at: float, before: float, after: float) -> float:
        """Returns the quietest place between `before` seconds before a time and `after` seconds after it."""
        rate, width = self.pipe.sample_rate, round(QUIET * self.pipe.sample_rate)
        first, end = max(0, round((at - before) * rate)), min(len(mono), round((at + after) * rate))
        return (quietest_place(mono, first, end, width) + width // 2) / rate

    @torch.no_grad()
    def _read(self, sentence: Sentence, mono: np.ndarray, voice: str | None, settings: EditSettings) -> Reading:
        """Returns the model's reading of a sentence, in a voice. Raises ValueError for another voice, or if it is too
        long."""
        encoder, voices = self.pipe.speech_encoder, self.pipe.voices
        if voice is not None and voice not in voices:
            raise ValueError(f"unknown voice {voice!r}: this model has {', '.join(voices)}")
        batch = self._phonemes(sentence, self._closest(sentence, mono) if voice is None else voices.index(voice))
        cond, durations = encoder(batch)
        self._check_length("the text", float(durations.sum()) / self.codec.frame_rate)
        latent = self._sample(cond, torch.zeros_like(cond.prior), settings, settings.seed)
        wav = self.codec.decode(latent, MAX_FRAME_RMS)[0].float().cpu().numpy()
        symbols = [encoder.config.symbols[i] for i in batch.symbols[0].tolist()]
        seconds = durations[0].double().cpu().numpy() / self.codec.frame_rate
        return Reading(batch, word_places(sentence, symbols), seconds, wav)

    def _carry_out(
        self, plan: EditPlan, wav: np.ndarray, rate: int, mono: np.ndarray, settings: EditSettings
    ) -> np.ndarray:
        """Returns the recording with the symbols of a plan said in place of what it cuts out."""
        self._check_length("the result", float(plan.seconds.sum()))
        first, end = (min(round(at * rate), len(wav)) for at in plan.cut)
        count = max(1, round(plan.seconds[plan.first : plan.end].sum() * rate))
        room = np.zeros((count, *wav.shape[1:]), wav.dtype)
        hertz = self._pitch(plan, mono) if self.pipe.speech_encoder.config.follows_pitch else None
        ratio = 1.0 if hertz is None else self._formants(plan, mono)
        if self.takes_kept and abs(ratio - 1) < OWN_VOICE:
            ratio = 1.0

        def fill_mel(reference: Tensor, known: Tensor, seed: int) -> Tensor:
            return self._said(plan, hertz, ratio, reference, known, settings, seed)

        part = np.concatenate([wav[:first], room, wav[end:]])
        return self._fill_part(part, rate, first, first + count, fill_mel, settings)

    @property
    def _centres(self) -> Tensor:
        """Frequencies of the mel bins in Hz [bin]."""
        return bin_centres(self.codec.vocoder.mel.filters, self.codec.sample_rate)

    def _formants(self, plan: EditPlan, mono: np.ndarray) -> float:
        """Returns by what factor the frequencies of the recording are higher than those of the model's reading.

        1 if both have no words in common."""
        if not plan.is_known:
            return 1.0
        mel, rate = self.codec.vocoder.mel, self.pipe.sample_rate
        padded = (np.pad(one, (0, -len(one) % mel.hop)) for one in (mono, plan.line.wav))
        own, read = (mel(torch.from_numpy(one)[None].to(self.pipe.device))[0] for one in padded)
        at = (np.arange(own.shape[1]) + 0.5) * mel.hop / rate
        starts = np.r_[0.0, np.cumsum(plan.seconds)]
        later = starts[plan.end] - plan.cut[1]
        in_reading = np.interp(np.where(at < plan.cut[0], at, at + later), starts, plan.line.starts)
        read = read[:, (in_reading * rate / mel.hop).astype(int).clip(0, read.shape[1] - 1)]
        kept = torch.from_numpy((at < plan.cut[0]) | (at >= plan.cut[1])).to(own.device)
        both = louder(own, kept) & louder(read, kept)
        return frequency_ratio(own[:, both], read[:, both], self._centres) if both.sum() > 1 else 1.0

    def _pitch(self, plan: EditPlan, mono: np.ndarray) -> np.ndarray | None:
        """Returns F0 in Hz [point] of the result: the recording's and, in between, the reading's moved to its pitch."""
        step = 1 / self.codec.frame_rate / SUBFRAMES
        own, read = (estimate_f0(one, self.pipe.sample_rate, step) for one in (mono, plan.line.wav))
        starts = np.r_[0.0, np.cumsum(plan.seconds)]
        begin, end = starts[plan.first], starts[plan.end]
        at = (np.arange(round(starts[-1] / step)) + 0.5) * step
        is_made = (at >= begin) & (at < end)
        in_own = np.where(at < begin, at, at - (end - begin) + plan.cut[1] - plan.cut[0])
        in_reading = np.interp(at, starts, plan.line.starts)
        own, read = (
            contour[(place / step).astype(int).clip(0, len(contour) - 1)]
            for contour, place in ((own, in_own), (read, in_reading))
        )
        alike = ~is_made if plan.is_known else is_made
        pitches = own[~is_made & (own > 0)], read[alike & (read > 0)]
        if not all(map(len, pitches)):
            return None
        ratio = np.clip(np.median(pitches[0]) / np.median(pitches[1]), 1 / TRANSPOSITION, TRANSPOSITION)
        return np.where(is_made, read * ratio, own).astype(np.float32)

    def _said(
        self,
        plan: EditPlan,
        hertz: np.ndarray | None,
        ratio: float,
        reference: Tensor,
        known: Tensor,
        settings: EditSettings,
        seed: int,
    ) -> Tensor:
        """Returns log-mels [channel, bin, frame] of a plan's line: the reference's in known frames, else made, with the
        bands of the reference.

        hertz: F0 of the result; ratio: of the recording's frequencies to the model's, at which they are made."""
        encoder, frames = self.pipe.speech_encoder, reference.shape[2]
        durations = torch.from_numpy(plan.seconds * self.codec.frame_rate).float()[None].to(reference.device)
        durations[0, -1] = (durations[0, -1] + frames - durations.sum()).clamp_min(0)
        pitch = None
        if hertz is not None:
            points = np.pad(hertz / np.float32(ratio), (0, max(0, frames * SUBFRAMES - len(hertz))))[
                : frames * SUBFRAMES
            ]
            pitch = pitch_features(torch.from_numpy(points)[None]).to(reference.device)
        batch = replace(plan.line.batch, pitch=pitch, mask=torch.ones_like(known)[None])
        cond = encoder.condition(encoder.states(batch), batch, durations, frames)
        heard = None if self.takes_kept and ratio != 1 else known
        made = self._sample(cond.repeat_interleave(len(reference)), reference, settings, seed, heard)
        given, own = self.codec.vae.decode(reference), self.codec.vae.decode(made)
        if ratio != 1:
            own = stretch_frequencies(own, ratio, self._centres)
        is_known = known.repeat_interleave(given.shape[2] // frames)
        return torch.where(is_known, given, own + bands_apart(given, own, is_known, plan.is_known))

    def _sample(
        self, cond: Condition, reference: Tensor, settings: EditSettings, seed: int, known: Tensor | None = None
    ) -> Tensor:
        """Samples latents [channel, latent channel, frame] around the prior.

        A single call of a student without `takes_kept` gets no known frames, since setting them cannot change what it makes."""
        w = self.pipe.config.guidance_scale if settings.guidance is None else settings.guidance
        if self.pipe.is_student and not self.takes_kept and settings.steps in (None, 1):
            known = None
        options = {"mean": self.pipe.config.noise_mean * cond.prior, "temperature": settings.temperature or 1.0}
        return self._denoise(cond, reference, settings, seed, float(w), known=known, **options)
