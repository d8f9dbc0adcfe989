"""The command line: `audiocm generate | speak | train | score | compare`. It only wires; a command's module is imported when asked for.

A command is (one line of help, function that adds its arguments, function that runs it). Bad input is a ValueError
anywhere below: one line on stderr, exit code 2.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from . import __version__

EXAMPLES = """examples:
  audiocm generate "a dog barks" -o dog.wav
  audiocm generate "rain on a tin roof" -o rain.flac --seconds 8 --seed 3
  audiocm generate "a dog barks" "a violin plays a rising scale" -o sounds --num 4
  audiocm generate --prompts prompts.txt -o sounds --guidance 4
  audiocm generate "a dog barks" -o teacher.wav --model tta-teacher --steps 18

A folder gets 000_0.wav, 000_1.wav, 001_0.wav ... (prompt, take) and manifest.jsonl. Take k has seed SEED + k: the same
seed gives the same sound, alone or among others."""


class Parser(argparse.ArgumentParser):
    """argparse that says what is wrong in one line."""

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


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
    from .sounds import Destination, read_prompts

    prompts = [*args.prompt, *(read_prompts(args.prompts) if args.prompts else [])]
    if not prompts or not all(prompt.strip() for prompt in prompts):
        raise ValueError("the prompt is empty: say in words what should sound")
    if args.num < 1:
        raise ValueError(f"--num must be at least 1, not {args.num}")
    if not 0 <= args.seed <= 2**63 - args.num:
        raise ValueError(f"--seed must lie between 0 and 2^63, not {args.seed}")
    destination = Destination(args.output, len(prompts) * args.num)
    with quiet():
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


def load_pipeline(model: str, device: str, kind: str = "TextToAudioPipeline"):
    """A pipeline (by its public name) on a device; "auto" is the first GPU, else the CPU. ValueError for an unknown device."""
    with uncollected():
        import audiocm

        from .bundles import model_folder
        from .devices import usable_device

        if "/" not in model:
            model_folder(model)  # a wrong name is told before the slow imports
        return getattr(audiocm, kind).from_pretrained(model, device=usable_device(device))


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection during the start: imports and models are here to stay, and searching them takes a fifth of it.

    Afterwards it never looks at them again, not even at exit.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def quiet() -> Iterator[None]:
    """Libraries keep their notices to themselves; audiocm's own warnings are one line each."""
    for name, value in {"TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error",
                        "DIFFUSERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}.items():  # fmt: skip
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", message="(prompt|text) ")
        warnings.showwarning = lambda message, *_rest, **_more: print(f"audiocm: warning: {message}", file=sys.stderr)
        yield


def train_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `audiocm train`; all others are fields of the recipe."""
    parser.usage = "%(prog)s RECIPE [--field value ...] [-o DIR]"
    parser.epilog = "--field value: an argument of the recipe's run(); a wrong one lists those that it takes."
    parser.add_argument("recipe", metavar="RECIPE", help="a file with `def run(**fields) -> Run`, as recipes/tiny.py")
    parser.add_argument("-o", "--output", metavar="DIR", help="checkpoints, log, samples (default runs/NAME); resumes")
    parser.set_defaults(fields=[])


def train_command(args: argparse.Namespace) -> None:
    """Run a recipe through audiocm.train."""
    from .train import train_recipe

    train_recipe(args.recipe, args.fields, args.output)


def _elsewhere(module: str, name: str) -> Callable[[], tuple[Callable, Callable]]:
    """A command whose module offers NAME_arguments(parser) and NAME_command(args)."""

    def find() -> tuple[Callable, Callable]:
        home = import_module(module, __package__)
        return getattr(home, f"{name}_arguments"), getattr(home, f"{name}_command")

    return find


COMMANDS: dict[str, tuple[str, Callable[[], tuple[Callable, Callable]]]] = {
    "generate": ("make sounds from words", lambda: (generate_arguments, generate_command)),
    "speak": ("speak a text", _elsewhere(".speak", "speak")),
    "train": ("train a recipe", lambda: (train_arguments, train_command)),
    "score": ("score a folder of sounds", _elsewhere(".scoring_command", "score")),
    "compare": ("compare two systems: folders, or results of score --json", _elsewhere(".scoring_command", "compare")),
}


def _front(argv: Sequence[str]) -> None:
    """`audiocm`, `audiocm --help`, `audiocm --version` and unknown commands."""
    listing = "\n".join(f"  {name:10} {text}" for name, (text, _) in COMMANDS.items())
    parser = Parser(
        prog="audiocm", description="One-step text-to-audio and text-to-speech, and scores that can be trusted.",
        epilog=f"commands (audiocm COMMAND --help says more):\n{listing}\n\n{EXAMPLES.split(chr(10) * 2)[0]}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"audiocm {__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help=", ".join(COMMANDS))
    parser.parse_args(argv[:1])


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. 0: done; 2: bad input, told in one line on stderr (AUDIOCM_TRACEBACK=1: in full); 130: interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] not in COMMANDS:
        _front(argv)
    name = argv[0]
    try:
        arguments, run = COMMANDS[name][1]()
        parser = Parser(prog=f"audiocm {name}", description=COMMANDS[name][0].capitalize() + ".", allow_abbrev=False)
        arguments(parser)
        args, fields = parser.parse_known_args(argv[1:])
        if fields and not hasattr(args, "fields"):
            parser.error(f"unrecognized arguments: {' '.join(fields)}")
        args.fields = fields
        run(args)
    except KeyboardInterrupt:
        print("audiocm: interrupted", file=sys.stderr)
        return 130
    except (ValueError, ImportError, OSError, RuntimeError) as error:
        told = None if os.environ.get("AUDIOCM_TRACEBACK") else _told(error)
        if told is None:
            raise
        print(f"audiocm: {told}", file=sys.stderr)
        return 2
    return 0


def _told(error: Exception) -> str | None:
    """The one line for an error that a user can do something about; None for all others."""
    if not isinstance(error, ValueError):
        from .conditioning import explained

        error = explained(error)
    return " ".join(str(error).split()) if isinstance(error, ValueError | ImportError) else None


if __name__ == "__main__":
    sys.exit(main())
