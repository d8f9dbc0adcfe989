"""The everyday bench: what people type first ("rain", "a cat meows", "a church bell"), and whether a tagger hears it.

    python -m recipes.text_to_audio.everyday generate --row tta=tta --row slow=tta-teacher@3:18 --corpus data/corpus
    python -m recipes.text_to_audio.everyday score
    python -m recipes.text_to_audio.everyday sample --row teacher=runs/tta_teacher/model:18 --device cuda
    python -m recipes.text_to_audio.everyday generate --latents runs/everyday/teacher.safetensors

everyday_prompts.jsonl is for reports; everyday_choice_prompts.jsonl has the same things in other words, to choose
weights by (`--prompts`, with another `--output`). A sound is a hit if one of its thing's labels, chosen by meaning, is
among YAMNet's five most probable classes, after silence is cut at both ends. A refused sound is a miss. Scores are
means over prompts; those of the rows `real` and `codec`, which `--corpus` makes, over things. With `--continuous
--seconds 8 --takes 2`: samples/tta_long_scores.json.

`sample` writes OUTPUT/ROW.safetensors and needs no tagger: a tensor [channel, frame] for every sound THING_i_TAKE, of
line i of the list. `--latents` decodes such a file, float16, or int8 with the entry "step" in its metadata, to the row
of its name. All continue where they stopped. On a busy CPU core `tta` took 0.7 s a sound, and `score` 0.1 s.
"""

import argparse
import json
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import cast

import numpy as np
import soundfile
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from audiocm.embedders.protocol import Tagger
from audiocm.embedders.registry import load_tagger
from audiocm.evaluation.features import cache_folder, stream_features
from audiocm.evaluation.preprocessing import LoadReport, list_clips
from audiocm.evaluation.provenance import card
from audiocm.files import atomic_write, content_digest, read_json_lines, read_text, write_json
from audiocm.metrics import mean_score, top_k_hits
from audiocm.pipelines.text_to_audio import TextToAudioPipeline
from recipes.corpora.everyday.build import NARROWED, SOUNDS
from recipes.judges import PREPROCESSING, corpus_entries, markdown, write_results
from recipes.text_to_audio import generate as systems

CLIPS, FEWEST = 12, 4  # real clips of a thing; with fewer held-out ones, training clips join them
FRAME, RANGE = 0.05, 40.0  # seconds and dB: a frame sounds if it is not further below the loudest one
HITS = "top-5 hits"
UNSHAPED = (
    "things that YAMNet did not shape"  # none of their labels is that of a sound in corpora/everyday/narrowed.txt
)
PARTS = ("things with real clips", UNSHAPED, "word", "phrase", "sentence")
SHAPED = frozenset(SOUNDS[name].labels[0] for name in NARROWED)
COLUMNS = [HITS, *(f"{HITS}, {part}" for part in PARTS), "things without a hit", "refused", "sounding share"]


def bench(args: argparse.Namespace) -> list[dict]:
    """Returns the lines of the list of prompts, of continuous things alone if so wanted."""
    return [line for line in read_json_lines(args.prompts) if line["continuous"] or not args.continuous]


def sounds(lines: Sequence[dict], takes: int, seconds: float = 4.0, seed: int = 0) -> list[dict]:
    """Returns an entry of `generate_system` for each take of each line of a bench."""
    named = [(i, take, re.sub(r"\W+", "_", line["thing"])) for i, line in enumerate(lines) for take in range(takes)]
    common = {"set": "", "seconds": seconds}
    return [lines[i] | common | {"name": f"{t}_{i:03d}_{take}", "seed": seed + 100 * i + take} for i, take, t in named]


def named_sounds(lines: Sequence[dict], names: Iterable[str], of: object, seconds: float = 4.0) -> list[dict]:
    """Returns the entries of `sounds` with these names. Raises ValueError if they are not the takes of all lines."""
    names = set(names)
    takes = max((int(name.rpartition("_")[2]) for name in names if re.search(r"_\d+$", name)), default=0) + 1
    entries = sounds(lines, takes, seconds)
    if wrong := names ^ {e["name"] for e in entries}:
        raise ValueError(f"{of}: not all takes of all prompts: {len(wrong)} sounds differ (first: {min(wrong)})")
    return entries


