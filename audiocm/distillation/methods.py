"""The catalogue of methods: each paper as a composition, with its deviations. Long, since it holds all of them.

The functions have the papers' numbers as defaults; `METHODS` has settings for unit-variance data and short runs by
name. Keyword arguments `changes` replace fields of the `Method`. Deviations common to all: networks have their boundary
at time 0 (ECT's choice; the CM paper's is t_min), distances are of latents (no LPIPS), and target averages and
schedules are the trainer's.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import check_callable, optional
from ..diffusion import paths
from ..diffusion.denoiser import Condition, Net
from ..diffusion.guidance import guided_net, uniform_guidance
from ..diffusion.paths import Path
from ..diffusion.solvers import Solver, euler, heun, ode_times, sample, student_step, with_substeps
from . import losses, states, targets, timesteps
from .adversarial import AdversarialLoss, Discriminator, FakeScore, JointCritic
from .arguments import arguments, count, guidance_range, non_negative
from .losses import Distance, huber
from .method import Method, Mix, SharedSampleMix
from .states import NoisePair, teacher_field
from .targets import consistency_target, continuous_target, regression_target, trajectory_target
from .timesteps import TimestepSampler

Range = tuple[float, float]  # of the guidance weight w, in Imagen's convention (1: no guidance)


def _one_or_range(name: str, value: Any) -> Any:
    return guidance_range(name, value) if isinstance(value, tuple) else non_negative(name, value)


latent_times = timesteps.mixture(0.88, timesteps.lognormal(0.2, 1.3), timesteps.loguniform(0.002, 80.0))


# --- teachers, and students of all noise levels -----------------------------------------------------------------------


@arguments()
def diffusion(sampler: TimestepSampler | None = None, sigma_data: float = 1.0, **changes: Any) -> Method:
    """EDM training (Karras et al. 2022); for a network with log_variance, EDM2's weighting (2023, eq. 21).

    The sampler `latent_times` suits text-conditioned unit-variance latents."""
    method = Method(sampler or timesteps.lognormal(-1.2, 1.2), regression_target, weight=losses.edm_weight(sigma_data))
    return replace(method, **({"error_weighting": losses.uncertainty_weighted_error} | changes))


@arguments()
def guidance_distillation(
    teacher: Net, w: Range = (0.0, 6.0), sampler: TimestepSampler = latent_times, **changes: Any
) -> Method:
    """The student with input w equals the guided teacher. Meng et al. 2022, stage 1; ConsistencyTTA, stage 1.

    Deviation from ConsistencyTTA: EDM's weight; theirs is min(SNR, 5)/(SNR + 1) on v."""
    field = teacher_field(guided_net(teacher))
    method = Method(sampler, regression_target, field, guidance=uniform_guidance(*w), weight=losses.edm_weight())
    return replace(method, **changes)


# --- consistency: one solver step, then the target network's jump -----------------------------------------------------


@arguments()
def cd(teacher: Net, intervals: int = 18, solver: Solver = heun, **changes: Any) -> Method:
    """Consistency distillation. Song et al. 2023, algorithm 2. Target EMA 0.95, or none (their CIFAR code)."""
    method = Method(timesteps.grid_neighbours(intervals), consistency_target(solver), teacher_field(teacher))
    return replace(method, **changes)


@arguments(first=count, last=count)
def ct(first: int = 2, last: int = 150, **changes: Any) -> Method:
    """Consistency training. Song et al. 2023, algorithm 3: CD with the data as the field, on a growing grid.

    Deviation: their target decay grows with the grid (`timesteps.ct_target_ema`)."""
    sampler = timesteps.grid_neighbours(timesteps.ct_intervals(first, last))
    return replace(Method(sampler, consistency_target(euler)), **changes)


@arguments(first=count, last=count)
def ict(
    first: int = 10, last: int = 1280, mean: float = -1.1, std: float = 2.0, c: float = 0.00054, **changes: Any
) -> Method:
    """Improved consistency training. Song & Dhariwal 2023. No target EMA, and the norm-wise pseudo-Huber distance."""
    sampler = timesteps.lognormal_neighbours(timesteps.ict_intervals(first, last), mean, std)
    return replace(Method(sampler, consistency_target(euler), distance=huber(c), weight=losses.inverse_step), **changes)


