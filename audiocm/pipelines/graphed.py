"""A whole text-to-audio call, token numbers to sound, as one CUDA graph: what a GPU does takes less than its launches."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from ..checks import check_number, check_whole
from ..cuda_graphs import record_graph
from ..devices import usual_defaults
from ..diffusion import solvers
from ..failed_sounds import check_retries
from .failures import MAX_FRAME_RMS, attempt, fault_flags, named_faults, summary, within_full_scale
from .sampler import PerItemNoise, Seeds, Sounds, item_seeds
from .text_to_audio_sampler import Prompt, TextToAudioSampler, check_prompts


class RecordedCall:
    """A function of no arguments that returns sounds [item, ...] and their `fault_flags`: recorded once on CUDA and
    replayed by every call, elsewhere called as it is. It reads its inputs from memory that stays where it is."""

    def __init__(self, action: Callable[[], tuple[Tensor, Tensor]], device: torch.device):
        """Raises RuntimeError if the function cannot be recorded."""
        self.action, self.device = action, device
        self.made: tuple[Tensor, ...] = ()  # what the last call made, on the CPU
        self.graph: torch.cuda.CUDAGraph | None = None
        if device.type == "cuda":
            with torch.no_grad():
                self.graph = record_graph(self._run_to_host, device)

    def _run_to_host(self) -> None:
        """Writes what the function makes into the CPU's memory, pinned for CUDA, which the first call allocates."""
        made = self.action()
        if not self.made:
            pinned = {"pin_memory": self.device.type == "cuda"}
            self.made = tuple(torch.empty(one.shape, dtype=one.dtype, **pinned) for one in made)
        for kept, one in zip(self.made, made, strict=True):
            kept.copy_(one, non_blocking=True)

    def __call__(self, items: int) -> Iterable[tuple[Tensor, str | None]]:
        """Returns the first sounds, each with its fault or None; one with a fault is silence."""
        self._run_to_host() if self.graph is None else self.graph.replay()
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        wav, faults = self.made[0][:items].clone(), named_faults(self.made[1][:, :items])
        if any(faults):
            wav[torch.tensor([fault is not None for fault in faults])] = 0.0
        return zip(wav, faults, strict=True)


def listed_prompts(prompt: Prompt, batch: int) -> list[str]:
    """Returns the prompts of a call. Raises ValueError if there is none, or more than the call was recorded for."""
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    check_prompts(prompts)
    if len(prompts) > batch:
        raise ValueError(f"{len(prompts)} prompts for a call that was recorded for {batch}")
    return prompts


class GraphedTextToAudio:
    """A one-call student for up to `batch` sounds of one length, recorded once and replayed by every call.

        pipe = TextToAudioPipeline.from_pretrained("tta", device="cuda", torch_dtype=torch.float16)
        fast = GraphedTextToAudio(pipe, batch=1, audio_length_in_s=10.0)
        sound = fast("a dog barks", guidance_scale=3.0, generator=torch.Generator().manual_seed(0)).audios[0]

    Prompts, seeds, guidance and temperature are free, and sounds are those of the pipeline to rounding. The recording
    holds the weights that the pipeline had: make a new one after changing or moving them. On a CPU the same function
    runs unrecorded. Raises ValueError if the pipeline is no student or does not make sounds of this length."""

    def __init__(self, pipe: TextToAudioSampler, batch: int = 1, audio_length_in_s: float = 10.0):
        if not pipe.is_student:
            raise ValueError("a recorded call is that of a student: a teacher takes many steps")
        self.pipe, self.batch = pipe, check_whole("batch", batch, least=1, most=1024)
        pipe.check_inputs(["a sound"], audio_length_in_s, 1, pipe.guidance_range[0])
        self.seconds, self.samples = audio_length_in_s, round(audio_length_in_s * pipe.sample_rate)
        self.frames, self.device = pipe.codec.frames(audio_length_in_s), pipe.device
        tokens, pinned = (batch, pipe.conditioner.max_tokens), {"pin_memory": self.device.type == "cuda"}
        self.words = torch.zeros(tokens, dtype=torch.long, **pinned)
        self.word_mask = torch.ones(tokens, dtype=torch.long, **pinned)
        self.noise = torch.zeros(batch, pipe.codec.channels, self.frames, **pinned)
        self.guidance = torch.ones(batch, **pinned)
        self.call = RecordedCall(lambda: self._run(), self.device)

    def _run(self) -> tuple[Tensor, Tensor]:
        """Returns the sounds of the inputs [batch, sample], within full scale, and their `fault_flags`."""
        pipe = self.pipe
        words, mask, noise, guidance = (
            one.to(self.device, non_blocking=True) for one in (self.words, self.word_mask, self.noise, self.guidance)
        )
        cond = pipe._condition(pipe.conditioner.encode_words(words, mask), 1, self.frames)
        cond.guidance = guidance
        latent = solvers.sample(pipe.transformer, pipe.path, noise, cond, solvers.student_times(pipe.path, 1))
        wav = pipe.codec.decode(latent.float(), MAX_FRAME_RMS)[:, : self.samples].float()
        return within_full_scale(wav), fault_flags(wav)

    @usual_defaults()
    @torch.no_grad()
    def __call__(
        self,
        prompt: Prompt,
        guidance_scale: float | None = None,
        generator: Seeds = None,
        temperature: float | None = None,
        max_retries: int = 3,
        on_failure: str = "raise",
    ) -> Sounds:
        """Makes a sound for each of up to `batch` prompts; arguments, result and errors are those of the pipeline."""
        pipe = self.pipe
        prompts = listed_prompts(prompt, self.batch)
        w = pipe.config.guidance_scale if guidance_scale is None else guidance_scale
        temperature = pipe.config.temperature if temperature is None else temperature
        pipe.check_inputs(prompts, self.seconds, 1, w)
        check_number("temperature", temperature, above=0, most=2)
        check_retries(max_retries, on_failure)
        words = pipe.conditioner.number_words(prompts)
        seeds = item_seeds(generator, len(prompts), 1)

        def make(rows: list[int], seeds: list[int]) -> Iterable[tuple[Tensor, str | None]]:
            self._fill(words["input_ids"][rows], words["attention_mask"][rows], seeds, w, temperature)
            return self.call(len(rows))

        wav, failures, retries = summary(attempt(make, seeds, max_retries), prompts)
        return pipe.finish(Sounds(wav, pipe.sample_rate, failures, retries), on_failure, True)

    def _fill(self, ids: Tensor, mask: Tensor, seeds: Sequence[int], w: float, temperature: float) -> None:
        """Writes the inputs of the first rows; the others keep what they had."""
        rows, unit = len(seeds), PerItemNoise(seeds, self.noise.shape[1], self.pipe.transformer.config.max_frames)
        self.words[:rows].copy_(ids)
        self.word_mask[:rows].copy_(mask)
        torch.mul(unit(self.frames, "cpu"), temperature, out=self.noise[:rows])
        self.guidance.fill_(w)
