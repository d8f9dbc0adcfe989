"""Sound that is written while it is made: to a file, which appears when it is whole, or to a pipe, as it comes."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import atomic_write

if TYPE_CHECKING:
    import numpy as np

    from .io import Append

FORMATS = {  # name and extension: libsndfile's container and sample format
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "pcm": ("RAW", "PCM_16"),  # without a header: 16 bits, signed, little-endian
}
_UNKNOWN = 0xFFFF_FFFF  # the length in the header of a WAV file that is written to a pipe
_CONSTANT = {"bitrate_mode": "CONSTANT", "compression_level": 0.5}  # of MP3: 80 kbit/s at 24 kHz; its length is known


class PipeClosedError(Exception):
    """Nobody reads the pipe any more. It is no OSError, since that would mean a file that cannot be written."""


def stream_format(output: str | os.PathLike, form: str | None = None) -> str:
    """Returns the format to write, `form` or that of the file's extension; "wav" for a pipe or a device.

    Raises ValueError if there is no such format."""
    names = ", ".join(FORMATS)
    if form is not None:
        if form not in FORMATS:
            raise ValueError(f"the format must be one of {names}, not {form!r}")
        return form
    suffix = Path(output).suffix.lower().removeprefix(".")
    if suffix in FORMATS:
        return suffix
    if is_pipe(output):
        return "wav"
    raise ValueError(f"cannot write {output}: the extension must be one of {names}, or name the format")


def is_pipe(output: str | os.PathLike) -> bool:
    """Whether an output is "-", standard output, or a pipe or device, which is written as the sound comes."""
    path = Path(output)
    return str(output) == "-" or (path.exists() and not path.is_file() and not path.is_dir())


class _Descriptor:
    """A file for libsndfile on an open descriptor, at whose place it begins.

    What is written waits for `drain`, since no error, and no signal while the reader is slow, passes through libsndfile.
    On a pipe it only goes forward: what would be written again, a header at the end, is left out. A shell's "> FILE" is
    no pipe, and gets its header."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.position, self.size, self.sent = descriptor, 0, 0, 0
        self.waiting: list[tuple[int, bytes]] = []
        self.start = _place(descriptor)
        self.header = b""  # that goes before everything else

    def write(self, data: Any) -> int:
        """Takes what is to be written at the position."""
        data = bytes(data)
        self.waiting.append((self.position, data))
        self.position += len(data)
        self.size = max(self.size, self.position)
        return len(data)

    def drain(self) -> None:
        """Writes what waits. Raises PipeClosedError if nobody reads any more."""
        _write(self.descriptor, self.header)
        self.header = b""
        for place, data in self.waiting:
            if self.start is None:
                _write(self.descriptor, data[max(0, self.sent - place) :])
            else:
                os.lseek(self.descriptor, self.start + place, os.SEEK_SET)
                _write(self.descriptor, data)
            self.sent = max(self.sent, place + len(data))
        self.waiting.clear()
        if self.start is not None:
            os.lseek(self.descriptor, self.start + self.sent, os.SEEK_SET)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position."""
        self.position = offset + (0, self.position, self.size)[whence]
        return self.position

    def tell(self) -> int:
        """Returns the position."""
        return self.position

    def read(self, size: int = -1) -> bytes:
        """Returns nothing."""
        return b""


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while len(view):
            view = view[os.write(descriptor, view) :]
    except BrokenPipeError as error:
        raise PipeClosedError from error


def _place(descriptor: int) -> int | None:
    """Returns the position in a file, None if writing elsewhere is not possible."""
    import fcntl

    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND or not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return None
    return os.lseek(descriptor, 0, os.SEEK_CUR)


def wav_header(sample_rate: int) -> bytes:
    """Returns the header of a WAV file of 16 bits and one channel whose length is not known."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return b"RIFF" + struct.pack("<I", _UNKNOWN) + b"WAVE" + form + b"data" + struct.pack("<I", _UNKNOWN)


@contextmanager
def open_sound_stream(output: str | os.PathLike, sample_rate: int, form: str | None = None) -> Iterator[Append]:
    """Yields a function that appends a wav [sample] in [-1, 1] to a file, or to a pipe: "-" is standard output.

    form: one of FORMATS, else that of `stream_format`. A file appears at the end of the block, a pipe is written at
    once. The header of a WAV on a pipe announces the greatest length, as ffmpeg's does, since no length is known yet; that
    of a FLAC announces none, which players accept and libsndfile does not. Nothing is written before the first sound.
    Raises ValueError if it cannot be written and PipeClosedError if nobody reads the pipe any more."""
    form = stream_format(output, form)
    if not is_pipe(output):
        with atomic_write(output) as partial, open_encoder(partial, sample_rate, form, output) as append:
            yield append
        return
    descriptor = _open_pipe(output)
    try:
        file = _Descriptor(descriptor)
        if form == "wav" and file.start is None:
            file.header, form = wav_header(sample_rate), "pcm"
        with open_encoder(file, sample_rate, form, output) as append:

            def append_and_drain(wav: np.ndarray) -> None:
                append(wav)
                file.drain()

            yield append_and_drain
        file.drain()
    except OSError as error:
        raise ValueError(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        os.close(descriptor)


def _open_pipe(output: str | os.PathLike) -> int:
    try:
        return os.dup(1) if str(output) == "-" else os.open(output, os.O_WRONLY)
    except OSError as error:
        raise ValueError(f"cannot write {output}: {error.strerror or error}") from error


@contextmanager
def open_encoder(file: Any, sample_rate: int, form: str, output: str | os.PathLike) -> Iterator[Append]:
    """Yields a function that appends a wav to a path or a file object with write, seek, tell and read.

    form: one of FORMATS; output: its name in the ValueError that says that it cannot be written."""
    from soundfile import SoundFile, SoundFileError

    from .io import write_in_blocks

    container, subtype = FORMATS[form]
    options = {"mp3": _CONSTANT, "pcm": {"endian": "LITTLE"}}.get(form, {})
    try:
        with SoundFile(file, "w", sample_rate, 1, subtype, format=container, **options) as sound:
            yield lambda wav: write_in_blocks(sound, wav)
    except SoundFileError as error:
        raise ValueError(f"cannot write {output}: {error}") from error