@arguments()
def ect(
    sampler: TimestepSampler | None = None, stages: int = 8, q: float = 2.0, c: float = 1e-6, **changes: Any
) -> Method:
    """Easy consistency tuning. Geng et al. 2024. Start from a diffusion model; no target EMA.

    Deviation: networks are not called below t_min, so that an r below it is 0, the boundary (theirs are called at r)."""
    sampler = timesteps.ect(sampler, stages, q)
    return replace(Method(sampler, consistency_target(euler), distance=huber(c), weight=losses.inverse_step), **changes)


@arguments()
def lcm(teacher: Net, w: Range = (3.0, 15.0), intervals: int = 50, **changes: Any) -> Method:
    """Latent consistency model. Luo et al. 2023: one DDIM stride of 20 on the guided teacher; the student has input w.

    w is their w + 1. Deviations: the last stride ends at the clean sample and not at table entry 0 (where their output
    is its noisy input); huber of the sample's RMS; EDM's grid. Theirs: path=paths.ddpm(paths.scaled_linear_betas()),
    timesteps=timesteps.strides(50)."""
    method = cd(guided_net(teacher), intervals, euler, guidance=uniform_guidance(*w), distance=huber(0.001))
    return replace(method, **changes)


@arguments(w=non_negative)
def lcm_lora(teacher: Net, w: float = 7.5, intervals: int = 50, **changes: Any) -> Method:
    """LCM-LoRA. Luo et al. 2023b: a fixed w. Train only the parameters of `teachers.add_lora(student)`.

    Their target network is the student itself; short runs need an EMA copy (without it they diverge in the tests)."""
    method = lcm(teacher, intervals=intervals, field=teacher_field(guided_net(teacher, w)), guidance=None)
    return replace(method, **changes)


@arguments()
def consistencytta(
    teacher: Net,
    w: Range = (0.0, 6.0),
    intervals: int = 18,
    t_max_weight: float = 0.0,
    guide: Callable[[Net], Net] = guided_net,
    **changes: Any,
) -> Method:
    """ConsistencyTTA, stage 2. Bai et al. 2023: CD of the guided teacher with input w, from pure noise at t_max.

    `guide` guides the teacher, by the paper's three variants: `guided_net` calls it with and without the condition;
    `lambda net: net` for a teacher from `guidance_distillation` with input w; `lambda net: guided_net(net, 3.0)` with
    guidance=None for a fixed w. Stage 3, on decoded audio, is a `compare_at` with the decoder. `t_max_weight`: extra
    weight of states at t_max. Deviations: the EDM grid, on which their min(SNR, 5) would vanish at t_max; pseudo-Huber
    of the RMS instead."""
    weight = losses.emphasize_t_max(t_max_weight)
    method = cd(guide(teacher), intervals, noising=states.pure_noise_at_t_max, distance=huber(0.03), weight=weight)
    return replace(method, **({"guidance": uniform_guidance(*w)} | changes))


@arguments()
def comospeech(teacher: Net, intervals: int = 50, **changes: Any) -> Method:
    """CoMoSpeech. Ye et al. 2023: CD with Euler steps around the prior mean `cond.prior`; sample from noise + prior.

    Deviations: their mean runs over padding too; the last of the `intervals` here ends at 0, theirs are 49, down to
    t_min."""
    return cd(teacher, intervals, euler, **({"coupling": states.prior_centred_noise} | changes))


@arguments()
def audiolcm(teacher: Net, w: Range = (5.0, 13.0), intervals: int = 50, substeps: int = 2, **changes: Any) -> Method:
    """AudioLCM. Liu et al. 2024: LCM whose teacher takes several DDIM steps (theirs: 20) a stride. w is their w + 1."""
    target = consistency_target(with_substeps(substeps, euler))
    return lcm(teacher, w, intervals, **({"target": target} | changes))


# --- jumps from any time to any time ----------------------------------------------------------------------------------


@arguments()
def ctm(
    teacher: Net, intervals: int = 18, max_stride: int = 4, substeps: int = 2, denoising: float = 1.0, **changes: Any
) -> Mix:
    """Consistency trajectory model. Kim et al. 2023, eq. 10 and 14, without its GAN (add `AdversarialLoss`).

    Deviations: r at most 4 intervals below t, in `substeps` Heun steps (theirs: up to 17, one each); a fixed weight
    `denoising` of the denoising term (theirs is balanced by last-layer gradients); the inner target network is the EMA
    copy."""
    options = {"compare_at": losses.jump_end_at_zero, "distance": huber(0.03), "needs_target_time": True} | changes
    sampler, solver = timesteps.grid_triples(intervals, max_stride), with_substeps(substeps, heun)
    trajectory = Method(sampler, consistency_target(solver), teacher_field(teacher))
    half = timesteps.mixture(0.5, timesteps.lognormal(-1.2, 1.2), timesteps.loguniform(0.5, 80.0))
    score = Method(timesteps.with_target_time_equal_t(half), regression_target, weight=losses.edm_weight())
    score = replace(score, **{name: changes[name] for name in ("net_path", "guidance") if name in changes})
    return Mix(((1.0, replace(trajectory, **options)), (denoising, score)))


