"""What a diffusers scheduler says of its network: the noise path, what it predicts, and the timesteps it takes.

Only the noise schedule counts here: steps, spacing and solver are the sampler's own choice.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..diffusion import paths
from ..diffusion.denoiser import Prediction, clean_prediction, flow_prediction, noise_prediction, v_prediction

PREDICTIONS = {
    "epsilon": noise_prediction,
    "v_prediction": v_prediction,
    "sample": clean_prediction,
    "flow_prediction": flow_prediction,
}
EDM_PREDICTIONS = {  # EDM's F with sigma_data 1, on the cosine path: clean = c_skip x + c_out F is cos x_t + sin F
    "v_prediction": v_prediction,
    "epsilon": Prediction(lambda alpha, sigma: (alpha, sigma)),
}


@dataclass(frozen=True)
class NoiseSchedule:
    """The noise path of a teacher, what its network predicts, and the timestep it takes at each time.

    Copies of a network share one object, since paths of tables are compared by identity."""

    path: paths.Path
    prediction: Prediction
    timestep: Callable[[Tensor], Tensor]  # time t [batch] of the path -> the number that the network takes

    def __deepcopy__(self, memo: dict[int, Any]) -> "NoiseSchedule":
        return self


@dataclass(frozen=True)
class ShiftedRectified(paths.Rectified):
    """The rectified flow with times moved to u -> shift u / (1 + (shift - 1) u). Esser et al. 2024, eq. 23.

    Only the default grid differs from `Rectified`: it is even in u."""

    shift: float = 1.0

    def _unshifted(self, t: Tensor) -> Tensor:
        return t / (self.shift - (self.shift - 1) * t)

    def interpolate(self, t: Tensor, s: Tensor, u: Tensor | float) -> Tensor:
        even = self._unshifted(t) + u * (self._unshifted(s) - self._unshifted(t))
        return self.shift * even / (1 + (self.shift - 1) * even)

    def grid_spacing(self, t: Tensor) -> Tensor:
        span = self._unshifted(torch.full_like(t, self.t_max)) - self._unshifted(torch.full_like(t, self.t_min))
        return span * self.shift / (1 + (self.shift - 1) * self._unshifted(t)) ** 2


def read_scheduler(scheduler: Any, tokens: int | None = None) -> NoiseSchedule:
    """Reads the noise schedule of a diffusers scheduler.

    tokens: number of latent tokens of a sound, on which a dynamic flow shift depends. Raises ValueError for a schedule
    that contradicts itself, clips the sample, or is not known."""
    config, kind = scheduler.config, type(scheduler).__name__
    if kind.startswith("FlowMatch"):
        if config.get("invert_sigmas"):
            raise _refusal(kind, "inverted sigmas are not supported")
        return _flow(config, _flow_shift(kind, config, tokens))
    if "sigma_data" in config:
        return _edm(kind, config)
    if config.get("use_flow_sigmas"):
        if (said := config.get("prediction_type")) != "flow_prediction":
            raise _refusal(kind, f"it uses flow sigmas, but says that its network predicts {said!r}")
        return _flow(config, config.get("flow_shift") or 1.0)
    if hasattr(scheduler, "betas") and hasattr(scheduler, "alphas_cumprod"):
        return _table(kind, config, scheduler.betas)
    raise _refusal(
        kind, "it has neither betas nor flow sigmas nor EDM's noise levels, so its noise schedule is not known"
    )


def one_call_scheduler(scheduler: Any) -> Any:
    """Returns a scheduler of diffusers whose single step is the jump of a student from t_max to the clean sample."""
    import diffusers

    config, kind = scheduler.config, type(scheduler).__name__
    if kind.startswith("FlowMatch"):
        return diffusers.FlowMatchEulerDiscreteScheduler.from_config(config, stochastic_sampling=False)
    if "sigma_data" in config:  # one step of an exponential grid would start at its lowest noise level
        return type(scheduler).from_config(config, sigma_schedule="karras")
    if config.get("use_flow_sigmas"):
        changes = {"shift": config.get("flow_shift") or 1.0, "use_karras_sigmas": False}
        return diffusers.FlowMatchEulerDiscreteScheduler.from_config(config, **changes)
    steps = config.num_train_timesteps  # the scheduler's grid ends at the last timestep if it divides their number
    divisor = max(n for n in range(1, min(50, steps) + 1) if steps % n == 0)
    return diffusers.LCMScheduler.from_config(config, original_inference_steps=divisor, clip_sample=False)


def _refusal(kind: str, reason: str) -> ValueError:
    return ValueError(f"the teacher's {kind} cannot be used: {reason}")


def _prediction(kind: str, config: Any, allowed: dict[str, Prediction], why: str) -> Prediction:
    said = config.get("prediction_type", "epsilon")
    if said not in allowed:
        raise _refusal(kind, f"prediction type {said!r} {why}; possible are {', '.join(allowed)}")
    return allowed[said]


def _table(kind: str, config: Any, betas: Tensor) -> NoiseSchedule:
    """A table of noise levels: the network takes the integer n = t - 1."""
    tables = {name: one for name, one in PREDICTIONS.items() if name != "flow_prediction"}
    prediction = _prediction(kind, config, tables, "does not go with a table of betas")
    if config.get("clip_sample") or config.get("thresholding"):
        raise _refusal(
            kind, "it clips the clean sample, which latents exceed; set clip_sample and thresholding to false"
        )
    if str(config.get("variance_type", "")).startswith("learned"):
        raise _refusal(kind, "its network also predicts a variance")
    if len(betas) != config.num_train_timesteps:
        raise _refusal(kind, f"it has {len(betas)} betas, but num_train_timesteps={config.num_train_timesteps}")
    betas = betas.double()
    if prediction is noise_prediction and float(torch.cumprod(1 - betas, 0)[-1]) < 1e-7:
        raise _refusal(
            kind, "its last state is pure noise (zero terminal SNR), of which predicted noise tells no sample"
        )
    try:
        path = paths.ddpm(betas)
    except ValueError as error:
        raise _refusal(kind, str(error)) from error
    return NoiseSchedule(path, prediction, lambda t: t - 1)


def _edm(kind: str, config: Any) -> NoiseSchedule:
    """EDM's preconditioning with unit data: its scaled input c_in x is a state of the cosine path at the same level.

    The network takes (2 / pi) atan(sigma) from diffusers' cosine schedulers, which is the time of that path, and
    ln(sigma) / 4 from its EDM schedulers."""
    if config.sigma_data != 1:
        raise _refusal(kind, f"sigma_data is {config.sigma_data:g}, only latents of unit variance (1) are supported")
    prediction = _prediction(kind, config, EDM_PREDICTIONS, "does not go with EDM's preconditioning")
    low, high = (math.atan(sigma) * 2 / math.pi for sigma in (config.sigma_min, config.sigma_max))
    if kind.startswith("Cosine"):
        return NoiseSchedule(paths.Cosine(min(1e-3, low), high), prediction, lambda t: t)
    return NoiseSchedule(paths.Cosine(low, high), prediction, lambda t: torch.tan(t * (math.pi / 2)).log() / 4)


def _flow(config: Any, shift: float) -> NoiseSchedule:
    path = paths.rectified if shift == 1 else ShiftedRectified(shift=shift)
    return NoiseSchedule(path, flow_prediction, lambda t: t * config.num_train_timesteps)


def _flow_shift(kind: str, config: Any, tokens: int | None) -> float:
    if not config.get("use_dynamic_shifting"):
        return float(config.get("shift") or 1.0)
    if tokens is None:
        raise _refusal(kind, "its shift depends on the number of latent tokens, which the adapter does not tell")
    share = (tokens - config.base_image_seq_len) / (config.max_image_seq_len - config.base_image_seq_len)
    mu = config.base_shift + share * (config.max_shift - config.base_shift)
    return mu if config.get("time_shift_type") == "linear" else math.exp(mu)
