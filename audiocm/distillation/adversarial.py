"""Critics, second networks that are trained against the student: DMD2's fake score and a discriminator.

A critic has parameters() and loss(student, target_net, x, cond, progress) -> scalar, and is stepped before the student.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..diffusion.denoiser import Condition, Net
from .losses import edm_weight, masked_mean
from .method import Method
from .states import Progress, TrainingState
from .targets import regression_target
from .timesteps import TimestepSampler, lognormal


def student_samples(
    method: Method, student: Net, x: Tensor, cond: Condition | None, progress: Progress
) -> tuple[Tensor, Condition | None]:
    """Returns the student's clean estimates at the states that the method samples, with their conditions."""
    state = method.sample_states(student, x, cond, progress)
    return state.predict(student), state.cond


class Critic(nn.Module):
    """A network that is trained on the student's samples at the states of `method`; see `loss_on_samples`."""

    method: Method

    def loss_on_samples(self, x: Tensor, samples: Tensor, cond: Condition | None, progress: Progress) -> Tensor:
        """Returns the loss of real x and the student's samples under the same conditions: a scalar."""
        raise NotImplementedError

    def loss(
        self, student: Net, target_net: Net | None, x: Tensor, cond: Condition | None, progress: Progress
    ) -> Tensor:
        """Returns the critic's loss on fresh samples of the student."""
        with torch.no_grad():
            samples, cond = student_samples(self.method, student, x, cond, progress)
        return self.loss_on_samples(x, samples, cond, progress)


class FakeScore(Critic):
    """DMD2's fake score, a denoiser of the student's samples. It is a `Net`; initialise it as a copy of the teacher."""

    def __init__(self, net: nn.Module, method: Method):
        super().__init__()
        self.net, self.method = net, method
        denoising = Method(lognormal(-0.4, 1.6), regression_target, weight=edm_weight())
        self.denoising = replace(denoising, path=method.net_path, net_path=method.net_path)

    def forward(self, x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Condition | None = None) -> Tensor:
        return self.net(x_t, t, s, cond)

    def loss_on_samples(self, x: Tensor, samples: Tensor, cond: Condition | None, progress: Progress) -> Tensor:
        """Returns the denoising loss of the student's samples."""
        return self.denoising.loss(self.net, None, samples, cond, progress)


class Discriminator(Critic):
    """A discriminator of noised samples (LADD, Sauer et al. 2024) with a hinge loss, made from any `Net`.

    The net's output, averaged over channels, is a map of logits; `sampler` draws the noise levels, and the method's
    coupling the noise. `r1_weight` is gamma of a penalty gamma / 2 |grad|^2 on the real side, by finite differences (ARC,
    Novack et al. 2025)."""

    def __init__(self, net: nn.Module, method: Method, sampler: TimestepSampler | None = None, r1_weight: float = 0.0):
        super().__init__()
        self.net, self.method, self.path, self.r1_weight = net, method, method.net_path, r1_weight
        self.sampler = sampler or lognormal(-1.0, 1.0)

    def logits(self, x: Tensor, cond: Condition | None, progress: Progress) -> Tensor:
        """Returns a logit per sample and frame [batch, 1, frame], or per sample [batch, 1]."""
        return self._logits(x, self._noise(x, cond), self.sampler(self.path, x, progress).t, cond)

    def _noise(self, x: Tensor, cond: Condition | None) -> Tensor:
        return self.method.coupling(x, cond).eps

    def _logits(self, x: Tensor, eps: Tensor, t: Tensor, cond: Condition | None) -> Tensor:
        return self.net(self.path.add_noise(x, eps, t), t, None, cond).mean(1, keepdim=True)

    def loss_on_samples(self, x: Tensor, samples: Tensor, cond: Condition | None, progress: Progress) -> Tensor:
        """Returns E max(0, 1 - D(x)) + E max(0, 1 + D(samples)) + penalty."""
        eps, t, mask = self._noise(x, cond), self.sampler(self.path, x, progress).t, getattr(cond, "mask", None)
        real, fake = self._logits(x, eps, t, cond), self.logits(samples, cond, progress)
        total = masked_mean(F.relu(1 - real), mask) + masked_mean(F.relu(1 + fake), mask)
        if self.r1_weight:
            shifted = self._logits(x + 0.01 * torch.randn_like(x), eps, t, cond)
            total = total + self.r1_weight / 2 * masked_mean((shifted - real).square(), mask) / 0.01**2
        return total.mean()


class JointCritic(Critic):
    """Several critics trained as one on the same samples, with the sum of their losses."""

    def __init__(self, *critics: Critic):
        super().__init__()
        self.critics, self.method = nn.ModuleList(critics), critics[0].method

    def loss_on_samples(self, x: Tensor, samples: Tensor, cond: Condition | None, progress: Progress) -> Tensor:
        """Returns the sum of the critics' losses."""
        return sum(critic.loss_on_samples(x, samples, cond, progress) for critic in self.critics)


@dataclass(frozen=True)
class AdversarialLoss:
    """The student's adversarial loss -E D(samples), on its own or as a part of a `Mix` or `SharedSampleMix`."""

    discriminator: Discriminator

    def loss(
        self, student: Net, target_net: Net | None, x: Tensor, cond: Condition | None, progress: Progress
    ) -> Tensor:
        """Returns the loss of fresh samples of the student."""
        samples, cond = student_samples(self.discriminator.method, student, x, cond, progress)
        return self._loss(samples, cond, progress)

    def loss_of_estimate(self, student: Net, target_net: Net | None, state: TrainingState, clean: Tensor) -> Tensor:
        """Returns the loss of the student's estimate `clean` at `state`."""
        return self._loss(clean, state.cond, state.progress)

    def _loss(self, samples: Tensor, cond: Condition | None, progress: Progress) -> Tensor:
        logits = self.discriminator.logits(samples, cond, progress)
        return -masked_mean(logits, getattr(cond, "mask", None)).mean()
