"""The latency of the bundled models: seconds of each part of a sound, and one call against the guided teacher.

    python -m recipes.benchmarks.latency --machine "two CPU cores"
    python -m recipes.benchmarks.latency --machine H100 --device cuda --repeats 3 --results samples/benchmark_cuda.json

Writes a row named after the machine into the results file and keeps its other rows. On the two x86 cores of
samples/benchmark_cpu.json, ten seconds of sound take 0.6 s in one call and 43 s in the teacher's 200 queries. All
numbers are medians of `--repeats` runs after one that does not count. The two sides of a ratio run in turn, so that slow
changes of the machine affect both alike. `cold_process_seconds` is a new process of `audiocm generate` until its file
exists.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import torch

import audiocm
from audiocm import GraphedTextToAudio, TextToAudioPipeline, TextToSpeechPipeline
from audiocm.diffusion import solvers
from audiocm.evaluation.provenance import commit
from audiocm.files import write_json
from recipes.benchmarks.timing import Stopwatch, median_seconds, wall_seconds
from recipes.text_to_speech.evaluate import read_sentences

PROMPT = "a dog barks while rain falls on a roof"


def seeded() -> torch.Generator:
    """Returns the generator of every measured sound."""
    return torch.Generator().manual_seed(0)


@torch.no_grad()
def time_parts(pipe: TextToAudioPipeline, batch: int, seconds: float, repeats: int) -> dict[str, float]:
    """Returns the seconds of each part for `batch` sounds and of the whole call, and its real-time factor `rtf`."""
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
        "whole": lambda: pipe(prompts, seconds, 1, 3.0, generator=seeded()),
    }
    times = {name: median_seconds(action, repeats, device) for name, action in actions.items()}
    return times | {"rtf": times["whole"] / (seconds * batch)}


def time_recorded(pipe: TextToAudioPipeline, batch: int, seconds: float, repeats: int) -> dict[str, float]:
    """Returns the seconds of a whole call, text to sound on the CPU, as one CUDA graph (`GraphedTextToAudio`) and
    without, in turn, and the real-time factor of the recorded one."""
    fast, prompts = GraphedTextToAudio(pipe, batch, seconds), [PROMPT] * batch
    actions = {
        "recorded": lambda: fast(prompts, 3.0, seeded(), on_failure="return"),
        "eager": lambda: pipe(prompts, seconds, 1, 3.0, generator=seeded(), on_failure="return"),
    }
    times = [{name: median_seconds(action, 5, pipe.device) for name, action in actions.items()} for _ in range(repeats)]
    middle = {name: median(one[name] for one in times) for name in actions}
    return middle | {"rtf": middle["recorded"] / (seconds * batch)}


def compare_sounds(
    student: TextToAudioPipeline, teacher: TextToAudioPipeline, seconds: float, repeats: int
) -> dict[str, float]:
    """Times one sound end to end: one call (median of five) and 100 guided Euler steps (200 queries), in turn."""
    one, many = [], []
    for _ in range(repeats):
        call = [wall_seconds(lambda: student(PROMPT, seconds, 1, 3.0, generator=seeded())) for _ in range(5)]
        one.append(median(call))
        steps = {"solver": solvers.euler, "generator": seeded()}
        many.append(wall_seconds(lambda steps=steps: teacher(PROMPT, seconds, 100, 3.0, **steps)))
    ratios = {"queries": 200, "wall_ratio": median(m / o for o, m in zip(one, many, strict=True))}
    return {"student": median(one), "teacher": median(many)} | ratios


def compare_models(pipe: TextToAudioPipeline, other: TextToAudioPipeline, seconds: float, repeats: int) -> dict:
    """Times one call and two calls of a student and one of another student, in turn; returns medians and ratios."""
    times: dict[str, list[float]] = {"one call": [], "two calls": [], "other": []}
    for _ in range(4 * repeats + 1):  # the first warms up
        for name, model, calls in (("one call", pipe, 1), ("two calls", pipe, 2), ("other", other, 1)):
            times[name].append(wall_seconds(lambda m=model, n=calls: m(PROMPT, seconds, n, 2.0, generator=seeded())))
    one, two, before = (own[1:] for own in times.values())
    ratios = {
        "one call to other": median(a / b for a, b in zip(one, before, strict=True)),
        "two calls to one": median(a / b for a, b in zip(two, one, strict=True)),
    }
    return {name: median(own[1:]) for name, own in times.items()} | ratios


def compare_speech(student: TextToSpeechPipeline, teacher: TextToSpeechPipeline, repeats: int) -> dict[str, float]:
    """Times sentences by one call and by the teacher's 50, in turn; returns medians of ratios and speeds."""
    texts = [text for _, text in read_sentences()][:: 200 // (2 * repeats)]
    sides = {"student": (student, 1, None), "teacher": (teacher, 50, solvers.euler)}
    watches = {side: Stopwatch(pipe.transformer) for side, (pipe, _, _) in sides.items()}
    times: dict[str, list[tuple[float, float, float]]] = {side: [] for side in sides}
    for text in [texts[0], *texts]:  # the first warms up
        for side, (pipe, steps, solver) in sides.items():
            watches[side].seconds, sounds = 0.0, []
            options = {"num_inference_steps": steps, "solver": solver, "generator": seeded()}
            spent = wall_seconds(lambda p=pipe, t=text, o=options, s=sounds: s.extend(p(t, **o).audios))
            times[side].append((watches[side].seconds, spent, len(sounds[0]) / pipe.sample_rate))
    one, many = (times[side][1:] for side in ("student", "teacher"))
    first = wall_seconds(lambda: next(iter(student.stream(" ".join(texts), num_inference_steps=1))))
    ratios = {
        "decoder_ratio": median(m[0] / o[0] for o, m in zip(one, many, strict=True)),
        "wall_ratio": median(m[1] / o[1] for o, m in zip(one, many, strict=True)),
    }
    rtf = sum(o[1] for o in one) / sum(o[2] for o in one)
    return {"sentences": len(texts), "calls": 50, **ratios, "rtf": rtf, "first_audio_seconds": first}


def time_process(model: str, repeats: int = 3) -> float:
    """Returns the median seconds from the start of a process to its first sound."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "audiocm", "generate", PROMPT, "--model", model, "--device", "cpu", "-o"]
        new = [[*command, f"{folder}/{i}.wav"] for i in range(repeats)]
        return median(wall_seconds(lambda c=c: subprocess.run(c, check=True, capture_output=True)) for c in new)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", required=True, help="name of the row")
    parser.add_argument("--results", type=Path, default=Path("samples/benchmark_cpu.json"))
    parser.add_argument("--model", default="tta")
    parser.add_argument("--teacher", default="tta-teacher")
    parser.add_argument("--speech", default="tts", help="the student; empty to leave speech out")
    parser.add_argument("--speech-teacher", default="tts-teacher")
    parser.add_argument("--against", default="", help="another student, to compare one call with")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sounds = [TextToAudioPipeline.from_pretrained(name, device=args.device) for name in (args.model, args.teacher)]
    on_gpu = args.device.startswith("cuda")
    device = torch.cuda.get_device_name() if on_gpu else f"{platform.machine()}, {args.threads} threads"
    row = {"device": device, "commit": commit(), "audiocm": audiocm.__version__, "torch": torch.__version__}
    row |= {"seconds": args.seconds, "repeats": args.repeats}
    row["batch"] = {str(n): time_parts(sounds[0], n, args.seconds, args.repeats) for n in (1, 16)}
    row["teacher_200_queries"] = compare_sounds(*sounds, args.seconds, max(1, args.repeats // 2))
    if args.speech:
        names = (args.speech, args.speech_teacher)
        voices = [TextToSpeechPipeline.from_pretrained(name, device=args.device) for name in names]
        row["speech"] = compare_speech(*voices, args.repeats)
    if args.against:
        other = TextToAudioPipeline.from_pretrained(args.against, device=args.device)
        row["against"] = compare_models(sounds[0], other, args.seconds, args.repeats)
    if on_gpu:
        halves = TextToAudioPipeline.from_pretrained(args.model, device=args.device, torch_dtype=torch.float16)
        row["recorded, float16"] = {str(n): time_recorded(halves, n, args.seconds, args.repeats) for n in (1, 16, 64)}
    else:
        row["cold_process_seconds"] = time_process(args.model)
    rows = json.loads(args.results.read_text()) if args.results.exists() else {}
    write_json(args.results, rows | {args.machine: row})
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
