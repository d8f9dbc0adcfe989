"""Durations of the phonemes of recordings, by warping the same line of a synthetic voice onto each recording.

    python -m recipes.corpora.speech.align --corpus data/prompts [--jobs 2] [--recogniser FOLDER]

For recordings that are read as the text is written. Runs on a CPU and trains nothing (audiocm/speech/warping.py).
Writes NAME.json (phonemes, seconds, measured F0) beside every clip that has none. It timed the 469 clips of
the bundled voice `prompts`.

With --recogniser, the transformers folder of a CTC model of IPA symbols such as your copy of
facebook/wav2vec2-lv-60-espeak-cv-ft, phonemes are timed by forced alignment instead, which no synthetic voice limits.
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from audiocm.audio.io import read_wave, resample
from audiocm.audio.pitch import estimate_f0
from audiocm.data.manifest import Clip
from audiocm.data.speech_corpora import read_speech_corpus
from audiocm.data.utterances import pronounce_clip
from audiocm.models.folders import SAFE
from audiocm.speech.alignment import forced_alignment
from audiocm.speech.phonemes import encode_phonemes
from audiocm.speech.warping import warp_times
from audiocm.text.alphabet import PAUSES, SILENCE, SYMBOLS
from recipes.corpora.manifests import RATE
from recipes.corpora.speech.hibari import ControllableVoice
from recipes.corpora.speech.voices import write_annotation

IPA = {"A": "eɪ", "I": "aɪ", "O": "oʊ", "W": "aʊ", "Y": "ɔɪ", "ʤ": "dʒ", "ʧ": "tʃ", "T": "ɾ", "ᵊ": "ə", "ᵻ": "ɪ"}


@lru_cache(maxsize=1)
def _voice() -> ControllableVoice:
    """Returns the voice of this process."""
    return ControllableVoice()


def warped_seconds(recording: np.ndarray, phonemes: str, speeds: tuple[float, ...] = (0.8, 1.0, 1.25)) -> np.ndarray:
    """Returns the seconds of each symbol by warping; the voice speaks at the speed that fits best."""
    lines = (_voice()(phonemes, speed) for speed in speeds)
    spoken = min(lines, key=lambda one: abs(len(one.wav) - len(recording)))
    return np.diff(warp_times(np.cumsum(spoken.seconds), spoken.wav, recording), prepend=0.0)


@lru_cache(maxsize=1)
def _recogniser(folder: str) -> tuple:
    """Returns the network and front end of a CTC model and its labels, name -> number."""
    from transformers import AutoFeatureExtractor, AutoModelForCTC

    net = AutoModelForCTC.from_pretrained(folder, **SAFE).eval()
    front_end = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    return net, front_end, json.loads((Path(folder) / "vocab.json").read_text(encoding="utf-8"))


def label_of(symbol: str, labels: dict[str, int]) -> int:
    """Returns the label of a phoneme: of its own symbol, of its IPA or of the long vowel. Raises ValueError if there is
    none."""
    names = [symbol, IPA.get(symbol, symbol), f"{symbol}ː"]
    found = [labels[name] for name in names if name in labels]
    if not found:
        raise ValueError(f"the recogniser has no label for {symbol}")
    return found[0]


def fill_gaps(spans: np.ndarray, is_pause: Sequence[bool], frames: int) -> np.ndarray:
    """Returns the frames of each symbol, summing to `frames`, from the spans [phoneme, 2] that CTC gives to phonemes.

    CTC marks a phoneme by a frame or two, and blanks follow. Neighbours meet in the middle of the blanks between them.
    Beside a pause a phoneme reaches half as far as the median of these, and the pauses share what is left equally."""
    pauses = np.asarray(is_pause)
    place = np.flatnonzero(~pauses)  # of each phoneme among the symbols
    gaps = np.r_[spans[0, 0], spans[1:, 0] - spans[:-1, 1], frames - spans[-1, 1]].astype(float)
    between = np.diff(np.r_[-1, place, len(pauses)]) - 1  # pauses in each gap
    inner = gaps[1:-1][between[1:-1] == 0]
    reach = np.median(inner) / 2 if len(inner) else 1.0
    before = np.where(between > 0, np.minimum(reach, gaps / 2), gaps / 2)  # what each side's phoneme takes of a gap
    before[[0, -1]] = np.where(between[[0, -1]] > 0, np.minimum(reach, gaps[[0, -1]]), gaps[[0, -1]])
    result = np.zeros(len(pauses))
    result[place] = spans[:, 1] - spans[:, 0] + before[:-1] + before[1:]
    taken = np.where(np.isin(np.arange(len(gaps)), (0, len(gaps) - 1)), before, 2 * before)
    gap_of_pause = np.searchsorted(place, np.flatnonzero(pauses))
    result[pauses] = ((gaps - taken) / np.maximum(between, 1))[gap_of_pause]
    return result


def recognised_seconds(recording: np.ndarray, phonemes: str, folder: str) -> np.ndarray:
    """Returns the seconds of each symbol by forced alignment to a CTC model's probabilities."""
    net, front_end, labels = _recogniser(folder)
    symbols = [SYMBOLS[k] for k in encode_phonemes(phonemes)[0]]
    is_pause = [symbol in SILENCE + PAUSES for symbol in symbols]
    tokens = torch.tensor([label_of(s, labels) for s, pause in zip(symbols, is_pause, strict=True) if not pause])
    wav = resample(recording, RATE, front_end.sampling_rate)
    with torch.inference_mode():
        inputs = front_end(wav, sampling_rate=front_end.sampling_rate, return_tensors="pt")
        log_probabilities = net(**inputs).logits[0].log_softmax(1)
    spans = forced_alignment(log_probabilities, tokens, net.config.pad_token_id).numpy()
    return fill_gaps(spans, is_pause, len(log_probabilities)) * len(recording) / RATE / len(log_probabilities)


def align_clip(clip: Clip, recogniser: str | None = None) -> str | None:
    """Writes the annotation of one clip, or returns why it cannot."""
    try:
        recording, line = read_wave(clip.path, RATE), pronounce_clip(clip)
        if recogniser is None:
            seconds = warped_seconds(recording, line.phonemes)
        else:
            seconds = recognised_seconds(recording, line.phonemes, recogniser)
        rounded = [round(float(value), 4) for value in seconds]
        write_annotation(clip.path, line.phonemes, rounded, estimate_f0(recording, RATE))
    except (ValueError, IndexError) as error:  # librosa finds no path between lengths that differ too much
        return f"{clip.file}: {error}"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder of recordings with their texts")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument(
        "--recogniser", metavar="FOLDER", help="transformers CTC model of IPA symbols (default: warping)"
    )
    args = parser.parse_args()
    todo = [clip for clip in read_speech_corpus(args.corpus) if not clip.path.with_suffix(".json").is_file()]
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:
        results = list(
            tqdm(
                pool.map(partial(align_clip, recogniser=args.recogniser), todo, chunksize=8),
                total=len(todo),
                desc="align",
            )
        )
    failed = [reason for reason in results if reason]
    print(f"{len(todo) - len(failed)} clips aligned, {len(failed)} failed", *failed[:20], sep="\n")


if __name__ == "__main__":
    main()
