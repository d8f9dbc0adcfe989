"""Running statistics of the training steps, on the device."""

import math

import torch
from torch import Tensor


class Meters:
    """Sums over the steps since the last reading, and counts of steps without a finite loss and gradient.

    All are entries of one tensor `values`, which a step recorded as a CUDA graph can update and a checkpoint can hold:

    - `loss`, `critic_loss`, `grad_norm`: sums over the good steps since the last reading, and `counted`, their number
    - `in_a_row`: bad steps up to now without a good one, and `longest`, the largest `in_a_row` since the last reading
    - `skipped`: all bad steps of the run"""

    def __init__(self, device: torch.device):
        self.values = torch.zeros(7, device=device)
        views = self.values.unbind()
        self.loss, self.critic_loss, self.grad_norm, self.counted, self.in_a_row, self.longest, self.skipped = views

    @torch.no_grad()
    def update(self, loss: Tensor, critic_loss: Tensor | float, norm: Tensor, finite: Tensor) -> None:
        """Adds one step, all numbers 0-dimensional; `finite`: whether loss and gradient are. Does not wait for the device."""
        good = finite.float()
        bad, zero = 1 - good, torch.zeros_like(loss)
        self.loss += torch.where(finite, loss, zero)
        self.critic_loss += torch.where(finite, critic_loss + zero, zero)
        self.grad_norm += torch.where(finite, norm, zero)
        self.counted += good
        self.in_a_row.copy_((self.in_a_row + 1) * bad)
        torch.maximum(self.longest, self.in_a_row, out=self.longest)
        self.skipped += bad

    def read(self) -> dict[str, float]:
        """Returns the means over the good steps and the number of bad ones, then starts new sums. Waits for the device."""
        loss, critic_loss, grad_norm, count, _, _, skipped = self.values.tolist()
        sums = {"loss": loss, "critic_loss": critic_loss, "grad_norm": grad_norm}
        for total in (self.loss, self.critic_loss, self.grad_norm, self.counted):
            total.zero_()
        self.longest.copy_(self.in_a_row)
        return {name: total / count if count else math.nan for name, total in sums.items()} | {"skipped": skipped}