def real_clips(lines: Sequence[dict], corpora: Sequence[str]) -> list[dict]:
    """Returns up to CLIPS clips of each thing, drawn by a hash of their names: those with one of the thing's words in
    the first caption and one of its labels. Training clips join where fewer than FEWEST are held out."""
    clips, found = [e for e in corpus_entries(corpora) if e.get("captions") and e.get("labels")], []
    clips.sort(key=lambda e: sha256(Path(e["file"]).name.encode()).digest())
    for line in {line["thing"]: line for line in lines}.values():
        word, labels = re.compile(rf"\b({'|'.join(map(re.escape, line['words']))})\b", re.IGNORECASE), {*line["labels"]}
        fit = [e for e in clips if word.search(e["captions"][0]) and labels.intersection(e["labels"])]
        held, train = ([e for e in fit if (e["split"] == "train") == wanted] for wanted in (False, True))
        chosen = (held + (train if len(held) < FEWEST else []))[:CLIPS]
        about = [{"clip": e["file"], "seconds": e["seconds"], "split": e["split"], "form": "clip"} for e in chosen]
        found += [name | one for name, one in zip(sounds([line] * len(chosen), 1), about, strict=True)]
    return found


def make_real(args: argparse.Namespace, lines: Sequence[dict]) -> None:
    """Writes OUTPUT/real.json, links to the real clips, and their round trips through the codec."""
    out, stored = Path(args.output), Path(args.output) / "real.json"
    if not stored.exists():
        write_json(stored, real_clips(lines, args.corpus))
    entries = json.loads(read_text(stored))
    (out / "real").mkdir(exist_ok=True)
    for entry in entries:
        link = out / "real" / (entry["name"] + Path(entry["clip"]).suffix)
        if not link.is_symlink():
            link.symlink_to(Path(entry["clip"]).resolve())
    systems.generate_system(systems.System("codec", args.codec, 0, 0), entries, out, args.device, args.batch)


def sample(args: argparse.Namespace) -> None:
    """Writes the latents of every row that has no file of them."""
    entries = sounds(bench(args), args.takes, args.seconds, args.seed)
    for system in (systems.parse_row(text, args.guidance) for text in args.row):
        if (file := Path(args.output) / f"{system.name}.safetensors").exists():
            continue
        pipe, latents = TextToAudioPipeline.from_pretrained(system.model, device=args.device), {}
        for batch in (entries[i : i + args.batch] for i in range(0, len(entries), args.batch)):
            made = systems.generate_latents(pipe, system, batch).half().cpu()
            latents |= {entry["name"]: one.clone() for entry, one in zip(batch, made, strict=True)}
            print(f"{system.name}: {len(entries) - len(latents)} left", flush=True)
        with atomic_write(file) as partial:
            save_file(latents, partial)


def decode_rows(args: argparse.Namespace, lines: Sequence[dict]) -> None:
    """Decodes the files of `--latents`. Raises ValueError for tensors that are not of the codec or of the length."""
    pipe = TextToAudioPipeline.from_pretrained(args.codec, device=args.device) if args.latents else None
    for file in map(Path, args.latents):
        folder, shape = Path(args.output) / file.stem, [pipe.codec.channels, pipe.codec.frames(args.seconds)]
        with safe_open(file, "pt") as stored:
            step = float((stored.metadata() or {}).get("step", 1.0))
            for entry in named_sounds(lines, stored.keys(), file, args.seconds):
                latent = stored.get_tensor(entry["name"]).float() * step
                if list(latent.shape) != shape:
                    raise ValueError(f"{file}, {entry['name']}: shape {list(latent.shape)}, must be {shape}")
                if not systems.sound_file(folder, entry).exists():
                    (sound,) = systems.decode_latents(pipe, [entry], [latent])
                    systems.write_sound(folder, entry, sound, pipe.sample_rate)


