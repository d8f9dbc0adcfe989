"""Speed and memory of scoring, beside the same embedder called file by file.

    python -m recipes.benchmarks.scoring --corpus data/corpus --results samples/scoring_benchmark.json [--many 10000]

Ten-second files are made of corpus clips laid end to end. `--many` files (copies of those, different in their bytes)
are then scored by `audiocm score --metrics fad,kad`, the intervals of a set of that size included, for the peak of
memory and for what a second run costs. They take 0.3 GB of disk a thousand, in $TMPDIR.

The plain loop has the same embedder object with the same threads inside its net; it neither hashes nor stores. A first
run does, and still cannot need less work than the net: what it gains comes from clips side by side on idle cores, so
CPU seconds stand beside the clock's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from audiocm.audio.io import decode, resample
from audiocm.embedders.registry import load_embedder
from audiocm.evaluation.features import collect_features
from audiocm.evaluation.preprocessing import LoadReport, Preprocessing, list_clips
from audiocm.evaluation.provenance import commit, versions
from recipes.judges import corpus_entries

RATE, SECONDS = 24000, 10
COMMENT = b"clip-of-many"  # twelve bytes of each file, without a checksum in FLAC


def make_files(folder: Path, entries: list[dict], count: int) -> list[Path]:
    """`count` FLAC files of ten seconds of real sound each."""
    wanted, parts, files = RATE * SECONDS, [], []
    for entry in (e for _ in range(100) for e in entries):
        parts.append(decode(Path(entry["file"]).read_bytes())[0] * (1 - 0.001 * len(files)))
        if sum(map(len, parts)) >= wanted:
            files.append(folder / f"{len(files):05d}.flac")
            with soundfile.SoundFile(files[-1], "w", RATE, 1) as file:
                file.comment = COMMENT.decode()
                file.write(np.concatenate(parts)[:wanted])
            parts = []
        if len(files) == count:
            return files
    raise ValueError("the corpus is too small")


def file_by_file(files: list[Path], embedder) -> np.ndarray:
    """What a plain loop does: read, resample, embed, one after the other."""
    found = []
    for file in files:
        wav, rate = soundfile.read(file, dtype="float32")
        found.append(embedder.features([resample(wav, rate, embedder.sample_rate)])["embedding"])
    return np.concatenate(found)


def timed(function, *arguments):
    """(seconds on the clock, of all cores) and the result."""
    started, worked = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return (time.perf_counter() - started, time.process_time() - worked), result


def different_copies(files: list[Path], folder: Path, count: int) -> None:
    """`count` files of which no two have the same bytes: only their comment differs."""
    contents = [file.read_bytes() for file in files]
    for i in range(count):
        (folder / f"{i:06d}.flac").write_bytes(contents[i % len(files)].replace(COMMENT, f"{i:012d}".encode()))


def many(name: str, folder: Path, cache: Path) -> dict:
    """`audiocm score` of a big folder against itself, twice, each in a process of its own: seconds from the start of the
    command to the end of its table, and the peak of resident memory. The second run finds the first one's cache."""
    code = (
        "import resource,sys,time;t=time.perf_counter();from audiocm.cli.main import main;assert main(sys.argv[1:])==0;"
        "print(time.perf_counter()-t,resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e6)"
    )
    result, found = cache / "result.json", {}
    words = ["score", folder, "--reference", folder, "--metrics", "fad,kad", "--embedder", name, "--json", result]
    for turn in ("first", "second"):
        told = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True,
                              env=os.environ | {"AUDIOCM_CACHE": str(cache)})  # fmt: skip
        seconds, gigabytes = told.stdout.splitlines()[-1].split()
        found |= {f"{turn}_seconds": float(seconds), f"{turn}_peak_gigabytes": float(gigabytes)}
    return {"files": json.loads(result.read_text())["card"]["clips"]["generated"], "metrics": "fad,kad"} | found


def measure(name: str, files: list[Path], cache: Path, repeats: int) -> dict:
    """Seconds of the plain loop, of a first and of a second (cached) run, and that all give the same embeddings."""
    embedder = load_embedder(name)
    embedder.features([resample(soundfile.read(files[0], dtype="float32")[0], RATE, embedder.sample_rate)])  # warm
    seconds = []
    for k in range(repeats):  # in turns, and the best of them: other work on the machine comes and goes
        plain, expected = timed(file_by_file, files, embedder)
        first, found = timed(collect_features, files, embedder, Preprocessing(), LoadReport(), cache / str(k))
        second, again = timed(collect_features, files, embedder, Preprocessing(), LoadReport(), cache / str(k))
        seconds.append((plain, first, second))
    (plain, plain_cpu), (first, first_cpu), (second, _) = map(min, zip(*seconds, strict=True))
    for features in (found, again):
        if np.abs(features.features["embedding"] - expected).max() > 1e-4 * np.abs(expected).max():
            raise RuntimeError(f"{name}: the two ways disagree")
    row = {"files": len(files), "file_by_file_seconds": plain, "first_seconds": first, "second_seconds": second}
    row |= {"first_ratio": plain / first, "second_ratio": plain / second}
    return row | {"file_by_file_cpu_seconds": plain_cpu, "first_cpu_seconds": first_cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=lambda s: [Path(p) for p in s.split(",")], default=[Path("data/corpus")])
    parser.add_argument("--embedders", type=lambda s: s.split(","), default=["yamnet", "aisfx"])
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--many", type=int, default=0)
    parser.add_argument("--results", type=Path, default=Path("samples/scoring_benchmark.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "few").mkdir()
        files = make_files(folder / "few", corpus_entries(args.corpus), args.files)
        results = {
            "device": f"{platform.machine()}, {os.cpu_count()} CPU cores",
            "commit": commit(),
            "versions": versions(),
        }
        results["embedders"] = {name: measure(name, files, folder / "cache", args.repeats) for name in args.embedders}
        if args.many:
            (folder / "many").mkdir()
            different_copies(files, folder / "many", args.many)
            results["many"] = {args.embedders[0]: many(args.embedders[0], folder / "many", folder / "many-cache")}
        results["own_peak_gigabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        assert len(list_clips(folder / "few")) == args.files
    args.results.parent.mkdir(parents=True, exist_ok=True)
    args.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