@arguments()
def soundctm(teacher: Net, features: Callable[..., Tensor] | None = None, w: Range = (2.0, 5.0), **changes: Any) -> Mix:
    """SoundCTM. Saito et al. 2024: CTM of the guided teacher with input w, compared in the teacher's features.

    `features(x_s, s, cond)`: by default the teacher's own estimate; for their normalised hidden layers use
    `models.adapters.HiddenFeatures(teacher, blocks)`."""
    features = features or (lambda x, s, cond: teacher(x, s, None, cond))
    options = {"guidance": uniform_guidance(*w), "compare_at": losses.feature_space(features)}
    return ctm(guided_net(teacher), **(options | changes))


@arguments()
def tcd(teacher: Net, w: Range = (3.0, 15.0), intervals: int = 50, **changes: Any) -> Method:
    """Trajectory consistency distillation. Zheng et al. 2024: LCM with jumps to every s, compared at s.

    w is their w + 1. Deviation: s is an input of the student (without it one network cannot be exact for all s)."""
    options = {"timesteps": timesteps.grid_triples(intervals), "compare_at": losses.jump_end, "needs_target_time": True}
    return lcm(teacher, w, intervals, **(options | changes))


# --- end points of solvers --------------------------------------------------------------------------------------------


@arguments()
def progressive(teacher: Net, steps: int, **changes: Any) -> Method:
    """One stage of progressive distillation, to `steps` steps. Salimans & Ho 2022.

    The student is the next stage's teacher; the first teacher may be `guided_net(teacher, w)` (Meng et al. 2022).
    Sample with `solvers.student_times(path, steps)` and gamma = 0. Deviation: EDM's grid (theirs: `path=paths.cosine`).
    """
    target, field = trajectory_target(euler), teacher_field(teacher)
    return replace(Method(timesteps.nested_intervals(steps), target, field, weight=losses.truncated_snr), **changes)


@arguments()
def regression(distance: Distance | None = None, **changes: Any) -> Method:
    """One call equals the teacher's end point. Luhman & Luhman 2021 (knowledge distillation), on stored `NoisePair`s.

    The conditions of the pairs must have the w with which they were generated."""
    distance = distance or huber(0.03)
    method = Method(timesteps.always_t_max, regression_target, distance=distance, noising=states.pure_noise_at_t_max)
    return replace(method, **changes)


@arguments()
def reflow(teacher: Net, steps: int = 18, net_path: Path = paths.edm, **changes: Any) -> Method:
    """Rectified flow on the teacher's own pairs. Liu et al. 2022, algorithm 1, k = 2; pairs are generated on the fly.

    Pass stored pairs as `NoisePair` to save the solving. Their one-step distillation of the result is `regression`."""

    def coupling(x: Tensor, cond: Condition | None) -> NoisePair:
        eps = torch.randn_like(x)
        return NoisePair(sample(teacher, net_path, eps, cond, ode_times(net_path, steps), solver=heun), eps)

    return rectified_flow(**({"net_path": net_path, "coupling": coupling} | changes))


def rectified_flow(**changes: Any) -> Method:
    """Flow matching on the data. Liu et al. 2022, eq. 1: squared error of the flow, t ~ U(0.001, 1)."""
    method = Method(timesteps.uniform, regression_target, path=paths.rectified, weight=losses.inverse_variance)
    return replace(method, **changes)


