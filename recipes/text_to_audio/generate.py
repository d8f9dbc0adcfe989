"""Shared by the text-to-audio tables: the systems to compare, the words and seeds, and the generation of sounds."""

import argparse
import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from audiocm.audio.io import decode, resample
from audiocm.files import atomic_write, read_json_lines, write_json
from audiocm.pipelines.failures import decode_checked
from audiocm.pipelines.text_to_audio import TextToAudioPipeline
from recipes.benchmarks.timing import Stopwatch
from recipes.judges import corpus_entries

BUCKET = 0.5  # seconds: lengths are rounded up to a multiple, so that few shapes occur


@dataclass(frozen=True)
class System:
    """A row of the table: `steps` of `model` at `guidance`; 0 steps are the codec alone, model "" the real clips."""

    name: str
    model: str
    steps: int
    guidance: float
    only_captions: bool = False


def systems(args: argparse.Namespace) -> list[System]:
    """Returns the rows of the table. `--sweep` adds guidance weights of the student, `--row` any one-call model."""
    w = args.guidance
    rows = [System("real", "", 0, 0, True), System("codec", args.student, 0, 0, True)]
    rows += [System(f"teacher-{n}", args.teacher, n, w) for n in args.teacher_steps]
    rows += [System(f"student-{n}", args.student, n, w) for n in (1, 2, 4)]
    rows += [System(f"student-1 w={v:g}", args.student, 1, v, True) for v in args.sweep]
    named = {row.name: row for row in rows + [parse_row(text, w) for text in args.row]}
    return [row for row in named.values() if not args.systems or row.name in args.systems]


def parse_row(text: str, guidance: float) -> System:
    """Returns the System of `NAME=MODEL[@GUIDANCE][:STEPS]`, with a bundled name or a folder, and one step by default.

    Raises ValueError otherwise."""
    pattern = r"(?P<name>.+)=(?P<model>[^=@:]+)(@(?P<guidance>\d*\.?\d+))?(:(?P<steps>[1-9]\d*))?"
    match = re.fullmatch(pattern, text)
    if not match:
        raise ValueError(f"row {text!r}: must be NAME=MODEL, NAME=MODEL@GUIDANCE or either with :STEPS at the end")
    return System(match["name"], match["model"], int(match["steps"] or 1), float(match["guidance"] or guidance))


def draw_plan(args: argparse.Namespace) -> list[dict]:
    """Returns an entry for each sound: set, id, take, prompt, labels, seconds, seed and, of captions, the real clip.

    Clips are drawn by a hash of their names: with a few clips more or less, the draw is nearly the same."""
    lines = corpus_entries(args.corpus)
    taken = {e.get("clip") for e in json.loads(args.other_than.read_text())} if args.other_than else set()
    held = [e for e in lines if e["split"] == args.split and e["kind"] in args.kinds and e.get("captions")]
    held = [e for e in held if e["file"] not in taken]
    if not held:
        raise ValueError(f"{', '.join(args.corpus)}: no captioned {args.split} clips of kinds {', '.join(args.kinds)}")
    order = sorted(held, key=lambda e: sha256(f"{args.seed} {Path(e['file']).name}".encode()).digest())
    drawn = {e["file"] for e in order[: args.clips]}
    chosen = [e for e in held if e["file"] in drawn]
    entries = []
    for i, e in enumerate(chosen):
        seconds = min(max(np.ceil(e["seconds"] / BUCKET) * BUCKET, 1.0), 10.0)
        words = {"prompt": e["captions"][0], "labels": e.get("labels", []), "kind": e["kind"], "clip": e["file"]}
        entries.append(
            {"set": "captions", "id": i, "take": 0, **words, "seconds": float(seconds), "seed": args.seed + i}
        )
    for i, p in enumerate(read_json_lines(args.prompts)):
        for take in range(args.takes):
            words = {key: p[key] for key in ("prompt", "labels", "kind")}
            seed = args.seed + 100_000 + 100 * i + take
            entries.append({"set": "prompts", "id": i, "take": take, **words, "seconds": args.seconds, "seed": seed})
    return entries


def clip_name(entry: dict) -> str:
    """Returns the name of a sound inside its set: its "name", or else its "id" and "take"."""
    return entry.get("name") or f"{entry['id']:03d}_{entry['take']}"


def entry_name(entry: dict) -> str:
    """Returns the name of a sound among those of all sets."""
    return f"{entry['set']}_{clip_name(entry)}"


def sound_file(folder: Path, entry: dict) -> Path:
    """Returns the file of a sound in the folder of its system."""
    return folder / entry["set"] / f"{clip_name(entry)}.flac"


def write_sound(folder: Path, entry: dict, sound: torch.Tensor | None, rate: int) -> None:
    """Writes the sound of an entry; an empty file, which scoring counts as unusable, if the pipeline refused it."""
    with atomic_write(sound_file(folder, entry)) as partial:
        if sound is None:
            partial.touch()
        else:
            soundfile.write(partial, sound.clamp(-1, 1).numpy(), rate, format="FLAC")


