"""Cases of Python calls: every public function with each of its arguments spoilt."""

import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import audiocm
from audiocm import diffusion, distillation, embedders, evaluation, metrics
from audiocm.diffusion import editing, guidance, paths, solvers
from audiocm.distillation import losses, methods, states, targets, timesteps
from audiocm.metrics import signal, speech
from audiocm.pipelines.text_to_audio import TextToAudioPipeline
from audiocm.pipelines.text_to_speech import TextToSpeechPipeline
from audiocm.teachers import load_teacher
from recipes.benchmarks.wrong_inputs.workspace import INF, NAN, TOY_RECIPE, Case

THING = object()
NUMBERS = (None, "1", "x", NAN, INF, -INF, 1j, [1.0], True, 10**400, THING)
WHOLES = (*NUMBERS, 0.5)
FUNCTIONS = (None, 5, "x", [], THING)
VALUES: dict[str, tuple] = {
    "number": NUMBERS,
    "non-negative": (*NUMBERS, -1),
    "positive": (*NUMBERS, 0, -1),
    "share": (*NUMBERS, -0.1, 1.1),
    "whole": (*WHOLES, -1),
    "count": (*WHOLES, 0, -1),
    "optional number": NUMBERS[1:],
    "optional positive": (*NUMBERS[1:], 0, -1),
    "optional count": (*WHOLES[1:], 0, -1),
    "text": (None, 5, "", " ", b"rain", THING, "\udcff"),
    "optional text": (5, b"rain", THING),
    "prompt": (5, "", " ", b"rain", THING, "\udcff", ["rain", None], ["rain", 5], ["rain", ""], [[]], {"a": 1}),
    "path": (None, 5, "", " ", THING, "a\0b", b"x"),
    "optional path": (5, "", " ", THING, "a\0b", b"x"),
    "device": (None, 5, "", "zzz", "cpu:5", "cuda", "cuda:99", "meta", THING),
    "function": FUNCTIONS,
    "optional function": FUNCTIONS[1:],
    "choice": (None, 5, "", "zzz", ["a"], True),
    "range": (None, 5, "ab", (1,), (2, 1), (NAN, 1), (1, 2, 3), (None, None), (-1, 1)),
    "object": (None, 5, "x", [], THING),
    "optional object": (5, "x", [], THING),
    "flag": (None, "x", 5, []),
    "vectors": (None, 5, "x", [], {}, np.ones(4), np.ones((1, 4)), np.ones((0, 4)), np.ones((4, 0)), np.ones((2, 3, 4)), np.full((6, 4), NAN),
                np.full((6, 4), INF), np.ones((6, 4)) * 1j, np.full((6, 4), "x"), np.full((6, 4), None), np.ones((6, 3)), np.full((6, 4), 1e200),
                [[1, 2], [3]], [np.ones((2, 4)), np.ones((2, 3))]),
    "rows": (None, 5, "x", {}, np.ones((2, 3, 4)), np.full((6, 4), NAN), np.full((6, 4), INF), np.ones((6, 4)) * 1j, np.full((6, 4), "x"),
             np.ones((6, 3)), np.zeros((6, 4)), [[1, 2], [3]]),
    "probabilities": (None, 5, "x", [], np.ones(4), np.ones((0, 4)), np.full((6, 4), NAN), -np.ones((6, 4)), np.full((6, 4), 2.0),
                      np.ones((6, 4)) * 1j, np.full((6, 4), "x"), np.ones((2, 3, 4))),
    "items": (None, 5j, "x", [], [NAN], [INF, 1.0], [1j], ["x"], [None], [[1, 2], [3]]),
    "wav": (None, 5, "x", [], np.ones((2, 3, 4)), np.full(4000, NAN), np.full(4000, "x"), np.ones(4000) * 1j, np.ones(0)),
    "tensor": (None, 5, "x", [1.0], np.ones((2, 3)), torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.complex64)),
    "times": (5, "x", [], [1.0], [0.0, 1.0], [1.0, 1.0, 0.0], [NAN, 0.0], ["x", 0.0], [None], [1.0, -1.0], [INF, 0.0]),
    "betas": (None, 5, "x", [], [0.1], [0.1, NAN], [1.5, 0.1], [-0.1, 0.1], [[0.1], [0.2]], ["x", "y"]),
    "levels": (None, 5, "x", [], [NAN], ["x"], [-1.0], [None], (0.0,)),
}  # fmt: skip
X, Y = (np.random.default_rng(seed).normal(size=(8, 4)) for seed in (0, 1))
P, Q = (np.exp(one) / np.exp(one).sum(axis=1, keepdims=True) for one in (X, Y))
WAV, NEAR = (0.1 * np.random.default_rng(seed).normal(size=16_000) for seed in (0, 1))
RESAMPLED = {"name": "optional text", "draws": "count", "seed": "whole"}
SET, PAIR = {"generated": "vectors", "reference": "vectors"}, {"generated": X, "reference": Y}


