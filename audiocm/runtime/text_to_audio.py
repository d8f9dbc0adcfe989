"""Prompts to sounds with the graphs of an exported student."""

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..checks import check_number, check_text, check_whole
from ..failed_sounds import Failure, check_retries
from .checks import checked_sound, make_valid, raise_failures
from .folder import GraphFolder
from .inversion import Inversion
from .noise import drawn_seed, normal_noise


@dataclass
class SoundOutput:
    """Generated sounds, as `audiocm.pipelines.AudioOutput`, in numpy."""

    audios: np.ndarray  # float32 [prompt * num, sample] in [-1, 1]
    sample_rate: int
    failures: list[Failure] = field(default_factory=list)  # empty unless on_failure is "return"
    retries: list[int] = field(default_factory=list)  # of each sound


class ExportedModel:
    """What the models of both kinds share: a folder of graphs, and latents to sound."""

    kind = ""

    def __init__(self, graphs: GraphFolder):
        self.graphs, self.settings = graphs, graphs.settings
        self.inversion = Inversion(self.settings["n_fft"], self.settings["hop"], graphs.threads)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike, threads: int | None = None, few_calls: bool = False):
        """Loads a folder that `audiocm export` wrote. threads: of each call, default all cores; few_calls: see
        `GraphFolder`, whose ValueError it raises."""
        return cls(GraphFolder(folder, cls.kind, threads, few_calls))

    def load(self) -> None:
        """Loads all graphs, which the first call would do otherwise."""
        for name in self.settings["graphs"]:
            self.graphs.graph(name)

    @property
    def sample_rate(self) -> int:
        """Sample rate of sounds in Hz."""
        return self.settings["sample_rate"]

    @property
    def frame_rate(self) -> float:
        """Latent frames a second."""
        return self.sample_rate / (self.settings["hop"] * self.settings["compression"])

    def check_guidance(self, w: float | None) -> float:
        """Returns the guidance weight, the model's if None. Raises ValueError if it is not allowed."""
        w = check_number("guidance_scale", self.settings["guidance_scale"] if w is None else w)
        low, high = self.settings["guidance_range"]
        if not low <= w <= high:
            raise ValueError(f"guidance {w:g} is outside what the model allows: {low:g} to {high:g}")
        return w

    def unit_noise(self, seed: int, frames: int) -> np.ndarray:
        """Returns the noise [1, channel, frame] that the pipelines of torch draw for a sound's seed."""
        shape = (self.settings["max_frames"], self.settings["channels"])
        return normal_noise(drawn_seed(seed), shape)[:frames].T[None]

    def decode(self, latent: np.ndarray, samples: int | None = None) -> tuple[np.ndarray, str | None]:
        """Decodes a latent [1, channel, frame] to a sound [sample], with its fault or None, see `checked_sound`."""
        (log_mel,) = self.graphs.graph("decoder")(latent=latent)
        real, imag = self.graphs.graph("vocoder")(log_mel=log_mel)
        wav = self.inversion(real[0], imag[0], self.settings["iterations"])
        return checked_sound(wav[:samples], self.settings)


