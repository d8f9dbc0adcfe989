"""The text-to-audio teacher: EDM diffusion of latents under words.

audiocm train recipes/text_to_audio/teacher.py --output runs/tta_teacher --minutes 10
"""

from pathlib import Path

from audiocm.distillation import methods
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines.loading import save_bundle
from audiocm.training.run import Run, best_device
from recipes.text_to_audio.data import CODEC, CORPORA, batches, held_out_error


def export(net: LatentTransformer, folder: Path) -> None:
    """As the bundled folder tta-teacher."""
    save_bundle(
        folder, net, num_inference_steps=18, guidance_scale=3.0, guidance_range=[0.0, 10.0], seconds_range=[0.5, 10.0]
    )


def run(
    corpora: str = CORPORA,
    vae: str = CODEC + "/vae",
    minutes: float = 10.0,
    steps: int = 200_000,
    scale: float = 1.0,
    width: int = 384,
    depth: int = 12,
    dropout: float = 0.0,
    compile: bool = True,
    lr: float = 6e-4,
    start: str = "",
    seed: int = 0,
) -> Run:
    """`minutes` of training in all calls together; stops early after `steps`. `start`: a teacher's folder to go on from."""
    device = best_device()
    source = batches(corpora, vae, device, seed, scale=scale)
    valid = batches(corpora, vae, device, seed + 1, "valid", scale=min(scale, 0.5))
    held = [next(valid) for _ in range(4)]
    shape = {"channels": source.silence.shape[0], "width": width, "depth": depth, "heads": width // 64}
    net = LatentTransformer.from_pretrained(start) if start else LatentTransformer(**shape, dropout=dropout)
    return Run(
        "tta_teacher",
        net,
        methods.diffusion(methods.latent_times),
        source,
        steps=steps,
        lr=lr,
        warmup=500,
        weight_decay=0.01,
        ema=0.9995,
        precision="bf16" if device.type == "cuda" else "no",
        seed=seed,
        budget=60 * minutes,
        save_every=5000,
        log_every=200,
        validate=lambda student: held_out_error(student, held),
        validate_every=3000,
        cuda_graph=True,
        compile=compile and device.type == "cuda",
        export=export,
        shard_mb=15.0,
    )