def _net(x_t: torch.Tensor, t: torch.Tensor, s: Any = None, cond: Any = None) -> torch.Tensor:
    return 0.5 * x_t


def _statistic(rows: np.ndarray) -> float:
    return float(len(rows))


NOISE = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
TEACHER = {"teacher": "function"}
LEARNT = {"teacher": _net}
CALLS: list[tuple[str, Callable, dict[str, Any], dict[str, str]]] = [  # name, function, right arguments, types of those that are spoilt
    ("metrics.frechet_distance", metrics.frechet_distance, PAIR, SET),
    ("metrics.frechet_contributions", metrics.frechet_contributions, PAIR, SET),
    ("metrics.frechet_infinity", metrics.frechet_infinity, PAIR, SET | {"steps": "count", "seed": "whole"}),
    ("metrics.frechet_score", metrics.frechet_score, PAIR | {"name": "a"}, SET | RESAMPLED | {"draw": "function"}),
    ("metrics.frechet_infinity_score", metrics.frechet_infinity_score, PAIR | {"name": "a"}, SET | RESAMPLED),
    ("metrics.Projection.fit", metrics.Projection.fit, {"reference": Y, "kept": 2}, {"reference": "vectors", "kept": "count"}),
    ("metrics.RunningMoments.update", lambda x: metrics.RunningMoments().update(x), {"x": X}, {"x": "probabilities"}),
    ("metrics.kernel_distance", metrics.kernel_distance, PAIR, SET | {"bandwidth": "optional positive"}),
    ("metrics.kernel_score", metrics.kernel_score, PAIR | {"name": "a"}, SET | RESAMPLED | {"draw": "function"}),
    ("metrics.median_bandwidth", metrics.median_bandwidth, {"reference": Y}, {"reference": "vectors", "seed": "whole"}),
    ("metrics.Neighbours", metrics.Neighbours, PAIR | {"k": 2}, SET | {"k": "count"}),
    ("metrics.top_k_hits", metrics.top_k_hits, {"probabilities": P, "accepted": [[0]] * 8}, {"probabilities": "probabilities", "top": "count", "accepted": "items"}),
    ("metrics.kl_divergences", metrics.kl_divergences, {"generated": P, "reference": Q}, {"generated": "probabilities", "reference": "probabilities", "floor": "non-negative"}),
    ("metrics.inception_score", metrics.inception_score, {"probabilities": P}, {"probabilities": "probabilities"} | RESAMPLED),
    ("metrics.mean_score", metrics.mean_score, {"name": "a", "items": [1.0, 2.0]}, {"items": "items"} | RESAMPLED),
    ("metrics.paired_difference", metrics.paired_difference, {"name": "a", "first": [1.0, 2.0], "second": [2.0, 1.0]}, {"first": "items", "second": "items"} | RESAMPLED),
    ("metrics.set_difference", metrics.set_difference, {"name": "a", "first": _statistic, "second": _statistic, "count": 8}, {"first": "function", "second": "function", "count": "count"} | RESAMPLED),
    ("metrics.cosine_similarities", metrics.cosine_similarities, {"first": X, "second": Y}, {"first": "rows", "second": "rows"}),
    ("metrics.set_diversity", metrics.set_diversity, {"embeddings": X}, {"embeddings": "rows"}),
    ("metrics.retrieval_ranks", metrics.retrieval_ranks, {"audio": X, "text": Y}, {"audio": "rows", "text": "rows", "tops": "levels"}),
    ("metrics.signal.multi_resolution_stft", signal.multi_resolution_stft, {"reference": WAV, "estimate": NEAR}, {"reference": "wav", "estimate": "wav"}),
    ("metrics.signal.log_spectral_distance", signal.log_spectral_distance, {"reference": WAV, "estimate": NEAR}, {"reference": "wav", "estimate": "wav", "n_fft": "count"}),
    ("metrics.signal.log_mel_l1", signal.log_mel_l1, {"reference": WAV, "estimate": NEAR}, {"reference": "wav", "estimate": "wav", "rate": "positive"}),
    ("metrics.signal.stoi", signal.stoi, {"reference": WAV, "estimate": NEAR, "rate": 16000}, {"reference": "wav", "estimate": "wav", "rate": "positive"}),
    ("metrics.speech.pitch_statistics", speech.pitch_statistics, {"wav": WAV, "rate": 16000}, {"wav": "wav", "rate": "positive"}),
    ("metrics.speech.word_errors", speech.word_errors, {"expected": "a b", "transcript": "a"}, {"expected": "optional text", "transcript": "optional text"}),
    ("diffusion.sample", diffusion.sample, {"net": _net, "path": paths.edm, "noise": NOISE}, {"net": "function", "path": "object", "noise": "tensor", "times": "times",
     "solver": "function", "gamma": "share", "generator": "optional object", "hook": "optional function", "start": "tensor", "draw_noise": "optional function", "landing": "function"}),
    ("diffusion.guided_net", diffusion.guided_net, LEARNT, TEACHER | {"w": "optional number"}),
    ("diffusion.adapt", diffusion.adapt, {"net": _net, "net_path": paths.edm, "path": paths.trig}, {"net": "function", "net_path": "object", "path": "object"}),
    ("diffusion.Condition", diffusion.Condition, {}, {"tokens": "optional object", "mask": "optional object", "pooled": "optional object", "guidance": "optional number"}),
    ("diffusion.guidance.uniform_guidance", guidance.uniform_guidance, {"low": 1.0, "high": 2.0}, {"low": "number", "high": "number"}),
    ("diffusion.paths.ddpm", paths.ddpm, {}, {"betas": "betas"}),
    ("diffusion.paths.scaled_linear_betas", paths.scaled_linear_betas, {}, {"steps": "count", "first": "positive", "last": "positive"}),
    ("diffusion.paths.EDM", paths.EDM, {}, {"t_min": "non-negative", "t_max": "positive", "rho": "positive"}),
    ("diffusion.paths.Trig", paths.Trig, {}, {"t_min": "non-negative", "t_max": "positive", "sigma_data": "positive"}),
    ("diffusion.solvers.ddim", solvers.ddim, {}, {"eta": "share"}),
    ("diffusion.solvers.with_churn", solvers.with_churn, {"solver": solvers.heun, "churn": 1.0, "steps": 2}, {"solver": "function", "churn": "non-negative", "steps": "count"}),
    ("diffusion.solvers.with_substeps", solvers.with_substeps, {"n": 2}, {"n": "count", "solver": "function"}),
    ("diffusion.solvers.ode_times", solvers.ode_times, {"path": paths.edm, "n": 2}, {"path": "object", "n": "count"}),
    ("diffusion.solvers.student_times", solvers.student_times, {"path": paths.edm, "n": 2}, {"path": "object", "n": "count"}),
    ("diffusion.editing.basis_along_axis", editing.basis_along_axis, {}, {"matrix": "tensor"}),
    ("diffusion.editing.cosine_matrix", editing.cosine_matrix, {}, {"n": "count"}),
    ("diffusion.editing.complete_basis", editing.complete_basis, {}, {"first": "tensor"}),
    ("diffusion.editing.keep_known", editing.keep_known, {"reference": NOISE, "unknown": NOISE > 0}, {"reference": "tensor", "unknown": "object", "basis": "object"}),
    ("distillation.get_method", distillation.get_method, {"name": "cd", "teacher": _net}, {"name": "choice", "teacher": "function", "w": "range", "path": "object"}),
    ("distillation.Method", distillation.Method, {"timesteps": timesteps.uniform, "target": targets.regression_target},
     dict.fromkeys(("timesteps", "target", "field", "distance", "weight", "coupling", "noising", "states", "compare_at", "error_weighting"), "function")
     | {"path": "object", "net_path": "object", "guidance": "optional function", "needs_target_time": "flag"}),
    ("distillation.Mix", distillation.Mix, {}, {"parts": "object"}),
    ("distillation.methods.cd", methods.cd, LEARNT, TEACHER | {"intervals": "count", "solver": "function"}),
    ("distillation.methods.ct", methods.ct, {}, {"first": "count", "last": "count"}),
    ("distillation.methods.ict", methods.ict, {}, {"first": "count", "last": "count", "mean": "number", "std": "positive", "c": "positive"}),
    ("distillation.methods.ect", methods.ect, {}, {"sampler": "optional function", "stages": "count", "q": "positive", "c": "positive"}),
    ("distillation.methods.lcm", methods.lcm, LEARNT, TEACHER | {"w": "range", "intervals": "count"}),
    ("distillation.methods.lcm_lora", methods.lcm_lora, LEARNT, TEACHER | {"w": "non-negative", "intervals": "count"}),
    ("distillation.methods.consistencytta", methods.consistencytta, LEARNT, TEACHER | {"w": "range", "intervals": "count", "t_max_weight": "non-negative", "guide": "function"}),
    ("distillation.methods.ctm", methods.ctm, LEARNT, TEACHER | {"intervals": "count", "max_stride": "count", "substeps": "count", "denoising": "non-negative"}),
    ("distillation.methods.progressive", methods.progressive, LEARNT | {"steps": 2}, TEACHER | {"steps": "count"}),
    ("distillation.methods.zipvoice", methods.zipvoice, LEARNT, TEACHER | {"w": "range", "longest": "share"}),
    ("distillation.methods.meanflow", methods.meanflow, {}, {"sampler": "optional function", "scale": "number", "share": "share"}),
    ("distillation.methods.dmd2", methods.dmd2, LEARNT | {"fake_score": torch.nn.Identity()}, TEACHER | {"levels": "levels", "adversarial_weight": "non-negative", "net_path": "object"}),
    ("distillation.timesteps.lognormal", timesteps.lognormal, {}, {"mean": "number", "std": "positive"}),
    ("distillation.timesteps.loguniform", timesteps.loguniform, {}, {"low": "positive", "high": "positive"}),
    ("distillation.timesteps.mixture", timesteps.mixture, {"share": 0.5, "first": timesteps.uniform, "second": timesteps.uniform}, {"share": "share", "first": "function", "second": "function"}),
    ("distillation.timesteps.grid_neighbours", timesteps.grid_neighbours, {}, {"intervals": "count"}),
    ("distillation.timesteps.discrete_levels", timesteps.discrete_levels, {}, {"levels": "levels"}),
    ("distillation.losses.huber", losses.huber, {}, {"c": "positive"}),
    ("distillation.losses.edm_weight", losses.edm_weight, {}, {"sigma_data": "positive"}),
    ("distillation.states.backward_simulation", states.backward_simulation, {"levels": (80.0,)}, {"levels": "levels", "first_share": "optional number"}),
    ("distillation.targets.grid_gain", targets.grid_gain, {}, {"intervals": "count"}),
    ("distillation.targets.finite_difference", targets.finite_difference, {}, {"h": "positive"}),
    ("evaluation.ScoreRequest", evaluation.ScoreRequest, {"generated": "sounds"}, {"generated": "path", "reference": "optional path", "prompts": "optional path",
     "metrics": "object", "embedders": "optional function", "clap": "optional count", "tagger": "optional count", "tokenizer": "optional text", "preprocessing": "object", "components": "count",
     "cache": "optional path", "workers": "count", "seed": "whole", "resamples": "count", "max_unusable": "share", "device": "device", "save_reference": "optional path", "preset": "optional object"}),
    ("evaluation.Preprocessing", evaluation.Preprocessing, {}, {"loudness": "choice", "trim": "flag", "min_seconds": "non-negative", "max_seconds": "positive", "band_limit": "optional count"}),
    ("evaluation.preset_options", evaluation.preset_options, {}, {"name": "choice"}),
    ("evaluation.ranks", evaluation.ranks, {}, {"results": "object"}),
    ("evaluation.table_of_systems", evaluation.table_of_systems, {}, {"results": "object"}),
    ("evaluation.compare", evaluation.compare, {"first": evaluation.ScoreRequest("sounds"), "second": evaluation.ScoreRequest("other")}, {"first": "object", "second": "object", "resamples": "count"}),
    ("evaluation.evaluate_systems", evaluation.evaluate_systems, {"request": evaluation.ScoreRequest("sounds", metrics="lsd", reference="real"), "folders": ["sounds"]}, {"request": "object", "folders": "object"}),
    ("load_embedder", embedders.load_embedder, {"name": "small-clap"}, {"name": "path", "device": "device"}),
    ("load_teacher", load_teacher, {}, {"name": "path"}),
    ("TextToAudioPipeline.from_pretrained", TextToAudioPipeline.from_pretrained, {"name": "tta"}, {"name": "path", "device": "device", "variant": "optional text", "torch_dtype": "optional text"}),
    ("TextToSpeechPipeline.from_pretrained", TextToSpeechPipeline.from_pretrained, {"name": "tts"}, {"name": "path", "device": "device"}),
]  # fmt: skip
RUN_FIELDS = {
    **dict.fromkeys(
        ("steps", "accumulate", "save_every", "log_every", "validate_every", "sample_every", "bad_steps"), "count"
    ),
    **dict.fromkeys(("warmup", "seed"), "whole"),
    **dict.fromkeys(("lr", "weight_decay"), "non-negative"),
    **dict.fromkeys(("max_grad_norm", "max_wall_seconds", "train_seconds", "shard_mb"), "optional positive"),
    **dict.fromkeys(("decay", "is_better", "export", "net", "method", "batches"), "function"),
    **dict.fromkeys(("validate", "sample"), "optional function"),
    "betas": "range",
    "ema": "optional number",
    "target_ema": "optional number",
    "precision": "choice",
}
CALL_FIELDS = {
    "prompt": "prompt",
    "audio_length_in_s": "optional positive",
    "num_inference_steps": "optional count",
    "guidance_scale": "optional number",
    "negative_prompt": "prompt",
    "num_waveforms_per_prompt": "count",
    "generator": "optional object",
    "latents": "tensor",
    "solver": "optional function",
    "output_type": "choice",
    "callback": "optional function",
    "callback_steps": "count",
    "callback_on_step_end": "optional function",
    "callback_on_step_end_tensor_inputs": "object",
    "temperature": "optional positive",
    "gamma": "optional number",
    "prompt_embeds": "tensor",
    "max_retries": "whole",
    "on_failure": "choice",
}
SPEECH_FIELDS = {
    "text": "prompt",
    "num_inference_steps": "optional count",
    "speed": "positive",
    "voice": "choice",
    "guidance_scale": "optional number",
    "generator": "optional object",
    "max_retries": "whole",
    "on_failure": "choice",
}


