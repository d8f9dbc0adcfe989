"""Evidence that the distances measure: growing damage, and what the sample size alone does.

    python -m recipes.benchmarks.metric_sensitivity --corpus data/corpus --results samples/metrics_evidence.json

Real clips, split in two halves by recording group: one is the reference, the other is damaged more and more (white
noise, low-pass, clipping, bit-crush). Then undamaged subsets of growing size against the reference.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import signal, stats
from tqdm import tqdm

from audiocm import metrics
from audiocm.audio.io import decode
from audiocm.embedders.aisfx import Aisfx
from audiocm.embedders.yamnet import Yamnet
from audiocm.evaluation.provenance import card
from recipes.judges import FORM, corpus_entries, principal

RATE = 24000


def add_noise(wav: np.ndarray, decibels: float) -> np.ndarray:
    """White noise at a signal-to-noise ratio."""
    noise = np.random.default_rng(len(wav)).normal(size=len(wav)).astype(np.float32)
    return wav + noise * np.sqrt(np.mean(wav**2)) * 10 ** (-decibels / 20)


def low_pass(wav: np.ndarray, hertz: float) -> np.ndarray:
    return signal.sosfilt(signal.butter(8, hertz, fs=RATE, output="sos"), wav).astype(np.float32)


def clip(wav: np.ndarray, decibels: float) -> np.ndarray:
    """Peaks cut at so many decibels under the clip's own peak."""
    limit = np.abs(wav).max() * 10 ** (-decibels / 20)
    return wav.clip(-limit, limit)


def crush(wav: np.ndarray, bits: float) -> np.ndarray:
    """Rounded to so many bits of the clip's own peak."""
    step = np.abs(wav).max() * 2 ** (1 - bits)
    return (np.round(wav / step) * step).astype(np.float32)


DAMAGE: dict[str, tuple[Callable, tuple[float, ...], str]] = {
    "white noise": (add_noise, (50, 40, 30, 20, 10, 0), "dB SNR"),
    "low-pass": (low_pass, (11000, 8000, 5000, 3000, 1500, 700), "Hz"),
    "clipping": (clip, (3, 6, 12, 18, 24, 30), "dB under the peak"),
    "bit-crush": (crush, (12, 10, 8, 6, 5, 4), "bits"),
}


def heard(embedder, wavs: list[np.ndarray]) -> np.ndarray:
    """Embeddings [clip, dim] of wavs at 24 kHz, in the form that the tables use."""
    found = [
        embedder.features([FORM(w, RATE, embedder.sample_rate) for w in wavs[i : i + 32]])
        for i in range(0, len(wavs), 32)
    ]
    return np.concatenate([f["embedding"] for f in found])


def halves(entries: list[dict], count: int, seed: int) -> list[list[np.ndarray]]:
    """Two lists of `count` wavs of at most 5 s; recordings of one group are in one of them."""
    groups = sorted({e["group"] for e in entries})
    first = set(np.random.default_rng(seed).permutation(groups)[: len(groups) // 2])
    wavs = []
    for own in (True, False):
        side = [e for e in entries if (e["group"] in first) is own]
        order = np.random.default_rng(seed).permutation(len(side))[:count]
        wavs.append([np.atleast_2d(decode(Path(side[i]["file"]).read_bytes())[0].T)[0][: 5 * RATE] for i in order])
    return wavs


def curves(embedder, damaged: list[np.ndarray], reference: np.ndarray) -> dict[str, dict]:
    """Distance by strength of each damage, with intervals, and Kendall's tau of strength and distance (1 = monotone)."""
    projection, found = principal(reference), {}
    for name, (change, strengths, unit) in DAMAGE.items():
        rows = []
        for strength in tqdm((None, *strengths), desc=f"{embedder.name} {name}"):
            x = heard(embedder, damaged if strength is None else [change(w, strength) for w in damaged])
            rows.append(
                {"strength": strength}
                | {
                    score.name: score.as_dict()
                    for score in (
                        metrics.frechet_score("FD", projection(x), projection(reference), draws=100),
                        metrics.kernel_score("KAD", x, reference, draws=100),
                    )
                }
            )
        tau = {k: float(stats.kendalltau(range(len(rows)), [r[k]["value"] for r in rows])[0]) for k in ("FD", "KAD")}
        found[name] = {"unit": unit, "rows": rows, "kendall_tau": tau}
    return found


def sizes(x: np.ndarray, reference: np.ndarray, repeats: int = 20) -> list[dict]:
    """Mean and deviation of the distances of random undamaged subsets of growing size."""
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
        rows.append(
            {"clips": count} | {k: {"mean": float(np.mean(v)), "std": float(np.std(v))} for k, v in values.items()}
        )
    return rows


def draw(found: dict, path: Path) -> None:
    """Relative distance by strength for every damage, and by sample size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(found), len(DAMAGE) + 1, figsize=(15, 2.8 * len(found)), squeeze=False)
    for line, (name, one) in zip(axes, found.items(), strict=True):
        for axis, (damage, curve) in zip(line, one["curves"].items(), strict=False):
            for kind, colour in (("FD", "tab:blue"), ("KAD", "tab:red")):
                values = np.array([[r[kind][k] for k in ("value", "low", "high")] for r in curve["rows"]])
                values /= values[:, 0].max()
                axis.plot(values[:, 0], "o-", color=colour, label=kind)
                axis.fill_between(range(len(values)), values[:, 1], values[:, 2], color=colour, alpha=0.15)
            axis.set_xticks(
                range(len(curve["rows"])), ["none", *[f"{r['strength']:g}" for r in curve["rows"][1:]]], fontsize=7
            )
            axis.set_title(f"{name}: {damage}", fontsize=9)
            axis.set_xlabel(curve["unit"], fontsize=8)
        for kind, colour in (("FD", "tab:blue"), ("FD-infinity", "tab:green"), ("KAD", "tab:red")):
            rows = one["sizes"]
            last = rows[-1]["FD" if kind != "KAD" else "KAD"]["mean"]
            line[-1].errorbar([r["clips"] for r in rows], [r[kind]["mean"] / last for r in rows],
                              [r[kind]["std"] / abs(last) for r in rows], color=colour, label=kind, capsize=2)  # fmt: skip
        line[-1].set_title(f"{name}: sample size", fontsize=9)
        line[-1].set_xlabel("clips", fontsize=8)
        line[-1].legend(fontsize=7)
        line[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=lambda s: [Path(p) for p in s.split(",")], default=[Path("data/corpus")])
    parser.add_argument("--clips", type=int, default=250)
    parser.add_argument("--results", type=Path, default=Path("samples/metrics_evidence.json"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    entries = [e for e in corpus_entries(args.corpus) if e["kind"] == "effect"]
    damaged, real = halves(entries, args.clips, args.seed)
    found, embedders = {}, [Yamnet(), Aisfx()]
    for embedder in embedders:
        reference = heard(embedder, real)
        found[embedder.name] = {"curves": curves(embedder, damaged, reference),
                                "sizes": sizes(heard(embedder, damaged), reference)}  # fmt: skip
    about = card(embedders, FORM, args.seed, clips=len(damaged), reference=len(real))
    args.results.parent.mkdir(parents=True, exist_ok=True)
    args.results.write_text(json.dumps({"card": about, "evidence": found}, indent=1) + "\n", encoding="utf-8")
    draw(found, args.results.with_suffix(".png"))
    for name, one in found.items():
        print(name, {damage: curve["kendall_tau"] for damage, curve in one["curves"].items()})


if __name__ == "__main__":
    main()