class OnnxTextToAudio(ExportedModel):
    """A one-call text-to-audio student without torch; the same seed makes the same sound as with it, to rounding."""

    kind = "text-to-audio"

    def __init__(self, graphs: GraphFolder):
        super().__init__(graphs)
        from tokenizers import Tokenizer

        try:
            self.tokenizer = Tokenizer.from_buffer(graphs.file("tokenizer.json"))
        except Exception as error:  # the tokenizers library raises bare Exception
            if isinstance(error, ValueError):
                raise
            raise ValueError(f"tokenizer of {graphs.folder} cannot be read: {' '.join(str(error).split())}") from error
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def __call__(
        self,
        prompt: str | Sequence[str],
        audio_length_in_s: float = 4.0,
        guidance_scale: float | None = None,
        num_waveforms_per_prompt: int = 1,
        seed: int | Sequence[int] = 0,
        temperature: float | None = None,
        max_retries: int = 3,
        on_failure: str = "raise",
    ) -> SoundOutput:
        """Generates `num_waveforms_per_prompt` sounds for each prompt, one call of the network each.

        guidance_scale  0 ignores the prompt, 1 follows it, more exaggerates it; None: the model's
        seed            take k of each prompt has seed + k; or a seed for each sound. Seed n is the sound of
                        `audiocm generate --seed n`
        temperature     standard deviation of the noise; None: the model's
        max_retries     times that a silent, clipped or non-finite sound is made again, with a seed further on
        on_failure      "raise", or "return" the others, with silence and a `Failure` for each that is missing

        Raises ValueError if an argument is not allowed, SoundsFailedError if a sound fails with all seeds."""
        prompts, num = [prompt] if isinstance(prompt, str) else list(prompt), num_waveforms_per_prompt
        w = self.check_guidance(guidance_scale)
        temperature = self.settings["temperature"] if temperature is None else temperature
        self.check_inputs(prompts, audio_length_in_s, num, temperature)
        check_retries(max_retries, on_failure)
        count = len(prompts) * num
        seeds = [seed + i % num for i in range(count)] if isinstance(seed, int) else list(seed)
        if len(seeds) != count:
            raise ValueError(f"{len(seeds)} seeds for {count} sounds")
        texts = [self.encode_prompt(one) for one in prompts]
        frames, samples = self.frames(audio_length_in_s), round(audio_length_in_s * self.sample_rate)
        output = SoundOutput(np.zeros((count, samples), np.float32), self.sample_rate)
        for i in range(count):

            def make(seed: int, text: dict[str, np.ndarray] = texts[i // num]) -> tuple[np.ndarray, str | None]:
                return self.decode(self.latent(text, self.unit_noise(seed, frames), w, temperature), samples)

            output.audios[i], fault, tried = make_valid(make, seeds[i], max_retries, self.settings["retry_stride"])
            output.retries.append(len(tried) - 1)
            output.failures += [Failure(i, prompts[i // num], fault, tried)] if fault else []
        raise_failures(output.failures if on_failure == "raise" else [], output)
        return output

    def frames(self, seconds: float) -> int:
        """Returns the number of latent frames that cover `seconds`."""
        return max(1, math.ceil(seconds * self.frame_rate - 1e-9))

    def encode_prompt(self, prompt: str) -> dict[str, np.ndarray]:
        """Returns token states, their mask and the sentence vector of a prompt, as the network takes them.

        A prompt that is too long is cut, with a UserWarning."""
        most = self.settings["max_tokens"]
        ids = self.tokenizer.encode(prompt).ids
        if len(ids) > most:
            cut = f"its last {len(ids) - most} are cut ({1 - most / len(ids):.0%} of it)"
            shown = prompt if len(prompt) <= 40 else prompt[:37] + "..."
            limit = f"has {len(ids)} tokens, the text encoder takes {most}"
            warnings.warn(f"prompt {shown!r} {limit}: {cut}", stacklevel=3)
            self.tokenizer.enable_truncation(most)
            ids = self.tokenizer.encode(prompt).ids
            self.tokenizer.no_truncation()
        ids = np.array([ids], np.int64)
        mask = np.ones_like(ids)
        tokens, pooled = self.graphs.graph("text_encoder")(ids=ids, token_mask=mask)
        return {"tokens": tokens, "token_mask": mask, "pooled": pooled}

    def latent(self, text: dict[str, np.ndarray], noise: np.ndarray, w: float, temperature: float) -> np.ndarray:
        """Returns the latent [1, channel, frame] of a prompt's states and unit noise of that shape."""
        numbers = {"temperature": temperature, "guidance": w, "duration": noise.shape[2]}
        given = {name: np.array([value], np.float32) for name, value in numbers.items()}
        return self.graphs.graph("transformer")(noise=noise, **text, **given)[0]

    def check_inputs(self, prompts: list[str], seconds: float, num: int, temperature: float) -> None:
        """Raises ValueError for the first input that is not allowed."""
        if not prompts or not all(isinstance(one, str) and one.strip() for one in prompts):
            raise ValueError("the prompt is empty: describe a sound in words")
        for prompt in prompts:
            check_text("prompt", prompt)
        low, high = self.settings["seconds_range"]
        if not low <= check_number("audio_length_in_s", seconds) <= high:
            raise ValueError(f"{seconds:g} seconds is outside what the model was trained on: {low:g} to {high:g}")
        check_whole("num_waveforms_per_prompt", num, least=1)
        check_number("temperature", temperature, above=0, most=2)