@functools.cache
def _pipe(kind: type, name: str) -> Any:
    return kind.from_pretrained(name)


def _toy_run(**fields: Any) -> audiocm.Run:
    space: dict = {}
    exec(TOY_RECIPE, space)
    made = space["run"]()
    return audiocm.Run(
        **{"name": "toy", "net": made.net, "method": made.method, "batches": made.batches, "steps": 2} | fields
    )


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").lstrip("_")


def call(
    name: str, function: Callable, right: dict[str, Any], argument: str, value: Any, may_pass: bool = False
) -> Case:
    """Returns the case of a call with one wrong argument, whose error has to name it."""

    def run() -> int:
        try:
            function(**right | {argument: value})
        except (ValueError, TypeError) as error:
            named = _plain(argument) in _plain(str(error)) or _plain(argument).removesuffix("s") in _plain(str(error))
            print(f"audiocm: {' '.join(str(error).split())}", file=sys.stderr)
            return 2 if named else 1
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return 1
        return 0

    text = (
        f"array{list(value.shape)} of {value.reshape(-1)[:1]}"
        if isinstance(value, np.ndarray | torch.Tensor)
        else repr(value)
    )
    shown = "object()" if value is THING else text[:40]
    return Case("call", f"{name}({argument}={shown})".encode(errors="backslashreplace").decode(), run, None, may_pass)


