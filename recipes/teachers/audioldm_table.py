"""The table of `recipes.teachers.audioldm`: sounds of teacher and students by plain diffusers, and their scores."""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from audiocm import load_teacher
from audiocm.audio.io import read_wave, write_wave
from audiocm.embedders import load_embedder
from audiocm.embedders.registry import load_tagger
from audiocm.evaluation import score
from audiocm.evaluation.provenance import commit
from audiocm.files import read_json_lines, write_json
from audiocm.models.folders import SAFE
from audiocm.training.run import best_device
from recipes.judges import FACTS, PREPROCESSING, columns_of, table_card, write_results
from recipes.teachers.results import restore_sounds, store_sounds
from recipes.teachers.sounds import RATE, SECONDS

W, QUERIES = 3.5, 200  # queries of the teacher: 100 steps of two
METHODS = ("consistencytta", "lcm", "tcd")
MINUTES = {"codec": 7.0, "teacher": 7.0, "students": 1.7}  # of training


@dataclass(frozen=True)
class Size:
    """What `--tiny` and `--minutes` change: seconds of a sound, minutes of training or steps, batch, queries."""

    seconds: float = SECONDS
    minutes: float | None = None
    steps: int | None = None
    batch: int = 64
    queries: int = QUERIES
    timed_calls: int = 4
    resamples: int = 200  # of scores


TINY = Size(seconds=0.64, steps=2, batch=2, queries=4, timed_calls=1, resamples=40)


class Places:
    """Folders of a run: what its stages make, and the same in small files."""

    def __init__(self, out: Path):
        self.out, self.results = out, out / "results"
        self.codec, self.teacher, self.generated = out / "codec", out / "teacher", out / "generated"

    def sounds(self, split: str) -> Path:
        return self.out / "sounds" / split

    def student(self, method: str) -> Path:
        return self.out / method / "model"


def check_teacher(places: Places) -> None:
    """Raises ValueError if there is no teacher."""
    if not places.teacher.is_dir():
        raise ValueError(f"{places.teacher} is missing: call the stage teacher first")


def generate(folder: Path, out: Path, lines: Sequence[dict], size: Size, steps: int, w: float, end: float) -> float:
    """Writes a sound for each prompt by plain diffusers, except those that are there; returns the seconds of one call.

    Raises ValueError if time is over before the last one."""
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder, **SAFE).to(best_device())
    pipe.set_progress_bar_config(disable=True)
    options = {"audio_length_in_s": size.seconds, "num_inference_steps": steps, "guidance_scale": w}
    missing = [i for i, line in enumerate(lines) if not (out / line["file"]).is_file()]
    with tqdm(total=len(missing), desc=out.name, unit="sound") as bar:
        for start in range(0, len(missing), 32):
            rows = missing[start : start + 32]
            generators = [torch.Generator("cpu").manual_seed(i) for i in rows]
            for i, wav in zip(
                rows, pipe([lines[i]["prompt"] for i in rows], **options, generator=generators).audios, strict=True
            ):
                write_wave(out / lines[i]["file"], np.clip(wav, -1, 1).astype(np.float32), RATE)
                bar.update()
            if time.monotonic() > end and start + 32 < len(missing):
                raise ValueError(f"time is over before {out.name} is complete: the same command goes on")
    seconds = []
    for _ in range(size.timed_calls):
        start_time = time.perf_counter()
        pipe(lines[0]["prompt"], **options)
        seconds.append(time.perf_counter() - start_time)
    return statistics.median(seconds[1:] or seconds)


