"""The whole chain on toy latents: a teacher, then its one-call student by ConsistencyTTA's distillation.

    audiocm train recipes/tiny.py

Each of four words is a tone in latents [2 channels, 12 frames] with random phase and fixed level, so that all samples
of a word lie on a circle and two numbers give the exact distance of a network from the data; no codec and no files are
needed. Takes under a minute on a CPU. With the defaults runs/tiny/log.jsonl ends at step 1000 with off_circle 0.281
(silence: 1) and phase_gap 0.067.
"""

import copy
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot, silu

from audiocm.data.batches import StepSeededBatches
from audiocm.diffusion import paths, solvers
from audiocm.diffusion.denoiser import Condition, edm_scalings
from audiocm.distillation import methods
from audiocm.training.run import Run, best_device
from audiocm.training.trainer import train

WORDS, CHANNELS, FRAMES = 4, 2, 12
SAMPLES = 256  # of a validation


def basis() -> Tensor:
    """Returns cosine and sine of each word's tone [word, 2, channel, frame]; their sum has mean square 1."""
    turns = torch.arange(1, WORDS + 1)[:, None, None] * torch.arange(FRAMES) / FRAMES
    lag = torch.arange(CHANNELS)[None, :, None] * torch.arange(1, WORDS + 1)[:, None, None] / 7
    angle = 2 * math.pi * (turns + lag)
    return math.sqrt(2) * torch.stack([angle.cos(), angle.sin()], 1)


def word_condition(words: Tensor, null: Tensor | None = None) -> Condition:
    """Returns the Condition of word numbers [batch], one token each."""
    states = one_hot(words, 8).float()
    mask = torch.ones(len(words), FRAMES, dtype=torch.bool, device=words.device)
    return Condition(tokens=states[:, None], pooled=states, mask=mask, null=null)


class Tones(StepSeededBatches):
    """An endless source of (x [batch, 2, 12], Condition), with 12 % null conditions."""

    def __init__(self, batch: int, seed: int, device: torch.device):
        super().__init__(seed, device, None)
        self.batch, self.basis = batch, basis().to(device)

    def __next__(self) -> tuple[Tensor, Condition]:
        generator = self.step_generator()
        words, degrees, null = self.columns_to_device(
            generator.integers(WORDS, size=self.batch),
            generator.uniform(0, 36000, self.batch),
            generator.random(self.batch) < 0.12,
        )
        phase = degrees * (math.pi / 18000)
        weight = torch.stack([phase.cos(), phase.sin()], 1)[..., None, None]
        return (self.basis[words] * weight).sum(1), word_condition(words, null.bool())


def off_circle(x: Tensor, words: Tensor) -> float:
    """Returns the RMS distance of samples to the nearest point of their word's circle; that of silence is 1."""
    part = (basis().to(x)[words].flatten(2) @ x.flatten(1)[..., None])[..., 0].norm(dim=1) / x[0].numel()
    return (x.square().flatten(1).mean(1) - 2 * part + 1).clamp_min(0).mean().sqrt().item()


def phase_gap(x: Tensor, words: Tensor) -> float:
    """Returns |mean of exp(i phase)|: 0 if all phases are equally frequent, 1 if all samples are the same."""
    part = (basis().to(x)[words].flatten(2) @ x.flatten(1)[..., None])[..., 0]
    return normalize(part, dim=1).mean(0).norm().item()


@torch.no_grad()
def sample_errors(
    net: nn.Module, times: Tensor | None = None, solver: solvers.Solver = solvers.student_step, w: float | None = None
) -> dict[str, float]:
    """Returns `off_circle` and `phase_gap` of a network's samples, made in one call by default."""
    device = next(net.parameters()).device
    words = torch.arange(SAMPLES, device=device) % WORDS
    noise = torch.randn(SAMPLES, CHANNELS, FRAMES, generator=torch.Generator().manual_seed(1)).to(device)
    cond = word_condition(words) if w is None else word_condition(words).with_guidance(w)
    x = solvers.sample(net, paths.edm, noise, cond, times, solver=solver)
    return {"off_circle": off_circle(x, words), "phase_gap": phase_gap(x, words)}


class ToneNet(nn.Module):
    """A network net(x_t, t, s, cond) -> clean of three layers, conditioned on noise level, word (or none) and w."""

    def __init__(self, width: int = 192):
        super().__init__()
        self.register_buffer("rate", 2.0 ** torch.arange(-2, 4), persistent=False)
        self.word = nn.Linear(8, width, bias=False)  # a dropped condition is the zero vector
        self.guidance = nn.Linear(1, width)
        nn.init.zeros_(self.guidance.weight)
        self.first = nn.Linear(CHANNELS * FRAMES + 12, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.last = nn.Linear(width, CHANNELS * FRAMES)

    def forward(self, x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Condition | None = None) -> Tensor:
        c_skip, c_out, c_in, c_noise = edm_scalings(t[:, None])
        angle = c_noise * self.rate
        h = self.first(torch.cat([c_in * x_t.flatten(1), angle.sin(), angle.cos()], 1))
        word = cond.pooled if cond.null is None else cond.pooled * ~cond.null[:, None]
        h = h + self.word(word)
        if cond.guidance is not None:
            h = h + self.guidance(cond.guidance[:, None])
        for layer in self.layers:
            h = h + layer(silu(h))
        return (c_skip * x_t.flatten(1) + c_out * self.last(silu(h))).view_as(x_t)


def teacher_run(steps: int, batch: int, seed: int, device: torch.device) -> Run:
    """Returns the training of the teacher."""
    torch.manual_seed(seed)
    return Run(
        name="tiny-teacher",
        net=ToneNet(),
        method=methods.diffusion(methods.latent_times),
        batches=Tones(batch, seed, device),
        steps=steps,
        lr=3e-3,
        warmup=50,
        ema=0.99,
        seed=seed,
        validate=lambda net: sample_errors(net, solvers.ode_times(paths.edm, 9), solvers.heun),
        validate_every=250,
    )


def run(
    steps: int = 1000,
    teacher_steps: int = 1500,
    batch: int = 128,
    seed: int = 0,
    teacher: Path = Path("runs/tiny-teacher"),
) -> Run:
    """Returns the training of the student. Its teacher is trained first, unless the folder `teacher` has one."""
    torch.set_num_threads(1)  # in networks this small a second thread costs more than it gains
    device = best_device()
    trained = train(teacher_run(teacher_steps, batch, seed, device), teacher).requires_grad_(False)
    student = copy.deepcopy(trained).requires_grad_(True)  # the layer for w is still zero
    return Run(
        name="tiny",
        net=student,
        method=methods.consistencytta(trained, w=(1.0, 3.0), intervals=9, t_max_weight=1.0),
        batches=Tones(batch, seed + 1, device),
        steps=steps,
        lr=2e-3,
        warmup=50,
        ema=0.99,
        target_ema=0.95,
        seed=seed,
        validate=lambda net: sample_errors(net, w=1.0),
        validate_every=250,
    )
