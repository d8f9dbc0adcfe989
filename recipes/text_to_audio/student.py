"""The one-step text-to-audio student, distilled from the teacher with its guidance. Stages, each a run:

    audiocm train recipes/text_to_audio/student.py --stage guidance   --output runs/tta_guidance   --minutes 1
    audiocm train recipes/text_to_audio/student.py --stage regression --output runs/tta_regression --minutes 2 --start runs/tta_guidance/model
    audiocm train recipes/text_to_audio/student.py --stage consistency --output runs/tta_student   --minutes 3 --start runs/tta_regression/model
    audiocm train recipes/text_to_audio/student.py --stage adversarial --output runs/tta_sharp     --minutes 2 --start runs/tta_student/model
    audiocm train recipes/text_to_audio/student.py --stage matching    --output runs/tta_matched   --minutes 5 --start runs/tta_regression/model

guidance: the student, told w, equals the guided teacher (ConsistencyTTA stage 1). regression: one call equals the end of stored teacher
trajectories. consistency: ConsistencyTTA stage 2. adversarial: the same, and a discriminator that starts as the teacher compares what one
call makes with real latents at several noise levels (LADD, Sauer et al. 2024). matching: DMD2, told w; the teacher's score of what one
call makes against that of a net trained on what one call makes, and the same discriminator (`--share 0`: without).
`--w_low 3 --w_high 3` distils a fixed w, `--w_low 1 --w_high 1` none.
"""

from collections.abc import Iterator
from pathlib import Path

from audiocm.diffusion.guidance import uniform_guidance
from audiocm.distillation import methods, timesteps
from audiocm.distillation.adversarial import AdversarialLoss, Discriminator, StudentSamples
from audiocm.distillation.method import Method, Mix
from audiocm.distillation.states import pure_noise_at_t_max
from audiocm.distillation.targets import regression_target
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines.loading import save_bundle
from audiocm.training.compile import compile_blocks
from audiocm.training.run import Run, best_device
from recipes.text_to_audio.data import CODEC, CORPORA, Trajectories, batches

STAGES = ("guidance", "regression", "consistency", "adversarial", "matching")
GUIDANCE = (0.0, 6.0)


def export(net: LatentTransformer, folder: Path) -> None:
    """As the bundled folder tta."""
    save_bundle(
        folder, net, num_inference_steps=1, guidance_scale=3.0, guidance_range=[*GUIDANCE], seconds_range=[0.5, 10.0]
    )


def sharpened(method: Method, discriminator: LatentTransformer, w: tuple[float, float], share: float) -> Mix:
    """`method` with an adversary that judges the student's single calls from noise."""
    calls = StudentSamples(
        Method(timesteps.always_t_max, regression_target, noising=pure_noise_at_t_max, guidance=uniform_guidance(*w))
    )
    judge = Discriminator(discriminator, calls, timesteps.lognormal(0.0, 1.2))
    return Mix(((1.0, method), (share, AdversarialLoss(judge, calls))), critic=judge)


def run(
    stage: str = "consistency",
    start: str = "",
    teacher: str = "audiocm/pretrained/tta-teacher",
    corpora: str = CORPORA,
    vae: str = CODEC + "/vae",
    minutes: float = 3.0,
    steps: int = 100_000,
    scale: float = 1.0,
    pairs: int = 60_000,
    intervals: int = 18,
    w_low: float = 0.0,
    w_high: float = 6.0,
    lr: float = 0.0,
    critic_lr: float = 1e-4,
    share: float = 0.2,
    levels: str = "80",
    top: float = 0.6,
    warmup: int = 200,
    snapshots: int = 1_000_000,
    compile: bool = True,
    seed: int = 0,
) -> Run:
    """`start`: the student folder to go on from; empty: the teacher's weights. `share`: the adversary's weight. `levels`: where
    matching trains the student, from 80 down (several: for as many calls), a share `top` of the rows at the first.
    `warmup`: steps until the student learns at its full rate; where it goes on from an earlier matching, critics need some hundred.
    `snapshots`: steps between exported states, RUN/samples/step-*: what `recipes.average_weights` mixes."""
    if stage not in STAGES:
        raise ValueError(f"stage {stage!r}: must be one of {', '.join(STAGES)}")
    device, w = best_device(), (w_low, w_high)
    compile = compile and device.type == "cuda"

    def ready(other: LatentTransformer) -> LatentTransformer:
        other = other.to(device)
        if compile:
            compile_blocks(other)
        return other

    guide = ready(LatentTransformer.from_pretrained(teacher).requires_grad_(False))
    net = LatentTransformer.from_pretrained(start) if start else guide.student(GUIDANCE)
    source: Iterator = batches(corpora, vae, device, seed, scale=scale)
    method: Method | Mix
    if stage == "guidance":
        method, rate, target = methods.guidance_distillation(guide, w), 2e-4, None
    elif stage == "regression":
        source = Trajectories(guide, source, pairs, w=w, seed=seed)
        method, rate, target = methods.regression(), 3e-4, None
    elif stage == "matching":
        fake = ready(guide.student(GUIDANCE))
        trunk = ready(LatentTransformer.from_pretrained(teacher)) if share else None
        heights = tuple(map(float, levels.split(",")))
        method = methods.dmd2(guide, fake, heights, w, trunk=trunk, share=share, top=top)
        rate, target = 5e-5, None
    else:
        method, rate, target = methods.consistencytta(guide, w, intervals=intervals, top_weight=2.0), 1e-4, 0.95
    if stage == "adversarial":
        discriminator = ready(LatentTransformer.from_pretrained(teacher))
        method, rate = sharpened(method, discriminator, w, share), 5e-5
    return Run(
        f"tta_{stage}",
        net,
        method,
        source,
        steps=steps,
        lr=lr or rate,
        warmup=warmup,
        ema=0.999,
        target_ema=target,
        critic=getattr(method, "critic", None),
        critic_lr=critic_lr,
        precision="bf16" if device.type == "cuda" else "no",
        seed=seed,
        budget=60 * minutes,
        save_every=5000,
        sample=export,
        sample_every=snapshots,
        log_every=100,
        cuda_graph=True,
        compile=compile,
        export=export,
        shard_mb=15.0,
    )
