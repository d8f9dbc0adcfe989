"""Stage 2 of the student: one jump equals two half jumps of the student's own average.

    audiocm train recipes/text_to_speech/zipvoice_self.py --output runs/tts

ZipVoice-Distill (Zhu et al. 2025). The defaults made the bundled `tts` on one H200, 3,600 steps: in one call word errors of
7.7 %, DNSMOS 3.32 and speaker similarity 0.916 (samples/tts_scores.json). A discriminator (`--adversarial-weight 0.1`)
was no gain (samples/tts_choice.json).
"""

from pathlib import Path

from audiocm.distillation import methods
from audiocm.models.transformer import LatentTransformer
from audiocm.training.run import Run
from recipes.text_to_audio.data import CACHE
from recipes.text_to_audio.student import prepare
from recipes.text_to_speech.data import CORPORA, EDITING, VAE
from recipes.text_to_speech.student import GUIDANCE, TEACHER, load_teacher, student_run


def run(
    start: str = "runs/tts_zipvoice/model",
    teacher: str = TEACHER,
    corpora: list[Path] = CORPORA,
    vae: str = VAE,
    w: tuple[float, float] = GUIDANCE,
    minutes: float = 3.0,
    steps: int = 100_000,
    scale: float = 1.0,
    editing: float = EDITING,
    lr: float = 1e-4,
    compile: bool = True,
    jobs: int = 1,
    cache: Path = CACHE,
    seed: int = 0,
    adversarial_weight: float = 0.0,
    critic_lr: float = 1e-4,
) -> Run:
    """Returns the training: `minutes` in all calls together, at most `steps`. `start` is a student of stage 1.

    adversarial_weight: of a discriminator of one-call samples, which starts as the teacher; 0: none."""
    frozen = load_teacher(teacher)
    net = LatentTransformer.from_pretrained(start)
    method = methods.zipvoice_self(**frozen.method_options(w))
    data = {"corpora": corpora, "vae": vae, "scale": scale, "editing": editing, "jobs": jobs, "cache": cache}
    settings = {"seed": seed, "minutes": minutes, "compile": compile, "steps": steps, "lr": lr, "target_ema": 0.999}
    if adversarial_weight:
        discriminator = prepare(LatentTransformer.from_pretrained(teacher), compile)
        method = methods.with_discriminator(method, discriminator, adversarial_weight)
        settings |= {"critic": method.critic, "critic_lr": critic_lr}
    return student_run("zipvoice_self", net, method, frozen, w, **data, **settings)
