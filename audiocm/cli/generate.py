"""`audiocm generate`: prompts to audio files."""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import TYPE_CHECKING

from ..checks import check_number, check_whole
from . import graphs
from .loading import load_pipeline, quiet_libraries, utf8_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import torch

    from ..pipelines.text_to_audio_sampler import TextToAudioSampler
    from .output import Destination

EXAMPLES = """examples:
  audiocm generate "a dog barks" -o dog.wav
  audiocm generate "rain on a tin roof" -o rain.flac --seconds 8 --seed 3
  audiocm generate "a dog barks" "a violin plays a rising scale" -o sounds --num 4
  audiocm generate --prompts prompts.txt -o sounds --guidance 4
  audiocm generate "rain on a tin roof" -o rain.wav --seconds 60 --loop
  audiocm generate "a dog barks" -o teacher.wav --model tta-teacher --steps 18

A folder gets 000_0.wav, 000_1.wav, 001_0.wav ... (prompt, take) and manifest.jsonl. Take k has seed SEED + k; the same seed
gives the same sound, alone or among others. A sound that is silent, clipped or not finite is made again with a seed
1,000,000 further; if some stay missing, the others are written and the exit code is 3."""


MAX_TAKES = 100_000
MAX_RETRIES = 1000
MAX_SECONDS = 24 * 3600


def generate_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `audiocm generate`; None stands for the model's default."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    add = parser.add_argument
    add("prompt", nargs="*", metavar="PROMPT", type=utf8_text, help="description of a sound")
    add("-o", "--output", required=True, metavar="FILE_OR_FOLDER", help="a .wav, .flac or .ogg file, or a folder")
    add("--force", action="store_true", help="replace a file, or the sounds of another run in a folder")
    add("--prompts", metavar="FILE", help="text file with more prompts, one per line")
    add(
        "--seconds",
        type=float,
        default=4.0,
        help="length of each sound (default 4); over 10 it is continued, part by part",
    )
    add("--loop", action="store_true", help="the end of each sound leads into its beginning without a seam")
    add("--steps", type=int, help="network calls of a student (default 1), solver steps of a teacher (default 18)")
    add(
        "--refine",
        type=int,
        metavar="STEPS",
        help="as --steps, with the same noise in each: keeps the sound of one call",
    )
    weight = "classifier-free guidance: 0 ignores the prompt, 1 is plain, more exaggerates (default: the model's, 3)"
    add("--guidance", type=float, help=weight)
    noise = "standard deviation of the initial noise: lower is safer, 1 gives more variety (default: the model's, 0.92)"
    add("--temperature", type=float, help=noise)
    add("--seed", type=int, default=0, help="seed of the first take (default 0)")
    add("--retries", type=int, default=3, help="tries with other seeds for a sound that fails (default 3)")
    add("--num", type=int, default=1, help="takes per prompt (default 1)")
    add("--model", default="tta", help="tta (one network call), tta-teacher, a folder or a hub id (default tta)")
    add(
        "--lora", metavar="FILE", help="a low-rank difference to the model's network: a .safetensors file or its folder"
    )
    add("--lora-scale", type=float, default=1.0, help="how much of it is added (default 1)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default auto)")
    add("--backend", choices=graphs.BACKENDS, default="auto", help=graphs.HELP)


