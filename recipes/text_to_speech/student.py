"""The one-step text-to-speech student, two ways; only the denoiser is trained, the teacher's encoder stays as it is.

    audiocm train recipes/text_to_speech/student.py --method comospeech    --output runs/tts_comospeech --minutes 5
    audiocm train recipes/text_to_speech/student.py --method zipvoice      --output runs/tts_zipvoice   --minutes 5
    audiocm train recipes/text_to_speech/student.py --method zipvoice_self --output runs/tts_self --minutes 3 --start runs/tts_zipvoice/model

comospeech: consistency distillation with Euler on 50 nodes (Ye et al. 2023). zipvoice: one jump equals two Euler steps of the
guided teacher on the rectified path (Zhu et al. 2025), zipvoice_self: the same with the student's EMA copy, from where
zipvoice ended. w is told to the student; `--w_low 1 --w_high 1` distils without guidance. Noise is centred as the teacher's was.
Copy model/ to audiocm/pretrained/tts; the speech-encoder beside it is the teacher's.
"""

import json
from pathlib import Path

from audiocm.diffusion.guidance import guided_net, uniform_guidance
from audiocm.distillation import methods
from audiocm.distillation.states import independent_noise, prior_centred_noise
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines.loading import SPEECH, save_bundle
from audiocm.speech.encoder import SpeechEncoder
from audiocm.speech.losses import ConditionedBatches
from audiocm.training.compile import compile_blocks
from audiocm.training.run import Run, best_device
from recipes.text_to_speech.data import CODEC, CORPORA, batches, encoder_of, timing

METHODS = ("comospeech", "zipvoice", "zipvoice_self")


def exporter(noise_mean: float, w: float, w_range: tuple[float, float], encoder: SpeechEncoder):
    """Writes the bundled folder tts and, beside it, the teacher's speech-encoder."""

    def export(net: LatentTransformer, folder: Path) -> None:
        settings = {
            "num_inference_steps": 1,
            "guidance_scale": w,
            "guidance_range": [*w_range],
            "noise_mean": noise_mean,
        }
        save_bundle(folder, net, SPEECH, **settings)
        encoder.save_pretrained(Path(folder).parent / "speech-encoder", variant="int8")

    return export


def run(
    method: str = "comospeech",
    start: str = "",
    teacher: str = "runs/tts_teacher/model",
    corpora: str = CORPORA,
    vae: str = CODEC + "/vae",
    minutes: float = 5.0,
    steps: int = 100_000,
    scale: float = 1.0,
    intervals: int = 50,
    w_low: float = 1.0,
    w_high: float = 3.0,
    w: float = 1.0,
    lr: float = 1e-4,
    compile: bool = True,
    jobs: int = 1,
    cache: str = "data/latents",
    seed: int = 0,
) -> Run:
    """`start`: the student folder to go on from; empty: the teacher's weights. `w`: what the exported student defaults to."""
    if method not in METHODS:
        raise ValueError(f"method {method!r}: must be one of {', '.join(METHODS)}")
    device, told = best_device(), (w_low, w_high)
    noise_mean = float(json.loads((Path(teacher) / "bundle.json").read_text())["noise_mean"])
    encoder = encoder_of(teacher, device)
    guide = LatentTransformer.from_pretrained(teacher).to(device).requires_grad_(False)
    net = LatentTransformer.from_pretrained(start) if start else guide.student(told, method != "comospeech")
    if compile and device.type == "cuda":
        compile_blocks(guide)
    source = batches(corpora, tuple(encoder.config.voices), vae, device, seed, scale=scale, cache=cache, n_jobs=jobs)
    shared = {"coupling": prior_centred_noise if noise_mean else independent_noise, "guidance": uniform_guidance(*told)}
    recipes = {
        "comospeech": lambda: (methods.comospeech(guided_net(guide), intervals, **shared), 0.95),
        "zipvoice": lambda: (methods.zipvoice(guide, **shared), None),
        "zipvoice_self": lambda: (methods.zipvoice_self(**shared), 0.999),
    }
    loss, target = recipes[method]()
    return Run(
        f"tts_{method}",
        net,
        loss,
        ConditionedBatches(source, encoder, timing(source, home=vae)),
        steps=steps,
        lr=lr,
        warmup=200,
        ema=0.999,
        target_ema=target,
        precision="bf16" if device.type == "cuda" else "no",
        seed=seed,
        budget=60 * minutes,
        save_every=5000,
        log_every=100,
        cuda_graph=True,
        compile=compile and device.type == "cuda",
        export=exporter(noise_mean, w, told, encoder),
        shard_mb=15.0,
    )
