"""Checks of the arguments that methods, timestep samplers, losses and fields share by name and meaning."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ..checks import check_callable, check_instance, check_number, check_range, check_whole, checked, optional
from ..diffusion.paths import Path

number, positive = check_number, partial(check_number, above=0)
non_negative, share = partial(check_number, least=0), partial(check_number, least=0, most=1)
count = partial(check_whole, least=1)
path = partial(check_instance, kind=Path)
guidance_range = partial(check_range, least=0)


def _intervals(name: str, value: Any) -> Any:
    """Allows a curriculum besides a number."""
    return value if callable(value) else count(name, value)


def _levels(name: str, value: Any) -> Any:
    for level in check_instance(name, value, list | tuple, "a list of noise levels"):
        positive(name, level)
    if not value:
        raise ValueError(f"{name} must hold at least one noise level")
    return value


SHARED = {
    **dict.fromkeys(("teacher", "net", "discriminator", "fake_score", "solver", "guide"), check_callable),
    **dict.fromkeys(("sampler", "distance", "features"), optional(check_callable)),
    **dict.fromkeys(("path", "net_path"), path),
    **dict.fromkeys(("stages", "substeps", "steps", "max_stride", "depth", "stride"), count),
    **dict.fromkeys(("mean", "scale"), number),
    **dict.fromkeys(("std", "c", "sigma_data", "low", "high", "h"), positive),
    **dict.fromkeys(("power", "extra", "t_max_weight", "denoising", "shortest", "warmup"), non_negative),
    **dict.fromkeys(("distillation_weight", "adversarial_weight", "r1_weight"), non_negative),
    **dict.fromkeys(("share", "equal"), share),
    "longest": partial(check_number, above=0, most=1),
    "q": partial(check_number, above=1),
    "mu": partial(check_number, above=0, below=1),
    "first_share": optional(share),
    "intervals": _intervals,
    "levels": _levels,
    "lower": optional(partial(check_range, least=0, most=1)),
    "w": guidance_range,
}


def arguments(**own: Callable[[str, Any], Any]) -> Callable:
    """Returns a decorator that checks arguments by name: by `own` checks, else by SHARED."""
    return checked(**SHARED | own)
