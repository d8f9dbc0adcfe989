"""Durations of the phonemes of recordings, by warping the same line of a synthetic voice onto each recording.

    python -m recipes.corpora.speech.align --corpus data/prompts [--jobs 2]

For recordings that are read as the text is written. Runs on a CPU and trains nothing: dynamic time warping of cepstra
(Sakoe & Chiba 1978), by librosa; each clip's cepstra have zero mean and unit variance, so that two speakers can be
compared. Writes NAME.json (phonemes, seconds, measured F0) beside every clip that has none. It timed the 469 clips of
the bundled voice `prompts`.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from audiocm.audio.io import read_wave
from audiocm.audio.pitch import estimate_f0
from audiocm.data.manifest import Clip
from audiocm.data.speech_corpora import read_speech_corpus
from audiocm.data.utterances import pronounce_clip
from recipes.corpora.manifests import RATE
from recipes.corpora.speech.hibari import ControllableVoice
from recipes.corpora.speech.voices import write_annotation

HOP = 128  # samples per step of the warping, 5.3 ms


def cepstra(wav: np.ndarray) -> np.ndarray:
    """Returns 13 cepstral coefficients with two derivatives, [39, step], of zero mean and unit variance each."""
    import librosa

    mfcc = librosa.feature.mfcc(y=wav, sr=RATE, n_mfcc=13, n_fft=1024, hop_length=HOP, n_mels=60)
    rows = np.concatenate([mfcc, librosa.feature.delta(mfcc), librosa.feature.delta(mfcc, order=2)])
    return (rows - rows.mean(1, keepdims=True)) / (rows.std(1, keepdims=True) + 1e-6)


def warp_times(ends: np.ndarray, synthetic: np.ndarray, recording: np.ndarray) -> np.ndarray:
    """Maps times in the wav `synthetic` (seconds) to those in `recording`, in rising order; the last is its end."""
    import librosa

    steps = np.array([[1, 1], [1, 2], [2, 1], [1, 3], [3, 1]])  # a third to three times the pace: no phoneme is skipped
    costs = np.zeros(len(steps))
    _, path = librosa.sequence.dtw(cepstra(synthetic), cepstra(recording), step_sizes_sigma=steps, weights_add=costs)
    path = path[::-1]
    times = np.interp(ends * RATE / HOP, path[:, 0], path[:, 1]) * HOP / RATE
    times[-1] = len(recording) / RATE
    return np.maximum.accumulate(np.clip(times, 0, len(recording) / RATE))


@lru_cache(maxsize=1)
def _voice() -> ControllableVoice:
    """Returns the voice of this process."""
    return ControllableVoice()


def align_clip(clip: Clip, speeds: tuple[float, ...] = (0.8, 1.0, 1.25)) -> str | None:
    """Writes the annotation of one clip, or returns why it cannot; the voice speaks at the speed that fits best."""
    try:
        recording, line = read_wave(clip.path, RATE), pronounce_clip(clip)
        lines = (_voice()(line.phonemes, speed) for speed in speeds)
        spoken = min(lines, key=lambda one: abs(len(one.wav) - len(recording)))
        seconds = np.diff(warp_times(np.cumsum(spoken.seconds), spoken.wav, recording), prepend=0.0)
        rounded = [round(float(value), 4) for value in seconds]
        write_annotation(clip.path, line.phonemes, rounded, estimate_f0(recording, RATE))
    except (ValueError, IndexError) as error:  # librosa finds no path between lengths that differ too much
        return f"{clip.file}: {error}"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder of recordings with their texts")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    args = parser.parse_args()
    todo = [clip for clip in read_speech_corpus(args.corpus) if not clip.path.with_suffix(".json").is_file()]
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:
        results = list(tqdm(pool.map(align_clip, todo, chunksize=8), total=len(todo), desc="align"))
    failed = [reason for reason in results if reason]
    print(f"{len(todo) - len(failed)} clips aligned, {len(failed)} failed", *failed[:20], sep="\n")


if __name__ == "__main__":
    main()
