"""Training states, a smooth network and tiny transformers for the tests of distillation."""

from __future__ import annotations

import torch
from torch import Tensor

from audiocm.diffusion import paths
from audiocm.diffusion.denoiser import Condition
from audiocm.distillation.states import TrainingState
from audiocm.models.transformer import LatentTransformer

SIZES = {"channels": 4, "width": 16, "depth": 1, "heads": 2, "token_width": 6, "pooled_width": 6, "max_frames": 16}
STUDENT = {"guidance_range": (0.0, 6.0), "target_time": True}


def smooth_net(x: Tensor, t: Tensor, s: Tensor | None = None, cond=None) -> Tensor:
    """An arbitrary smooth network for x [batch, dim] that depends on t and s."""
    s = torch.zeros_like(t) if s is None else s
    return torch.sin(x / (1 + t[:, None]) + 0.3 * torch.log1p(t)[:, None] + 0.1 * s[:, None]) * 1.2


def state_at(t: Tensor, path: paths.Path = paths.edm, x: Tensor | None = None) -> TrainingState:
    """States at times t with x_t = x, by default 0."""
    x = torch.zeros(len(t), 1, dtype=t.dtype) if x is None else x
    return TrainingState(path, path, x, x, x, t, t, None, None, 0.0)


def random_transformer(**options) -> LatentTransformer:
    """A transformer of one block with random weights (those of a new one make its output 0)."""
    net = LatentTransformer(**SIZES, **options)
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(std=0.2)
    return net


def masked_batch() -> tuple[Tensor, Condition]:
    """Four latents of up to 12 frames with text; the last row's condition is dropped."""
    torch.manual_seed(3)
    cond = Condition(
        tokens=torch.randn(4, 3, 6),
        token_mask=torch.ones(4, 3, dtype=torch.bool),
        pooled=torch.randn(4, 6),
        mask=torch.arange(12)[None] < torch.tensor([12, 8, 5, 12])[:, None],
        null=torch.tensor([False, False, False, True]),
    )
    return torch.randn(4, 4, 12), cond
