"""Devices by name."""

import warnings
from typing import Any


def resolve_device(name: Any) -> str:
    """Returns the torch device `name`, a string or a torch.device; "auto" is the first GPU, else the CPU.

    Raises ValueError if it does not work."""
    import torch

    has_gpu = torch.cuda.is_available()
    try:
        if not isinstance(name, str | torch.device):
            raise TypeError("no name of a device")
        device = torch.device(("cuda" if has_gpu else "cpu") if name == "auto" else name)
        if device.type == "cpu" and device.index:  # which torch would take for the one that there is
            raise RuntimeError("there is one CPU")
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        allowed = "auto, cpu or cuda" if has_gpu else "auto, cpu (cuda: torch finds no GPU here)"
        raise ValueError(f"device {str(name)!r} cannot be used here: choose {allowed}") from error
    return "cpu" if device.type == "cpu" else str(device)


def warn_if_not_cpu(name: str, device: str) -> None:
    """Warns that what is called `name` runs on the CPU only, if another device is requested."""
    if device not in ("cpu", "auto"):
        warnings.warn(f"{name} runs on the CPU only, not on {device}", stacklevel=3)
