"""The text-to-audio table: real clips, codec round trip, teacher, student at 1, 2 and 4 calls.

    python recipes/evaluate_tta.py generate --out runs/tables [--device cuda] [--systems student-1,teacher-100]
    python recipes/evaluate_tta.py score --out runs/tables --results samples/tta_scores.json

`generate` needs the models and writes sounds; `score` needs the judges (see judging.py) and can run elsewhere. Both
continue where they stopped. Two sets of words: the captions of real test clips (the clip is the reference) and
free prompts (recipes/prompts.jsonl: prompt, labels, kind), several takes each.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

HERE = Path(__file__).parent
BUCKET = 0.5  # seconds: lengths are rounded up to a multiple, so that few shapes occur


@dataclass(frozen=True)
class System:
    """`steps` of `model` at `guidance`; `steps` 0 = the codec alone, model "" = the real clips."""

    name: str
    model: str
    steps: int
    guidance: float

    @property
    def only_captions(self) -> bool:
        return self.steps == 0 or " w=" in self.name


def systems(args: argparse.Namespace) -> list[System]:
    """The table's rows; `--sweep` adds the student at one call for each guidance weight."""
    w = args.guidance
    rows = [System("real", "", 0, 0), System("codec", args.student, 0, 0)]
    rows += [System(f"teacher-{n}", args.teacher, n, w) for n in args.teacher_steps]
    rows += [System(f"student-{n}", args.student, n, w) for n in (1, 2, 4)]
    rows += [System(f"student-1 w={v:g}", args.student, 1, v) for v in args.sweep]
    return [row for row in rows if not args.systems or row.name in args.systems]


def plan(args: argparse.Namespace) -> list[dict]:
    """One entry a sound: set, id, take, prompt, labels, seconds, seed and, for captions, the real clip's file."""
    from judging import corpus_entries

    lines = corpus_entries(args.corpus)
    test = [e for e in lines if e["split"] == "test" and e["kind"] in args.kinds and e.get("captions")]
    if not test:
        raise ValueError(f"{', '.join(args.corpus)}: no captioned test clips of kinds {', '.join(args.kinds)}")
    generator = np.random.default_rng(args.seed)
    chosen = [test[i] for i in sorted(generator.permutation(len(test))[: args.clips])]
    entries = []
    for i, e in enumerate(chosen):
        seconds = min(max(np.ceil(e["seconds"] / BUCKET) * BUCKET, 1.0), 10.0)
        entries.append(
            {"set": "captions", "id": i, "take": 0, "prompt": e["captions"][0], "labels": e.get("labels", []),
             "seconds": float(seconds), "seed": args.seed + i, "clip": e["file"], "kind": e["kind"]}
        )  # fmt: skip
    prompts = [json.loads(line) for line in Path(args.prompts).read_text(encoding="utf-8").splitlines() if line.strip()]
    for i, p in enumerate(prompts):
        for take in range(args.takes):
            entries.append(
                {"set": "prompts", "id": i, "take": take, "prompt": p["prompt"], "labels": p["labels"],
                 "seconds": args.seconds, "seed": args.seed + 100_000 + 100 * i + take, "kind": p["kind"]}
            )  # fmt: skip
    return entries


def file_of(folder: Path, entry: dict) -> Path:
    return folder / f"{entry['set']}_{entry['id']:03d}_{entry['take']}.flac"


class Counter:
    """Counts the net's rows (a guided query of a teacher is two) while it is hooked."""

    def __init__(self, net: torch.nn.Module) -> None:
        self.rows = 0
        self._handle = net.register_forward_pre_hook(self._add)

    def _add(self, net, inputs) -> None:
        self.rows += len(inputs[0])

    def remove(self) -> None:
        self._handle.remove()


def make(pipe, system: System, batch: list[dict]) -> list[torch.Tensor | None]:
    """The batch's sounds; one that the pipeline refuses (silent, clipped, not finite) is None, the others stay."""
    generators = [torch.Generator().manual_seed(e["seed"]) for e in batch]
    words = {"audio_length_in_s": batch[0]["seconds"], "num_inference_steps": system.steps}
    try:
        return list(
            pipe([e["prompt"] for e in batch], guidance_scale=system.guidance, generator=generators, **words).audios
        )
    except ValueError:
        if len(batch) == 1:
            return [None]
        return [sound for entry in batch for sound in make(pipe, system, [entry])]


