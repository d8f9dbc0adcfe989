"""How each method is trained for the table of methods (see methods_table.py): one readable table, and what it means.

Every student starts from the teacher's weights and is told w (an input that is zero until a method trains it), so that all
are sampled alike, with w = 3. What w then does is the setting's `guidance`:

    told    the field is the guided teacher, w ~ U[0, 6] drawn for each row and told
    pairs   the same, with the w that each stored trajectory was made with
    fixed   the field is the teacher guided with w = 3, baked in
    outside the field is the teacher without guidance; the student's two branches are guided when sampled (two rows a call)
    own     MeanFlow's, from the student's own two branches, baked in
    none    data alone, no guidance: the method has none

and `sampler` is how several calls are made: jumps to 0 with fresh noise after each (`again`), jumps from time to time without
noise (`straight`), or Euler steps of the ODE (`euler`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from audiocm.diffusion import paths, solvers
from audiocm.diffusion.guidance import guided_net, uniform_guidance
from audiocm.distillation import methods
from audiocm.distillation.method import Method, Mix
from audiocm.distillation.states import self_guided_field
from recipes.text_to_audio.student import GUIDANCE

Copied = Callable[[nn.Module], nn.Module]
SCALE = 3.0  # w of every sample, and of methods that bake one in
OWN = (0.3, 0.9)  # MeanFlow's omega and kappa: omega / (1 - kappa) = 3
CALLS = (1, 2, 4)
LEVELS = tuple(solvers.student_times(paths.edm, max(CALLS))[:-1])  # where the samplers of 1, 2 and 4 calls stand


def straight(walk: solvers.ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """`solvers.jump` under another name: the sampling loop adds fresh noise after `jump` itself only."""
    return solvers.student_step(walk, x, t, s)


SAMPLERS = {"again": solvers.student_step, "straight": straight, "euler": solvers.euler}


@dataclass(frozen=True)
class Stage:
    """One training: `member` of the family (or "progressive-N") for a share of the method's seconds.

    `pairs`: on stored trajectories, whose making is part of the seconds. `calls`: which samples are this stage's student's.
    """

    member: str
    lr: float
    target_ema: float | None = None
    share: float = 1.0
    pairs: bool = False
    top_weight: float = 0.0
    calls: tuple[int, ...] = CALLS


@dataclass(frozen=True)
class Setting:
    """One row of the table. `graph`: whether steps can be recorded; `tangents`: needs a forward derivative, which runs eagerly."""

    group: str
    guidance: str
    sampler: str
    stages: tuple[Stage, ...]
    target_time: bool = False
    log_variance: bool = False
    lora: bool = False
    graph: bool = True
    compile: bool = True
    tangents: bool = False
    note: str = ""


def one(member: str, lr: float, target_ema: float | None = None, **more) -> tuple[Stage, ...]:
    return (Stage(member, lr, target_ema, **more),)


PROGRESSIVE = tuple(Stage(f"progressive-{n}", 2e-4, share=0.25, calls=(n,) if n in CALLS else ()) for n in (8, 4, 2, 1))
ZIPVOICE = (Stage("zipvoice", 2e-4, share=0.5, calls=()), Stage("zipvoice-self", 2e-4, 0.95, share=0.5))
THREE = (  # recipes/text_to_audio/student.py
    Stage("guidance-distillation", 2e-4, share=1 / 6, calls=()),
    Stage("regression", 3e-4, share=2 / 6, pairs=True, calls=()),
    Stage("consistencytta", 1e-4, 0.95, share=3 / 6, top_weight=2.0),
)
S, V, T = {"target_time": True}, {"log_variance": True}, {"tangents": True}

#   name: group, guidance, sampler, stages(member, learning rate, target EMA), what else it needs
SETTINGS: dict[str, Setting] = {
    "guidance-distillation": Setting("follow", "told", "euler", one("guidance-distillation", 2e-4)),
    "regression": Setting("follow", "pairs", "again", one("regression", 3e-4, pairs=True), note="one call alone is trained"),
    "reflow": Setting("follow", "pairs", "euler", one("reflow", 2e-4, pairs=True), note="stored pairs"),
    "rectified-flow": Setting("follow", "none", "euler", one("rectified-flow", 2e-4)),
    "cd": Setting("agree: teacher", "told", "again", one("cd", 2e-4, 0.95)),
    "lcm": Setting("agree: teacher", "told", "again", one("lcm", 2e-4, 0.95)),
    "lcm-lora": Setting("agree: teacher", "fixed", "again", one("lcm-lora", 5e-4, 0.95), lora=True, compile=False),
    "consistencytta": Setting("agree: teacher", "told", "again", one("consistencytta", 2e-4, 0.95)),
    "consistencytta-fixed": Setting("agree: teacher", "fixed", "again", one("consistencytta", 2e-4, 0.95)),
    "consistencytta-outside": Setting("agree: teacher", "outside", "again", one("consistencytta", 2e-4, 0.95)),
    "comospeech": Setting("agree: teacher", "told", "again", one("comospeech", 2e-4, 0.95), note="no prior here: Euler CD"),
    "audiolcm": Setting("agree: teacher", "told", "again", one("audiolcm", 2e-4, 0.95)),
    "tta_student": Setting("agree: teacher", "told", "again", THREE, note="the shipped student's three stages"),
    "ct": Setting("agree: data", "none", "again", one("ct", 2e-4, 0.95)),
    "ict": Setting("agree: data", "none", "again", one("ict", 2e-4), graph=False, note="its times wait for the device"),
    "ect": Setting("agree: data", "none", "again", one("ect", 2e-4)),
    "ctm": Setting("any to any", "told", "straight", one("ctm", 2e-4, 0.95), **S),
    "soundctm": Setting("any to any", "told", "straight", one("soundctm", 2e-4, 0.95), **S),
    "tcd": Setting("any to any", "told", "straight", one("tcd", 2e-4, 0.95), **S),
    "progressive": Setting("arrive", "told", "straight", PROGRESSIVE, note="8, 4, 2, 1 steps; N calls: stage N's student"),
    "shortcut": Setting("arrive", "none", "straight", one("shortcut", 2e-4, 0.95), **S),
    "zipvoice": Setting("arrive", "told", "straight", ZIPVOICE, **S, note="two stages"),
    "continuous-cd": Setting("stand still", "told", "again", one("continuous-cd", 5e-5), **T),
    "continuous-ct": Setting("stand still", "none", "again", one("continuous-ct", 5e-5), **T),
    "scd": Setting("stand still", "told", "again", one("scd", 1e-4), **V, **T),
    "sct": Setting("stand still", "none", "again", one("sct", 1e-4), **V, **T),
    "meanflow": Setting("stand still", "own", "straight", one("meanflow", 1e-4), **S, **T),
    "add": Setting("rescore", "fixed", "again", one("add", 1e-4)),
    "dmd2": Setting("rescore", "fixed", "again", one("dmd2", 1e-4)),
}  # fmt: skip
NOT_RUN = {
    "diffusion": "is how the teacher itself was trained: see the rows `teacher`",
    "zipvoice-self": "is the second stage of `zipvoice`: see that row",
}


def told_w(method: Method | Mix) -> bool:
    """Whether it draws a w for each row."""
    parts = [part for _, part in method.parts] if isinstance(method, Mix) else [method]
    return any(getattr(part, "guidance", None) is not None for part in parts)


def telling_w(method: Method | Mix) -> Method | Mix:
    """The same, with w ~ U[0, 6] for each row."""
    if isinstance(method, Mix):
        return replace(method, parts=tuple((share, telling_w(part)) for share, part in method.parts))
    return replace(method, guidance=uniform_guidance(*GUIDANCE))


def member(stage: Stage, guidance: str, guide: nn.Module, student: nn.Module, copied: Copied) -> Method | Mix:
    """The stage's method: the family's entry, with the guidance that the settings ask for.

    `student`: what the stage starts from, the teacher of a later stage of progressive distillation. `copied` makes its frozen
    copy, and second nets.
    """
    name, _, steps = stage.member.partition("progressive-")
    if steps:
        first = stage is PROGRESSIVE[0]
        teacher = guided_net(guide) if first else copied(student)
        return telling_w(methods.progressive(teacher, int(steps)))
    if name == "consistencytta":
        return consistencytta(guide, guidance, stage.top_weight)
    if guidance == "fixed":
        return fixed(name, guide, copied)
    method = methods.family(guide, GUIDANCE)[name]
    if guidance == "told" and not stage.pairs and not told_w(method):
        method = telling_w(methods.family(guided_net(guide), GUIDANCE)[name])
    if guidance == "own":
        method = replace(method, field=self_guided_field(*OWN))
    return eager_goal(method) if SETTINGS.get(name) and SETTINGS[name].tangents else method


def consistencytta(guide: nn.Module, guidance: str, top_weight: float) -> Method:
    """ConsistencyTTA's three variants: w told, w baked in, and guidance from outside."""
    if guidance == "told":
        return methods.consistencytta(guide, GUIDANCE, top_weight=top_weight)
    field = (lambda net: guided_net(net, SCALE)) if guidance == "fixed" else (lambda net: net)
    return methods.consistencytta(guide, guide=field, top_weight=top_weight, guidance=None)


def fixed(name: str, guide: nn.Module, copied: Copied) -> Method | Mix:
    """Methods with one w baked in; their second nets are copies of the teacher."""
    if name == "lcm-lora":
        return methods.lcm_lora(guide, SCALE)
    second = copied(guide)
    if name == "add":
        return methods.add(guide, second, LEVELS, share=0.1, w=SCALE)
    return methods.dmd2(guide, second, LEVELS, w=SCALE)


def eager_goal(method: Method) -> Method:
    """Its goal without compiled code, through which no forward derivative goes."""

    def goal(*arguments) -> Tensor:
        with torch.compiler.set_stance("force_eager"):
            return method.goal(*arguments)

    return replace(method, goal=goal)
