"""How each method is trained for the table of methods (recipes/methods/table.py); a library of that program.

Every student starts from the teacher's weights and takes w as an input, which is zero until a method trains it, so that
all are sampled alike, with w = 3. A setting's `guidance` is how w enters the training:

    input    the field is the guided teacher; each row draws w ~ U[0, 6], an input of the student
    pairs    the same, with the w of the row's stored trajectory
    fixed    the field is the teacher guided with w = 3
    outside  the field is the teacher without guidance; the student is guided when sampled (two rows a call)
    own      MeanFlow's guidance, from the student's own two branches
    none     the method trains on data alone, without guidance

Its `sampler` makes several calls by jumps to time 0 with fresh noise in between (`renoise`), by jumps from time to time
without fresh noise (`jump`), or by Euler steps of the ODE (`euler`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from audiocm.diffusion import paths, solvers
from audiocm.diffusion.guidance import guided_net, uniform_guidance
from audiocm.distillation import methods
from audiocm.distillation.method import Method, Mix
from audiocm.distillation.states import self_guided_field
from recipes.text_to_audio.student import GUIDANCE

Copy = Callable[[nn.Module], nn.Module]
SCALE = 3.0  # w of every sample, and of methods with a fixed w
OWN = (0.3, 0.9)  # MeanFlow's omega and kappa: omega / (1 - kappa) = 3
CALLS = (1, 2, 4)
LEVELS = tuple(solvers.student_times(paths.edm, max(CALLS))[:-1])  # noise levels of the samplers of 1, 2 and 4 calls
SAMPLERS = {  # solver, and share of fresh noise after each step
    "renoise": (solvers.student_step, 1.0),
    "jump": (solvers.student_step, 0.0),
    "euler": (solvers.euler, 0.0),
}


@dataclass(frozen=True)
class Stage:
    """One training: a method's name (or "progressive-STEPS"), and the share of the seconds of its row that it takes.

    `pairs`: train on stored trajectories, made in the same seconds. `calls`: the numbers of calls at which this stage's
    student is sampled."""

    method: str
    lr: float
    target_ema: float | None = None
    share: float = 1.0
    pairs: bool = False
    t_max_weight: float = 0.0
    calls: tuple[int, ...] = CALLS


@dataclass(frozen=True)
class Setting:
    """One method of the table. `graph`: whether steps can be recorded as a CUDA graph."""

    group: str
    guidance: str
    sampler: str
    stages: tuple[Stage, ...]
    target_time: bool = False
    log_variance: bool = False
    lora: bool = False
    graph: bool = True
    compile: bool = True
    note: str = ""


def one(method: str, lr: float, target_ema: float | None = None, **more) -> tuple[Stage, ...]:
    """Returns the stages of a method that has a single one."""
    return (Stage(method, lr, target_ema, **more),)


PROGRESSIVE = tuple(Stage(f"progressive-{n}", 2e-4, share=0.25, calls=(n,) if n in CALLS else ()) for n in (8, 4, 2, 1))
ZIPVOICE = (Stage("zipvoice", 2e-4, share=0.5, calls=()), Stage("zipvoice-self", 2e-4, 0.95, share=0.5))
THREE = (  # guidance.py, regression.py and consistency.py of recipes/text_to_audio
    Stage("guidance-distillation", 2e-4, share=1 / 6, calls=()),
    Stage("regression", 3e-4, share=2 / 6, pairs=True, calls=()),
    Stage("consistencytta", 1e-4, 0.95, share=3 / 6, t_max_weight=2.0),
)
S, V = {"target_time": True}, {"log_variance": True}

#   name: group, guidance, sampler, stages(method, learning rate, target EMA), what else it needs
SETTINGS: dict[str, Setting] = {
    "guidance-distillation": Setting("regression", "input", "euler", one("guidance-distillation", 2e-4)),
    "regression": Setting("regression", "pairs", "renoise", one("regression", 3e-4, pairs=True), note="for one call"),
    "reflow": Setting("regression", "pairs", "euler", one("reflow", 2e-4, pairs=True), note="stored pairs"),
    "rectified-flow": Setting("regression", "none", "euler", one("rectified-flow", 2e-4)),
    "cd": Setting("consistency", "input", "renoise", one("cd", 2e-4, 0.95)),
    "lcm": Setting("consistency", "input", "renoise", one("lcm", 2e-4, 0.95)),
    "lcm-lora": Setting("consistency", "fixed", "renoise", one("lcm-lora", 5e-4, 0.95), lora=True, compile=False),
    "consistencytta": Setting("consistency", "input", "renoise", one("consistencytta", 2e-4, 0.95)),
    "consistencytta-fixed": Setting("consistency", "fixed", "renoise", one("consistencytta", 2e-4, 0.95)),
    "consistencytta-outside": Setting("consistency", "outside", "renoise", one("consistencytta", 2e-4, 0.95)),
    "comospeech": Setting("consistency", "input", "renoise", one("comospeech", 2e-4, 0.95), note="no prior: Euler CD"),
    "audiolcm": Setting("consistency", "input", "renoise", one("audiolcm", 2e-4, 0.95)),
    "tta_student": Setting("consistency", "input", "renoise", THREE, note="guidance, regression, consistency"),
    "ct": Setting("consistency of data", "none", "renoise", one("ct", 2e-4, 0.95)),
    "ict": Setting(
        "consistency of data", "none", "renoise", one("ict", 2e-4), graph=False
    ),  # its times wait for the device
    "ect": Setting("consistency of data", "none", "renoise", one("ect", 2e-4)),
    "ctm": Setting("any to any time", "input", "jump", one("ctm", 2e-4, 0.95), **S),
    "soundctm": Setting("any to any time", "input", "jump", one("soundctm", 2e-4, 0.95), **S),
    "tcd": Setting("any to any time", "input", "jump", one("tcd", 2e-4, 0.95), **S),
    "progressive": Setting("trajectory", "input", "jump", PROGRESSIVE, note="N calls: the student of stage N"),
    "shortcut": Setting("trajectory", "none", "jump", one("shortcut", 2e-4, 0.95), **S),
    "zipvoice": Setting("trajectory", "input", "jump", ZIPVOICE, **S, note="two stages"),
    "continuous-cd": Setting("continuous time", "input", "renoise", one("continuous-cd", 5e-5)),
    "continuous-ct": Setting("continuous time", "none", "renoise", one("continuous-ct", 5e-5)),
    "scd": Setting("continuous time", "input", "renoise", one("scd", 1e-4), **V),
    "sct": Setting("continuous time", "none", "renoise", one("sct", 1e-4), **V),
    "meanflow": Setting("continuous time", "own", "jump", one("meanflow", 1e-4), **S),
    "add": Setting("score distillation", "fixed", "renoise", one("add", 1e-4)),
    "dmd2": Setting("score distillation", "fixed", "renoise", one("dmd2", 1e-4)),
}
NOT_RUN = {
    "diffusion": "the training of the teacher: see the rows `teacher`",
    "zipvoice-self": "the second stage of `zipvoice`: see that row",
}


def draws_guidance(method: Method | Mix) -> bool:
    """Returns whether a method draws a w for each row."""
    parts = [part for _, part in method.parts] if isinstance(method, Mix) else [method]
    return any(getattr(part, "guidance", None) is not None for part in parts)


def with_random_guidance(method: Method | Mix) -> Method | Mix:
    """Returns the method with w ~ U[0, 6] for each row."""
    if isinstance(method, Mix):
        return replace(method, parts=tuple((share, with_random_guidance(part)) for share, part in method.parts))
    return replace(method, guidance=uniform_guidance(*GUIDANCE))


def build_method(stage: Stage, guidance: str, teacher: nn.Module, student: nn.Module, copy: Copy) -> Method | Mix:
    """Returns the method of a stage. `copy` makes second networks and, from `student`, progressive teachers."""
    name, _, steps = stage.method.partition("progressive-")
    if steps:
        source = guided_net(teacher) if stage is PROGRESSIVE[0] else copy(student)
        return with_random_guidance(methods.progressive(source, int(steps)))
    if name == "consistencytta":
        changes = {"t_max_weight": stage.t_max_weight}
        if guidance != "input":
            changes |= {"guide": (lambda net: guided_net(net, SCALE if guidance == "fixed" else 1)), "guidance": None}
        return methods.consistencytta(teacher, GUIDANCE, **changes)
    if guidance == "fixed":
        return build_fixed(name, teacher, copy)
    method = methods.get_method(name, teacher, w=GUIDANCE)
    if guidance == "input" and not stage.pairs and not draws_guidance(method):
        method = with_random_guidance(methods.get_method(name, guided_net(teacher), w=GUIDANCE))
    return replace(method, field=self_guided_field(*OWN)) if guidance == "own" else method


def build_fixed(name: str, teacher: nn.Module, copy: Copy) -> Method | Mix:
    """Returns a method with the fixed w = 3; its second network is a copy of the teacher."""
    if name == "lcm-lora":
        return methods.lcm_lora(teacher, SCALE)
    if name == "add":
        return methods.add(teacher, copy(teacher), LEVELS, distillation_weight=0.1, w=SCALE)
    return methods.dmd2(teacher, copy(teacher), LEVELS, w=SCALE)
