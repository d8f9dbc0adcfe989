"""The methods of `audiocm distill`: which there are, and method and student of a teacher."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from ..teachers import Teacher

# methods that need something that this command has not: stored trajectories, or a training of all noise levels
OTHERS = ("diffusion", "regression")
WITHOUT_TARGET = (  # methods whose target is not a moving average of the student
    "guidance-distillation",
    "progressive",
    "reflow",
    "rectified-flow",
    "zipvoice",
    "ict",
    "ect",
    "continuous-cd",
    "continuous-ct",
    "scd",
    "sct",
    "meanflow",
    "add",
    "dmd2",
)
WITH_CRITIC = ("add", "dmd2")
WITHOUT_GRAPH = ("ict",)  # its times wait for the device
OF_DATA = ("ct", "ict", "ect", "shortcut", "rectified-flow", "continuous-ct", "sct", "meanflow", "zipvoice-self")
OF_ONE_WEIGHT = ("cd", "ctm", "comospeech", "progressive", "reflow", "continuous-cd", "scd")  # guided by this command
USUAL_W = 3.5  # guidance weight of a saved student, and of methods of one weight
LORA_RANK = 64  # of the advice


def fixed_weight(args: argparse.Namespace) -> float:
    """Returns the guidance weight of methods of one weight."""
    low, high = args.w_range
    return min(max(USUAL_W, low), high)


def build_method(args: argparse.Namespace, teacher: Teacher) -> Any:
    """Builds the method; the teacher of one whose student takes no weight is guided with a fixed one."""
    import copy

    from ..diffusion.guidance import guided_net
    from ..distillation import get_method, methods

    w, net, path = fixed_weight(args), teacher.net, teacher.path
    if args.method == "add":
        return methods.add(net, copy.deepcopy(net), distillation_weight=0.1, w=w, net_path=path)
    if args.method == "dmd2":
        return methods.dmd2(net, copy.deepcopy(net), w=w, net_path=path)
    if args.method in OF_ONE_WEIGHT:
        return get_method(args.method, guided_net(net, w), (w, w), path)
    return get_method(args.method, net, (w, w) if args.method == "lcm-lora" else args.w_range, path)


def build_student(args: argparse.Namespace, teacher: Teacher, method: Any, lora: int | None) -> nn.Module:
    """Returns a student with the inputs that a method trains."""
    parts = [part for _, part in getattr(method, "parts", ((1.0, method),))]
    takes_w = any(getattr(part, "guidance", None) is not None for part in parts)
    if takes_w and not args.w_range[0] < args.w_range[1]:
        raise ValueError(f"--w-range: {args.method} learns a range of weights: give two, the second above the first")
    takes_s = any(getattr(part, "needs_target_time", False) for part in parts)
    return teacher.student(args.w_range if takes_w else None, takes_s, lora)


def is_bundled(student: Any) -> bool:
    """Returns whether a student is one of audiocm's own, which keep w as an input when they are saved."""
    return "guidance_range" in getattr(student, "config", {})


def weights_taken(student: Any) -> tuple[float, float] | None:
    """Returns the range of guidance weights that a student takes."""
    return student.config["guidance_range"] if is_bundled(student) else student.guidance_range


def saved_weight(args: argparse.Namespace, student: nn.Module) -> float | None:
    """Returns the guidance weight that the saved student has. Raises ValueError for one that it does not take."""
    taken = weights_taken(student)
    if taken is None and is_bundled(student):
        return fixed_weight(args) if args.save_w is None else args.save_w
    if taken is None:
        if args.save_w is not None:
            raise ValueError(
                f"--save-w {args.save_w:g}: a student of {args.method} takes no guidance weight: --w-range is that of its training"
            )
        return None
    low, high = taken
    w = min(max(USUAL_W, low), high) if args.save_w is None else args.save_w
    if not low <= w <= high:
        raise ValueError(f"--save-w must be between {low:g} and {high:g}, the range that the student learns, not {w:g}")
    return w