def shortcut(**changes: Any) -> Mix:
    """Shortcut models. Frans et al. 2024: 7/8 flow matching, 1/8 one jump = two half jumps of the target. EMA 0.999.

    Jumps are 1 to 1/64 long; both halves of the shortest are called with s = t, where flow matching trains the velocity
    (in their code with s = t - 1/128). Deviations: the shares weigh two losses on the whole batch (theirs divide its
    rows); no clipping to +-4."""
    flow = rectified_flow(timesteps=timesteps.with_target_time_equal_t(timesteps.uniform), needs_target_time=True)
    target = trajectory_target(student_step)
    field = states.shortcut_field(shortest=0.75 / 64)  # between the halves of 1/64, which get s = t, and 1/64
    halving = replace(flow, timesteps=timesteps.dyadic_intervals(depth=7), target=target, field=field)
    return Mix(((7 / 8, replace(flow, **changes)), (1 / 8, replace(halving, **changes))))


@arguments()
def zipvoice(teacher: Net, w: Range = (1.0, 5.0), longest: float = 0.5, **changes: Any) -> Method:
    """ZipVoice-Distill, first stage. Zhu et al. 2025: one jump = two Euler steps of the guided teacher with input w.

    Checked against their published code and not the paper. Deviations: r halves the jump, of at most `longest` (theirs
    draws two parts of at most 0.3 each); s is an input of the student."""
    field = teacher_field(guided_net(teacher))
    options = {"target": trajectory_target(euler), "field": field, "guidance": uniform_guidance(*w)}
    return zipvoice_self(longest, **(options | changes))


@arguments()
def zipvoice_self(longest: float = 1.0, **changes: Any) -> Method:
    """ZipVoice-Distill, second stage. Zhu et al. 2025: one jump = two half jumps of the student's EMA copy.

    Start from the student of `zipvoice`, with the same range of w. Checked and deviating as there."""
    options = {"path": paths.rectified, "compare_at": losses.network_output, "needs_target_time": True}
    method = Method(timesteps.random_spans(longest), trajectory_target(student_step), states.target_field)
    return replace(method, **(options | changes))


# --- the limit of small steps -----------------------------------------------------------------------------------------


@arguments()
def continuous_ct(intervals: int = 18, **changes: Any) -> Method:
    """Continuous-time CT. Song et al. 2023, theorem 6, squared error: CT's gradient as its grid is refined.

    `intervals` scales the step only. No target EMA."""
    method = Method(timesteps.grid_neighbours(1 << 20), continuous_target(targets.grid_gain(intervals)))
    return replace(method, **changes)


@arguments()
def continuous_cd(teacher: Net, intervals: int = 18, **changes: Any) -> Method:
    """Continuous-time CD. Song et al. 2023, theorem 5: `continuous_ct` with the teacher as the field."""
    return continuous_ct(intervals, **({"field": teacher_field(teacher)} | changes))


@arguments()
def sct(sampler: TimestepSampler | None = None, warmup: float = 0.1, c: float = 0.1, **changes: Any) -> Method:
    """sCT. Lu & Song 2024: TrigFlow, normalised tangent, warm-up over the first `warmup` of training, learned weight.

    ln tan t ~ N(-1, 1.4^2). No target EMA."""
    target = continuous_target(targets.trig_gain, targets.normalize_tangent(c), warmup)
    method = Method(sampler or timesteps.lognormal(-1.0, 1.4), target, path=paths.trig)
    options = {"compare_at": losses.network_output, "error_weighting": losses.uncertainty_weighted_error}
    return replace(method, **(options | changes))


@arguments()
def scd(teacher: Net, sampler: TimestepSampler | None = None, **changes: Any) -> Method:
    """sCD. Lu & Song 2024: sCT with the teacher as the field; guided: scd(guided_net(teacher, w))."""
    return sct(sampler, **({"field": teacher_field(teacher)} | changes))


@arguments()
def meanflow(sampler: TimestepSampler | None = None, scale: float = 1.0, share: float = 0.0, **changes: Any) -> Method:
    """MeanFlow. Geng et al. 2025, algorithm 1: average velocities of the rectified flow. No target EMA.

    scale, share: their guidance omega, kappa (`self_guided_field`), with the effective w = scale / (1 - share).
    Deviation: `adaptive_l2` adds c = 1e-3 to the mean square, the paper to the sum: theirs is 1e-3 / entries here."""
    sampler, target = sampler or timesteps.logitnormal_pairs(), continuous_target(targets.flow_gain)
    field = states.data_field if scale == 1 and share == 0 else states.self_guided_field(scale, share)
    options = {"path": paths.rectified, "compare_at": losses.network_output, "needs_target_time": True}
    method = Method(sampler, target, field, distance=losses.adaptive_l2())
    return replace(method, **(options | changes))


# --- with a critic ----------------------------------------------------------------------------------------------------


