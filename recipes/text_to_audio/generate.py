"""The sounds that the text-to-audio table judges: which systems say which words, and making them."""

from __future__ import annotations

import argparse
import json
import re
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import soundfile
import torch
from safetensors.torch import load_file, save_file

from recipes.judges import corpus_entries

LATENTS = "latents.safetensors"
BUCKET = 0.5  # seconds: lengths are rounded up to a multiple, so that few shapes occur


@dataclass(frozen=True)
class System:
    """`steps` of `model` at `guidance`; `steps` 0 = the codec alone, model "" = the real clips."""

    name: str
    model: str
    steps: int
    guidance: float
    only_captions: bool = False


def systems(args: argparse.Namespace) -> list[System]:
    """The table's rows; `--sweep` adds the student at one call for each guidance weight, `--row` any other one-call model."""
    w = args.guidance
    rows = [System("real", "", 0, 0, True), System("codec", args.student, 0, 0, True)]
    rows += [System(f"teacher-{n}", args.teacher, n, w) for n in args.teacher_steps]
    rows += [System(f"student-{n}", args.student, n, w) for n in (1, 2, 4)]
    rows += [System(f"student-1 w={v:g}", args.student, 1, v, True) for v in args.sweep]
    named = {row.name: row for row in rows + [one_call(text, w) for text in args.row]}
    return [row for row in named.values() if not args.systems or row.name in args.systems]


def one_call(text: str, guidance: float) -> System:
    """`NAME=MODEL[@GUIDANCE]` (MODEL: a bundled name or a folder), all words, prompts too. ValueError for another text."""
    found = re.fullmatch(r"(?P<name>.+)=(?P<model>[^=@]+)(@(?P<guidance>[0-9.]+))?", text)
    if not found:
        raise ValueError(f"row {text!r}: write it NAME=MODEL or NAME=MODEL@GUIDANCE")
    return System(found["name"], found["model"], 1, float(found["guidance"] or guidance))


def plan(args: argparse.Namespace) -> list[dict]:
    """One entry a sound: set, id, take, prompt, labels, seconds, seed and, for captions, the real clip's file.

    Clips are drawn by a hash of their names, so that a corpus that lost or won a few gives nearly the same draw."""
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
        entries.append(
            {"set": "captions", "id": i, "take": 0, "prompt": e["captions"][0], "labels": e.get("labels", []),
             "seconds": float(seconds), "seed": args.seed + i, "clip": e["file"], "kind": e["kind"]}
        )  # fmt: skip
    for i, p in enumerate(prompts_of(args.prompts)):
        for take in range(args.takes):
            entries.append(
                {"set": "prompts", "id": i, "take": take, "prompt": p["prompt"], "labels": p["labels"],
                 "seconds": args.seconds, "seed": args.seed + 100_000 + 100 * i + take, "kind": p["kind"]}
            )  # fmt: skip
    return entries


def prompts_of(file: str | Path) -> list[dict]:
    """The lines of a file of free prompts: prompt, labels, kind."""
    return [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines() if line.strip()]


def name_of(entry: dict) -> str:
    return f"{entry['set']}_{entry['id']:03d}_{entry['take']}"


def file_of(folder: Path, entry: dict) -> Path:
    return folder / f"{name_of(entry)}.flac"


class Counter:
    """Counts the net's rows (a guided query of a teacher is two) while it is hooked."""

    def __init__(self, net: torch.nn.Module) -> None:
        self.rows = 0
        self._handle = net.register_forward_pre_hook(self._add)

    def _add(self, net, inputs) -> None:
        self.rows += len(inputs[0])

    def remove(self) -> None:
        self._handle.remove()


def make(pipe, system: System, batch: list[dict], kind: str = "pt") -> list[torch.Tensor | None]:
    """The batch's sounds (or latents), the net run once; one that the pipeline's checks refuse is None, the others stay."""
    generators = [torch.Generator().manual_seed(e["seed"]) for e in batch]
    words = {"audio_length_in_s": batch[0]["seconds"], "num_inference_steps": system.steps, "output_type": "latent"}
    latents = pipe([e["prompt"] for e in batch], guidance_scale=system.guidance, generator=generators, **words).audios
    if kind == "latent":
        return list(latents)
    return voiced(pipe, batch, {name_of(e): latent for e, latent in zip(batch, latents, strict=True)})


def voiced(pipe, batch: list[dict], stored: dict[str, torch.Tensor]) -> list[torch.Tensor | None]:
    """The sounds of latents, with the pipeline's checks."""
    from audiocm.pipelines.latent_pipeline import decode_checked

    made: list[torch.Tensor | None] = []
    for entry in batch:
        latent = stored[name_of(entry)][None].to(next(pipe.codec.vae.parameters()).device)
        try:
            samples = round(entry["seconds"] * pipe.sample_rate)
            made += list(decode_checked(pipe.codec, latent, [entry["prompt"]], samples))
        except ValueError:
            made.append(None)
    return made