def round_trip(pipe, batch: list[dict]) -> list[torch.Tensor]:
    """The real clips through the codec, one by one (their lengths differ)."""
    from audiocm.clips import decode
    from audiocm.metrics.fidelity import resampled

    made = []
    for entry in batch:
        wav, rate = decode(Path(entry["clip"]).read_bytes())
        wav = torch.from_numpy(resampled(wav if wav.ndim == 1 else wav.mean(1), rate, pipe.sample_rate))
        device = next(pipe.vae.parameters()).device
        made.append(pipe.codec.decode(pipe.codec.encode(wav[None].to(device)))[0, : len(wav)].cpu())
    return made


def generate_system(system: System, entries: list[dict], out: Path, device: str, batch: int) -> None:
    """Write the sounds of one system that are not there yet, and facts.json: queries and seconds a sound."""
    from audiocm.pipelines import TextToAudioPipeline

    folder = out / system.name.replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [e for e in entries if (e["set"] == "captions" or not system.only_captions)]
    todo = [e for e in wanted if not file_of(folder, e).exists()]
    if not todo:
        return
    pipe = TextToAudioPipeline.from_pretrained(system.model, device=device)
    todo.sort(key=lambda e: e["seconds"])
    counter, started, sounds, refused = Counter(pipe.transformer), time.perf_counter(), 0, []
    while todo:
        part = [e for e in todo[:batch] if e["seconds"] == todo[0]["seconds"]]
        todo = todo[len(part) :]
        made = round_trip(pipe, part) if system.steps == 0 else make(pipe, system, part)
        for entry, wav in zip(part, made, strict=True):
            if wav is None:
                refused.append(f"{entry['set']}_{entry['id']:03d}_{entry['take']}")
                continue
            soundfile.write(file_of(folder, entry), wav.clamp(-1, 1).numpy(), pipe.sample_rate)
            sounds += 1
        print(f"{system.name}: {len(todo)} left", flush=True)
    counter.remove()
    seconds = (time.perf_counter() - started) / max(sounds, 1)
    facts = {"queries": counter.rows / max(sounds, 1), "seconds a sound": seconds, "refused": refused}
    facts |= {"device": device if device == "cpu" else torch.cuda.get_device_name(), "batch": batch}
    (folder / "facts.json").write_text(json.dumps(facts, indent=1))


def generate(args: argparse.Namespace) -> None:
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    stored = out / "plan.json"
    entries = json.loads(stored.read_text()) if stored.exists() else plan(args)
    stored.write_text(json.dumps(entries, ensure_ascii=False, indent=0))
    for system in systems(args):
        if system.model:
            generate_system(system, entries, out, args.device, args.batch)


def score_system(judges, name: str, out: Path, entries: list[dict], references: dict) -> dict:
    """One row: facts, counts and Scores."""
    from judging import agreement, distances, spread_of_halves, take_diversity

    from audiocm import metrics

    folder = out / name.replace(" ", "_")
    facts = json.loads((folder / "facts.json").read_text()) if (folder / "facts.json").exists() else {}
    scores, left_out = [], {}
    for part in ("captions", "prompts"):
        chosen = [e for e in entries if e["set"] == part]
        paths = [Path(e["clip"]) if name == "real" else file_of(folder, e) for e in chosen if name != "real" or "clip" in e]
        if not any(path.exists() for path in paths):
            continue
        heard = judges.hear(paths)
        left_out[part] = heard.intake.as_dict()["left_out"]
        words, labels = [e["prompt"] for e in chosen], [e["labels"] for e in chosen]
        scores += agreement(judges, heard, words, labels, part)
        if part == "prompts":
            scores += take_diversity(heard, [e["id"] for e in chosen], references["test clips"])
            continue
        for against, reference in references.items():
            own = name == "real" and against == "test clips"
            scores += spread_of_halves(reference, against) if own else distances(heard, reference, against)
        if name != "real":
            _, mine, theirs = np.intersect1d(heard.index, references["test clips"].index, return_indices=True)
            p, q = heard.probabilities[mine], references["test clips"].probabilities[theirs]
            normal = [x / x.sum(axis=1, keepdims=True) for x in (p, q)]
            scores.append(metrics.mean_score("KL tags captions", metrics.kl_divergences(*normal)))
    clips = "+".join(str(sum(e["set"] == part for e in entries)) for part in left_out)
    return {**facts, "left_out": left_out, "clips": clips, "scores": {s.name: s.as_dict() for s in scores}}


