"""The catalogue: each published method as a composition, with its paper and what is done differently here.

Constructors carry the papers' numbers; `family` the ones for unit-variance data whose nets live on the EDM path up to
sigma = 80. Common to all: boundaries are at time 0 (ECT's choice; the CM paper's is t_min), distances are of latents
(no LPIPS), targets and schedules are the trainer's (`target_ema`), and any field of `Method` can be replaced.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..diffusion import paths
from ..diffusion.denoiser import Net
from ..diffusion.guidance import guided_by, guided_net, uniform_guidance
from ..diffusion.paths import Path
from ..diffusion.solvers import euler, heun, ode_times, sample, student_step, with_substeps
from . import timesteps
from .adversarial import AdversarialLoss, Discriminator, FakeScore, JointCritic, StudentSamples
from .losses import (
    adaptive_l2,
    edm_weight,
    emphasize_t_max,
    feature_space,
    huber,
    inverse_step,
    inverse_variance,
    jump_end,
    jump_end_at_zero,
    network_output,
    truncated_snr,
    uncertainty_weighted_error,
    uniform_weight,
)
from .method import Method, Mix, SharedSampleMix
from .states import (
    backward_simulation,
    data_field,
    prior_centred_noise,
    pure_noise_at_t_max,
    self_guided_field,
    simulate_pairs,
    target_field,
    teacher_field,
)
from .targets import (
    Derivative,
    consistency_target,
    continuous_target,
    distribution_matching_target,
    exact_derivative,
    flow_gain,
    grid_gain,
    normalize_tangent,
    regression_target,
    score_distillation_target,
    trajectory_target,
    trig_gain,
)
from .timesteps import TimestepSampler

latent_times = timesteps.mixture(0.88, timesteps.lognormal(0.2, 1.3), timesteps.loguniform(0.002, 80.0))


# --- teachers and fields ----------------------------------------------------------------------------------------------


def diffusion(sampled: TimestepSampler | None = None, sigma_data: float = 1.0, **changes) -> Method:
    """EDM training. Karras et al. 2022; with a net that has log_variance, EDM2's weighting (2023, eq. 21).

    `latent_times` suits text-conditioned unit-variance latents.
    """
    sampled = sampled or timesteps.lognormal(-1.2, 1.2)
    return replace(
        Method(sampled, regression_target, weight=edm_weight(sigma_data), balance=uncertainty_weighted_error), **changes
    )


def guidance_distillation(
    teacher: Net, w=(0.0, 6.0), sampled: TimestepSampler = latent_times, weight=None, **changes
) -> Method:
    """The student, told w, equals the guided teacher. Meng et al. 2022, stage 1; ConsistencyTTA, stage 1.

    Deviation from ConsistencyTTA: EDM's weight; theirs is min(SNR, 5)/(SNR + 1) on v.
    """
    method = Method(
        sampled,
        regression_target,
        teacher_field(guided_net(teacher)),
        guidance=uniform_guidance(*w),
        weight=weight or edm_weight(),
    )
    return replace(method, **changes)


# --- consistency: one solver move, then the target's jump -------------------------------------------------------------


def cd(teacher: Net, intervals: int = 18, solver=heun, **changes) -> Method:
    """Consistency distillation. Song et al. 2023, algorithm 2. Target EMA .95, or none (their CIFAR code)."""
    return replace(
        Method(timesteps.grid_neighbours(intervals), consistency_target(solver), teacher_field(teacher)), **changes
    )


def ct(first: int = 2, last: int = 150, **changes) -> Method:
    """Consistency training. Song et al. 2023, algorithm 3: CD with the data as the field, on a growing grid.

    Deviation: their target decay grows with the grid (`times.ct_target_ema`).
    """
    return replace(
        Method(timesteps.grid_neighbours(timesteps.ct_intervals(first, last)), consistency_target(euler)), **changes
    )


def ict(
    first: int = 10, last: int = 1280, mean: float = -1.1, std: float = 2.0, c: float = 0.00054, **changes
) -> Method:
    """Improved consistency training. Song & Dhariwal 2023. No target EMA, and the norm-wise pseudo-Huber."""
    proposal = timesteps.lognormal_neighbours(timesteps.ict_intervals(first, last), mean, std)
    return replace(Method(proposal, consistency_target(euler), distance=huber(c), weight=inverse_step), **changes)


def ect(sampled: TimestepSampler | None = None, stages: int = 8, q: float = 2.0, c: float = 1e-6, **changes) -> Method:
    """Easy consistency tuning. Geng et al. 2024. Start from a diffusion model; no target EMA."""
    proposal = timesteps.ect(sampled, stages, q)
    return replace(Method(proposal, consistency_target(euler), distance=huber(c), weight=inverse_step), **changes)


def lcm(teacher: Net, w=(3.0, 15.0), intervals: int = 50, **changes) -> Method:
    """Latent consistency model. Luo et al. 2023: one DDIM stride of 20 on the guided teacher, the student is told w.

    w here is Imagen's (theirs + 1). Deviations: the last stride ends at clean and not at table entry 0 (their output
    there is its noisy input); huber of the sample's RMS; EDM's grid. Theirs: path=paths.ddpm(paths.scaled_linear_betas()),
    times=times.strides(50).
    """
    method = cd(guided_net(teacher), intervals, euler, guidance=uniform_guidance(*w), distance=huber(0.001))
    return replace(method, **changes)


def lcm_lora(teacher: Net, w: float = 7.5, intervals: int = 50, **changes) -> Method:
    """LCM-LoRA. Luo et al. 2023b: fixed w baked in. Train only `lora.add(student)`.

    Their target is the student itself; short runs want an EMA copy (without one it runs away on tests' ring).
    """
    method = replace(lcm(teacher, intervals=intervals), field=teacher_field(guided_by(teacher, w)), guidance=None)
    return replace(method, **changes)


def consistencytta(
    teacher: Net,
    w=(0.0, 6.0),
    intervals: int = 18,
    top_weight: float = 0.0,
    guide: Callable[[Net], Net] = guided_net,
    **changes,
) -> Method:
    """ConsistencyTTA, stage 2. Bai et al. 2023: CD of the guided teacher, told w, from pure noise at the top.

    `guide` is how the teacher takes w, the three variants of the paper: `guided` calls it with and without the
    condition; `lambda net: net` for a teacher from `guidance_distillation`, told w itself; fixed w:
    `lambda net: guided(net, 3.0)` with guidance=None. Stage 3, on decoded audio, is a `view` with the decoder.
    Deviations: the EDM grid, on which their min(SNR, 5) would vanish at the top; pseudo-Huber of the RMS instead.
    """
    method = cd(
        guide(teacher),
        intervals,
        guidance=uniform_guidance(*w),
        noising=pure_noise_at_t_max,
        distance=huber(0.03),
        weight=emphasize_t_max(top_weight) if top_weight else uniform_weight,
    )
    return replace(method, **changes)


def comospeech(teacher: Net, intervals: int = 50, **changes) -> Method:
    """CoMoSpeech. Ye et al. 2023: CD with Euler around the prior mean `cond.prior`; sample from noise + prior likewise.

    Deviation: their mean runs over padding too.
    """
    return replace(cd(teacher, intervals, euler, coupling=prior_centred_noise), **changes)


def audiolcm(teacher: Net, w=(5.0, 13.0), intervals: int = 50, substeps: int = 2, **changes) -> Method:
    """AudioLCM. Liu et al. 2024: LCM whose teacher covers a stride in several DDIM steps (theirs: 20). Imagen's w."""
    return replace(lcm(teacher, w, intervals), goal=consistency_target(with_substeps(substeps, euler)), **changes)


# --- any-to-any jumps -------------------------------------------------------------------------------------------------


def ctm(teacher: Net, intervals: int = 18, most: int = 4, substeps: int = 2, denoising: float = 1.0, **changes) -> Mix:
    """Consistency trajectory model. Kim et al. 2023, eq. 10 and 14, without its GAN (add `critic.Adversarial`).

    Deviations: r at most 4 intervals below t, in `substeps` Heun steps (theirs: up to 17, one each); fixed weight of
    the denoising term (theirs is balanced by last-layer gradients); the inner target net is the EMA copy.
    """
    parts = {
        "field": teacher_field(teacher),
        "view": jump_end_at_zero,
        "distance": huber(0.03),
        "needs_target_time": True,
    }
    trajectory = Method(
        timesteps.grid_triples(intervals, most), consistency_target(with_substeps(substeps, heun)), **(parts | changes)
    )
    half = timesteps.mixture(0.5, timesteps.lognormal(-1.2, 1.2), timesteps.loguniform(0.5, 80.0))
    rest = {name: changes[name] for name in ("native", "guidance") if name in changes}
    score = Method(timesteps.with_target_time_equal_t(half), regression_target, weight=edm_weight(), **rest)
    return Mix(((1.0, trajectory), (denoising, score)))


def soundctm(teacher: Net, features=None, w=(2.0, 5.0), **changes) -> Mix:
    """SoundCTM. Saito et al. 2024: CTM of the guided teacher, told w, compared in the teacher's features at (x_s, s).

    `features(x_s, s, cond)`: default the teacher's own estimate; their normalised hidden layers:
    `denoiser.Hidden(teacher, blocks)`.
    """
    features = features or (lambda x, s, cond: teacher(x, s, None, cond))
    return ctm(guided_net(teacher), **({"guidance": uniform_guidance(*w), "view": feature_space(features)} | changes))


def tcd(teacher: Net, w=(3.0, 15.0), intervals: int = 50, **changes) -> Method:
    """Trajectory consistency distillation. Zheng et al. 2024: LCM with jumps to every s, compared at s.

    Deviation: the student is told s (without it one net cannot be exact for all s).
    """
    method = lcm(teacher, w, intervals, times=timesteps.grid_triples(intervals), view=jump_end, needs_target_time=True)
    return replace(method, **changes)


# --- solver end points ------------------------------------------------------------------------------------------------


def progressive(teacher: Net, steps: int, **changes) -> Method:
    """One stage of progressive distillation to `steps` steps. Salimans & Ho 2022. The next stage's teacher is its student.

    The first stage may take `guided(teacher, w)` (Meng et al. 2022). Sample with `solvers.jump_times(path, steps)`,
    gamma 0. Deviation: EDM's grid and not cosine time (`path=paths.cosine` for theirs).
    """
    return replace(
        Method(
            timesteps.nested_intervals(steps), trajectory_target(euler), teacher_field(teacher), weight=truncated_snr
        ),
        **changes,
    )


def regression(distance=None, **changes) -> Method:
    """One call equals the teacher's end point: knowledge distillation (Luhman & Luhman 2021) on stored `Coupled` pairs.

    The pairs' conditions must name the w that they were made with.
    """
    return replace(
        Method(
            timesteps.always_t_max, regression_target, noising=pure_noise_at_t_max, distance=distance or huber(0.03)
        ),
        **changes,
    )


def reflow(teacher: Net, steps: int = 18, native: Path = paths.edm, **changes) -> Method:
    """Rectified flow on the teacher's own pairs. Liu et al. 2022, algorithm 1, k = 2; pairs are made on the fly.

    Pass stored pairs as `Coupled` to save the solving. Their one-step distillation of the result is `regression`.
    """

    def solve(eps: Tensor, cond) -> Tensor:
        return sample(teacher, native, eps, cond, ode_times(native, steps), solver=heun)

    method = Method(
        timesteps.uniform,
        regression_target,
        path=paths.rectified,
        native=native,
        weight=inverse_variance,
        coupling=simulate_pairs(solve),
    )
    return replace(method, **changes)


def rectified_flow(**changes) -> Method:
    """Flow matching on the data. Liu et al. 2022, eq. 1; squared error of the flow, t ~ U(.001, 1)."""
    return replace(
        Method(timesteps.uniform, regression_target, path=paths.rectified, weight=inverse_variance), **changes
    )


def shortcut(**changes) -> Mix:
    """Shortcut models. Frans et al. 2024: 7/8 flow matching, 1/8 one jump = two half jumps of the target. EMA .999.

    Deviation: the shares weigh two losses on the whole batch; theirs divide its rows; no clipping to +-4.
    """
    flow = Method(
        timesteps.with_target_time_equal_t(timesteps.uniform),
        regression_target,
        path=paths.rectified,
        weight=inverse_variance,
        needs_target_time=True,
    )
    halving = replace(
        flow, times=timesteps.dyadic_intervals(), goal=trajectory_target(student_step), field=target_field
    )
    return Mix(((7 / 8, replace(flow, **changes)), (1 / 8, replace(halving, **changes))))


def zipvoice_self(longest: float = 1.0, **changes) -> Method:
    """ZipVoice-Distill, second stage. Zhu et al. 2025: one jump = two half jumps of the student's EMA copy. [from memory]

    Start from the student of `zipvoice`, and tell it the same w. Deviation: told s.
    """
    method = Method(
        timesteps.random_spans(longest),
        trajectory_target(student_step),
        target_field,
        path=paths.rectified,
        view=network_output,
        needs_target_time=True,
    )
    return replace(method, **changes)


def zipvoice(teacher: Net, w=(1.0, 5.0), longest: float = 0.5, **changes) -> Method:
    """ZipVoice-Distill, first stage: one jump = two Euler steps of the guided teacher. [from memory]"""
    first = {
        "goal": trajectory_target(euler),
        "field": teacher_field(guided_net(teacher)),
        "guidance": uniform_guidance(*w),
    }
    return zipvoice_self(longest, **(first | changes))


# --- the limit of small moves -----------------------------------------------------------------------------------------


def continuous_ct(intervals: int = 18, derivative: Derivative = exact_derivative, **changes) -> Method:
    """Continuous-time CT. Song et al. 2023, theorem 6, squared error: CT's gradient as its grid is refined.

    `intervals` scales the move only. No target EMA.
    """
    goal = continuous_target(grid_gain(intervals), derivative=derivative)
    return replace(Method(timesteps.grid_neighbours(1 << 20), goal), **changes)


def continuous_cd(teacher: Net, intervals: int = 18, derivative: Derivative = exact_derivative, **changes) -> Method:
    """Continuous-time CD. Song et al. 2023, theorem 5: the same with the teacher as the field."""
    return continuous_ct(intervals, derivative, **({"field": teacher_field(teacher)} | changes))


def sct(
    sampled: TimestepSampler | None = None,
    warmup=0.1,
    c: float = 0.1,
    derivative: Derivative = exact_derivative,
    **changes,
) -> Method:
    """sCT. Lu & Song 2024: TrigFlow, normalised tangent, warm-up over the first `warmup` of training, learned weight.

    ln tan t ~ N(-1, 1.4^2). No target EMA.
    """
    method = Method(
        sampled or timesteps.lognormal(-1.0, 1.4),
        continuous_target(trig_gain, normalize_tangent(c), warmup, derivative),
        path=paths.trig,
        view=network_output,
        balance=uncertainty_weighted_error,
    )
    return replace(method, **changes)


def scd(
    teacher: Net,
    sampled: TimestepSampler | None = None,
    warmup=0.1,
    c: float = 0.1,
    derivative=exact_derivative,
    **changes,
) -> Method:
    """sCD. Lu & Song 2024: sCT with the teacher as the field; guided: scd(guided(teacher, w))."""
    return sct(sampled, warmup, c, derivative, **({"field": teacher_field(teacher)} | changes))


def meanflow(
    sampled: TimestepSampler | None = None, power: float = 1.0, c: float = 1e-3, scale: float = 1.0, share: float = 0.0,
    derivative: Derivative = exact_derivative, **changes,
) -> Method:  # fmt: skip
    """MeanFlow. Geng et al. 2025, algorithm 1: average velocities of the rectified flow. No target EMA.

    scale, share: their guidance omega, kappa (`self_guided`), effective w = scale / (1 - share).
    """
    method = Method(
        sampled or timesteps.logitnormal_pairs(),
        continuous_target(flow_gain, derivative=derivative),
        data_field if scale == 1 and share == 0 else self_guided_field(scale, share),
        path=paths.rectified,
        view=network_output,
        distance=adaptive_l2(power, c),
        needs_target_time=True,
    )
    return replace(method, **changes)


# --- with a critic ----------------------------------------------------------------------------------------------------


def add(
    teacher: Net,
    trunk: nn.Module,
    levels=(80.0, 5.0, 1.0, 0.3),
    share: float = 2.5,
    w: float = 1.0,
    native: Path = paths.edm,
) -> Mix:
    """Adversarial diffusion distillation. Sauer et al. 2023, eq. 1: hinge adversary + share x teacher's rescoring.

    `trunk`: a contract net that becomes the discriminator (theirs: heads on frozen DINO features of pixels; here LADD's,
    a net on noised latents). Deviation: rescoring unweighted over lognormal levels.
    """
    base = Method(
        timesteps.discrete_levels(levels),
        score_distillation_target(timesteps.lognormal(-1.0, 1.0)),
        teacher_field(guided_by(teacher, w)),
        noising=pure_noise_at_t_max,
    )
    base = replace(base, path=native, native=native)
    judge = Discriminator(trunk, StudentSamples(base), path=native)
    return Mix(((1.0, AdversarialLoss(judge, StudentSamples(base))), (share, base)), critic=judge)


def dmd2(
    teacher: Net,
    fake: nn.Module,
    levels: tuple[float, ...] = (80.0,),
    w: float | tuple[float, float] = 1.0,
    native: Path = paths.edm,
    trunk: nn.Module | None = None,
    share: float = 0.1,
    top: float | None = None,
) -> Mix:
    """DMD2. Yin et al. 2024: match the teacher's score of the student's samples with a fake score's; no regression.

    `fake`: a copy of the teacher, trained as the critic. Several levels: backward simulation, a share `top` of the rows at
    the first. `w` as a range: each row draws its own, told to the student and to the fake (both need the input). `trunk`: a
    net that becomes the discriminator against real data, with weight `share` (theirs is a head on the fake score's trunk);
    None: without their GAN. Deviations: opinions at lognormal levels; one critic step a student step is the trainer's.
    """
    told = isinstance(w, tuple)
    base = Method(
        timesteps.always_t_max,
        regression_target,
        start=backward_simulation(levels, top),
        noising=pure_noise_at_t_max,
        path=native,
        native=native,
    )
    made = StudentSamples(replace(base, guidance=uniform_guidance(*w) if told else None))
    score = FakeScore(fake, made)
    goal = distribution_matching_target(timesteps.lognormal(-0.4, 1.6), score)
    real = guided_net(teacher) if told else guided_by(teacher, w)
    matching = (0.5, replace(made.method, goal=goal, field=teacher_field(real)))
    if trunk is None:
        return Mix((matching,), critic=score)
    judge = Discriminator(trunk, made, timesteps.lognormal(0.0, 1.2), path=native)
    return SharedSampleMix((matching, (share, AdversarialLoss(judge, made))), critic=JointCritic(score, judge))


# --- all of them ------------------------------------------------------------------------------------------------------


def family(teacher: Net, w: tuple[float, float] = (1.0, 5.0), path: Path = paths.edm) -> dict[str, Method | Mix]:
    """Every method for one teacher, a contract net of `path`, with settings for unit-variance data and short runs.

    `Mix.critic` names what has to be trained beside the student. "lcm-lora" wants `lora.add(student)`, "progressive"
    is its last stage (2 -> 1 steps of this teacher), "zipvoice" its first, "regression" wants `Coupled` samples.
    """
    again = lambda: copy.deepcopy(teacher)  # noqa: E731
    members: dict[str, Method | Mix] = {
        "diffusion": diffusion(latent_times),
        "guidance-distillation": guidance_distillation(teacher, w),
        "cd": cd(teacher),
        "ct": ct(last=50),
        "ict": ict(last=160, std=1.6, mean=0.0, c=0.03),
        "ect": ect(latent_times, c=0.03),
        "lcm": lcm(teacher, w),
        "lcm-lora": lcm_lora(teacher, w[0]),
        "consistencytta": consistencytta(teacher, w),
        "comospeech": comospeech(teacher),
        "audiolcm": audiolcm(teacher, w),
        "ctm": ctm(teacher),
        "soundctm": soundctm(teacher, w=w),
        "tcd": tcd(teacher, w),
        "progressive": progressive(teacher, 1),
        "regression": regression(),
        "reflow": reflow(teacher, native=path),
        "rectified-flow": rectified_flow(),
        "shortcut": shortcut(),
        "zipvoice": zipvoice(teacher, w),
        "zipvoice-self": zipvoice_self(guidance=uniform_guidance(*w)),
        "continuous-cd": continuous_cd(teacher),
        "continuous-ct": continuous_ct(),
        "scd": scd(teacher, latent_times),
        "sct": sct(latent_times),
        "meanflow": meanflow(timesteps.random_target_times(latent_times)),
        "add": add(teacher, again(), share=0.1, native=path),
        "dmd2": dmd2(teacher, again(), native=path),
    }
    return {name: _on(path, member) for name, member in members.items()}


def _on(native: Path, member):
    """The member for nets of `native`: without a path of its own it trains there; else its path ends at the same noise.

    A longer path would ask for the derivative in t of nets that have no such t.
    """
    if isinstance(member, Mix):
        return replace(member, parts=tuple((share, _on(native, part)) for share, part in member.parts))
    if not isinstance(member, Method):
        return member
    if member.path is paths.edm:
        return replace(member, native=native, path=native)
    top = member.path.time_of_noise_level(native.noise_level(torch.tensor(native.t_max, dtype=torch.float64)))
    return replace(member, native=native, path=replace(member.path, t_max=min(float(top), member.path.t_max)))
