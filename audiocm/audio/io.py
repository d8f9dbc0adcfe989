"""Reading, resampling and writing of sound files."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..files import atomic_write

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif"}
UNREAD_SUFFIXES = {".m4a", ".aac", ".wma", ".mp4", ".webm", ".amr", ".ape"}  # sound, but not decoded here


class UnusableClipError(ValueError):
    """A clip that cannot be scored; `reason` is corrupt, silent or too short."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


def decode(data: bytes) -> tuple[np.ndarray, int]:
    """File content → wav [sample] or [sample, channel] and its rate. Raises UnusableClipError if unreadable."""
    import soundfile

    try:
        wav, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    except (RuntimeError, TypeError) as error:
        raise UnusableClipError("corrupt", str(error).splitlines()[0]) from error
    return wav, rate


def read_wave(path: Path, sample_rate: int) -> np.ndarray:
    """Mono float32 [sample] in [-1, 1]. ValueError says why a file is no sound."""
    import soundfile

    try:
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (RuntimeError, OSError, TypeError) as error:
        raise ValueError(f"cannot be read: {' '.join(str(error).split())}") from error
    wave = wave.mean(1)
    if not len(wave):
        raise ValueError("is empty")
    if not np.isfinite(wave).all():
        raise ValueError("holds samples that are not finite")
    if rate != sample_rate:
        import soxr

        wave = soxr.resample(wave, rate, sample_rate)
    return wave.clip(-1.0, 1.0)


def resample(wav: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """soxr, high quality; float32. The one resampler of all scores."""
    import soxr

    wav = np.asarray(wav, dtype=np.float32)
    return wav if rate == wanted else soxr.resample(wav, rate, wanted, quality="HQ").astype(np.float32)


FORMATS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}
_BLOCK = 16_384  # libsndfile's Vorbis writer overflows its stack when handed minutes at once


@contextmanager
def open_sound_file(
    file: str | os.PathLike, sample_rate: int, channels: int = 1
) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that appends wav [sample] (or [sample, channel]) in [-1, 1] to a WAV or FLAC (16 bit) or OGG Vorbis file.

    The file appears, whole, at the end of the block. ValueError for another extension or when it cannot be written.
    """
    import soundfile

    file = Path(file)
    container, subtype = _format(file)
    with (
        atomic_write(file) as beside,
        soundfile.SoundFile(beside, "w", sample_rate, channels, subtype, format=container) as out,
    ):

        def append(wav: np.ndarray) -> None:
            for start in range(0, len(wav), _BLOCK):
                out.write(wav[start : start + _BLOCK])

        yield append


def write_sound(file: str | os.PathLike, wav: np.ndarray, sample_rate: int) -> None:
    """Write a whole sound, see `sound_file`."""
    with open_sound_file(file, sample_rate, 1 if wav.ndim == 1 else wav.shape[1]) as append:
        append(wav)


def _format(file: Path) -> tuple[str, str]:
    if file.suffix.lower() not in FORMATS:
        raise ValueError(f"cannot write {file}: the extension must be {', '.join(FORMATS)}, or give a folder")
    return FORMATS[file.suffix.lower()]
