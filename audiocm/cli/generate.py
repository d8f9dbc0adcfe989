"""`audiocm generate`: prompts to sound files."""

from __future__ import annotations

import argparse
import time

from .loading import load_pipeline, quiet_libraries

EXAMPLES = """examples:
  audiocm generate "a dog barks" -o dog.wav
  audiocm generate "rain on a tin roof" -o rain.flac --seconds 8 --seed 3
  audiocm generate "a dog barks" "a violin plays a rising scale" -o sounds --num 4
  audiocm generate --prompts prompts.txt -o sounds --guidance 4
  audiocm generate "a dog barks" -o teacher.wav --model tta-teacher --steps 18

A folder gets 000_0.wav, 000_1.wav, 001_0.wav ... (prompt, take) and manifest.jsonl. Take k has seed SEED + k: the same
seed gives the same sound, alone or among others."""


def generate_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `audiocm generate`; None: what the model says."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    add = parser.add_argument
    add("prompt", nargs="*", metavar="PROMPT", help="what should sound, in words")
    add("-o", "--output", required=True, metavar="FILE_OR_FOLDER", help="a .wav, .flac or .ogg file, or a folder")
    add("--prompts", metavar="FILE", help="more prompts, one a line")
    add("--seconds", type=float, default=4.0, help="length of a sound (default 4; the bundled models: 0.5 to 10)")
    add("--steps", type=int, help="network calls of a student (default 1), solver steps of a teacher (default 18)")
    add(
        "--guidance", type=float, help="0 ignores the words, 1 follows them, more exaggerates (default: the model's, 3)"
    )
    add(
        "--temperature",
        type=float,
        help="size of the noise that a sound starts from: less is nearer the usual, 1 more various (default: the model's, .92)",
    )
    add("--seed", type=int, default=0, help="default 0")
    add("--num", type=int, default=1, help="sounds for each prompt (default 1)")
    add("--model", default="tta", help="tta (one call), tta-teacher, a folder or a hub id (default tta)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default auto)")


def generate_command(args: argparse.Namespace) -> None:
    """Check what is cheap to check, load the model, check the rest, make and write the sounds."""

    from .output import Destination, read_prompts

    prompts = [*args.prompt, *(read_prompts(args.prompts) if args.prompts else [])]
    if not prompts or not all(prompt.strip() for prompt in prompts):
        raise ValueError("the prompt is empty: say in words what should sound")
    if args.num < 1:
        raise ValueError(f"--num must be at least 1, not {args.num}")
    if not 0 <= args.seed <= 2**63 - args.num:
        raise ValueError(f"--seed must lie between 0 and 2^63, not {args.seed}")
    destination = Destination(args.output, len(prompts) * args.num)
    with quiet_libraries():
        begun = time.perf_counter()
        pipe = load_pipeline(args.model, args.device)
        steps = pipe.config.num_inference_steps if args.steps is None else args.steps
        guidance = pipe.config.guidance_scale if args.guidance is None else args.guidance
        heat = pipe.config.temperature if args.temperature is None else args.temperature
        pipe.check_inputs(prompts, args.seconds, steps, guidance, temperature=heat)
        jobs = [(i, take, args.seed + take) for i in range(len(prompts)) for take in range(args.num)]
        common = {"steps": steps, "guidance": guidance, "temperature": heat, "model": args.model}
        _generate(pipe, prompts, jobs, destination, args, common)
    spent = time.perf_counter() - begun
    many = f"{len(jobs)} sounds" if len(jobs) > 1 else f"{args.seconds:g} s of sound"
    print(f"{args.output}: {many} in {spent:.1f} s, model {args.model}, steps {steps}, guidance {guidance:g}")


def _generate(pipe, prompts: list[str], jobs: list[tuple[int, int, int]], destination, args, common: dict) -> None:
    """Sounds of all jobs (prompt, take, seed) in batches; the manifest names what was written, even if one fails."""
    import torch
    from tqdm import tqdm

    size, rows = 16 if pipe.device.type == "cuda" else 4, []
    bar = tqdm(total=len(jobs), unit="sound", disable=len(jobs) == 1)
    try:
        for start in range(0, len(jobs), size):
            batch = jobs[start : start + size]
            audios = pipe(
                [prompts[i] for i, _, _ in batch], args.seconds, common["steps"], common["guidance"],
                generator=[torch.Generator().manual_seed(seed) for _, _, seed in batch], temperature=common["temperature"],
            ).audios  # fmt: skip
            for (i, take, seed), wav in zip(batch, audios, strict=True):
                file = destination.write(i, take, wav.numpy(), pipe.sample_rate)
                rows.append({"file": file, "prompt": prompts[i], "seed": seed, **common})
                bar.update()
    finally:
        bar.close()
        destination.finish(rows)