@arguments(w=non_negative)
def add(
    teacher: Net,
    discriminator: nn.Module,
    levels: tuple[float, ...] = (80.0, 5.0, 1.0, 0.3),
    distillation_weight: float = 2.5,
    w: float = 1.0,
    net_path: Path = paths.edm,
) -> Mix:
    """Adversarial diffusion distillation. Sauer et al. 2023, eq. 1: hinge adversary + weight x score distillation.

    `discriminator`: a `Net` that becomes the discriminator of noised latents, as in LADD (theirs: heads on frozen DINO
    features of pixels). Deviation: score distillation unweighted over lognormal levels."""
    target = targets.score_distillation_target(timesteps.lognormal(-1.0, 1.0))
    base = Method(timesteps.discrete_levels(levels), target, teacher_field(guided_net(teacher, w)), net_path, net_path)
    base = replace(base, noising=states.pure_noise_at_t_max)
    critic = Discriminator(discriminator, base)
    return Mix(((1.0, AdversarialLoss(critic)), (distillation_weight, base)), critic)


@arguments(weight=non_negative)
def with_discriminator(method: Method, discriminator: nn.Module, weight: float = 0.1) -> Mix:
    """Adds to a method a discriminator of the student's one-call samples. CTM (Kim et al. 2023, eq. 16), LADD.

    `discriminator`: a `Net`, such as a copy of the teacher, that tells noised samples from noised data. Deviations from
    CTM: a fixed weight (theirs is balanced by last-layer gradients), latents (theirs: pixels), samples of one call from
    pure noise (theirs: jumps from every time)."""
    options = {"path": method.net_path, "noising": states.pure_noise_at_t_max, "needs_target_time": False}
    one_call = replace(method, timesteps=timesteps.always_t_max, states=states.sampled_states, **options)
    critic = Discriminator(discriminator, one_call, timesteps.lognormal(0.0, 1.2))
    return Mix(((1.0, method), (weight, AdversarialLoss(critic))), critic)


@arguments(w=_one_or_range, discriminator=optional(check_callable))
def dmd2(
    teacher: Net,
    fake_score: nn.Module,
    levels: tuple[float, ...] = (80.0,),
    w: float | Range = 1.0,
    net_path: Path = paths.edm,
    discriminator: nn.Module | None = None,
    adversarial_weight: float = 0.1,
    first_share: float | None = None,
    lower: tuple[float, float] | None = None,
) -> Mix:
    """DMD2. Yin et al. 2024: match the teacher's score of the student's samples with a fake score's; no regression.

    `fake_score`: a copy of the teacher, trained as the critic. Several levels: backward simulation, a share
    `first_share` of the rows at the first; `lower` instead of `levels`: `one_call_simulation`. A range of w: each row
    draws its own, an input of the student and of the fake score. `discriminator`: a `Net` that becomes the discriminator
    against real data (theirs is a head on the fake score); None: without their GAN. Deviations: scores at lognormal
    levels; one critic step per student step, by the trainer; the GAN's loss is the hinge at weight `adversarial_weight`
    (theirs: softplus at 3e-3)."""
    is_range = isinstance(w, tuple)
    guidance = uniform_guidance(*w) if is_range else None
    base = Method(timesteps.always_t_max, regression_target, path=net_path, net_path=net_path, guidance=guidance)
    simulated = states.backward_simulation(levels, first_share)
    if lower is not None:
        simulated = states.one_call_simulation(lower, 0.6 if first_share is None else first_share)
    base = replace(base, states=simulated, noising=states.pure_noise_at_t_max)
    critic = FakeScore(fake_score, base)
    target = targets.distribution_matching_target(timesteps.lognormal(-0.4, 1.6), critic)
    matching = replace(base, target=target, field=teacher_field(guided_net(teacher, None if is_range else w)))
    if discriminator is None:
        return Mix(((0.5, matching),), critic)
    adversary = Discriminator(discriminator, base, timesteps.lognormal(0.0, 1.2))
    parts = ((0.5, matching), (adversarial_weight, AdversarialLoss(adversary)))
    return SharedSampleMix(parts, JointCritic(critic, adversary))


# --- by name ----------------------------------------------------------------------------------------------------------

Build = Callable[..., Method | Mix]  # (teacher, w=(1.0, 5.0), path=paths.edm, **changes)