def round_trip(pipe, batch: list[dict]) -> list[torch.Tensor]:
    """The real clips through the codec, one by one (their lengths differ)."""
    from audiocm.audio.io import decode, resample

    made = []
    for entry in batch:
        wav, rate = decode(Path(entry["clip"]).read_bytes())
        wav = torch.from_numpy(resample(wav if wav.ndim == 1 else wav.mean(1), rate, pipe.sample_rate))
        device = next(pipe.vae.parameters()).device
        made.append(pipe.codec.decode(pipe.codec.encode(wav[None].to(device)))[0, : len(wav)].cpu())
    return made


def generate_system(system: System, entries: list[dict], out: Path, device: str, batch: int, latents: bool) -> None:
    """Write the sounds of one system that are not there yet, and facts.json: queries and seconds a sound.

    `latents`: write latents.safetensors instead; a later call without it, elsewhere, turns them into sounds.
    """
    from audiocm.pipelines.text_to_audio import TextToAudioPipeline

    folder = out / system.name.replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [e for e in entries if (e["set"] == "captions" or not system.only_captions)]
    todo = [e for e in wanted if not file_of(folder, e).exists()]
    stored = load_file(folder / LATENTS) if (folder / LATENTS).exists() else {}
    if not todo or (latents and (stored or not system.steps)):
        return
    pipe = TextToAudioPipeline.from_pretrained(system.model, device=device)
    todo.sort(key=lambda e: e["seconds"])
    counter, started, sounds = Counter(pipe.transformer), time.perf_counter(), 0
    stored_now: dict[str, torch.Tensor] = {}
    refused: list[str] = []
    while todo:
        part = [e for e in todo[:batch] if e["seconds"] == todo[0]["seconds"]]
        todo = todo[len(part) :]
        if stored:
            made = voiced(pipe, part, stored)
        else:
            made = make(pipe, system, part, "latent" if latents else "pt") if system.steps else round_trip(pipe, part)
        for entry, sound in zip(part, made, strict=True):
            sounds += 1
            if sound is None:
                refused.append(name_of(entry))
            elif latents:
                stored_now[name_of(entry)] = sound.half().cpu().contiguous()
            else:
                soundfile.write(file_of(folder, entry), sound.clamp(-1, 1).numpy(), pipe.sample_rate)
        print(f"{system.name}: {len(todo)} left", flush=True)
    counter.remove()
    seconds = (time.perf_counter() - started) / max(sounds, 1)
    facts = {"queries": counter.rows / max(sounds, 1), "seconds a sound": seconds}
    facts |= {"device": device_name(device), "batch": batch}
    if stored:
        facts = json.loads((folder / "facts.json").read_text())
    if latents:
        save_file(stored_now, folder / LATENTS)
    (folder / "facts.json").write_text(json.dumps(facts | {"refused": refused}, indent=1))


def seconds_a_sound(system: System, prompts: list[dict], seconds: float, device: str) -> dict:
    """Facts of one batch of prompts, end to end after a first sound: seconds a sound, how long it is, device, batch."""
    from audiocm.pipelines.text_to_audio import TextToAudioPipeline

    pipe = TextToAudioPipeline.from_pretrained(system.model, device=device)
    batch = [p | {"set": "prompts", "id": i, "take": 0, "seed": i, "seconds": seconds} for i, p in enumerate(prompts)]
    make(pipe, system, batch[:1])
    started = time.perf_counter()
    make(pipe, system, batch)
    spent = time.perf_counter() - started
    facts = {"seconds a sound": spent / len(batch), "of seconds": seconds}
    return facts | {"device": device_name(device), "batch": len(batch)}


def device_name(device: str) -> str:
    """What sounds were made on, for a results file."""
    return f"cpu, {torch.get_num_threads()} threads" if device == "cpu" else torch.cuda.get_device_name()


def stored_plan(args: argparse.Namespace) -> list[dict]:
    """plan.json of the output folder: if it is not there yet `--plan`'s file, else drawn up."""
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    stored = out / "plan.json"
    known = stored if stored.exists() else args.plan
    entries = json.loads(known.read_text()) if known else plan(args)
    stored.write_text(json.dumps(entries, ensure_ascii=False, indent=0))
    return entries


def generate(args: argparse.Namespace) -> None:
    """Make the sounds of all systems but the real clips."""
    entries = stored_plan(args)
    for system in systems(args):
        if system.model:
            generate_system(system, entries, Path(args.out), args.device, args.batch, args.latents)
