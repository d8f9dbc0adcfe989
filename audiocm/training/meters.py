"""Running statistics of the training steps, on the device."""

import math

import torch
from torch import Tensor


class Meters:
    """Sums over the steps since the last reading, and counts of steps without a finite loss and gradient.

    All are entries of one tensor `values`, which a step recorded as a CUDA graph can update and a checkpoint can hold:

    - `sums` over the good steps since the last reading, of loss, critic_loss, grad_norm and 1
    - `in_a_row`: bad steps up to now without a good one, and `longest`, the largest `in_a_row` since the last reading
    - `skipped`: all bad steps of the run"""

    def __init__(self, device: torch.device, with_critic: bool = True):
        self.values, self.with_critic = torch.zeros(7, device=device), with_critic
        self.sums = self.values[:4]
        self.in_a_row, self.longest, self.skipped = self.values[4:].unbind()

    def update(self, loss: Tensor, critic_loss: Tensor, norm: Tensor, finite: Tensor) -> None:
        """Adds one step, all numbers 0-dimensional; `finite`: whether loss and gradient are. Does not wait for the
        device."""
        numbers = torch.stack([loss, critic_loss, norm, torch.ones_like(loss)])
        self.sums += torch.where(finite, numbers, torch.zeros_like(numbers))
        self.in_a_row.add_(1).mul_(~finite)
        torch.maximum(self.longest, self.in_a_row, out=self.longest)
        self.skipped += ~finite

    def read(self) -> dict[str, float]:
        """Returns the means over the good steps of all ranks and the number of bad ones, then starts new sums.

        Waits for the device, and for the other ranks, which have to call it as well."""
        values = self.values.clone()
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(values)
            values /= torch.distributed.get_world_size()
        *sums, count, _, _, skipped = values.tolist()
        self.sums.zero_()
        self.longest.copy_(self.in_a_row)
        loss, critic_loss, norm = (total / count if count else math.nan for total in sums)
        critic = {"critic_loss": critic_loss} if self.with_critic else {}
        return {"loss": loss, **critic, "grad_norm": norm, "skipped": skipped}
