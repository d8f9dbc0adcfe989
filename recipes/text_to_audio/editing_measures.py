"""What is measured of edits other than filling: takes, wider bands, loops and refinement by more calls."""

from collections.abc import Sequence

import numpy as np
import torch

from audiocm.audio.io import resample
from audiocm.audio.seams import high_pass
from audiocm.audio.spectral import LogMel
from audiocm.embedders.tag_alignment import SentenceEncoder, TagAlignment
from audiocm.metrics import mean_score
from audiocm.metrics.signal import log_mel_l1
from audiocm.pipelines.filling import EditSettings
from audiocm.pipelines.sound_editor import SoundEditor
from audiocm.pipelines.text_to_audio import TextToAudioPipeline
from recipes.text_to_audio.editing_recordings import RATE
from recipes.text_to_audio.seam_classifier import HOP

CUTOFF, BAND = 4000.0, 11000.0  # Hz
AMOUNTS, CALLS, WEIGHTS = (0.2, 0.4, 0.6, 0.8, 1.0), (1, 2, 4), (1.0, 3.0, 5.0)


def cosine(clap, first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the cosine of the CLAP embeddings of pairs of sounds at RATE, [pair]."""
    both = [clap.features([resample(w, RATE, clap.sample_rate) for w in wavs])["embedding"] for wavs in (first, second)]
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in both]
    return (unit[0] * unit[1]).sum(axis=1)


def measure_takes(editor: SoundEditor, entries: list[dict], clap, seed: int) -> dict[str, dict]:
    """Returns a row for each amount of `--vary`: distances of the take from the sound."""
    table = {}
    for amount in AMOUNTS:
        takes = [editor.transform(e["wav"], RATE, amount, EditSettings(seed=seed + i)) for i, e in enumerate(entries)]
        columns = {
            "log-mel L1": [log_mel_l1(e["wav"], take, RATE) for e, take in zip(entries, takes, strict=True)],
            "CLAP similarity to the sound": cosine(clap, takes, [e["wav"] for e in entries]),
        }
        table[f"vary {amount:g}"] = means(columns, seed)
    return table


def measure_bands(editor: SoundEditor, entries: list[dict], seed: int) -> dict[str, dict]:
    """Returns rows of the log-spectral distance between CUTOFF and BAND of a low-passed sound, and of its extension."""
    wide = [e for e in entries if e.get("bandwidth", 0) >= BAND]
    low, high = (round(f / RATE * 2048) for f in (CUTOFF * 1.1, BAND))

    def above(wav: np.ndarray) -> np.ndarray:
        spectrum = torch.stft(torch.from_numpy(wav), 2048, window=torch.hann_window(2048), return_complex=True)
        return spectrum.abs().square()[low:high].numpy()

    def distance(truth: np.ndarray, other: np.ndarray) -> float:
        a, b = above(truth), above(other)
        floor = a.max() * 1e-6 + 1e-12
        ratio = 10 * np.log10(np.maximum(a, floor) / np.maximum(b, floor))
        return float(np.sqrt(np.square(ratio).mean(axis=0)).mean())

    dull = [(e["wav"] - high_pass(e["wav"], RATE, CUTOFF)).astype(np.float32) for e in wide]
    made = {
        strength: [
            editor.extend_bandwidth(w, RATE, CUTOFF, EditSettings(seed=seed + i), strength) for i, w in enumerate(dull)
        ]
        for strength in (0.0, 0.5, 1.0)
    }
    name = f"LSD {CUTOFF * 1.1:g} to {BAND:g} Hz"
    found = {"low-passed at 4 kHz": dull} | {f"band extended, strength {s:g}": wavs for s, wavs in made.items()}
    truths = [e["wav"] for e in wide]
    return {
        row: means({name: [distance(t, w) for t, w in zip(truths, wavs, strict=True)]}, seed)
        for row, wavs in found.items()
    }


def flux_at_joint(wav: np.ndarray) -> float:
    """Returns how many of the spectral flux values inside a loop [sample] are below the largest one at its joint,
    from 0 to 1: uniform with mean near one half plus if the joint is like any other place of equal width."""
    wav = np.roll(wav, len(wav) // 2)
    mel = LogMel()(torch.from_numpy(wav[: len(wav) // HOP * HOP])[None])[0].numpy()
    flux = np.maximum(np.diff(mel, axis=1), 0).mean(axis=0)
    joint, width = (len(wav) - len(wav) // 2) // HOP, 3
    windows = np.lib.stride_tricks.sliding_window_view(flux, 2 * width).max(axis=1)
    return float((windows < flux[joint - width : joint + width].max()).mean())


def measure_loops(editor: SoundEditor, entries: list[dict], seed: int) -> dict[str, dict]:
    """Returns rows of the rank of the flux at the joint, of loops and of sounds that are only repeated."""
    loops: dict[str, list[float]] = {"loop": [], "sound repeated as it is": []}
    for i, entry in enumerate(entries):
        settings = EditSettings(entry["prompt"], seed=seed + i)
        for name, loop in zip(loops, (True, False), strict=True):
            try:
                loops[name].append(flux_at_joint(np.concatenate(list(editor.stream(8.0, settings, loop=loop)))))
            except ValueError as error:
                print(f"{name}, {entry['prompt']}: {error}")
    return {name: means({"rank of the flux at the joint": values}, seed) for name, values in loops.items() if values}


def measure_refinement(pipe: TextToAudioPipeline, prompts: list[str], judges: Sequence, seed: int) -> dict[str, dict]:
    """Returns rows of the similarity to one call at the same noise, and of the fit to the prompt: more calls with and
    without fixed noise, other guidance weights, and another seed."""
    yamnet, _, clap = judges
    tags = TagAlignment(SentenceEncoder(), yamnet.classes)

    def sounds(calls: int, w: float = 3.0, refine: bool = True, shift: int = 0) -> list[np.ndarray]:
        seeds = [torch.Generator().manual_seed(seed + i + shift) for i in range(len(prompts))]
        options = {"refine": refine, "max_retries": 0, "on_failure": "return", "output_type": "np"}
        return list(pipe(prompts, 4.0, calls, w, generator=seeds, **options).audios)

    first, table = sounds(1), {}
    variants = {f"refined, {n} calls": {"calls": n} for n in CALLS}
    variants |= {f"fresh noise, {n} calls": {"calls": n, "refine": False} for n in CALLS[1:]}
    variants |= {f"guidance {w:g}": {"calls": 1, "w": w} for w in WEIGHTS if w != 3.0}
    variants |= {"another seed": {"calls": 1, "shift": 10_000}}
    for name, options in variants.items():
        made = sounds(**options)
        features = clap.features([resample(w, RATE, clap.sample_rate) for w in made])["embedding"]
        tagged = yamnet.features([resample(w, RATE, yamnet.sample_rate) for w in made])["probabilities"]
        columns = {
            "CLAP similarity to one call": cosine(clap, first, made),
            "CLAP": clap.text_scores(features, prompts),
            "alignment": tags(tagged, prompts),
        }
        table[name] = means(columns, seed)
    return table


def means(columns: dict, seed: int) -> dict:
    scores = {title: mean_score(title, np.asarray(x, dtype=float), seed=seed).as_dict() for title, x in columns.items()}
    return {"clips": next(iter(scores.values()))["count"], "scores": scores}
