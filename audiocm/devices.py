"""Devices by name."""

import warnings


def resolve_device(name: str) -> str:
    """Returns the torch device `name`; "auto" is the first GPU, else the CPU. Raises ValueError if it does not work."""
    import torch

    has_gpu = torch.cuda.is_available()
    device = ("cuda" if has_gpu else "cpu") if name == "auto" else name
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        allowed = "auto, cpu or cuda" if has_gpu else "auto, cpu (cuda: torch finds no GPU here)"
        raise ValueError(f"device {name!r} cannot be used here: choose {allowed}") from error
    return device


def warn_if_not_cpu(name: str, device: str) -> None:
    """Warns that what is called `name` runs on the CPU only, if another device is requested."""
    if device not in ("cpu", "auto"):
        warnings.warn(f"{name} runs on the CPU only, not on {device}", stacklevel=3)
