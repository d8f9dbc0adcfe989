"""The models of a server and how its requests become sound, in the thread of its worker."""

import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..failed_sounds import Failure
from ..pipelines.failures import AudioError, attempt, raise_failures
from ..pipelines.speech_synthesizer import SpokenSentence
from ..pipelines.text_to_audio import TextToAudioPipeline
from ..pipelines.text_to_speech import TextToSpeechPipeline
from .batching import Stream, Worker

MAX_RETRIES = 3  # tries with other seeds for a sound or a sentence that fails


@dataclass(frozen=True)
class Limits:
    """Limits of one request, and of all requests that are at work or waiting."""

    requests: int = 64  # at work or waiting
    batch: int = 8  # sounds that are made at once
    characters: int = 4096  # of a text or a prompt
    takes: int = 8  # sounds of one prompt
    steps: int = 100  # network calls of a student, solver steps of a teacher


@dataclass(frozen=True)
class SoundSettings:
    """What sounds of one batch have in common."""

    seconds: float
    steps: int
    guidance: float
    temperature: float


@dataclass(frozen=True)
class Made:
    """Sound float32 [sample], the seed that made it (of speech: of the text), and what there is to say about it."""

    wav: np.ndarray
    seed: int
    warnings: list[str] = field(default_factory=list)


class Service:
    """A speech pipeline, a text-to-audio pipeline (or one of them) under their names, and the worker they share."""

    def __init__(
        self,
        speech: tuple[str, TextToSpeechPipeline] | None = None,
        sounds: tuple[str, TextToAudioPipeline] | None = None,
        limits: Limits | None = None,
    ):
        self.limits = limits or Limits()
        self.speech_name, self.speech = speech or (None, None)
        self.sounds_name, self.sounds = sounds or (None, None)
        self.worker = Worker(self.limits.batch)

    def warm_up(self) -> None:
        """Makes the shortest speech and sound, so that the first request does not wait for what is loaded late.

        Raises ValueError or AudioError if a model cannot."""
        if self.speech is not None:
            self.worker.submit(lambda speeches: [list(one) for one in speeches], self.open_speech("Hello.")).result()
        if self.sounds is not None:
            self.submit_sound("warm-up", self.sound_settings(self.sounds.config.seconds_range[0]), 0).result()

    def sound_settings(
        self,
        seconds: float = 4.0,
        steps: int | None = None,
        guidance: float | None = None,
        temperature: float | None = None,
    ) -> SoundSettings:
        """Returns settings with the model's own in the place of None."""
        config = self.sounds.config
        return SoundSettings(
            seconds,
            config.num_inference_steps if steps is None else steps,
            float(config.guidance_scale if guidance is None else guidance),
            config.temperature if temperature is None else temperature,
        )

    def check_sound(self, prompt: str, settings: SoundSettings) -> None:
        """Raises ValueError for a prompt or settings that are not allowed."""
        one = settings
        self.sounds.check_inputs([prompt], one.seconds, one.steps, one.guidance, temperature=one.temperature)

    def submit_sound(self, prompt: str, settings: SoundSettings, seed: int) -> Future:
        """Returns the future of a sound as `Made`, in one batch with others of equal settings.

        Its exception is AudioError if the sound is silent, clipped or not finite with all seeds."""
        return self.worker.submit(partial(_make_sounds, self.sounds, settings), (prompt, seed), settings)

    def open_speech(self, text: str, seed: int = 0, **options: Any) -> Iterator[np.ndarray]:
        """Returns the sentences of a text as float32 [sample], each after the pause before it, to be made one by one.

        options: as of `TextToSpeechPipeline.stream`. Raises ValueError at once if a request is not allowed, and
        AudioError at a sentence that is silent, clipped or not finite with all seeds."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        options |= {"generator": generator, "max_retries": MAX_RETRIES, "on_failure": "return"}
        return _speak(self.speech.stream(text, **options))

    def submit_speech(self, speech: Iterator[np.ndarray], deliver: Callable[[Any], None]) -> Stream:
        """Makes the sentences of `open_speech`, see `Worker.submit_stream`; delivers pairs of one and its warnings."""
        return self.worker.submit_stream(_with_warnings(speech), deliver)


def _speak(stream: Iterator[SpokenSentence]) -> Iterator[np.ndarray]:
    for spoken in stream:
        raise_failures([spoken.failure] if spoken.failure else [])
        yield spoken.audio.numpy()


def _with_warnings(speech: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, list[str]]]:
    while True:
        with heard_warnings() as heard:
            wav = next(speech, None)
        if wav is None:
            return
        yield wav, heard


def _make_sounds(
    pipe: TextToAudioPipeline, settings: SoundSettings, items: list[tuple[str, int]]
) -> list[Made | AudioError]:
    """The call of a batch of sounds (prompt, seed); each is the one that `audiocm generate` makes with that seed."""
    import torch

    prompts = [prompt for prompt, _ in items]

    def make(rows: list[int], seeds: list[int]):
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        options = {"generator": generators, "temperature": settings.temperature}
        options |= {"max_retries": 0, "on_failure": "return"}
        texts = [prompts[row] for row in rows]
        output = pipe(texts, settings.seconds, settings.steps, settings.guidance, **options)
        faults = {one.item: one.reason for one in output.failures}
        return ((wav, faults.get(i)) for i, wav in enumerate(output.audios))

    notes = [_prompt_warnings(pipe, prompt) for prompt in prompts]
    with heard_warnings():  # told above, for each prompt by itself
        attempts = attempt(make, [seed for _, seed in items], MAX_RETRIES)
    results: list[Made | AudioError] = []
    for prompt, heard, tried in zip(prompts, notes, attempts, strict=True):
        if tried.fault:
            results.append(_audio_error(Failure(0, prompt, tried.fault, tried.seeds)))
        else:
            results.append(Made(tried.made.numpy(), tried.seeds[-1], heard))
    return results


def _prompt_warnings(pipe: TextToAudioPipeline, prompt: str) -> list[str]:
    with heard_warnings() as heard:
        pipe.conditioner.warn_of_cuts([prompt])
    return heard


def _audio_error(failure: Failure) -> AudioError:
    try:
        raise_failures([failure])
    except AudioError as error:
        return error
    raise AssertionError("a failure raises")


# --- warnings of one job ---------------------------------------------------------------------------------------------

_heard = threading.local()


@contextmanager
def heard_warnings() -> Iterator[list[str]]:
    """Yields the list of the warnings of this thread in the block, if `route_warnings` is at work."""
    _heard.messages = messages = []
    try:
        yield messages
    finally:
        _heard.messages = None


@contextmanager
def route_warnings() -> Iterator[None]:
    """Gives the warnings of a thread in `heard_warnings` to it and all others to who had them before.

    The context managers of `warnings` would not do: they are not safe against several threads."""
    before = warnings.showwarning

    def show(message: Warning, *rest: Any, **more: Any) -> None:
        messages = getattr(_heard, "messages", None)
        if messages is None:
            before(message, *rest, **more)
        else:
            messages.append(str(message))

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before
