"""Another student: consistency distillation with Euler steps on 50 nodes around the prior.

    audiocm train recipes/text_to_speech/comospeech.py --output runs/tts_comospeech

CoMoSpeech (Ye et al. 2023). The defaults made the row of the tables: 4.7 minutes on one H200; in one call word errors
of 8.0 %, DNSMOS 3.20, speaker similarity 0.91 (samples/tts_comospeech_scores.json). No bundled model is made by it.
"""

from pathlib import Path

from audiocm.diffusion.guidance import guided_net
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
    intervals: int = 50,
    w: tuple[float, float] = GUIDANCE,
    minutes: float = 4.7,
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
    net = LatentTransformer.from_pretrained(start) if start else frozen.net.student(w)
    method = methods.comospeech(guided_net(frozen.net), intervals, **frozen.method_options(w))
    data = {"corpora": corpora, "vae": vae, "scale": scale, "editing": editing, "jobs": jobs, "cache": cache}
    settings = {"seed": seed, "minutes": minutes, "compile": compile, "steps": steps, "lr": lr, "target_ema": 0.95}
    return student_run("comospeech", net, method, frozen, w, **data, **settings)