def calls() -> Iterator[Case]:
    """Yields every public function with each of its arguments spoilt."""
    audio, teacher = (
        (lambda **given: _pipe(TextToAudioPipeline, "tta")(**given)),
        (lambda **given: _pipe(TextToAudioPipeline, "tta-teacher")(**given)),
    )
    table = [
        *CALLS,
        ("Run", _toy_run, {}, RUN_FIELDS),
        ("TextToAudioPipeline.__call__", audio, {"prompt": "rain", "audio_length_in_s": 0.5}, CALL_FIELDS),
        (
            "teacher.__call__",
            teacher,
            {"prompt": "rain", "audio_length_in_s": 0.5, "num_inference_steps": 1},
            {"negative_prompt": "prompt", "guidance_scale": "optional number"},
        ),
        (
            "TextToSpeechPipeline.__call__",
            lambda **given: _pipe(TextToSpeechPipeline, "tts")(**given),
            {"text": "Hello."},
            SPEECH_FIELDS,
        ),
        (
            "TextToAudioPipeline.to",
            lambda device: _pipe(TextToAudioPipeline, "tta").to(device),
            {},
            {"device": "device"},
        ),
    ]
    for name, function, right, types in table:
        for argument, kind in types.items():
            for value in VALUES[kind]:
                optional = value is None and (
                    argument in ("latents", "prompt_embeds", "start", "voice", "is_better") or name == "get_method"
                )
                empty = value in ("", " ") and argument in ("negative_prompt",) if isinstance(value, str) else False
                yield call(name, function, right, argument, value, may_pass=bool(optional or empty))
        yield call(name, function, right, "no_such_argument", 1)
