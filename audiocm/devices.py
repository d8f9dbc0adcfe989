"""Where nets run, by name."""

from __future__ import annotations

import warnings


def resolve_device(name: str) -> str:
    """A torch device by name, checked; "auto": the first GPU, else the CPU. Raises ValueError saying what is allowed."""
    import torch

    gpu = torch.cuda.is_available()
    chosen = ("cuda" if gpu else "cpu") if name == "auto" else name
    try:
        torch.zeros(1, device=chosen).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        allowed = "auto, cpu or cuda" if gpu else "auto, cpu (cuda: torch finds no GPU here)"
        raise ValueError(f"device {name!r} cannot be used here: choose {allowed}") from error
    return chosen


def warn_if_not_cpu(who: str, device: str) -> None:
    """Says so where something that has no other place to run is asked to run elsewhere."""
    if device not in ("cpu", "auto"):
        warnings.warn(f"{who} runs on the CPU only, not on {device}", stacklevel=3)
