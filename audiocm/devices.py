"""Devices by name, and torch's defaults."""

import contextlib
import threading
import warnings
from collections.abc import Iterator
from typing import Any

_lock = threading.Lock()
_defaults: dict[str, Any] = {"blocks": 0, "dtype": None}  # how many blocks of `usual_defaults` run, the dtype outside


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


@contextlib.contextmanager
def usual_defaults() -> Iterator[None]:
    """Makes float32 and the CPU torch's defaults in a block, or in the calls of a function that it decorates.

    Networks are built and run so, whatever torch.set_default_dtype and torch.set_default_device say outside. The dtype is
    one for all threads: the last block to end gives it back."""
    import torch

    with _lock:
        if not _defaults["blocks"]:
            _defaults["dtype"] = torch.get_default_dtype()
            torch.set_default_dtype(torch.float32)
        _defaults["blocks"] += 1
    device = torch.get_default_device()
    if device.type != "cpu":
        torch.set_default_device(None)  # better than `with torch.device("cpu")`, under which torch takes other kernels
    is_within = torch.get_default_device().type != "cpu"  # the caller's `with torch.device(...)`
    try:
        with torch.device("cpu") if is_within else contextlib.nullcontext():
            yield
    finally:
        if device.type != "cpu" and not is_within:
            torch.set_default_device(device)
        with _lock:
            _defaults["blocks"] -= 1
            if not _defaults["blocks"]:
                torch.set_default_dtype(_defaults["dtype"])
