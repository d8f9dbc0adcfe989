"""Reading and writing of files whose samples are kept: what was an integer in the file is that integer in the copy."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from .io import UnusableClipError, file_format, open_wave_writer

BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
FLOATS = ("FLOAT", "DOUBLE")


def read_original(path: str | os.PathLike) -> tuple[np.ndarray, int, str]:
    """Returns the samples of a file, float64 [sample] or [sample, channel], its rate in Hz, and libsndfile's name of its
    sample format.

    Raises UnusableClipError ("corrupt") if it cannot be read."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            return file.read(dtype="float64"), file.samplerate, file.subtype
    except (RuntimeError, OSError, TypeError, MemoryError) as error:
        raise UnusableClipError("corrupt", " ".join(str(error).split())) from error


@contextmanager
def open_original_writer(
    path: str | os.PathLike, rate: int, channels: int, subtype: str
) -> Iterator[Callable[[np.ndarray], None]]:
    """Yields a function that appends samples [sample] or [sample, channel] to a file, which appears at the end of the
    block, in a sample format or the nearest one that the file's kind has.

    Integers k of b bits that `read_original` returned as k / 2^(b - 1) are written as k. Raises ValueError for another
    extension, or if the file cannot be written."""
    import soundfile

    form, usual = file_format(path)
    if subtype not in (*BITS, *FLOATS) or not soundfile.check_format(form, subtype):
        wider = BITS.get(subtype, 24 if subtype in FLOATS else 16) > 16
        subtype = "PCM_24" if wider and soundfile.check_format(form, "PCM_24") else usual
    with open_wave_writer(path, rate, channels, subtype) as append:
        yield lambda wav: append(_to_integers(wav, BITS[subtype]) if subtype in BITS else wav)


def _to_integers(wav: np.ndarray, bits: int) -> np.ndarray:
    """Returns samples as integers of so many bits, in the upper bits of int32."""
    scaled = np.round(wav * 2.0 ** (bits - 1)).clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return scaled.astype(np.int64).astype(np.int32) << (32 - bits)


def write_original(path: str | os.PathLike, wav: np.ndarray, rate: int, subtype: str) -> None:
    """Writes samples [sample] or [sample, channel], see `open_original_writer`."""
    with open_original_writer(path, rate, 1 if wav.ndim == 1 else wav.shape[1], subtype) as append:
        append(wav)
