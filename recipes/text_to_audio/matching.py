"""Stage 3 of the student: DMD2 with w as an input, by the scores of the student's samples under two networks.

    audiocm train recipes/text_to_audio/matching.py

Distribution matching (Yin et al. 2024) without a discriminator: the guided teacher's score of what one call makes
against that of a network trained on such samples. The defaults made an ingredient of the bundled `tta`: 9.5 minutes on
one H100, 5,281 steps. Half way between its start and its end, on 100 validation captions: Fréchet distance 20.1
(YAMNet) and 66.6 (aiSFX), hits 0.39 (samples/tta_average_valid.json).
"""

from pathlib import Path

from audiocm.distillation import methods
from audiocm.models.transformer import LatentTransformer
from audiocm.training.run import Run
from recipes.text_to_audio.data import CODEC, CORPORA, load_batches
from recipes.text_to_audio.student import GUIDANCE, TEACHER, load_teacher, prepare, student_run


def run(
    start: str = "runs/tta_regression/model",
    teacher: str = TEACHER,
    corpora: list[Path] = CORPORA,
    vae: str = f"{CODEC}/vae",
    levels: tuple[float, ...] = (80.0,),
    w: tuple[float, float] = GUIDANCE,
    minutes: float = 9.5,
    steps: int = 100_000,
    scale: float = 1.0,
    lr: float = 5e-5,
    critic_lr: float = 1e-4,
    compile: bool = True,
    seed: int = 0,
) -> Run:
    """Returns the training: `minutes` in all calls together, at most `steps`.

    `levels` are the noise levels at which the student is trained, from the highest down: one for each of its calls."""
    guide = load_teacher(teacher, compile)
    net = LatentTransformer.from_pretrained(start)
    source = load_batches(corpora, vae, seed, scale=scale)
    fake_score = prepare(guide.student(GUIDANCE), compile)
    method = methods.dmd2(guide, fake_score, levels, w, first_share=0.6)
    settings = {"steps": steps, "lr": lr, "critic": method.critic, "critic_lr": critic_lr, "seed": seed}
    return student_run("matching", net, method, source, minutes, compile, **settings)