def generate_latents(pipe: TextToAudioPipeline, system: System, batch: list[dict]) -> torch.Tensor:
    """Returns the latents [batch, channel, frame] of sounds of one length."""
    generators = [torch.Generator().manual_seed(e["seed"]) for e in batch]
    options = {"audio_length_in_s": batch[0]["seconds"], "num_inference_steps": system.steps, "output_type": "latent"}
    prompts = [e["prompt"] for e in batch]
    return pipe(prompts, guidance_scale=system.guidance, generator=generators, **options).audios


def decode_latents(pipe: Any, batch: list[dict], latents: Iterable[torch.Tensor]) -> list[torch.Tensor | None]:
    """Returns the sounds of latents, None for one that fails the pipeline's checks."""
    sounds: list[torch.Tensor | None] = []
    for entry, latent in zip(batch, latents, strict=True):
        latent = latent[None].to(next(pipe.codec.vae.parameters()).device)
        (sound,), (fault,) = decode_checked(pipe.codec, latent, round(entry["seconds"] * pipe.sample_rate))
        sounds.append(None if fault else sound)
    return sounds


def generate_batch(pipe: TextToAudioPipeline, system: System, batch: list[dict]) -> list[torch.Tensor | None]:
    """Returns sounds of one length, None for one that fails the pipeline's checks."""
    return decode_latents(pipe, batch, generate_latents(pipe, system, batch))


def round_trip(pipe: Any, batch: list[dict]) -> list[torch.Tensor]:
    """Encodes and decodes the real clips one by one, as their lengths differ."""
    device, sounds = next(pipe.vae.parameters()).device, []
    for entry in batch:
        wav, rate = decode(Path(entry["clip"]).read_bytes())
        wav = torch.from_numpy(resample(wav if wav.ndim == 1 else wav.mean(1), rate, pipe.sample_rate))
        sounds.append(pipe.codec.decode(pipe.codec.encode(wav[None].to(device)))[0, : len(wav)].cpu())
    return sounds


def generate_system(system: System, entries: list[dict], out: Path, device: str, batch: int) -> None:
    """Writes the missing sounds of a system and facts.json, with queries and seconds per sound."""
    folder = out / system.name.replace(" ", "_")
    wanted = [e for e in entries if (e["set"] == "captions" or not system.only_captions)]
    todo = sorted((e for e in wanted if not sound_file(folder, e).exists()), key=lambda e: e["seconds"])
    if not todo:
        return
    pipe = TextToAudioPipeline.from_pretrained(system.model, device=device)
    watch, started, count, refused = Stopwatch(pipe.transformer), time.perf_counter(), len(todo), []
    while todo:
        part = [e for e in todo[:batch] if e["seconds"] == todo[0]["seconds"]]
        todo = todo[len(part) :]
        sounds = generate_batch(pipe, system, part) if system.steps else round_trip(pipe, part)
        for entry, sound in zip(part, sounds, strict=True):
            refused += [entry_name(entry)] if sound is None else []
            write_sound(folder, entry, sound, pipe.sample_rate)
        print(f"{system.name}: {len(todo)} left", flush=True)
    watch.remove()
    facts = {"queries": watch.rows / count, "seconds a sound": (time.perf_counter() - started) / count}
    write_json(folder / "facts.json", facts | {"device": device_name(device), "batch": batch, "refused": refused})


def time_system(system: System, prompts: list[dict], seconds: float, device: str) -> dict:
    """Times a batch of prompts end to end, after a first sound: seconds per sound, its length, device and batch."""
    pipe = TextToAudioPipeline.from_pretrained(system.model, device=device)
    batch = [p | {"set": "prompts", "id": i, "take": 0, "seed": i, "seconds": seconds} for i, p in enumerate(prompts)]
    generate_batch(pipe, system, batch[:1])
    started = time.perf_counter()
    generate_batch(pipe, system, batch)
    spent = time.perf_counter() - started
    facts = {"seconds a sound": spent / len(batch), "of seconds": seconds}
    return facts | {"device": device_name(device), "batch": len(batch)}


def device_name(device: str) -> str:
    """Returns the name of a device, for a results file."""
    return f"cpu, {torch.get_num_threads()} threads" if device == "cpu" else torch.cuda.get_device_name()


def load_plan(args: argparse.Namespace) -> list[dict]:
    """Returns plan.json of the output folder. If it is missing, it is `--plan`'s file or drawn from the corpus."""
    out = Path(args.output)
    out.mkdir(parents=True, exist_ok=True)
    stored = out / "plan.json"
    known = stored if stored.exists() else args.plan
    entries = json.loads(known.read_text()) if known else draw_plan(args)
    stored.write_text(json.dumps(entries, ensure_ascii=False, indent=0))
    return entries


def generate(args: argparse.Namespace) -> None:
    """Generates the sounds of all systems except the real clips."""
    entries = load_plan(args)
    for system in systems(args):
        if system.model:
            generate_system(system, entries, Path(args.output), args.device, args.batch)
