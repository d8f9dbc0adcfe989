"""Reading and writing of files whose samples are kept: what was an integer in the file is that integer in the copy."""

import os
from pathlib import Path

import numpy as np

from ..files import atomic_write
from .io import FORMATS, UnusableClipError, file_format

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


def write_original(path: str | os.PathLike, wav: np.ndarray, rate: int, subtype: str) -> None:
    """Writes samples [sample] or [sample, channel] in a sample format, or the nearest one that the file's kind has.

    Integers k of b bits that `read_original` returned as k / 2^(b - 1) are written as k. Raises ValueError for another
    extension, or if the file cannot be written."""
    import soundfile

    form, usual = file_format(path)
    if subtype not in (*BITS, *FLOATS) or not soundfile.check_format(form, subtype):
        wider = BITS.get(subtype, 24 if subtype in FLOATS else 16) > 16
        subtype = "PCM_24" if wider and soundfile.check_format(form, "PCM_24") else usual
    if subtype in BITS:
        bits = BITS[subtype]
        scaled = np.round(wav * 2.0 ** (bits - 1)).clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        wav = scaled.astype(np.int64).astype(np.int32) << (32 - bits)
    try:
        with atomic_write(path) as partial:
            soundfile.write(partial, wav, rate, subtype, format=form)
    except soundfile.SoundFileError as error:
        raise ValueError(f"cannot write {Path(path)} (allowed: {', '.join(FORMATS)}): {error}") from error
