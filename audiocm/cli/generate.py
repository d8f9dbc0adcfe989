"""`audiocm generate`: prompts to audio files."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from .loading import load_pipeline, quiet_libraries

if TYPE_CHECKING:
    from ..pipelines.text_to_audio import TextToAudioPipeline
    from .output import Destination

EXAMPLES = """examples:
  audiocm generate "a dog barks" -o dog.wav
  audiocm generate "rain on a tin roof" -o rain.flac --seconds 8 --seed 3
  audiocm generate "a dog barks" "a violin plays a rising scale" -o sounds --num 4
  audiocm generate --prompts prompts.txt -o sounds --guidance 4
  audiocm generate "a dog barks" -o teacher.wav --model tta-teacher --steps 18

A folder gets 000_0.wav, 000_1.wav, 001_0.wav ... (prompt, take) and manifest.jsonl. Take k has seed SEED + k; the same seed
gives the same sound, alone or among others."""


def generate_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `audiocm generate`; None stands for the model's default."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    add = parser.add_argument
    add("prompt", nargs="*", metavar="PROMPT", help="description of a sound")
    add("-o", "--output", required=True, metavar="FILE_OR_FOLDER", help="a .wav, .flac or .ogg file, or a folder")
    add("--prompts", metavar="FILE", help="text file with more prompts, one per line")
    add("--seconds", type=float, default=4.0, help="length of each sound (default 4; bundled models: 0.5 to 10)")
    add("--steps", type=int, help="network calls of a student (default 1), solver steps of a teacher (default 18)")
    weight = "classifier-free guidance: 0 ignores the prompt, 1 is plain, more exaggerates (default: the model's, 3)"
    add("--guidance", type=float, help=weight)
    noise = "standard deviation of the initial noise: lower is safer, 1 gives more variety (default: the model's, 0.92)"
    add("--temperature", type=float, help=noise)
    add("--seed", type=int, default=0, help="seed of the first take (default 0)")
    add("--num", type=int, default=1, help="takes per prompt (default 1)")
    add("--model", default="tta", help="tta (one network call), tta-teacher, a folder or a hub id (default tta)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default auto)")


def generate_command(args: argparse.Namespace) -> None:
    """Runs `audiocm generate`. Raises ValueError for wrong options, before the model is loaded if that is possible."""
    from .output import Destination, read_prompts

    prompts = [*args.prompt, *(read_prompts(args.prompts) if args.prompts else [])]
    if not prompts or not all(prompt.strip() for prompt in prompts):
        raise ValueError("the prompt is empty: describe a sound in words")
    if args.num < 1:
        raise ValueError(f"--num must be at least 1, not {args.num}")
    if not 0 <= args.seed <= 2**63 - args.num:
        raise ValueError(f"--seed must lie between 0 and 2^63, not {args.seed}")
    destination = Destination(args.output, len(prompts) * args.num)
    with quiet_libraries():
        start = time.perf_counter()
        pipe = load_pipeline(args.model, args.device)
        config = pipe.config
        args.steps = config.num_inference_steps if args.steps is None else args.steps
        args.guidance = config.guidance_scale if args.guidance is None else args.guidance
        args.temperature = config.temperature if args.temperature is None else args.temperature
        pipe.check_inputs(prompts, args.seconds, args.steps, args.guidance, temperature=args.temperature)
        count = _generate(pipe, prompts, args, destination)
    elapsed = time.perf_counter() - start
    amount = f"{count} sounds in {elapsed:.1f} s" if count > 1 else f"{args.seconds:g} s of sound in {elapsed:.1f} s"
    print(f"{args.output}: {amount}, model {args.model}, steps {args.steps}, guidance {args.guidance:g}")


def _generate(pipe: TextToAudioPipeline, prompts: list[str], args: argparse.Namespace, destination: Destination) -> int:
    """Writes all takes of all prompts, batch by batch, and a manifest of those written, even after an error."""
    import torch
    from tqdm import tqdm

    jobs = [(i, take) for i in range(len(prompts)) for take in range(args.num)]
    settings = {name: getattr(args, name) for name in ("steps", "guidance", "temperature", "model")}
    size, rows = 16 if pipe.device.type == "cuda" else 4, []
    bar = tqdm(total=len(jobs), unit="sound", disable=len(jobs) == 1)
    try:
        for first in range(0, len(jobs), size):
            batch = jobs[first : first + size]
            texts = [prompts[i] for i, _ in batch]
            generators = [torch.Generator().manual_seed(args.seed + take) for _, take in batch]
            noise = {"generator": generators, "temperature": args.temperature}
            output = pipe(texts, args.seconds, args.steps, args.guidance, **noise)
            for (i, take), wav in zip(batch, output.audios, strict=True):
                file = destination.write(i, take, wav.numpy(), pipe.sample_rate)
                rows.append({"file": file, "prompt": prompts[i], "seed": args.seed + take, **settings})
                bar.update()
    finally:
        bar.close()
        destination.finish(rows)
    return len(rows)
