"""Stage 1 of the student: one network with the guidance weight w as an input equals the guided teacher's two calls.

    audiocm train recipes/text_to_audio/guidance.py

Guidance distillation (Meng et al. 2022; ConsistencyTTA's first stage), from the teacher's weights. The defaults are
those of the bundled `tta`: 1.3 minutes on one H100, about 250 steps, as compiling took most of the time; its corpora were
those without the synthesised sounds. regression.py goes on from the result, which was not scored by itself.
"""

from pathlib import Path

from audiocm.distillation import methods
from audiocm.training.run import Run
from recipes.text_to_audio.data import CODEC, CORPORA, load_batches
from recipes.text_to_audio.student import GUIDANCE, TEACHER, load_teacher, student_run


def run(
    teacher: str = TEACHER,
    corpora: list[Path] = CORPORA,
    vae: str = f"{CODEC}/vae",
    w: tuple[float, float] = GUIDANCE,
    minutes: float = 1.3,
    steps: int = 100_000,
    scale: float = 1.0,
    lr: float = 2e-4,
    compile: bool = True,
    seed: int = 0,
) -> Run:
    """Returns the training: `minutes` in all calls together, at most `steps`; w is drawn from a range for each row."""
    guide = load_teacher(teacher, compile)
    net = guide.student(GUIDANCE)
    source = load_batches(corpora, vae, seed, scale=scale)
    method = methods.guidance_distillation(guide, w)
    return student_run("guidance", net, method, source, minutes, compile, steps=steps, lr=lr, seed=seed)