def generate_all(places: Places, size: Size, methods: Sequence[str], end: float) -> dict[str, dict[str, Any]]:
    """Writes the sounds of all systems, and their tar files; returns what a row of the table says besides scores."""
    check_teacher(places)
    lines = read_json_lines(places.sounds("test") / "manifest.jsonl")
    systems = {"teacher": (places.teacher, size.queries // 2, W)}
    systems |= {method: (places.student(method), 1, 1.0) for method in methods if places.student(method).is_dir()}
    stored = places.results / "generated"
    for name in ("codec", *systems):
        restore_sounds(stored, name, places.generated / name, RATE)
    code_sounds(places, lines, size)
    rows: dict[str, dict[str, Any]] = {"codec": {"clips": len(lines)}}
    for name, call in systems.items():
        facts = stored / f"{name}.json"
        if not facts.is_file():
            seconds = generate(call[0], places.generated / name, lines, size, *call[1:], end)
            write_json(facts, {"queries": size.queries if name == "teacher" else 1, "seconds a sound": seconds})
        rows[name] = json.loads(facts.read_text()) | {"clips": len(lines)}
    for name in rows:
        store_sounds(places.generated / name, stored, name)
    return rows


def code_sounds(places: Places, lines: Sequence[dict], size: Size) -> None:
    """Writes the real sounds as codec and vocoder give them back, except those that are there."""
    missing = [line for line in lines if not (places.generated / "codec" / line["file"]).is_file()]
    teacher, samples = load_teacher(places.teacher).to(best_device()), round(size.seconds * RATE)
    for line in tqdm(missing, desc="codec", unit="sound"):
        wav = torch.from_numpy(read_wave(places.sounds("test") / line["file"], RATE))[:samples]
        again = teacher.decode(teacher.encode(F.pad(wav, (0, samples - len(wav)))[None]))[0].cpu().numpy()
        write_wave(places.generated / "codec" / line["file"], np.clip(again, -1, 1).astype(np.float32), RATE)


def write_table(rows: dict[str, dict], places: Places, size: Size, tagger: str | None, embedders: Sequence[str]) -> str:
    """Scores the sounds of all systems; returns the table, which is also results/table.md and .json."""
    card = {"minutes": size.minutes or MINUTES, "steps": size.steps, "w": W}
    return score_rows(rows, places, places.sounds("test"), card, tagger, embedders, size.resamples)


def score_rows(
    rows: dict[str, dict],
    places: Places,
    real: Path,
    facts: dict[str, Any],
    tagger: str | None,
    embedders: Sequence[str],
    resamples: int = 200,
) -> str:
    """Scores generated/NAME of each row beside real sounds; returns the table, also in results/table.md and .json.

    The row `real` is what the tagger says of the real sounds themselves. The table is written after each system; one that cannot be scored says why. Without a tagger there are distances alone.
    Raises ValueError for a judge whose package is missing."""
    done: dict[str, dict] = {}
    lines = read_json_lines(real / "manifest.jsonl")
    has_labels = all("labels" in line for line in lines)
    tags = [*(["alignment"] if tagger else []), *(["hits"] if tagger and has_labels else [])]
    rows = ({"real": {"clips": len(lines)}} if tags else {}) | rows
    options = {"prompts": real / "manifest.jsonl", "embedders": [load_embedder(name) for name in embedders]}
    options |= {"tagger": load_tagger(tagger) if tagger else None, "max_unusable": 0.99}
    options |= {"preprocessing": PREPROCESSING, "resamples": resamples}
    device = torch.cuda.get_device_name() if best_device().type == "cuda" else "CPU"
    card, table = {"commit": commit(), "device": device} | facts, ""
    for name, row in rows.items():
        done[name] = row | {"scores": {}}
        if "failed" not in row:
            try:
                made, metrics = (real, tags) if name == "real" else (places.generated / name, ["fad", *tags])
                result = score(made, real, metrics=metrics, **options)
                done[name]["scores"] = columns_of(result, "", "test clips")
                card = table_card(result) | card
            except ValueError as error:
                done[name]["failed"] = str(error)
        columns = list(dict.fromkeys(title for one in done.values() for title in one["scores"]))
        table = write_results(
            places.results / "table.json", {"card": card, "systems": done}, columns, (*FACTS, "failed")
        )
    return table