def _preset(build: Build) -> Build:
    """Adds defaults for w and path to `build(teacher, w, path, **changes)`, and adapts its method to `path`."""

    def method(teacher: Net, w: Range = (1.0, 5.0), path: Path = paths.edm, **changes: Any) -> Method | Mix:
        return _with_net_path(path, build(teacher, w, path, **changes))

    return method


# Settings for unit-variance data and short runs. Each entry takes a teacher, the range of w, the path of the networks
# and changes, and builds its method only. `Mix.critic` is to be trained beside the student and starts as a copy of the
# teacher. "lcm-lora" has the lower w, "progressive" is the last stage (2 -> 1 steps), "regression" needs `NoisePair`s.
METHODS: dict[str, Build] = {
    name: _preset(build)
    for name, build in {
        "diffusion": lambda net, w, path, **more: diffusion(latent_times, **more),
        "guidance-distillation": lambda net, w, path, **more: guidance_distillation(net, w, **more),
        "cd": lambda net, w, path, **more: cd(net, **more),
        "ct": lambda net, w, path, **more: ct(last=50, **more),
        "ict": lambda net, w, path, **more: ict(last=160, std=1.6, mean=0.0, c=0.03, **more),
        "ect": lambda net, w, path, **more: ect(latent_times, c=0.03, **more),
        "lcm": lambda net, w, path, **more: lcm(net, w, **more),
        "lcm-lora": lambda net, w, path, **more: lcm_lora(net, w[0], **more),
        "consistencytta": lambda net, w, path, **more: consistencytta(net, w, **more),
        "comospeech": lambda net, w, path, **more: comospeech(net, **more),
        "audiolcm": lambda net, w, path, **more: audiolcm(net, w, **more),
        "ctm": lambda net, w, path, **more: ctm(net, **more),
        "soundctm": lambda net, w, path, **more: soundctm(net, w=w, **more),
        "tcd": lambda net, w, path, **more: tcd(net, w, **more),
        "progressive": lambda net, w, path, **more: progressive(net, 1, **more),
        "regression": lambda net, w, path, **more: regression(**more),
        "reflow": lambda net, w, path, **more: reflow(net, net_path=path, **more),
        "rectified-flow": lambda net, w, path, **more: rectified_flow(**more),
        "shortcut": lambda net, w, path, **more: shortcut(**more),
        "zipvoice": lambda net, w, path, **more: zipvoice(net, w, **more),
        "zipvoice-self": lambda net, w, path, **more: zipvoice_self(**({"guidance": uniform_guidance(*w)} | more)),
        "continuous-cd": lambda net, w, path, **more: continuous_cd(net, **more),
        "continuous-ct": lambda net, w, path, **more: continuous_ct(**more),
        "scd": lambda net, w, path, **more: scd(net, latent_times, **more),
        "sct": lambda net, w, path, **more: sct(latent_times, **more),
        "meanflow": lambda net, w, path, **more: meanflow(timesteps.random_target_times(latent_times), **more),
        "add": lambda net, w, path: add(net, copy.deepcopy(net), distillation_weight=0.1, net_path=path),
        "dmd2": lambda net, w, path: dmd2(net, copy.deepcopy(net), net_path=path),
    }.items()
}


@arguments()
def get_method(name: str, teacher: Net, w: Range = (1.0, 5.0), path: Path = paths.edm, **changes: Any) -> Method | Mix:
    """Builds one of `METHODS` for a teacher of `path`. Raises ValueError, with the known names, for an unknown one."""
    if not isinstance(name, str) or name not in METHODS:
        raise ValueError(f"unknown method {name!r}: must be one of {', '.join(METHODS)}")
    return METHODS[name](teacher, w, path, **changes)


def _with_net_path(net_path: Path, loss: Any) -> Any:
    """Returns the method for networks of `net_path`: trained there, or on its own path up to the same noise level.

    A longer path would need derivatives in t at times that the networks do not have."""
    if isinstance(loss, Mix):
        parts = tuple((weight, _with_net_path(net_path, part)) for weight, part in loss.parts)
        return replace(loss, parts=parts)
    if not isinstance(loss, Method):
        return loss
    if loss.path is paths.edm:
        return replace(loss, net_path=net_path, path=net_path)
    top = loss.path.time_of_noise_level(net_path.noise_level(torch.tensor(net_path.t_max, dtype=torch.float64)))
    return replace(loss, net_path=net_path, path=replace(loss.path, t_max=min(float(top), loss.path.t_max)))
