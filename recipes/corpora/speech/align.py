"""When each phoneme of a recording sounds: the synthetic voice says the same line, told durations, and is warped onto the recording.

    python -m recipes.corpora.speech.align --corpus data/prompts [--jobs 2]

For recordings that are read as the text is written. Writes NAME.json beside every clip (phonemes, seconds, measured F0), which
recipes/text_to_speech/data.py reads; clips that are there are left alone. Dynamic time warping of cepstra (Sakoe & Chiba 1978), by librosa;
each clip's cepstra are brought to zero mean and unit variance, so that two speakers can be compared. Nothing is trained.
"""

from __future__ import annotations

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
from audiocm.data.utterances import pronounce_clip
from recipes.corpora.speech.hibari import TellingVoice
from recipes.corpora.speech.voices import tell
from recipes.text_to_speech.data import corpus

RATE, HOP = 24000, 128  # samples a second, samples a step of the warping (5.3 ms)


def cepstra(wav: np.ndarray) -> np.ndarray:
    """wav [sample] -> [39, step]: 13 cepstral coefficients with two derivatives, zero mean and unit variance each."""
    import librosa

    found = librosa.feature.mfcc(y=wav, sr=RATE, n_mfcc=13, n_fft=1024, hop_length=HOP, n_mels=60)
    found = np.concatenate([found, librosa.feature.delta(found), librosa.feature.delta(found, order=2)])
    return (found - found.mean(1, keepdims=True)) / (found.std(1, keepdims=True) + 1e-6)


def warped(ends: np.ndarray, said: np.ndarray, heard: np.ndarray) -> np.ndarray:
    """Places `ends` (seconds) in the wav `said` -> the same places in the wav `heard` [sample], rising, the last one its end."""
    import librosa

    steps = np.array([[1, 1], [1, 2], [2, 1], [1, 3], [3, 1]])  # a third to three times the pace: no phoneme is skipped
    _, path = librosa.sequence.dtw(cepstra(said), cepstra(heard), step_sizes_sigma=steps, weights_add=np.zeros(5))
    path = path[::-1]
    moved = np.interp(ends * RATE / HOP, path[:, 0], path[:, 1]) * HOP / RATE
    moved[-1] = len(heard) / RATE
    return np.maximum.accumulate(np.clip(moved, 0, len(heard) / RATE))


@lru_cache(maxsize=1)
def voice() -> TellingVoice:
    """One a process."""
    return TellingVoice()


def align(clip: Clip, speeds: tuple[float, ...] = (0.8, 1.0, 1.25)) -> str | None:
    """Write what is said when in one clip; or why not. The voice speaks at the pace that comes nearest to the clip's length."""
    try:
        heard, line = read_wave(clip.path, RATE), pronounce_clip(clip)
        told = min((voice()(line.phonemes, pace) for pace in speeds), key=lambda one: abs(len(one.wav) - len(heard)))
        ends = warped(np.cumsum(told.seconds), told.wav, heard)
        seconds = np.diff(ends, prepend=0.0)
        tell(clip.path, line.phonemes, [round(float(value), 4) for value in seconds], estimate_f0(heard, RATE))
    except (ValueError, IndexError) as error:  # librosa: no path between lengths this different
        return f"{clip.file}: {error}"
    return None


def main() -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    todo = [clip for clip in corpus(args.corpus) if not clip.path.with_suffix(".json").is_file()]
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:
        bar = tqdm(pool.map(align, todo, chunksize=8), total=len(todo), desc="align")
        failed = [why for why in bar if why]
    print(f"{len(todo) - len(failed)} aligned, {len(failed)} not", *failed[:20], sep="\n")


if __name__ == "__main__":
    main()
