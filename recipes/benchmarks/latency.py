"""Where the time of one sound goes, and what one call saves against the guided teacher.

    python -m recipes.benchmarks.latency --results samples/benchmark_cpu.json [--device cpu] [--threads 2]

Medians of `repeats` runs after one that does not count, in one process and in turn, so that the machine's drift hits both sides of a
ratio. `cold` is a fresh process of `audiocm generate` until its file is there.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import audiocm
from audiocm import TextToAudioPipeline, TextToSpeechPipeline
from audiocm.diffusion import solvers
from audiocm.evaluation.provenance import commit
from recipes.text_to_speech.evaluate import Stopwatch, sentences

PROMPT = "a dog barks while rain falls on a roof"


def median_seconds(action: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median wall time of `action`, the device's queue included."""

    def once() -> float:
        start = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    once()
    return statistics.median(once() for _ in range(repeats))


@torch.no_grad()
def parts(pipe: TextToAudioPipeline, batch: int, seconds: float, repeats: int) -> dict[str, float]:
    """Seconds of each part for `batch` sounds, and of the whole call; `rtf` = whole / seconds of sound made."""
    device, prompts = pipe.transformer.device, [PROMPT] * batch
    frames = pipe.codec.frames(seconds)
    cond = pipe.conditioner(prompts).to(device).with_guidance(3.0)
    cond.mask = torch.ones(batch, frames, dtype=torch.bool, device=device)
    noise = torch.randn(batch, pipe.codec.channels, frames, device=device)
    latent = solvers.sample(pipe.transformer, pipe.path, noise, cond)
    log_mel = pipe.vae.decode(latent)
    actions = {
        "text_encoder": lambda: pipe.conditioner(prompts),
        "student": lambda: solvers.sample(pipe.transformer, pipe.path, noise, cond),
        "vae": lambda: pipe.vae.decode(latent),
        "vocoder": lambda: pipe.vocoder(log_mel),
        "whole": lambda: pipe(prompts, seconds, 1, 3.0, generator=torch.Generator().manual_seed(0)),
    }
    found = {name: median_seconds(action, repeats, device) for name, action in actions.items()}
    return found | {"rtf": found["whole"] / (seconds * batch)}


def against_teacher(
    student: TextToAudioPipeline, teacher: TextToAudioPipeline, seconds: float, repeats: int
) -> dict[str, float]:
    """End to end, one sound: one call (median of five) against 100 Euler steps with guidance (200 queries), in turn."""
    one, many = [], []
    sides = ((student, 1, None, 5, one), (teacher, 100, solvers.euler, 1, many))
    for _ in range(repeats):
        for pipe, steps, solver, calls, times in sides:
            spent = []
            for _ in range(calls):
                start = time.perf_counter()
                pipe(PROMPT, seconds, steps, 3.0, solver=solver, generator=torch.Generator().manual_seed(0))
                spent.append(time.perf_counter() - start)
            times.append(statistics.median(spent))
    ratios = sorted(m / o for o, m in zip(one, many, strict=True))
    return {
        "student": statistics.median(one),
        "teacher": statistics.median(many),
        "queries": 200,
        "wall_ratio": statistics.median(ratios),
    }


def speech(student: TextToSpeechPipeline, teacher: TextToSpeechPipeline, repeats: int) -> dict[str, float]:
    """One call against the teacher's 50, the same sentences in turn: seconds in the denoiser and end to end, medians of ratios."""
    texts = [text for _, text in sentences()][:: 200 // (2 * repeats)]
    sides = {"student": (student, 1, None), "teacher": (teacher, 50, solvers.euler)}
    watches = {side: Stopwatch(pipe.transformer) for side, (pipe, _, _) in sides.items()}
    found: dict[str, list[tuple[float, float, float]]] = {side: [] for side in sides}
    for text in [texts[0], *texts]:  # the first warms up
        for side, (pipe, steps, solver) in sides.items():
            watches[side].seconds, start = 0.0, time.perf_counter()
            out = pipe(text, num_inference_steps=steps, solver=solver, generator=torch.Generator().manual_seed(0))
            length = len(out.audios[0]) / pipe.sample_rate
            found[side].append((watches[side].seconds, time.perf_counter() - start, length))
    one, many = (found[side][1:] for side in ("student", "teacher"))
    start = time.perf_counter()
    next(iter(student.stream(" ".join(texts), num_inference_steps=1)))
    return {
        "sentences": len(texts), "calls": 50,
        "decoder_ratio": statistics.median(m[0] / o[0] for o, m in zip(one, many, strict=True)),
        "wall_ratio": statistics.median(m[1] / o[1] for o, m in zip(one, many, strict=True)),
        "rtf": sum(o[1] for o in one) / sum(o[2] for o in one), "first_audio_seconds": time.perf_counter() - start,
    }  # fmt: skip


def cold(model: str, repeats: int = 3) -> float:
    """Median seconds from starting a process to its first sound."""
    times = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            command = [
                sys.executable,
                "-m",
                "audiocm",
                "generate",
                PROMPT,
                "-o",
                f"{folder}/a.wav",
                "--model",
                model,
                "--device",
                "cpu",
            ]
            subprocess.run(command, check=True, capture_output=True)
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--model", default="tta")
    parser.add_argument("--teacher", default="tta-teacher")
    parser.add_argument("--speech", default="tts")
    parser.add_argument("--speech-teacher", default="tts-teacher")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    student = TextToAudioPipeline.from_pretrained(args.model, device=args.device)
    teacher = TextToAudioPipeline.from_pretrained(args.teacher, device=args.device)
    results = {
        "device": torch.cuda.get_device_name() if args.device.startswith("cuda") else f"{platform.processor() or platform.machine()}, {args.threads} threads",
        "commit": commit(), "audiocm": audiocm.__version__, "torch": torch.__version__, "seconds": args.seconds, "repeats": args.repeats,
        "batch": {str(n): parts(student, n, args.seconds, args.repeats) for n in (1, 16)},
        "teacher_200_queries": against_teacher(student, teacher, args.seconds, max(1, args.repeats // 2)),
    }  # fmt: skip
    voices = (
        TextToSpeechPipeline.from_pretrained(name, device=args.device) for name in (args.speech, args.speech_teacher)
    )
    results["speech"] = speech(*voices, args.repeats)
    if args.device == "cpu":
        results["cold_process_seconds"] = cold(args.model)
    args.results.parent.mkdir(parents=True, exist_ok=True)
    args.results.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
