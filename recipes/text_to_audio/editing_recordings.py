"""The held-out recordings that are edited, the interval of each that is made anew, and simple fills of it."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import soundfile

from audiocm.audio.io import resample
from audiocm.audio.seams import splice
from audiocm.pipelines.filling import SEAM
from recipes.judges import corpus_entries

RATE, SECONDS, START, END = 24000, 4, 1.5, 2.5  # Hz, and the interval that is filled in
FIRST, STOP, WIDTH = round(START * RATE), round(END * RATE), round(SEAM * RATE)
QUIET, DYNAMIC = 10 ** (-50 / 20), 10 ** (-20 / 20)  # RMS of what is kept, and of the interval beside it, at least


def level(wav: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(wav, dtype=np.float64))))


def kept(wav: np.ndarray) -> np.ndarray:
    """Returns a wav [sample] without the interval and its seams."""
    return np.concatenate([wav[: FIRST - WIDTH], wav[STOP + WIDTH :]])


def recordings(
    corpora: Sequence[str], split: str, count: int, kinds: Sequence[str] = ("effect", "music")
) -> list[dict]:
    """Returns `count` captioned recordings of a split, one of each group, in the order of a hash of their names, with
    "wav", the first four seconds [sample]; those that are silent around the interval or in it are passed over.

    Raises ValueError if there are fewer than two."""
    entries = [e for e in corpus_entries(corpora) if e["split"] == split and e["seconds"] >= SECONDS]
    entries = [e for e in entries if e["kind"] in kinds and e.get("captions")]
    found: dict[str, dict] = {}
    for e in sorted(entries, key=lambda e: sha256(Path(e["file"]).name.encode()).digest()):
        if len(found) == count:
            break
        if e["group"] not in found:
            wav, rate = soundfile.read(e["file"], dtype="float32", always_2d=True)
            wav = resample(wav.mean(axis=1), rate, RATE)[: SECONDS * RATE]
            around = level(kept(wav))
            if len(wav) == SECONDS * RATE and around > QUIET and level(wav[FIRST:STOP]) > DYNAMIC * around:
                found[e["group"]] = e | {"name": Path(e["file"]).stem, "wav": wav, "prompt": e["captions"][0]}
    if len(found) < 2:
        raise ValueError(
            f"{', '.join(map(str, corpora))}: fewer than two recordings of the split {split!r} can be used"
        )
    return list(found.values())


def looped(wav: np.ndarray, at: int = FIRST, stop: int = STOP) -> np.ndarray:
    """Returns a wav [sample] whose interval is a cross-fade of equal power from what lies before it to what follows."""
    size, share = stop - at, np.linspace(0, 1, stop - at)
    middle = np.sqrt(1 - share) * wav[at - size : at] + np.sqrt(share) * wav[stop : stop + size]
    return np.concatenate([wav[:at], middle, wav[stop:]]).astype(wav.dtype)


def before(wav: np.ndarray) -> np.ndarray:
    """Returns a wav [sample] whose interval is what lies before it: another part of the same recording."""
    return splice(wav, np.roll(wav, STOP - FIRST), FIRST, STOP, WIDTH)
