"""One call of a foreign student of published size, text to sound, recorded as one CUDA graph and not, with random weights.

    python -m recipes.benchmarks.foreign_latency stable-audio tango audioldm2 --machine H200
    python -m recipes.benchmarks.foreign_latency stable-audio tango audioldm2 --tiny  # a try, on a CPU

First `checks`: of every architecture as a tiny network, the signal-to-noise ratio in dB of sounds of the recorded call
(`audiocm.GraphedStudent`) against those of the same function unrecorded, in float32. Then the networks at their published
sizes, text encoders included, in float16, at batch 1. Weights are random and nothing is downloaded, so that sounds are
noise: times do not depend on it. All in milliseconds, medians of calls in turn, with the sound in the CPU's memory:

    recorded    GraphedStudent: text encoders as they are, then the graph
    unrecorded  the same function without the graph
    text        text encoders alone, in both
    pipeline    the call of diffusers' own pipeline, with one step and guidance 1; there is none for TANGO

Writes a row named after the machine into samples/foreign_latency.json and keeps the others.
"""

import argparse
import gc
import json
import platform
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import diffusers
import torch
import transformers
from diffusers.pipelines.audioldm2.modeling_audioldm2 import AudioLDM2ProjectionModel
from torch import Tensor

from audiocm.diffusion.solvers import sample
from audiocm.evaluation.provenance import commit
from audiocm.files import write_json
from audiocm.pipelines.failures import within_full_scale
from audiocm.pipelines.sampler import item_seeds
from audiocm.teachers.graphed import GraphedStudent
from audiocm.teachers.schedulers import one_call_scheduler
from audiocm.teachers.teacher import load_teacher
from recipes.benchmarks.published_sizes import MODELS, Decoder
from recipes.benchmarks.timing import wall_seconds
from recipes.teachers import tiny_forms

FAILURES = (ImportError, AttributeError, RuntimeError, TypeError, ValueError, LookupError)
PROMPT = "a dog barks while rain falls on a roof"
FLAN_T5_LARGE = {"d_model": 1024, "d_ff": 2816, "d_kv": 64, "num_heads": 16, "num_layers": 24}
FLAN_T5_LARGE |= {"feed_forward_proj": "gated-gelu", "vocab_size": 32128}
T5_BASE = {"d_model": 768, "d_ff": 3072, "d_kv": 64, "num_heads": 12, "num_layers": 12, "vocab_size": 32128}


def t5(sizes: dict[str, Any]) -> dict[str, Any]:
    encoder = transformers.T5EncoderModel(transformers.T5Config(**sizes)).eval()
    return {"text_encoder": encoder, "tokenizer": tiny_forms.t5_tokenizer(128)}


def decoder_parts(decoder: Decoder) -> dict[str, Any]:
    parts = {"vae": decoder.vae, "vocoder": decoder.vocoder}
    return {"vae": decoder.vae} if decoder.vocoder is None else parts | {"vocoder": tiny_forms.audible(decoder.vocoder)}


def tango(denoiser: Any, parts: dict[str, Any]) -> Any:
    return {"unet": denoiser, **parts, **t5(FLAN_T5_LARGE)}


def audioldm2(denoiser: Any, parts: dict[str, Any]) -> Any:
    gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval()
    gpt2.config.max_new_tokens = 8
    states = t5(FLAN_T5_LARGE)
    return diffusers.AudioLDM2Pipeline(
        unet=denoiser,
        text_encoder=transformers.ClapModel(transformers.ClapConfig()).eval(),
        tokenizer=tiny_forms.roberta_tokenizer(512),
        text_encoder_2=states["text_encoder"],
        tokenizer_2=states["tokenizer"],
        projection_model=AudioLDM2ProjectionModel(512, 1024, 768).eval(),
        language_model=gpt2,
        feature_extractor=transformers.ClapFeatureExtractor(),
        **parts,
    )


def stable_audio(denoiser: Any, parts: dict[str, Any]) -> Any:
    widths = {"text_encoder_dim": 768, "conditioning_dim": 768, "min_value": 0, "max_value": 512}
    projection = diffusers.StableAudioProjectionModel(**widths)
    return diffusers.StableAudioPipeline(transformer=denoiser, projection_model=projection, **parts, **t5(T5_BASE))


WHOLE = {"tango": tango, "audioldm2": audioldm2, "stable-audio": stable_audio}


def build(name: str, is_tiny: bool, device: torch.device) -> Any:
    """Returns a pipeline, or TANGO's components, with random weights: float16 and of published size, or tiny."""
    torch.manual_seed(0)
    if is_tiny:
        return tiny_forms.BUILDERS[name]()
    model = MODELS[name]
    with device:
        parts = decoder_parts(model.decoder(False))
        pipe = WHOLE[name](model.denoiser(False).eval(), parts | {"scheduler": one_call_scheduler(model.scheduler())})
    for part in (pipe if isinstance(pipe, dict) else pipe.components).values():
        if isinstance(part, torch.nn.Module):
            part.to(device, torch.float16)
    return pipe


