"""Weights that any installation can make again, for tests against numbers of an original implementation."""

import torch


def patterned(state):
    """Deterministic weights of sensible size for any state dict."""
    made = {}
    for k, (name, value) in enumerate(sorted(state.items())):
        wave = torch.sin(torch.arange(value.numel(), dtype=torch.float64) ** 1.5 * 0.37 + k)
        if name.endswith("running_var"):
            wave = 1 + 0.5 * wave
        elif value.ndim > 1:
            wave = wave * 2.2 / value[0].numel() ** 0.5
        elif "bn" in name and name.endswith("weight"):
            wave = 1 + 0.1 * wave
        made[name] = (
            (0.1 * wave if value.ndim == 1 and not name.endswith(("running_var", "weight")) else wave)
            .view(value.shape)
            .to(value.dtype if value.is_floating_point() else torch.int64)
        )
    return made
