"""Stage 3 of the student: DMD2 with w as an input, and a discriminator of the student's samples against real latents.

    audiocm train recipes/text_to_audio/adversarial_matching.py

Distribution matching (Yin et al. 2024): the guided teacher's score of what the student makes against that of a network
trained on such samples. The discriminator starts as the teacher and works at several noise levels (LADD, Sauer et al.
2024). The defaults made the bundled `tta`: 8 minutes on one H100, 2,480 steps, compiling included
(samples/tta_student_training.json). Seven rows in ten are at the highest noise level, for one call; the others at levels
where samplers of two to four calls stop. More minutes were not better (CAUSES.md).
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
    lower: tuple[float, float] = (0.25, 0.75),
    w: tuple[float, float] = GUIDANCE,
    first_share: float = 0.7,
    adversarial_weight: float = 0.2,
    minutes: float = 8.0,
    steps: int = 100_000,
    scale: float = 0.5,
    lr: float = 5e-5,
    critic_lr: float = 1e-4,
    warmup: int = 200,
    compile: bool = True,
    seed: int = 0,
) -> Run:
    """Returns the training: `minutes` in all calls together, at most `steps`.

    `lower` and `first_share`: noise levels of several calls, see `states.one_call_simulation`.

    `warmup` is the number of steps until the student learns at its full rate; its critics start untrained."""
    guide = load_teacher(teacher, compile)
    net = LatentTransformer.from_pretrained(start)
    source = load_batches(corpora, vae, seed, scale=scale)
    fake_score = prepare(guide.student(GUIDANCE), compile)
    discriminator = prepare(LatentTransformer.from_pretrained(teacher), compile)
    adversary = {"discriminator": discriminator, "adversarial_weight": adversarial_weight}
    method = methods.dmd2(guide, fake_score, w=w, lower=lower, first_share=first_share, **adversary)
    settings = {"steps": steps, "lr": lr, "critic": method.critic, "critic_lr": critic_lr, "seed": seed}
    return student_run("adversarial_matching", net, method, source, minutes, compile, warmup=warmup, **settings)
