"""What `audiocm distill` may be asked for, and what its output folder may hold: checked before anything is loaded."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

from ..checks import check_number, check_path, check_text, check_whole
from .distill_methods import WITH_CRITIC

SETTINGS = "distill.json"
# what another call with the same output folder may not change
FIXED = (
    "teacher",
    "data",
    "method",
    "lora",
    "w_range",
    "seconds",
    "batch",
    "accumulate",
    "lr",
    "seed",
)


def check_options(args: argparse.Namespace) -> None:
    """Raises ValueError for an option out of range."""
    for name, most in {"steps": 10**8, "batch": 10**5, "accumulate": 10**5, "lora": 10**5, "save_every": 10**8}.items():
        if getattr(args, name) is not None:
            check_whole(f"--{name.replace('_', '-')}", getattr(args, name), least=1, most=most)
    for name, most in {"minutes": 10**6, "lr": 10, "seconds": 10**4}.items():
        if getattr(args, name) is not None:
            check_number(f"--{name}", getattr(args, name), above=0, most=most)
    check_whole("--seed", args.seed, least=0, below=2**62)
    check_path("--data", args.data)
    for name, value in {"TEACHER": args.teacher, "--output": args.output, "--cache": args.cache}.items():
        if value is not None:
            check_text(name, value)  # safetensors opens no other names
            check_path(name, value)
    low, high = args.w_range[0], args.w_range[-1]
    if len(args.w_range) > 2 or not 0 <= low <= high < float("inf"):
        given = " ".join(f"{one:g}" for one in args.w_range)
        raise ValueError(f"--w-range must be one or two numbers from 0, the second above the first, not {given}")
    args.w_range = (low, high)
    if args.lora and args.shard:
        raise ValueError(
            "--shard is for full weights: a low-rank difference shares the teacher's weights, which it would cut up"
        )
    if args.shard and (args.compile or args.method in WITH_CRITIC):
        raise ValueError(f"--shard does not go with {'--compile' if args.compile else f'--method {args.method}'}")
    if args.push_to_hub and not re.fullmatch(r"[\w.-]+/[\w.-]+", args.push_to_hub):
        raise ValueError(f"--push-to-hub must be OWNER/NAME, not {args.push_to_hub!r}")
    if args.lr is None:
        args.lr = 1e-4 if args.lora else 1e-5


def run_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the options that must not change when a run goes on, as they are read from distill.json."""
    values = {name: getattr(args, name) for name in FIXED}
    return json.loads(json.dumps(values))


def check_output(output: Path, args: argparse.Namespace) -> None:
    """Raises ValueError if the folder holds something else than this run; deletes another run with --force."""
    from ..training.checkpoint import newest_checkpoint
    from .output import check_folder

    if output.exists() and not output.is_dir():
        raise ValueError(f"output {output} is a file: give a folder")
    for folder in (output, Path(args.cache or output)):
        check_folder(folder, folder)
    if args.force:
        for name in ("checkpoints", "best", "samples", "model"):
            shutil.rmtree(output / name, ignore_errors=True)
        for name in ("log.jsonl", SETTINGS):
            (output / name).unlink(missing_ok=True)
        return
    how = "choose another folder, or --force to begin anew"
    if not (output / SETTINGS).is_file():
        others = (
            sorted(one.name for one in output.iterdir() if not one.name.startswith("encoded-"))
            if output.is_dir()
            else []
        )
        if others:
            raise ValueError(f"output {output} is not empty ({others[0]}) and holds no run of distill: {how}")
        return
    if newest_checkpoint(output / "checkpoints") is None:
        return
    try:
        before = json.loads((output / SETTINGS).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{output / SETTINGS} is damaged: {how}") from error
    if args.seconds is None:
        args.seconds = before.get("seconds")
    different = [
        f"--{name.replace('_', '-')} {before.get(name)}, not {value}"
        for name, value in run_settings(args).items()
        if before.get(name) != value
    ]
    if different:
        raise ValueError(
            f"output {output} holds a run with {'; '.join(different)}: give the same options to go on, or {how}"
        )