def snr(made: Tensor, expected: Tensor) -> float:
    """Returns the signal-to-noise ratio in dB, at most 200; -200 if a sound is not finite."""
    if not (made.isfinite().all() and expected.isfinite().all()):
        return -200.0
    error = (made.double() - expected.double()).square().mean().clamp_min(1e-20 * expected.double().square().mean())
    return float(10 * (expected.double().square().mean() / error).log10())


def unrecorded(fast: GraphedStudent, prompts: list[str], seed: int) -> Tensor:
    """Returns the sounds of `sample` and `decode`, without the graph, in the CPU's memory."""
    teacher, generator = fast.teacher, torch.Generator()
    shape, seeds = teacher.latent_shape(fast.seconds), item_seeds(generator.manual_seed(seed), len(prompts), 1)
    noise = torch.stack([torch.randn(shape, generator=generator.manual_seed(one)) for one in seeds]).to(fast.device)
    latent = sample(fast.net, teacher.path, noise, teacher.condition(prompts, fast.seconds))
    wav = teacher.decode(teacher.adapter.needed(latent, fast.seconds)).cpu()[..., : fast.samples]
    return within_full_scale(wav.flatten(1)).unflatten(1, wav.shape[1:])


@torch.no_grad()
def compared(fast: GraphedStudent) -> dict[str, Any]:
    """Returns the ratio of recorded to unrecorded sounds for two prompts and seeds, and whether the graph was used."""
    found: dict[str, Any] = {"is_recorded": fast.call.graph is not None, "failures": []}
    for seed, prompt in enumerate((PROMPT, "rain")):
        made = fast(prompt, generator=torch.Generator().manual_seed(seed), on_failure="return", max_retries=0)
        sound = fast.call.made[0][:1]  # also one with a fault, of which `made` has silence
        found[f"snr_db, seed {seed}"] = round(snr(sound, unrecorded(fast, [prompt], seed)), 1)
        found["failures"] += [one.reason for one in made.failures]
    return found


def check(device: torch.device) -> dict[str, Any]:
    """Returns the comparison of each architecture as a tiny network, or why there is none."""
    found: dict[str, Any] = {}
    for name in tiny_forms.BUILDERS:
        try:
            teacher = load_teacher(build(name, True, device)).to(device)
            found[name] = compared(GraphedStudent(teacher, audio_length_in_s=0.64))
        except FAILURES as error:
            found[name] = {"error": " ".join(str(error).split())[:300]}
    return found


@torch.no_grad()
def time_student(name: str, args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Returns medians in milliseconds of a student, see the head of the file."""
    pipe = build(name, args.tiny, device)
    teacher = load_teacher(pipe).to(device)
    seconds = 0.64 if args.tiny else args.seconds
    fast = GraphedStudent(teacher, audio_length_in_s=seconds)
    count = sum(p.numel() for p in teacher.net.net.parameters())
    row = {"million_parameters": round(count / 1e6, 1), "seconds": seconds, "dtype": str(teacher.net.net.dtype)}
    row |= compared(fast)
    options = {"on_failure": "return", "max_retries": 0}
    actions: dict[str, Callable[[], Any]] = {
        "recorded": lambda: fast(PROMPT, generator=torch.Generator().manual_seed(0), **options),
        "unrecorded": lambda: unrecorded(fast, [PROMPT], 0),
        "text": lambda: teacher.condition([PROMPT], seconds),
    }
    if not isinstance(pipe, dict):
        pipe.set_progress_bar_config(disable=True)
        call = {teacher.adapter.length: seconds, "num_inference_steps": 1, "guidance_scale": 1.0}
        pipe.scheduler = one_call_scheduler(pipe.scheduler)
        try:
            pipe(PROMPT, **call)
            actions["pipeline"] = lambda: pipe(PROMPT, **call)
        except FAILURES as error:
            row["pipeline_error"] = " ".join(str(error).split())[:300]
    times: dict[str, list[float]] = {kind: [] for kind in actions}
    for _ in range(args.repeats + 2):  # the first two warm up
        for kind, action in actions.items():
            times[kind].append(wall_seconds(action, device))
    return row | {f"{kind}_ms": round(1e3 * median(own[2:]), 3) for kind, own in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=[[], *WHOLE], help="published architectures")
    parser.add_argument("--machine", default="", help="name of the row, default the device's")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--tiny", action="store_true", help="tiny networks, float32")
    parser.add_argument("--results", type=Path, default=Path("samples/foreign_latency.json"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    diffusers.logging.set_verbosity_error()
    transformers.logging.set_verbosity_error()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
    row: dict[str, Any] = {"device": kind, "commit": commit(), "torch": torch.__version__, "seed": 0}
    row |= {"diffusers": diffusers.__version__, "transformers": transformers.__version__, "repeats": args.repeats}
    row |= {"weights": "random", "batch": 1, "checks": check(device)}
    rows = json.loads(args.results.read_text(encoding="utf-8")) if args.results.exists() else {}
    for name in [None, *args.models]:
        if name:
            try:
                row[name] = time_student(name, args, device)
            except FAILURES as error:
                row[name] = {"error": " ".join(str(error).split())[:300]}
            gc.collect()
            torch.cuda.empty_cache()
        print(name, json.dumps(row[name or "checks"]), flush=True)
        write_json(args.results, rows | {args.machine or kind: row})  # after each: a run that is stopped keeps these


if __name__ == "__main__":
    main()