def generate_command(args: argparse.Namespace) -> int:
    """Runs `audiocm generate` and returns its exit code, 3 if some sounds are missing.

    Raises ValueError for wrong options, before the model is loaded if that is possible."""
    from .output import Destination, print_summary, read_prompts

    prompts = [*args.prompt, *(read_prompts(args.prompts) if args.prompts is not None else [])]
    if not prompts or not all(prompt.strip() for prompt in prompts):
        raise ValueError("the prompt is empty: describe a sound in words")
    check_whole("--num", args.num, least=1, most=MAX_TAKES)
    check_whole("--retries", args.retries, least=0, most=MAX_RETRIES)
    check_whole("--seed", args.seed, least=0, below=2**62)
    check_number("--seconds", args.seconds, above=0, most=MAX_SECONDS)
    if args.refine is not None:
        if args.steps is not None:
            raise ValueError("--refine and --steps exclude each other: give one")
        args.steps = check_whole("--refine", args.refine, least=1)
    plain = args.lora is None and not args.loop and args.steps in (None, 1)
    bundled = graphs.find_bundled(args, "text-to-audio", args.seconds) if plain else None
    if bundled is not None or graphs.takes_export(args):
        return graphs.generate_with_graphs(args, prompts, bundled)
    destination = Destination(args.output, len(prompts) * args.num, args.force)
    with quiet_libraries():
        start = time.perf_counter()
        pipe = load_pipeline(args.model, args.device)
        if args.lora is not None:
            from ..teachers.lora import load_lora

            load_lora(pipe.transformer, args.lora, check_number("--lora-scale", args.lora_scale), merge=True)
        config = pipe.config
        args.steps = config.num_inference_steps if args.steps is None else args.steps
        args.guidance = config.guidance_scale if args.guidance is None else args.guidance
        args.temperature = config.temperature if args.temperature is None else args.temperature
        longest = config.seconds_range[1]
        is_long = args.loop or args.seconds > longest
        if is_long and args.refine is not None:
            raise ValueError(f"--refine is for sounds of at most {longest:g} seconds without --loop")
        seconds = longest if is_long else args.seconds
        pipe.check_inputs(prompts, seconds, args.steps, args.guidance, temperature=args.temperature)
        count = (_generate_long if is_long else _generate)(pipe, prompts, args, destination)
    return print_summary(args, count, len(prompts) * args.num, time.perf_counter() - start)


def _generate(pipe: TextToAudioSampler, prompts: list[str], args: argparse.Namespace, destination: Destination) -> int:
    """Writes all takes of all prompts, a batch at once; returns the number of those written."""
    import torch

    from ..pipelines.failures import attempt
    from .output import write_takes

    def make(texts: list[str], rows: list[int], seeds: list[int]) -> Iterable[tuple[torch.Tensor, str | None]]:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        options = {"generator": generators, "temperature": args.temperature, "max_retries": 0, "on_failure": "return"}
        options["refine"] = args.refine is not None
        output = pipe([texts[row] for row in rows], args.seconds, args.steps, args.guidance, **options)
        faults = {one.item: one.reason for one in output.failures}
        return ((wav, faults.get(i)) for i, wav in enumerate(output.audios))

    def make_batch(jobs: list[tuple[int, int]]) -> Iterable[tuple[np.ndarray | None, str | None, Sequence[int]]]:
        of_texts = partial(make, [prompts[i] for i, _ in jobs])
        attempts = attempt(of_texts, [args.seed + take for _, take in jobs], args.retries)
        return ((None if one.fault else one.made.numpy(), one.fault, one.seeds) for one in attempts)

    size = 16 if pipe.device.type == "cuda" else 4
    return write_takes(make_batch, args, prompts, destination, pipe.sample_rate, size)


def _generate_long(
    pipe: TextToAudioSampler, prompts: list[str], args: argparse.Namespace, destination: Destination
) -> int:
    """Writes sounds that are longer than the model's window, or loops, part by part; returns the number of them."""
    from tqdm import tqdm

    from ..pipelines.failures import AudioError
    from ..pipelines.filling import EditSettings
    from ..pipelines.sound_editor import SoundEditor
    from .output import report_missing

    editor, written = SoundEditor(pipe), 0
    settings = {name: getattr(args, name) for name in ("steps", "guidance", "temperature")}
    total = round(args.seconds * len(prompts) * args.num)
    try:
        with tqdm(total=total, unit="s of sound", unit_scale=True) as bar:
            for i, take in [(i, take) for i in range(len(prompts)) for take in range(args.num)]:
                seed = args.seed + take
                wanted = EditSettings(prompts[i], seed, max_retries=args.retries, **settings)
                try:
                    with destination.open(i, take, pipe.sample_rate) as (file, append):
                        for part in editor.stream(args.seconds, wanted, args.loop):
                            append(part)
                            bar.update(len(part) / pipe.sample_rate)
                except AudioError as error:
                    report_missing("sound", prompts[i], f"take {take}", f"cannot be continued: {error}")
                    continue
                row = {"file": file, "prompt": prompts[i], "seed": seed, "seconds": args.seconds, "loop": args.loop}
                destination.record(row | settings | {"model": args.model})
                written += 1
    finally:
        destination.report_old_sounds()
    return written
