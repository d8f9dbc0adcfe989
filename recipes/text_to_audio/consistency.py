"""A stage after regression for students of several calls: ConsistencyTTA's distillation with w as an input.

    audiocm train recipes/text_to_audio/consistency.py

Not part of the bundled `tta`. In the table of methods, 20 seconds of guidance, regression and consistency distillation
in turn have the Fréchet distance (aiSFX) of regression alone at one call, 76.5 after 74.1, and 59.7 after 84.7 at four
calls (samples/methods_table.json, row tta_student).
"""

from pathlib import Path

from audiocm.distillation import methods
from audiocm.models.transformer import LatentTransformer
from audiocm.training.run import Run
from recipes.text_to_audio.data import CODEC, CORPORA, load_batches
from recipes.text_to_audio.student import GUIDANCE, TEACHER, load_teacher, student_run


def run(
    start: str = "runs/tta_regression/model",
    teacher: str = TEACHER,
    corpora: list[Path] = CORPORA,
    vae: str = f"{CODEC}/vae",
    intervals: int = 18,
    w: tuple[float, float] = GUIDANCE,
    minutes: float = 3.0,
    steps: int = 100_000,
    scale: float = 1.0,
    lr: float = 1e-4,
    compile: bool = True,
    seed: int = 0,
) -> Run:
    """Returns the training on a grid of `intervals`: `minutes` in all calls together, at most `steps`."""
    guide = load_teacher(teacher, compile)
    net = LatentTransformer.from_pretrained(start)
    source = load_batches(corpora, vae, seed, scale=scale)
    method = methods.consistencytta(guide, w, intervals=intervals, t_max_weight=2.0)
    settings = {"steps": steps, "lr": lr, "target_ema": 0.95, "seed": seed}
    return student_run("consistency", net, method, source, minutes, compile, **settings)
