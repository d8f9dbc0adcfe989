"""Speed and memory of `audiocm score`, beside the same embedder called file by file.

    python -m recipes.benchmarks.scoring --corpus data/corpus --many 10000

Made samples/scoring_benchmark.json on two CPU cores: 10,000 files of 10 s under YAMNet take 163 s and 1.45 GB, a second
run from the cache 50 s; a first run is 1.7 (YAMNet) and 1.07 (aiSFX) times as fast as the plain loop.

Files of ten seconds are made of corpus clips laid end to end. The plain loop uses the same embedder with the same
threads, and neither hashes nor stores. A first run cannot need less work than the network: it gains by preparing clips
on idle cores, so CPU seconds are given too. The `--many` files are copies that differ in their bytes; they are scored
by `--metrics fad,kad` with intervals and take 0.3 GB of disk per thousand, in $TMPDIR.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from audiocm.audio.io import decode, resample
from audiocm.embedders import Embedder, load_embedder
from audiocm.evaluation.features import collect_features
from audiocm.evaluation.preprocessing import LoadReport, Preprocessing
from audiocm.evaluation.provenance import commit, versions
from audiocm.files import write_json
from recipes.judges import corpus_entries

RATE, SECONDS = 24000, 10
COMMENT = b"clip-of-many"  # twelve bytes of each FLAC file that no checksum covers


def make_files(folder: Path, entries: list[dict], count: int) -> list[Path]:
    """Writes `count` FLAC files of ten seconds of corpus clips laid end to end."""
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


def file_by_file(files: list[Path], embedder: Embedder) -> np.ndarray:
    """Reads, resamples and embeds one file after the other, in a plain loop."""
    wavs = (resample(*soundfile.read(file, dtype="float32"), embedder.sample_rate) for file in files)
    return np.concatenate([embedder.features([wav])["embedding"] for wav in wavs])


def timed(function: Callable, *arguments: Any) -> tuple[tuple[float, float], Any]:
    """Returns (wall seconds, CPU seconds of all cores) and the result of a call."""
    started, worked = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return (time.perf_counter() - started, time.process_time() - worked), result


def different_copies(files: list[Path], folder: Path, count: int) -> None:
    """Writes `count` files that differ in their bytes, by their comments."""
    contents = [file.read_bytes() for file in files]
    for i in range(count):
        (folder / f"{i:06d}.flac").write_bytes(contents[i % len(files)].replace(COMMENT, f"{i:012d}".encode()))


def score_many(name: str, folder: Path, cache: Path) -> dict:
    """Returns seconds and peak memory of two runs of `audiocm score`, each in a process of its own.

    Seconds are from the start of the command to the end of its table. The second run uses the cache of the first."""
    code = (
        "import resource,sys,time;t=time.perf_counter();from audiocm.cli.main import main;assert main(sys.argv[1:])==0;"
        "print(time.perf_counter()-t,resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e6)"
    )
    result, costs = cache / "result.json", {}
    words = ["score", folder, "--reference", folder, "--metrics", "fad,kad", "--embedder", name, "--json", result]
    for turn in ("first", "second"):
        command = [sys.executable, "-c", code, *map(str, words)]
        environment = os.environ | {"AUDIOCM_CACHE": str(cache)}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        seconds, gigabytes = done.stdout.splitlines()[-1].split()
        costs |= {f"{turn}_seconds": float(seconds), f"{turn}_peak_gigabytes": float(gigabytes)}
    return {"files": json.loads(result.read_text())["card"]["clips"]["generated"], "metrics": "fad,kad"} | costs


def measure_speed(name: str, files: list[Path], cache: Path, repeats: int) -> dict:
    """Times the plain loop, a first and a second (cached) run. Raises RuntimeError if their embeddings differ."""
    embedder = load_embedder(name)
    embedder.features([resample(soundfile.read(files[0], dtype="float32")[0], RATE, embedder.sample_rate)])  # warm
    seconds = []
    for k in range(repeats):  # in turn, and the best of them, as other work on the machine varies
        plain, expected = timed(file_by_file, files, embedder)
        first, features = timed(collect_features, files, embedder, Preprocessing(), LoadReport(), cache / str(k))
        second, again = timed(collect_features, files, embedder, Preprocessing(), LoadReport(), cache / str(k))
        seconds.append((plain, first, second))
    (plain, plain_cpu), (first, first_cpu), (second, _) = map(min, zip(*seconds, strict=True))
    for one in (features, again):
        if np.abs(one.features["embedding"] - expected).max() > 1e-4 * np.abs(expected).max():
            raise RuntimeError(f"{name}: the embeddings of the plain loop differ")
    row = {"files": len(files), "file_by_file_seconds": plain, "first_seconds": first, "second_seconds": second}
    row |= {"first_ratio": plain / first, "second_ratio": plain / second}
    return row | {"file_by_file_cpu_seconds": plain_cpu, "first_cpu_seconds": first_cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=lambda s: s.split(","), default=["data/corpus"])
    parser.add_argument("--embedders", type=lambda s: s.split(","), default=["yamnet", "aisfx"])
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--many", type=int, default=0, help="number of files in the large folder")
    parser.add_argument("--results", type=Path, default=Path("samples/scoring_benchmark.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "few").mkdir()
        files = make_files(folder / "few", corpus_entries(args.corpus), args.files)
        device = f"{platform.machine()}, {os.cpu_count()} CPU cores"
        results = {"device": device, "commit": commit(), "versions": versions()}
        results["embedders"] = {
            name: measure_speed(name, files, folder / "cache", args.repeats) for name in args.embedders
        }
        if args.many:
            (folder / "many").mkdir()
            different_copies(files, folder / "many", args.many)
            results["many"] = {args.embedders[0]: score_many(args.embedders[0], folder / "many", folder / "many-cache")}
        results["own_peak_gigabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    write_json(args.results, results)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