def chance(judges, real, captions: list[dict]) -> dict:
    """What words and labels score that belong to another real clip: each caption moved to the next clip but one."""
    from judging import agreement

    moved = captions[2:] + captions[:2]
    scores = agreement(judges, real, [e["prompt"] for e in moved], [e["labels"] for e in moved], "captions")
    return {"clips": str(len(captions)), "scores": {s.name: s.as_dict() for s in scores}}


COLUMNS = [
    "FD yamnet pca* vs test clips", "FD aisfx pca* vs test clips",
    "FD yamnet pca* vs other clips", "FD aisfx pca* vs other clips",
    "alignment captions", "top-5 hits captions", "alignment prompts", "top-5 hits prompts", "diversity yamnet",
    "diversity aisfx", "KL tags captions",
]  # fmt: skip


def score(args: argparse.Namespace) -> None:
    from judging import Judges, write_results

    out = Path(args.out)
    entries = json.loads((out / "plan.json").read_text())
    judges = Judges()
    captions = [e for e in entries if e["set"] == "captions"]
    references = {"test clips": judges.hear([Path(e["clip"]) for e in captions])}
    others = other_clips(args, [e["kind"] for e in captions])
    if len(others) >= 100:
        references["other clips"] = judges.hear(others)
    rows = {"chance": chance(judges, references["test clips"], captions)}
    for system in systems(args):
        if system.name == "real" or (out / system.name.replace(" ", "_")).exists():
            rows[system.name] = score_system(judges, system.name, out, entries, references)
            print(system.name, {k: round(v["value"], 3) for k, v in rows[system.name]["scores"].items()}, flush=True)
    card = judges.card(args.seed, reference={k: v.total for k, v in references.items()}, guidance=args.guidance,
                       caption_policy="first caption of the test clip", device="cpu (judges)")  # fmt: skip
    print(write_results(Path(args.results), {"card": card, "systems": rows}, COLUMNS))
    if args.sweep:
        draw_sweep({k: v for k, v in rows.items() if " w=" in k}, Path(args.results).with_suffix(".png"))


def other_clips(args: argparse.Namespace, kinds: list[str]) -> list[Path]:
    """Real clips of the validation split, of the same kinds and at most as many as the captions."""
    from judging import corpus_entries

    found = [Path(e["file"]) for e in corpus_entries(args.corpus) if e["split"] == "valid" and e["kind"] in set(kinds)]
    order = np.random.default_rng(args.seed).permutation(len(found))[: len(kinds)]
    return [found[i] for i in sorted(order)]


def draw_sweep(rows: dict, path: Path) -> None:
    """Alignment and Fréchet distance against the guidance weight, at one call."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, left = pyplot.subplots(figsize=(5, 3))
    right = left.twinx()
    weights = [float(name.split("w=")[1]) for name in rows]
    for axis, column, colour in ((left, "FD yamnet pca", "tab:blue"), (right, "alignment captions", "tab:red")):
        found = [next(s for name, s in row["scores"].items() if name.startswith(column)) for row in rows.values()]
        values = np.array([[f["value"], f["low"], f["high"]] for f in found])
        axis.plot(weights, values[:, 0], "o-", color=colour)
        axis.fill_between(weights, values[:, 1], values[:, 2], color=colour, alpha=0.15)
        axis.set_ylabel(column, color=colour)
    left.set_xlabel("guidance weight w, one call")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def numbers(text: str) -> list[float]:
    return [float(x) for x in text.split(",") if x]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["generate", "score"])
    parser.add_argument("--out", default="runs/tables")
    parser.add_argument("--results", default="samples/tta_scores.json")
    parser.add_argument("--corpus", type=lambda s: s.split(","), default=["data/corpus"])
    parser.add_argument("--prompts", default=str(HERE / "prompts.jsonl"))
    parser.add_argument("--kinds", type=lambda s: s.split(","), default=["effect", "music", "instrument"])
    parser.add_argument("--student", default="tta")
    parser.add_argument("--teacher", default="tta-teacher")
    parser.add_argument("--teacher-steps", type=lambda s: [int(x) for x in s.split(",")], default=[9, 18, 50])
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--sweep", type=numbers, default=[])
    parser.add_argument("--systems", type=lambda s: s.split(","), default=[])
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--takes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=32)
    args = parser.parse_args()
    {"generate": generate, "score": score}[args.action](args)


if __name__ == "__main__":
    main()
