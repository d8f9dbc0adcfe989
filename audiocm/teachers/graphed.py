"""One call of a student of a foreign teacher, noise to sound, as one CUDA graph."""

import dataclasses
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..checks import check_instance, check_number, check_whole
from ..devices import usual_defaults
from ..diffusion import solvers
from ..diffusion.denoiser import Condition
from ..failed_sounds import check_retries
from ..pipelines.failures import attempt, fault_flags, raise_failures, summary, within_full_scale
from ..pipelines.graphed import RecordedCall, listed_prompts
from ..pipelines.sampler import Seeds, Sounds, item_seeds
from ..pipelines.text_to_audio_sampler import Prompt
from .bundled import TextToAudio
from .students import check_weight
from .teacher import Teacher


class GraphedStudent:
    """A one-call student for up to `batch` sounds of one length, recorded once and replayed by every call.

        pipe = DiffusionPipeline.from_pretrained("my-student", torch_dtype=torch.float16)
        fast = GraphedStudent(load_teacher(pipe).to("cuda"), batch=1, audio_length_in_s=10.0)
        sound = fast("a dog barks", generator=torch.Generator().manual_seed(0)).audios[0]

    teacher            of a student's folder, in which w is fixed; or of its teacher, with
    student            a network of `teacher.student(...)`, which is told w in each call if it takes w
    audio_length_in_s  of all sounds; default: the adapter's

    The graph holds denoiser, VAE and vocoder, in the dtype of their weights. Text encoders run before it as they are: how
    often AudioLDM 2's GPT-2 is called, and what Stable Audio's and Stable Audio 3's pipelines check on the CPU, are matters of
    diffusers that no graph records. Prompts and seeds are free, and sounds are those of `sample` and `decode`, with the
    noise torch.randn(latent_shape) of the seed of each sound, to rounding. The recording holds the weights that the
    networks had: make a new one after changing or moving them. On a CPU the same function runs unrecorded.

    Raises TypeError for a teacher that is none, and ValueError for one of audiocm's own pipelines, for a length that it
    does not make, and if its networks cannot be recorded."""

    def __init__(
        self,
        teacher: Teacher,
        student: nn.Module | None = None,
        batch: int = 1,
        audio_length_in_s: float | None = None,
    ):
        if not isinstance(teacher, Teacher):
            raise TypeError(f"teacher must be one of load_teacher(...), not a {type(teacher).__name__}")
        if isinstance(teacher.adapter, TextToAudio):
            raise ValueError("a student of audiocm's own pipelines is recorded by GraphedTextToAudio")
        self.teacher, self.batch = teacher, check_whole("batch", batch, least=1, most=1024)
        if student is not None:
            check_instance("student", student, nn.Module, "a network of teacher.student(...)").eval()
        self.net = teacher.net if student is None else student
        seconds = teacher.adapter.seconds if audio_length_in_s is None else audio_length_in_s
        self.seconds = check_number("audio_length_in_s", seconds, above=0)
        self.samples, self.device = round(self.seconds * teacher.sample_rate), teacher.adapter.device
        shape = teacher.latent_shape(self.seconds)
        if not all(shape):
            raise ValueError(f"audio_length_in_s must be more than {seconds:g}, of which no latent is left")
        with usual_defaults():
            pinned = {"pin_memory": self.device.type == "cuda"}
            self.noise, self.guidance = torch.zeros(batch, *shape, **pinned), torch.ones(batch, **pinned)
            self.cond = teacher.condition(["a sound"], self.seconds).repeat_interleave(batch)
            try:
                self.call = RecordedCall(lambda: self._run(), self.device)
            except RuntimeError as error:
                raise ValueError(f"{teacher.name} cannot be recorded: {str(error).splitlines()[0]}") from error

    def _run(self) -> tuple[Tensor, Tensor]:
        """Returns the sounds of the inputs, within full scale, and their `fault_flags`."""
        noise, w = (one.to(self.device, non_blocking=True) for one in (self.noise, self.guidance))
        latent = solvers.sample(self.net, self.teacher.path, noise, self.cond.with_guidance(w))
        wav = self.teacher.decode(self.teacher.adapter.needed(latent, self.seconds))[..., : self.samples]
        flat = within_full_scale(wav.flatten(1))  # the channels of a sound are scaled alike
        return flat.unflatten(1, wav.shape[1:]), fault_flags(flat)

    @usual_defaults()
    @torch.no_grad()
    def __call__(
        self,
        prompt: Prompt,
        guidance_scale: float | None = None,
        generator: Seeds = None,
        max_retries: int = 3,
        on_failure: str = "raise",
    ) -> Sounds:
        """Makes a sound for each of up to `batch` prompts: `audios` [prompt, sample] or, for stereo, [prompt, 2, sample].

        guidance_scale  w, in the guidance_range of a student that takes it; None for any other
        generator       of the seeds of the sounds, or one for each prompt
        max_retries     how often a sound that is not finite, silent or clipped is made again with another seed
        on_failure      "return" lists in `failures` what failed with every seed, "raise" raises AudioError

        Sounds beyond full scale are scaled to a peak of 0.99. Raises ValueError for an input that is not allowed."""
        prompts = listed_prompts(prompt, self.batch)
        check_weight("guidance_scale", self.net, guidance_scale)
        check_retries(max_retries, on_failure)
        seeds, cond = item_seeds(generator, len(prompts), 1), self.teacher.condition(prompts, self.seconds)
        self.guidance.fill_(1.0 if guidance_scale is None else guidance_scale)

        def make(rows: list[int], seeds: list[int]) -> Iterable[tuple[Tensor, str | None]]:
            self._fill(cond[torch.tensor(rows)], seeds)
            return self.call(len(rows))

        wav, failures, retries = summary(attempt(make, seeds, max_retries), prompts)
        sounds = Sounds(wav, self.teacher.sample_rate, failures, retries)
        raise_failures(sounds.failures if on_failure == "raise" else [], sounds)
        return sounds

    def _fill(self, cond: Condition, seeds: list[int]) -> None:
        """Writes the inputs of the first rows; the others keep what they had."""
        for row, seed in enumerate(seeds):
            torch.randn(self.noise.shape[1:], generator=torch.Generator().manual_seed(seed), out=self.noise[row])
        for field in dataclasses.fields(cond):
            if (value := getattr(cond, field.name)) is not None:
                getattr(self.cond, field.name)[: len(seeds)].copy_(value)
