"""Reading, resampling and writing of audio files. A wav is float32 [sample] or [sample, channel] in [-1, 1]."""

import errno
import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..files import atomic_write

AUDIO_SUFFIXES = {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aiff", ".aif", ".aifc", ".au",
                  ".snd", ".caf", ".w64", ".rf64"}  # fmt: skip
UNREAD_SUFFIXES = {".m4a", ".aac", ".wma", ".mp4", ".webm", ".amr", ".ape"}  # audio formats that `decode` cannot read
FORMATS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}  # that are written
Append = Callable[[np.ndarray], None]
_SIZES = re.compile(
    r"(?:data|SSND|Data Size|riff|Riff size) *: *(\d+) \(should be (\d+)\)"
)  # in libsndfile's log of a header
_PIPED = 0x7FFF_0000  # sizes from here on are those of a header that was written before its sound
_LOST = 0.01  # share of a file's sound that may be missing
_PROBE = 1 << 20  # bytes
_BLOCK = 16_384  # samples per write: libsndfile's Vorbis encoder overflows its stack when handed minutes at once


class UnusableClipError(ValueError):
    """A clip that cannot be used; `reason` is "corrupt", "silent" or "too short", `detail` says more."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def decode(source: bytes | str | os.PathLike) -> tuple[np.ndarray, int]:
    """Decodes an audio file, or its content, to a wav and its rate in Hz. Raises UnusableClipError ("corrupt")."""
    return decode_beginning(source)[:2]


def decode_beginning(source: bytes | str | os.PathLike, seconds: float | None = None) -> tuple[np.ndarray, int, int]:
    """Decodes at most the first `seconds` (None: all) of an audio file, or of its content, to a wav, its rate in Hz and
    the samples of the whole file.

    Raises UnusableClipError ("corrupt") if it cannot be read, or if its end is missing: its header announces more sound
    than it holds."""
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            wanted = file.frames if seconds is None else min(int(seconds * file.samplerate), file.frames)
            wav, rate, samples = file.read(wanted, dtype="float32"), file.samplerate, file.frames
            missing = missing_end(file.extra_info)
    except (RuntimeError, OSError, TypeError, MemoryError) as error:
        raise UnusableClipError("corrupt", " ".join(str(error).split())) from error
    if missing:
        raise UnusableClipError("corrupt", missing)
    return wav, rate, samples


def missing_end(log: str) -> str:
    """Returns what is missing of a file by libsndfile's log of its header (SoundFile.extra_info), or ""."""
    sizes = _SIZES.search(log)
    announced, held = map(int, sizes.groups()) if sizes else (0, 0)
    is_missing = held < (1 - _LOST) * announced < _PIPED
    return f"its end is missing: it holds {held} of {announced} bytes" if is_missing else ""


def to_mono(wav: np.ndarray) -> np.ndarray:
    """Returns the mean of the channels, [sample]."""
    return wav.mean(axis=1) if wav.ndim == 2 else wav


def read_wave(path: str | os.PathLike, sample_rate: int) -> np.ndarray:
    """Reads an audio file as mono [sample] at a rate. Raises ValueError if it is unreadable, empty or not finite."""
    try:
        wav, rate = decode(path)
    except UnusableClipError as error:
        raise ValueError(f"cannot be read: {error.detail}") from error
    if not len(wav):
        raise ValueError("is empty")
    if not np.isfinite(wav).all():
        raise ValueError("holds samples that are not finite")
    return resample(to_mono(wav), rate, sample_rate).clip(-1.0, 1.0)


def resample(wav: np.ndarray, rate: float, target_rate: float) -> np.ndarray:
    """Resamples a wav from `rate` to `target_rate` Hz by soxr at high quality; float32."""
    import soxr

    wav = np.asarray(wav, dtype=np.float32)
    return wav if rate == target_rate else soxr.resample(wav, rate, target_rate, quality="HQ").astype(np.float32)


def file_format(file: str | os.PathLike) -> tuple[str, str]:
    """Returns libsndfile's names of container and sample format by a file's extension. Raises ValueError for others."""
    suffix = Path(file).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"cannot write {file}: the extension must be {', '.join(FORMATS)}, or give a folder")
    return FORMATS[suffix]


def write_in_blocks(output: Any, wav: np.ndarray) -> None:
    """Writes a wav to an open soundfile.SoundFile, _BLOCK samples at a time."""
    for start in range(0, len(wav), _BLOCK):
        output.write(wav[start : start + _BLOCK])


@contextmanager
def open_wave_writer(
    file: str | os.PathLike, sample_rate: int, channels: int = 1, subtype: str | None = None
) -> Iterator[Append]:
    """Yields a function that appends a wav to a WAV or FLAC (16 bit) or OGG Vorbis file, which appears at the end of
    the block. `subtype`: libsndfile's name of another sample format.

    Raises ValueError for another extension or if the file cannot be written."""
    from soundfile import SoundFile, SoundFileError

    form, usual = file_format(file)
    subtype = subtype or usual
    try:
        with atomic_write(file) as path:
            name = os.fsencode(path)  # soundfile cannot encode every name
            with _explained(path), SoundFile(name, "w", sample_rate, channels, subtype, format=form) as output:
                yield lambda wav: write_in_blocks(output, wav)
    except SoundFileError as error:
        raise ValueError(f"cannot write {file}: {error}") from error


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Raises the system's own error for a failed write, of which libsndfile says no more than "System error"."""
    from soundfile import SoundFileError

    try:
        yield
    except (SoundFileError, AssertionError):  # of fewer samples than were given
        with open(path, "ab", buffering=0) as file:
            if file.write(bytes(_PROBE)) < _PROBE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        raise


def write_wave(file: str | os.PathLike, wav: np.ndarray, sample_rate: int) -> None:
    """Writes a wav to a file, see `open_wave_writer`."""
    with open_wave_writer(file, sample_rate, 1 if wav.ndim == 1 else wav.shape[1]) as append:
        append(wav)
