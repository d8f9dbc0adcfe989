"""The whole chain on toy latents, in under a minute on a CPU: teacher, then ConsistencyTTA-type distillation.

    audiocm train recipes/tiny.py

Four "words", each a tone of its own in latents [2 channels, 12 frames]: random phase, fixed level. Every sample lies on
its word's circle, so `off_circle` and `phase_gap` say exactly how far a net is from the data; no codec, no files.
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
from audiocm.training.run import Run
from audiocm.training.trainer import train

WORDS, CHANNELS, FRAMES = 4, 2, 12


def basis() -> Tensor:
    """Cosine and sine of each word's tone, with mean square 1 when summed: [word, 2, channel, frame]."""
    turns = torch.arange(1, WORDS + 1)[:, None, None] * torch.arange(FRAMES) / FRAMES
    lag = torch.arange(CHANNELS)[None, :, None] * torch.arange(1, WORDS + 1)[:, None, None] / 7
    angle = 2 * math.pi * (turns + lag)
    return math.sqrt(2) * torch.stack([angle.cos(), angle.sin()], 1)


def told(words: Tensor, null: Tensor | None = None) -> Condition:
    """word numbers [batch] -> Condition with one token each."""
    states = one_hot(words, 8).float()
    mask = torch.ones(len(words), FRAMES, dtype=torch.bool, device=words.device)
    return Condition(tokens=states[:, None], pooled=states, mask=mask, null=null)


class Tones(StepSeededBatches):
    """Endless (x [batch, 2, 12], Condition)."""

    def __init__(self, batch: int, seed: int, device: torch.device):
        super().__init__(seed, device, None)
        self.batch, self.basis = batch, basis().to(device)

    def __next__(self) -> tuple[Tensor, Condition]:
        generator = self.draw()
        words, degrees, null = self.put(
            generator.integers(WORDS, size=self.batch),
            generator.uniform(0, 36000, self.batch),
            generator.random(self.batch) < 0.12,
        )
        phase = degrees * (math.pi / 18000)
        weight = torch.stack([phase.cos(), phase.sin()], 1)[..., None, None]
        return (self.basis[words] * weight).sum(1), told(words, null.bool())


def off_circle(x: Tensor, words: Tensor) -> float:
    """RMS distance of samples to the nearest point of their word's circle; that of silence is 1."""
    part = (basis().to(x)[words].flatten(2) @ x.flatten(1)[..., None])[..., 0].norm(dim=1) / x[0].numel()
    return (x.square().flatten(1).mean(1) - 2 * part + 1).clamp_min(0).mean().sqrt().item()


def phase_gap(x: Tensor, words: Tensor) -> float:
    """|mean of exp(i phase)|: 0 if all phases come up alike, 1 if all samples of a net are one."""
    part = (basis().to(x)[words].flatten(2) @ x.flatten(1)[..., None])[..., 0]
    return normalize(part, dim=1).mean(0).norm().item()


@torch.no_grad()
def judged(net, times=None, solver=solvers.student_step, w: float | None = None, count: int = 256) -> dict[str, float]:
    """The two distances of a net's samples, one call by default."""
    device = next(net.parameters()).device
    words = torch.arange(count, device=device) % WORDS
    noise = torch.randn(count, CHANNELS, FRAMES, generator=torch.Generator().manual_seed(1)).to(device)
    cond = told(words) if w is None else told(words).with_guidance(w)
    x = solvers.sample(net, paths.edm, noise, cond, times, solver=solver)
    return {"off_circle": off_circle(x, words), "phase_gap": phase_gap(x, words)}


class ToneNet(nn.Module):
    """A contract net, net(x_t, t, s, cond) -> clean: three layers, told noise level, word (or none) and w."""

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
        validate=lambda net: judged(net, solvers.ode_times(paths.edm, 9), solvers.heun),
        validate_every=250,
    )


def run(
    steps: int = 1000,
    teacher_steps: int = 1500,
    batch: int = 128,
    seed: int = 0,
    teacher: Path = Path("runs/tiny-teacher"),
) -> Run:
    """The student; its teacher is trained first, or taken from the folder `teacher` if it is there."""
    from audiocm.training.run import best_device

    torch.set_num_threads(1)  # for nets this small a second thread costs more than it brings
    device = best_device()
    master = train(teacher_run(teacher_steps, batch, seed, device), teacher).requires_grad_(False)
    student = copy.deepcopy(master).requires_grad_(True)  # the layer for w still says nothing
    return Run(
        name="tiny",
        net=student,
        method=methods.consistencytta(master, w=(1.0, 3.0), intervals=9, top_weight=1.0),
        batches=Tones(batch, seed + 1, device),
        steps=steps,
        lr=2e-3,
        warmup=50,
        ema=0.99,
        target_ema=0.95,
        seed=seed,
        validate=lambda net: judged(net, w=1.0),
        validate_every=250,
    )