def generate(args: argparse.Namespace) -> None:
    """Writes the sounds of all rows."""
    lines = bench(args)
    decode_rows(args, lines)
    entries = sounds(lines, args.takes, args.seconds, args.seed)
    for system in (systems.parse_row(text, args.guidance) for text in args.row):
        systems.generate_system(system, entries, Path(args.output), args.device, args.batch)
    if args.corpus:
        make_real(args, lines)


def sounding_share(wav: np.ndarray, rate: int) -> float:
    """Returns the share of the frames of a wav [sample] that are at most RANGE below the loudest one."""
    size = round(FRAME * rate)
    power = np.square(np.pad(wav, (0, -len(wav) % size)).reshape(-1, size)).mean(axis=1)
    return float((power >= power.max() * 10 ** (-RANGE / 10)).mean()) if power.any() else 0.0


def judged(folder: Path, entries: Sequence[dict], judge: Tagger) -> list[dict]:
    """Returns the entries of a folder's sounds with "hit", "refused" and "sounding", the share of the sound's length."""
    rows = {e["name"]: e | {"hit": 0.0, "refused": 1.0, "sounding": 0.0} for e in entries}
    for path, features in stream_features(list_clips(folder), judge, PREPROCESSING, LoadReport(), cache_folder()):
        row, (wav, rate) = rows[path.stem], soundfile.read(path, always_2d=True)
        (hit,) = top_k_hits(features["probabilities"][None], [judge.class_indices(row["labels"])])
        row |= {"hit": float(hit), "refused": 0.0, "sounding": sounding_share(wav.mean(axis=1), rate)}
    return list(rows.values())


def grouped(rows: Sequence[dict], *keys: str) -> dict[str, list[dict]]:
    """Returns the rows of each value of any of the keys."""
    return {v: [r for r in rows if v in [r[k] for k in keys]] for v in dict.fromkeys(r[k] for k in keys for r in rows)}


def mean(name: str, rows: Sequence[dict], column: str, unit: str) -> dict:
    """Returns the mean of a column over the rows of each unit and then over units, which are resampled."""
    values = [float(np.mean([r[column] for r in own])) for own in grouped(rows, unit).values()]
    return mean_score(name, values).as_dict()


def score_row(rows: Sequence[dict], known: set[str]) -> dict:
    """Returns the scores of a system from `judged` sounds, and those of each thing; `known` things have real clips."""
    is_real, things = "clip" in rows[0], grouped(rows, "thing")
    unit, continuous = "thing" if is_real else "prompt", [r for r in rows if r["continuous"]]
    parts: dict[str, Sequence[dict]] = {f"{HITS}, {part}": own for part, own in grouped(rows, "form", "group").items()}
    parts |= {HITS: rows, f"{HITS}, {PARTS[0]}": [r for r in rows if r["thing"] in known]}
    parts[f"{HITS}, {UNSHAPED}"] = [r for r in rows if not SHAPED.intersection(r["labels"])]
    scores = {title: mean(title, part, "hit", unit) for title, part in parts.items() if part}
    missed = [{"thing": thing, "missed": not any(r["hit"] for r in own)} for thing, own in things.items()]
    scores["things without a hit"] = mean("things without a hit", missed, "missed", "thing")
    scores["refused"] = mean("refused", rows, "refused", unit)
    scores |= {"sounding share": mean("sounding share", continuous, "sounding", unit)} if continuous else {}
    by_thing = {thing: mean(HITS, own, "hit", "name" if is_real else unit) for thing, own in things.items()}
    for thing, own in things.items():
        by_thing[thing] |= {"training clips": sum(r["split"] == "train" for r in own)} if is_real else {}
    for thing, own in grouped(continuous, "thing").items():
        by_thing[thing]["sounding share"] = float(np.mean([r["sounding"] for r in own]))
    return {"clips": len(rows), "scores": scores, "things": by_thing}


