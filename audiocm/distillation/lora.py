"""Low-rank adaptation: the student is a small difference to its teacher (LCM-LoRA, Luo et al. 2023b)."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):
    """A parametrization weight + (scale / rank) up @ down, with up = 0 at the start."""

    def __init__(self, weight: Tensor, rank: int, scale: float):
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(torch.randn(rank, columns, device=weight.device) / columns**0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))
        self.scale = scale / rank

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.up @ self.down).to(weight.dtype)


def add_lora(net: nn.Module, rank: int = 64, scale: float = 64.0, min_size: int = 2) -> list[nn.Parameter]:
    """Freezes a network, adds a low-rank difference to its linear layers and returns the parameters to train.

    Layers with fewer than `min_size` rows or columns are left as they are."""
    net.requires_grad_(False)
    layers = [m for m in net.modules() if isinstance(m, nn.Linear) and min(m.weight.shape) >= min_size]
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank, scale))
    return [p for p in net.parameters() if p.requires_grad]


def merge_lora(net: nn.Module) -> None:
    """Adds the low-rank differences to the weights, which leaves an ordinary network."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
