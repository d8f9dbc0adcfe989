"""The bundled teacher distilled as if it were someone else's, in full and as LoRA, and scored beside the shipped student.

    python -m recipes.teachers.bundled full runs/bundled --data data/corpus/manifest.jsonl   # 4 minutes
    python -m recipes.teachers.bundled lora runs/bundled --data data/corpus/manifest.jsonl   # 4 minutes
    python -m recipes.teachers.bundled table runs/bundled --prompts prompts.jsonl --reference real

The adapter below is a plain one, as the guide describes them: it knows how the network is called, and nothing of how
audiocm distils its own. So w goes into the time embedding's bias, and a LoRA file has one w. Every command goes on where it
was interrupted, and takes less than ten minutes of one GPU. `prompts.jsonl` and the real sounds are those of
`recipes.teachers.audioldm sounds`: OUT/sounds/test/manifest.jsonl and OUT/sounds/test.
"""

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audiocm import TextToAudioPipeline
from audiocm.audio.io import write_wave
from audiocm.cli.main import main as audiocm
from audiocm.diffusion.denoiser import Condition
from audiocm.evaluation import score
from audiocm.evaluation.provenance import commit
from audiocm.files import read_json_lines
from audiocm.teachers import Adapter, register_adapter
from audiocm.teachers.bundled import TextToAudio
from audiocm.teachers.students import bake
from audiocm.training.run import best_device
from recipes.judges import PREPROCESSING, columns_of, table_card, write_results

W = 3.5
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
        parts = {**self.pipe.config, **self.pipe.components, "transformer": net}
        parts |= {"guidance_scale": W, "num_inference_steps": 1}
        type(self.pipe)(**{k: v for k, v in parts.items() if not k.startswith("_")}).save_pretrained(folder)


def distil(kind: str, teacher: str, out: Path, data: str, more: Sequence[str]) -> None:
    """Runs `audiocm distill` with the plain adapter. Raises ValueError if it fails."""
    register_adapter("TextToAudioPipeline")(Plain)
    try:
        if audiocm(["distill", teacher, "--data", data, "-o", str(out / kind), *OPTIONS[kind], *more]):
            raise ValueError(f"the student {kind} could not be trained")
    finally:
        register_adapter("TextToAudioPipeline")(TextToAudio)


def write_table(
    systems: dict[str, tuple[str, int | None]], out: Path, prompts: Path, reference: Path, seconds: float, **judges: Any
) -> str:
    """Generates and scores the sounds of (model, number of steps) by name; returns the table, also in OUT/table.md."""
    lines, rows, card = read_json_lines(prompts), {}, {}
    for name, (model, steps) in systems.items():
        folder = out / "generated" / name
        if not folder.is_dir() or len(list(folder.glob("*.wav"))) < len(lines):
            folder.mkdir(parents=True, exist_ok=True)
            pipe = TextToAudioPipeline.from_pretrained(model).to(best_device())
            options = {} if steps is None else {"num_inference_steps": steps}
            for i, line in enumerate(lines):
                wav = pipe(
                    line["prompt"], seconds, guidance_scale=W, generator=torch.Generator().manual_seed(i), **options
                ).audios[0]
                write_wave(folder / line["file"], np.asarray(wav, np.float32).clip(-1, 1), pipe.sample_rate)
        result = score(
            folder, reference, prompts=prompts, metrics=("fad", "alignment"), preprocessing=PREPROCESSING, **judges
        )
        rows[name] = {"clips": len(lines), "scores": columns_of(result, "", "real clips")}
        card = table_card(result)
    columns = list(dict.fromkeys(name for row in rows.values() for name in row["scores"]))
    device = torch.cuda.get_device_name() if best_device().type == "cuda" else "CPU"
    card |= {"commit": commit(), "device": device, "options": OPTIONS, "w": W}
    return write_results(out / "table.json", {"card": card, "systems": rows}, columns)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("full", "lora", "table"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--teacher", default="tta-teacher")
    parser.add_argument("--data")
    parser.add_argument("--prompts", type=Path)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--seconds", type=float, default=5.12)
    parser.add_argument("--minutes", default="4")
    parser.add_argument("--steps", help="instead of --minutes")
    parser.add_argument("--rank", default="64", help="of the LoRA")
    parser.add_argument("--batch", default="64")
    args = parser.parse_args(argv)
    needed = ("prompts", "reference") if args.what == "table" else ("data",)
    if missing := [name for name in needed if getattr(args, name) is None]:
        parser.error(f"--{missing[0]} is needed")
    if args.what == "table":
        systems = {"teacher": (args.teacher, None), "shipped student": ("tta", None)}
        systems |= {kind: (str(args.out / kind / "model"), None) for kind in OPTIONS}
        print(write_table(systems, args.out, args.prompts, args.reference, args.seconds))
        return
    budget = ["--steps", args.steps] if args.steps else ["--minutes", args.minutes]
    rank = ["--lora", args.rank] if args.what == "lora" else []
    cache = ["--cache", str(args.out), "--seconds", str(args.seconds), "--batch", args.batch]
    distil(args.what, args.teacher, args.out, args.data, [*cache, *budget, *rank])


if __name__ == "__main__":
    main()
