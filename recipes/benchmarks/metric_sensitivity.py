"""The sensitivity of the distances: growing damage of real clips, and the effect of the sample size alone.

    python -m recipes.benchmarks.metric_sensitivity --corpus data/corpus

Made samples/metrics_evidence.json and .png: YAMNet misses light damage that aiSFX detects, and the Fréchet distance is
biased for few clips. Real clips are split in two halves by recording group. One half is the reference; the other is
damaged more and more by white noise, low-pass, clipping and bit-crush. Then undamaged subsets of growing size are
compared with the reference.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import signal, stats
from tqdm import tqdm

from audiocm import metrics
from audiocm.audio.io import decode
from audiocm.embedders import Embedder
from audiocm.evaluation.provenance import card
from audiocm.files import write_json
from recipes.judges import PREPROCESSING, corpus_entries, embedders

RATE = 24000


def add_noise(wav: np.ndarray, decibels: float) -> np.ndarray:
    """Adds white noise at a signal-to-noise ratio."""
    noise = np.random.default_rng(len(wav)).normal(size=len(wav)).astype(np.float32)
    return wav + noise * np.sqrt(np.mean(wav**2)) * 10 ** (-decibels / 20)


def low_pass(wav: np.ndarray, hertz: float) -> np.ndarray:
    """Removes everything above a frequency."""
    return signal.sosfilt(signal.butter(8, hertz, fs=RATE, output="sos"), wav).astype(np.float32)


def clip(wav: np.ndarray, decibels: float) -> np.ndarray:
    """Clips the wave at a level in decibels below its peak."""
    limit = np.abs(wav).max() * 10 ** (-decibels / 20)
    return wav.clip(-limit, limit)


def crush(wav: np.ndarray, bits: float) -> np.ndarray:
    """Rounds the wave to a number of bits of its peak."""
    step = np.abs(wav).max() * 2 ** (1 - bits)
    return (np.round(wav / step) * step).astype(np.float32)


DAMAGE: dict[str, tuple[Callable, tuple[float, ...], str]] = {
    "white noise": (add_noise, (50, 40, 30, 20, 10, 0), "dB SNR"),
    "low-pass": (low_pass, (11000, 8000, 5000, 3000, 1500, 700), "Hz"),
    "clipping": (clip, (3, 6, 12, 18, 24, 30), "dB under the peak"),
    "bit-crush": (crush, (12, 10, 8, 6, 5, 4), "bits"),
}


def embed(embedder: Embedder, wavs: list[np.ndarray]) -> np.ndarray:
    """Returns the embeddings [clip, dim] of wavs at 24 kHz, preprocessed as for the tables."""
    wavs = [PREPROCESSING(wav, RATE, embedder.sample_rate) for wav in wavs]
    parts = [embedder.features(wavs[i : i + 32])["embedding"] for i in range(0, len(wavs), 32)]
    return np.concatenate(parts)


def principal(reference: np.ndarray) -> metrics.Projection:
    """Returns the projection on the first 64 components, or fewer if half of the clips would not determine them."""
    return metrics.Projection.fit(reference, min(64, len(reference) // 2 - 1))


def halves(entries: list[dict], count: int, seed: int) -> list[list[np.ndarray]]:
    """Returns two lists of `count` wavs of at most 5 s; recordings of one group are in one of them."""
    groups = sorted({e["group"] for e in entries})
    first = set(np.random.default_rng(seed).permutation(groups)[: len(groups) // 2])
    wavs = []
    for own in (True, False):
        side = [e for e in entries if (e["group"] in first) is own]
        order = np.random.default_rng(seed).permutation(len(side))[:count]
        wavs.append([np.atleast_2d(decode(Path(side[i]["file"]).read_bytes())[0].T)[0][: 5 * RATE] for i in order])
    return wavs


def curves(embedder, damaged: list[np.ndarray], reference: np.ndarray) -> dict[str, dict]:
    """Returns distances by strength of each damage, and Kendall's tau of strength and distance (1: monotone)."""
    projection, results = principal(reference), {}
    for name, (change, strengths, unit) in DAMAGE.items():
        rows = []
        for strength in tqdm((None, *strengths), desc=f"{embedder.name} {name}"):
            x = embed(embedder, damaged if strength is None else [change(w, strength) for w in damaged])
            distance = metrics.frechet_score("FD", projection(x), projection(reference), draws=100)
            scores = (distance, metrics.kernel_score("KAD", x, reference, draws=100))
            rows.append({"strength": strength} | {score.name: score.as_dict() for score in scores})
        tau = {k: float(stats.kendalltau(range(len(rows)), [r[k]["value"] for r in rows])[0]) for k in ("FD", "KAD")}
        results[name] = {"unit": unit, "rows": rows, "kendall_tau": tau}
    return results


