"""Stage 1 of the student: one jump equals two Euler steps of the guided teacher.

    audiocm train recipes/text_to_speech/zipvoice.py --output runs/tts_zipvoice

ZipVoice-Distill (Zhu et al. 2025), on the rectified path. The defaults made the start of the bundled `tts`'s stage 2 on
one H200, 7,744 steps. `--w 1,1` distils without guidance.
"""

from pathlib import Path

from audiocm.distillation import methods
from audiocm.models.transformer import LatentTransformer
from audiocm.training.run import Run
from recipes.text_to_audio.data import CACHE
from recipes.text_to_speech.data import CORPORA, EDITING, VAE
from recipes.text_to_speech.student import GUIDANCE, TEACHER, load_teacher, student_run


def run(
    start: str = "",
    teacher: str = TEACHER,
    corpora: list[Path] = CORPORA,
    vae: str = VAE,
    w: tuple[float, float] = GUIDANCE,
    minutes: float = 7.0,
    steps: int = 100_000,
    scale: float = 1.0,
    editing: float = EDITING,
    lr: float = 1e-4,
    compile: bool = True,
    jobs: int = 1,
    cache: Path = CACHE,
    seed: int = 0,
) -> Run:
    """Returns the training: `minutes` in all calls together, at most `steps`. Without `start`: from the teacher."""
    frozen = load_teacher(teacher)
    net = LatentTransformer.from_pretrained(start) if start else frozen.net.student(w, target_time=True)
    method = methods.zipvoice(frozen.net, **frozen.method_options(w))
    data = {"corpora": corpora, "vae": vae, "scale": scale, "editing": editing, "jobs": jobs, "cache": cache}
    settings = {"seed": seed, "minutes": minutes, "compile": compile, "steps": steps, "lr": lr}
    return student_run("zipvoice", net, method, frozen, w, **data, **settings)
