"""Text-to-speech: text -> speech, spoken or sung, sentence by sentence, with the times of its words."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from ..codec.vae_net import MelVAENet
from ..codec.vocoder_net import VocoderNet
from ..diffusion.solvers import Solver
from ..failed_sounds import Failure, check_retries
from ..models.transformer_net import TransformerNet
from ..speech.encoder_net import SpeechEncoderNet
from ..speech.pieces import SPEEDS, read_pieces
from ..speech.singing import Notes, check_notes
from ..speech.times import SentenceTimes
from ..text.pronunciation import Lexicon
from ..text.reading import validate_text
from .sampler import Callback, LatentSampler, Seeds, StepCallback, item_seeds
from .speech_synthesizer import SpeechOptions, SpeechSynthesizer, SpokenSentence

BATCH = 8  # sentences that an accelerator makes at once; a CPU makes one, since more are not faster there


@dataclass
class Speech:
    """Generated speech. audios: for each text a float32 [sample] in [-1, 1], numpy for output_type "np".

    times: for each text those of its sentences, from the durations that the sound was made with, see `SentenceTimes`.
    """

    audios: list[Any]
    times: list[list[SentenceTimes]]
    sample_rate: int
    failures: list[Failure] = field(default_factory=list)  # of sentences; empty unless on_failure is "return"

    @property
    def durations(self) -> list[list[tuple[str, float]]]:
        """For each text its symbols, each with its seconds, which sum to its length; "_" is silence."""
        return [[pair for sentence in times for pair in sentence.durations] for times in self.times]


class TextToSpeechSampler(SpeechSynthesizer):
    """Text-to-speech: speech encoder, latent transformer (a one-step student or a teacher), mel VAE and vocoder."""

    required_components = (*LatentSampler.required_components, "speech_encoder")
    component_classes = (*LatentSampler.component_classes, SpeechEncoderNet)
    stored_name = "TextToSpeechPipeline"
    output_class: ClassVar[type[Speech]] = Speech

    def __init__(
        self,
        transformer: TransformerNet,
        vae: MelVAENet,
        vocoder: VocoderNet,
        speech_encoder: SpeechEncoderNet,
        num_inference_steps: int = 1,
        guidance_scale: float = 1.0,
        guidance_range: tuple[float, float] | list[float] = (0.0, 10.0),
        noise_mean: float = 1.0,
        vocoder_iterations: int | None = 0,
    ):
        """noise_mean: factor of the prior as the mean of the noise, as in training (1: CoMoSpeech, 0: zero mean)."""
        super().__init__()
        self.register_modules(transformer=transformer, vae=vae, vocoder=vocoder, speech_encoder=speech_encoder)
        self.register_settings(
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            guidance_range=guidance_range,
            noise_mean=noise_mean,
            vocoder_iterations=vocoder_iterations,
        )
        if speech_encoder is not None:
            self.check_text_width("speech encoder", speech_encoder.config.width)
        self.build_codec(vocoder_iterations)

    @property
    def voices(self) -> tuple[str, ...]:
        """Allowed values of `voice`; the first is the default."""
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
        notes: Notes | None = None,
        solver: Solver | None = None,
        output_type: str = "pt",
        batch_size: int | None = None,
        callback: Callback | None = None,
        *,
        return_dict: bool = True,
        callback_steps: int = 1,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        max_retries: int = 3,
        on_failure: str = "raise",
        lexicon: Lexicon | None = None,
    ) -> Speech | tuple[Any]:
        """Synthesises each text; the same seed gives the same speech, alone or in a batch, at once or streamed.

        pitch       F0 in Hz, any number of points evenly over the text (0: unvoiced, nan: free)
        notes       notes to sing, (MIDI number, seconds) for each syllable, see `singing.align_notes`
        solver      any of audiocm.diffusion.solvers; default `student_step` for a student, `heun` for a teacher
        batch_size  sentences that are made at once; default 1 on a CPU, so that every sample is that of `stream`, else
                    BATCH, where samples differ by rounding
        lexicon     words of your own and how they are read, see `audiocm.text.Lexicon.read`
        return_dict  False: a tuple of the speech alone; for callbacks see `TextToAudioPipeline`
        max_retries  times that a silent, clipped or non-finite sentence is made again, see `attempt`
        on_failure  "raise", or "return" all texts, with silence and a `Failure` for each sentence that is missing

        Pitch and notes are for texts of one sentence and models that were trained to follow pitch. Raises ValueError if
        an argument is not allowed, AudioError if a sentence is silent, not finite or clipped with all seeds; its
        `output` holds the others."""
        texts = [text] if isinstance(text, str) else list(text)
        if not texts:
            raise ValueError("the text is empty")
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        if output_type not in ("pt", "np"):
            raise ValueError(f"output_type must be 'pt' or 'np', not {output_type!r}")
        check_retries(max_retries, on_failure)
        callbacks = (callback, callback_steps, callback_on_step_end, callback_on_step_end_tensor_inputs)
        others = {"pitch": pitch, "notes": notes, "solver": solver, "new_hook": self.step_hooks(*callbacks)}
        options = self._options(
            texts, num_inference_steps, speed, voice, guidance_scale, max_retries=max_retries, **others
        )
        batch_size = batch_size or (1 if self._execution_device.type == "cpu" else BATCH)
        sentences = [list(read_pieces(one, lexicon, options.has_melody)) for one in texts]
        if options.has_melody and any(len(parts) > 1 for parts in sentences):
            raise ValueError("pitch and notes are for one sentence: speak the text sentence by sentence")
        seeds = item_seeds(generator, len(texts), 1)
        jobs = [
            (i, seed + k, sentence)
            for i, (seed, parts) in enumerate(zip(seeds, sentences, strict=True))
            for k, sentence in enumerate(parts)
        ]
        spoken: list[list[SpokenSentence]] = [[] for _ in texts]
        for i, sentence in self.synthesize(jobs, batch_size, options):
            spoken[i].append(sentence)
        audios = [torch.cat([sentence.audio for sentence in parts]) for parts in spoken]
        times = [[sentence.times for sentence in parts] for parts in spoken]
        failures = [sentence.failure for parts in spoken for sentence in parts if sentence.failure]
        audios = [audio.numpy() for audio in audios] if output_type == "np" else audios
        return self.finish(self.output_class(audios, times, self.sample_rate, failures), on_failure, return_dict)

    def stream(
        self,
        text: str | Iterable[str],
        num_inference_steps: int | None = None,
        speed: float = 1.0,
        voice: str | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | None = None,
        notes: Notes | None = None,
        max_retries: int = 3,
        on_failure: str = "raise",
        lexicon: Lexicon | None = None,
    ) -> Iterator[SpokenSentence]:
        """Yields the sentences of a text one by one, as they are ready, each with its `audio` and its `times`.

        A text may come in blocks of any length, such as the lines of an open file, and then needs no more memory than
        a paragraph. The sounds, one after another, are that of the whole text, sample for sample: a sentence begins
        with the pause after the one before. The first clause of a first sentence of more than `pieces.FIRST_CLAUSE`
        phonemes comes alone.

        With `notes` a text must be one sentence; the other arguments are those of a call.

        A sentence that fails with all seeds is yielded as silence, with its `failure`. Raises ValueError before the
        first sentence if an argument is not allowed, a text in blocks while it is read, and, unless on_failure is
        "return", AudioError after the last one if any failed."""
        check_retries(max_retries, on_failure)
        others = {"notes": notes, "max_retries": max_retries}
        texts = [text] if isinstance(text, str) else []
        options = self._options(texts, num_inference_steps, speed, voice, guidance_scale, **others)
        if notes is not None:
            text = text if isinstance(text, str) else "".join(text)
            check_notes(text, notes, lexicon)
        seed = item_seeds(generator, 1, 1)[0]
        jobs = ((0, seed + k, sentence) for k, sentence in enumerate(read_pieces(text, lexicon, options.has_melody)))

        def sentences() -> Iterator[SpokenSentence]:
            output = self.output_class([], [], self.sample_rate)
            for _, sentence in self.synthesize(jobs, 1, options):
                output.failures += [sentence.failure] if sentence.failure else []
                yield sentence
            self.finish(output, on_failure, True)

        return sentences()

    def _options(
        self, texts: Sequence[str], steps: int | None, speed: float, voice: str | None, w: float | None, **others: Any
    ) -> SpeechOptions:
        """Checks a call and fills in the model's defaults. Raises ValueError for an input that is not allowed."""
        if not SPEEDS[0] <= speed <= SPEEDS[1]:
            raise ValueError(f"speed {speed:g} is outside what the model allows: {SPEEDS[0]:g} to {SPEEDS[1]:g}")
        if voice is not None and voice not in self.voices:
            raise ValueError(f"unknown voice {voice!r}: this model has {', '.join(self.voices)}")
        steps = self.config.num_inference_steps if steps is None else steps
        w = float(self.config.guidance_scale if w is None else w)
        self.check_sampling(steps, w)
        for text in texts:
            validate_text(text)
        options = SpeechOptions(steps, w, speed, 0 if voice is None else self.voices.index(voice), **others)
        if options.has_melody and not self.speech_encoder.config.follows_pitch:
            raise ValueError("this model was not trained to follow a pitch contour: leave pitch and notes out")
        return options