def sizes(x: np.ndarray, reference: np.ndarray, repeats: int = 20) -> list[dict]:
    """Returns mean and deviation of the distances of random undamaged subsets, by their size."""
    projection, rows = principal(reference), []
    x, reference_p = projection(x), projection(reference)
    for count in (40, 60, 90, 130, 180, 250):
        if count > len(x):
            break
        drawn = [x[np.random.default_rng(k).permutation(len(x))[:count]] for k in range(repeats)]
        values = {
            "FD": [metrics.frechet_distance(d, reference_p) for d in drawn],
            "FD-infinity": [metrics.frechet_infinity(d, reference_p, seed=k) for k, d in enumerate(drawn)],
            "KAD": [metrics.kernel_distance(d, reference_p) for d in drawn],
        }
        moments = {k: {"mean": float(np.mean(v)), "std": float(np.std(v))} for k, v in values.items()}
        rows.append({"clips": count} | moments)
    return rows


def draw(results: dict, path: Path) -> None:
    """Plots relative distances by strength of every damage, and by sample size."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(results), len(DAMAGE) + 1, figsize=(15, 2.8 * len(results)), squeeze=False)
    for line, (name, one) in zip(axes, results.items(), strict=True):
        for axis, (damage, curve) in zip(line, one["curves"].items(), strict=False):
            for kind, colour in (("FD", "tab:blue"), ("KAD", "tab:red")):
                values = np.array([[r[kind][k] for k in ("value", "low", "high")] for r in curve["rows"]])
                values /= values[:, 0].max()
                axis.plot(values[:, 0], "o-", color=colour, label=kind)
                axis.fill_between(range(len(values)), values[:, 1], values[:, 2], color=colour, alpha=0.15)
            ticks = ["none", *[f"{r['strength']:g}" for r in curve["rows"][1:]]]
            axis.set_xticks(range(len(ticks)), ticks, fontsize=7)
            axis.set_title(f"{name}: {damage}", fontsize=9)
            axis.set_xlabel(curve["unit"], fontsize=8)
        for kind, colour in (("FD", "tab:blue"), ("FD-infinity", "tab:green"), ("KAD", "tab:red")):
            rows = one["sizes"]
            last = rows[-1]["FD" if kind != "KAD" else "KAD"]["mean"]
            counts, means = [r["clips"] for r in rows], [r[kind]["mean"] / last for r in rows]
            deviations = [r[kind]["std"] / abs(last) for r in rows]
            line[-1].errorbar(counts, means, deviations, color=colour, label=kind, capsize=2)
        line[-1].set_title(f"{name}: sample size", fontsize=9)
        line[-1].set_xlabel("clips", fontsize=8)
        line[-1].legend(fontsize=7)
        line[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=lambda s: s.split(","), default=["data/corpus"])
    parser.add_argument("--clips", type=int, default=250)
    parser.add_argument("--results", type=Path, default=Path("samples/metrics_evidence.json"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    entries = [e for e in corpus_entries(args.corpus) if e["kind"] == "effect"]
    damaged, real = halves(entries, args.clips, args.seed)
    results = {}
    for embedder in embedders():
        reference = embed(embedder, real)
        by_size = sizes(embed(embedder, damaged), reference)
        results[embedder.name] = {"curves": curves(embedder, damaged, reference), "sizes": by_size}
    about = card(list(embedders()), PREPROCESSING, args.seed, clips=len(damaged), reference=len(real))
    write_json(args.results, {"card": about, "evidence": results})
    draw(results, args.results.with_suffix(".png"))
    for name, one in results.items():
        print(name, {damage: curve["kendall_tau"] for damage, curve in one["curves"].items()})


if __name__ == "__main__":
    main()