def thing_table(lines: Sequence[dict], rows: dict[str, dict]) -> str:
    """Returns a markdown table of hits with a row for each group and thing and a column for each system."""
    table, real = {}, rows.get("real", {"things": {}})["things"]
    for line in lines:
        group, thing = line["group"], line["thing"]
        counts = real.get(thing, {"count": 0, "training clips": 0})
        means = {name: row["scores"].get(f"{HITS}, {group}") for name, row in rows.items()}
        table[f"**{group}**"] = {"real clips": "", "scores": {name: one for name, one in means.items() if one}}
        hits = {name: row["things"][thing] for name, row in rows.items() if thing in row["things"]}
        table[thing] = {"real clips": f"{counts['count']}{'*' * (counts['training clips'] > 0)}", "scores": hits}
    text = markdown(table, list(rows), ("real clips",)).replace("| system |", "| thing |", 1)
    return f"{text}\n\\* Training clips are among them.\n"


def earlier_systems(path: str, about: dict) -> dict[str, dict]:
    """Returns the rows of an earlier results file. Raises ValueError if another bench, judge or form made them."""
    old = json.loads(read_text(path))
    if wrong := [name for name in ("bench", "embedders", "form") if old["card"].get(name) != about[name]]:
        raise ValueError(f"{path}: has another {wrong[0]} than this run: their rows cannot stand side by side")
    return {name: {"scored_at": old["card"].get("commit")} | row for name, row in old["systems"].items()}


def score(args: argparse.Namespace) -> None:
    """Writes the results file and its tables. Raises ValueError if there is no row or if one is not complete."""
    lines, out = bench(args), Path(args.output)
    judge = cast(Tagger, load_tagger("yamnet"))
    decode_rows(args, lines)
    real = json.loads(read_text(out / "real.json")) if (out / "real.json").exists() else []
    counts = {"things": len({line["thing"] for line in lines}), "prompts": len(lines)}
    asked = {"bench": content_digest(read_text(args.prompts)), "continuous": args.continuous, "seconds": args.seconds}
    about = card([judge], PREPROCESSING, 0, **asked, **counts)
    rows = earlier_systems(args.earlier, about) if args.earlier else {}
    known = {e["thing"] for e in real} or set(rows.get("real", {"things": ()})["things"])
    folders = [path for path in out.glob("*") if path.is_dir()]
    for folder in sorted(folders, key=lambda path: (path.name != "real", path.name != "codec", path.name)):
        is_real, facts = folder.name in ("real", "codec"), folder / "facts.json"
        entries = real if is_real else named_sounds(lines, [path.stem for path in list_clips(folder)], folder)
        row = score_row(judged(folder, entries, judge), known)
        rows[folder.name] = (json.loads(read_text(facts)) if facts.exists() else {}) | row
    if not rows:
        raise ValueError(f"{out}: holds no sounds; the action generate makes them")
    about |= {"real clips": rows["real"]["clips"] if "real" in rows else 0}
    table = write_results(Path(args.results), {"card": about, "systems": rows}, COLUMNS)
    Path(args.results).with_suffix(".md").write_text(f"{table}\n{thing_table(lines, rows)}", encoding="utf-8")
    print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["generate", "sample", "score"])
    row = "a system: NAME=MODEL[@GUIDANCE][:STEPS]; may be repeated"
    parser.add_argument("--row", action="append", default=[], help=row)
    parser.add_argument("--latents", action="append", default=[], help="a file of latents; may be repeated")
    parser.add_argument("--corpus", type=lambda s: s.split(","), default=[], help="corpora of the rows real and codec")
    parser.add_argument("--prompts", default=str(Path(__file__).with_name("everyday_prompts.jsonl")))
    parser.add_argument("--continuous", action="store_true", help="prompts of continuous things alone")
    parser.add_argument("--earlier", default="", help="score: a results file whose other rows are kept")
    parser.add_argument("--output", default="runs/everyday", help="folder of the sounds")
    parser.add_argument("--codec", default="tta", help="the model whose codec decodes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    defaults = {"results": "samples/everyday_scores.json", "takes": 4, "seconds": 4.0, "guidance": 3.0}
    for name, default in (defaults | {"seed": 0, "batch": 32}).items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    args = parser.parse_args()
    try:
        {"generate": generate, "sample": sample, "score": score}[args.action](args)
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")


if __name__ == "__main__":
    main()
