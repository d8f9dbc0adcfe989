"""Stage 2 of the student: one call equals the end of a stored trajectory of the guided teacher.

    audiocm train recipes/text_to_audio/regression.py

Stores 14,000 trajectories (Heun, 10 steps, w from 0 to 6), then regresses on them (Luhman & Luhman 2021). The defaults
are those of the bundled `tta`: 1.3 minutes of training on one H100, about 1,580 steps, besides the storing. In the
table of methods, 20 seconds of this alone gave the smallest Fréchet distance of one call (samples/methods_table.json).
"""

from pathlib import Path

from audiocm.distillation import methods
from audiocm.models.transformer import LatentTransformer
from audiocm.training.run import Run
from recipes.text_to_audio.data import CODEC, CORPORA, Trajectories, load_batches
from recipes.text_to_audio.student import GUIDANCE, TEACHER, load_teacher, student_run


def run(
    start: str = "runs/tta_guidance/model",
    teacher: str = TEACHER,
    corpora: list[Path] = CORPORA,
    vae: str = f"{CODEC}/vae",
    pairs: int = 14_000,
    w: tuple[float, float] = GUIDANCE,
    minutes: float = 1.3,
    steps: int = 100_000,
    scale: float = 1.0,
    lr: float = 3e-4,
    compile: bool = True,
    seed: int = 0,
) -> Run:
    """Returns the training, after `pairs` trajectories are stored: `minutes` in all calls together, at most `steps`."""
    guide = load_teacher(teacher, compile)
    net = LatentTransformer.from_pretrained(start)
    source = load_batches(corpora, vae, seed, scale=scale)
    stored = Trajectories(guide, source, pairs, w=w, seed=seed)
    return student_run("regression", net, methods.regression(), stored, minutes, compile, steps=steps, lr=lr, seed=seed)
