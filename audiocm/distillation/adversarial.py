"""Second nets that are trained against the student: the only second optimizer.

A critic has parameters() and loss(student, target, x, cond, progress) -> scalar. The trainer steps it before the student.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..diffusion import paths
from ..diffusion.denoiser import Net
from ..diffusion.paths import Path
from .losses import edm_weight, masked_mean
from .method import Method
from .states import Progress, TrainingState
from .targets import regression_target
from .timesteps import TimestepSampler, lognormal


@dataclass(frozen=True)
class StudentSamples:
    """The student's clean estimates at the states that `method` draws: what a critic sees and where gradients enter."""

    method: Method

    def __call__(self, student: Net, x: Tensor, cond, progress: Progress) -> tuple[Tensor, object]:
        draw = self.method.started(student, x, cond, progress)
        return draw.said(student), draw.cond


class Critic(nn.Module):
    """Learns from what the student makes: `learn(x, made, cond, progress)` -> scalar, x real."""

    generated: StudentSamples

    def loss(self, student: Net, target: Net | None, x: Tensor, cond, progress: Progress) -> Tensor:
        with torch.no_grad():
            made, cond = self.generated(student, x, cond, progress)
        return self.learn(x, made, cond, progress)


class FakeScore(Critic):
    """A denoiser of the student's samples: DMD2's fake score. A contract net; start it as a copy of the teacher."""

    def __init__(self, net: nn.Module, generated: StudentSamples, times: TimestepSampler | None = None):
        super().__init__()
        self.net, self.generated = net, generated
        native = generated.method.native
        self.training_of_fake = Method(
            times or lognormal(-0.4, 1.6), regression_target, weight=edm_weight(), path=native, native=native
        )

    def forward(self, x_t: Tensor, t: Tensor, s: Tensor | None = None, cond=None) -> Tensor:
        return self.net(x_t, t, s, cond)

    def learn(self, x: Tensor, made: Tensor, cond, progress: Progress) -> Tensor:
        """Diffusion training on what the student makes."""
        return self.training_of_fake.loss(self.net, None, made, cond, progress)


class Discriminator(Critic):
    """A discriminator out of any contract net: its output, averaged over channels, is a map of logits.

    Real and made samples are judged after noising to levels drawn by `times` (LADD, Sauer et al. 2024), by hinge loss.
    `smooth` weighs a finite-difference R1 penalty on the real side (gamma / 2 |grad|^2; ARC, Novack et al. 2025).
    """

    def __init__(
        self,
        net: nn.Module,
        generated: StudentSamples,
        times: TimestepSampler | None = None,
        smooth: float = 0.0,
        path: Path = paths.edm,
    ):
        super().__init__()
        self.net, self.generated, self.path, self.smooth = net, generated, path, smooth
        self.times = times or lognormal(-1.0, 1.0)

    def logits(self, x: Tensor, cond, progress: Progress) -> Tensor:
        """One logit per sample and frame [batch, 1, frame], or per sample [batch, 1]."""
        return self._logits(x, torch.randn_like(x), self.times(self.path, x, progress).t, cond)

    def _logits(self, x: Tensor, eps: Tensor, t: Tensor, cond) -> Tensor:
        return self.net(self.path.add_noise(x, eps, t), t, None, cond).mean(1, keepdim=True)

    def learn(self, x: Tensor, made: Tensor, cond, progress: Progress) -> Tensor:
        """E max(0, 1 - D(real)) + E max(0, 1 + D(made))."""
        eps, t, mask = torch.randn_like(x), self.times(self.path, x, progress).t, getattr(cond, "mask", None)
        real = self._logits(x, eps, t, cond)
        total = masked_mean(F.relu(1 - real), mask) + masked_mean(F.relu(1 + self.logits(made, cond, progress)), mask)
        if self.smooth:
            moved = self._logits(x + 0.01 * torch.randn_like(x), eps, t, cond)
            total = total + self.smooth / 2 * masked_mean((moved - real).square(), mask) / 0.01**2
        return total.mean()


class JointCritic(Critic):
    """Several critics trained as one, on the same samples: their losses are added."""

    def __init__(self, *critics: Critic):
        super().__init__()
        self.critics, self.generated = nn.ModuleList(critics), critics[0].generated

    def learn(self, x: Tensor, made: Tensor, cond, progress: Progress) -> Tensor:
        return sum(critic.learn(x, made, cond, progress) for critic in self.critics)


@dataclass(frozen=True)
class AdversarialLoss:
    """The student's side: -E D(made). Has a method's `loss` and `compare`, so it goes into a `Mix` or `OneSample`."""

    judge: Discriminator
    generated: StudentSamples

    def loss(self, student: Net, target: Net | None, x: Tensor, cond, progress: Progress) -> Tensor:
        made, cond = self.generated(student, x, cond, progress)
        return self._of(made, cond, progress)

    def compare(self, student: Net, target: Net | None, draw: TrainingState, clean: Tensor) -> Tensor:
        return self._of(clean, draw.cond, draw.progress)

    def _of(self, made: Tensor, cond, progress: Progress) -> Tensor:
        return -masked_mean(self.judge.logits(made, cond, progress), getattr(cond, "mask", None)).mean()
