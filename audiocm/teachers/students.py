"""Students of a teacher: their conditioning on w and s, how it is folded into a bias, and the folder that is saved."""

import copy
import os
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..files import atomic_write, file_digest
from ..model_cards import CARD, replace_score_blocks, score_blocks
from ..models.adapters import sinusoidal_embedding
from .card import model_card
from .denoiser import ConditionedLinear, DenoiserNet
from .lora import add_lora, has_lora, merge_lora, save_lora

FEATURES = 256  # numbers that embed w, and as many that embed s


class StudentNet(DenoiserNet):
    """A contract net (x_t, t, s, cond) -> clean to train, which takes w as cond.guidance, and s, if it was built so.

    guidance_range  the range of w, or None if it takes no w
    target_time     whether it takes s
    path            its noise path

    A student with a low-rank difference, and copies of it, share the teacher's weights: student, target and average
    then cost the difference only."""

    def __init__(
        self,
        teacher: DenoiserNet,
        guidance_range: tuple[float, float] | None = None,
        target_time: bool = False,
        lora: int | None = None,
    ):
        shared = [] if lora is None else list(teacher.net.parameters())
        net = copy.deepcopy(teacher.net, {id(p): p for p in shared})
        for module in net.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        super().__init__(net, teacher.schedule, teacher.architecture, teacher.null_condition())
        self.guidance_range, self.target_time, self._shared = guidance_range, target_time, shared
        name, inputs = teacher.architecture.time_layer, (guidance_range is not None) + target_time
        if lora is None:
            net.requires_grad_(True)
        else:
            add_lora(net, lora, f"^(?!{re.escape(name)}$)" if inputs else "")
        self.time_layer: str | None = name if inputs else None
        if inputs:
            layer = dict(net.named_modules()).get(name)
            if not isinstance(layer, nn.Linear):
                raise ValueError(f"the adapter's time_layer {name!r} is no linear layer of {type(net).__name__}")
            net.set_submodule(name, ConditionedLinear(layer, FEATURES * inputs))

    def features(self, t: Tensor, s: Tensor | None, w: Tensor | None) -> Tensor:
        """Returns the features [batch, feature] of w and s for the time embedding; LCM embeds w - 1."""
        parts = []
        if self.guidance_range is not None:
            parts.append(sinusoidal_embedding((torch.ones_like(t) if w is None else w) - 1, FEATURES))
        if self.target_time:
            s = torch.zeros_like(t) if s is None else s
            parts.append(sinusoidal_embedding(s, FEATURES, 1000 / self.path.t_max))
        return torch.cat(parts, 1)

    def forward(self, x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Any = None) -> Tensor:
        """Returns the clean estimate, the end of a jump to s. Raises ValueError without a `Condition`."""
        if self.time_layer is None:
            return super().forward(x_t, t, s, cond)
        layer = self.net.get_submodule(self.time_layer)
        layer.features = self.features(t, s, getattr(cond, "guidance", None))
        try:
            return super().forward(x_t, t, s, cond)
        finally:
            layer.features = None  # it belongs to the call, and a copy of the net may not hold it

    def __deepcopy__(self, memo: dict[int, Any]) -> "StudentNet":
        memo.update({id(p): p for p in self._shared})
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        new.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return new


def check_weight(name: str, student: nn.Module, w: float | None) -> None:
    """Raises ValueError unless w is in the guidance_range of a student, or None for a network that takes none."""
    limits = getattr(student, "guidance_range", None)
    if limits is None:
        if w is not None:
            raise ValueError(f"{name}={w:g}: this student takes no guidance weight, it has that of its training")
    elif w is None or not limits[0] <= w <= limits[1]:
        low, high = limits
        raise ValueError(f"{name} must be between {low:g} and {high:g}, the range that the student takes, not {w}")


@torch.no_grad()
def bake(student: StudentNet, w: float | None = None) -> nn.Module:
    """Returns the plain diffusers network with fixed w and s = 0, and with any low-rank difference merged.

    Raises TypeError for a network that is no `StudentNet`, and ValueError unless w is in the student's guidance_range,
    or if it is given to a student that takes none."""
    if not isinstance(student, StudentNet):
        raise TypeError(f"the student must be one of teacher.student(...), not a {type(student).__name__}")
    check_weight("w", student, w)
    net = copy.deepcopy(student.net).eval()
    merge_lora(net)
    if student.time_layer is not None:
        time = torch.zeros(1, device=next(net.parameters()).device)
        features = student.features(time, None, None if w is None else time + w)
        net.set_submodule(student.time_layer, net.get_submodule(student.time_layer).folded(features[0]))
    return net


def save_student(
    teacher: Any,
    student: nn.Module,
    folder: str | os.PathLike,
    w: float | None = None,
    replaces: str | os.PathLike | None = None,
    **card: Any,
) -> None:
    """Writes a student of a teacher as a plain folder, atomically: DiffusionPipeline.from_pretrained needs no audiocm.

    It is called with num_inference_steps=1 and guidance_scale=1. w: the guidance weight that is folded in; for a
    bundled teacher, whose students keep w as an input, the default of a call. A low-rank difference is merged, and also
    written as pytorch_lora_weights.safetensors if the student takes neither w nor s. `card` goes into README.md as it
    is given: data, method, settings, minutes, scores, license. Raises ValueError for a w that the student cannot take.

    replaces: the folder whose place this one takes, by default `folder` itself. Scores that `audiocm score --card` wrote
    into its card stay if all its other files stay the same byte for byte: they go with the weights, or the w, that they
    were measured of."""
    with atomic_write(Path(folder)) as partial:
        partial.mkdir()
        teacher.adapter.save(student, partial, w)
        inputs = ("time_layer", "guidance", "target")  # of w and s: of a StudentNet, and of audiocm's transformer
        is_difference = has_lora(student) and all(getattr(student, name, None) is None for name in inputs)
        if is_difference:
            save_lora(student, partial)
        text = model_card(teacher, w, teacher.adapter.usage(of_lora=True) if is_difference else "", card)
        if blocks := _scores_that_stay(Path(replaces or folder), partial):
            text = replace_score_blocks(text, blocks)
        (partial / CARD).write_text(text, encoding="utf-8", errors="backslashreplace")


def _scores_that_stay(old: Path, new: Path) -> list[tuple[str, str]]:
    """Returns the measurements in the card of a folder if it holds every file of the new one with the same content."""
    try:
        blocks = score_blocks((old / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no folder, or a card that is not audiocm's
        return []
    files = [file.relative_to(new) for file in new.rglob("*") if file.is_file()] if blocks else []
    same = all((old / file).is_file() and file_digest(old / file) == file_digest(new / file) for file in files)
    return blocks if same else []
