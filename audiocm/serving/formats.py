"""Sound as bytes, whole or piece by piece: the audio formats of the server. A wav is float32 [sample] in [-1, 1]."""

import os
from contextlib import ExitStack

import numpy as np

from ..audio.streams import open_encoder, wav_header

MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}  # response_format, a key of `audio.streams.FORMATS` -> Content-Type


class Encoder:
    """Encodes a sound that is handed over in pieces; the bytes of all calls, in order, are one file.

    The header of a FLAC file holds its length and digest, so its bytes all come at the end; that of a WAV file
    announces the greatest length there is."""

    def __init__(self, form: str, sample_rate: int):
        """form: a key of MEDIA_TYPES."""
        self._sink, self._end, self._is_whole = _Sink(), ExitStack(), form == "flac"
        self._header = wav_header(sample_rate) if form == "wav" else b""
        encoder = open_encoder(self._sink, sample_rate, "pcm" if form == "wav" else form, form)
        self._append = self._end.enter_context(encoder)

    def append(self, wav: np.ndarray) -> bytes:
        """Returns the bytes that are complete after this piece, possibly none yet."""
        self._append(wav)
        header, self._header = self._header, b""
        return b"" if self._is_whole else header + self._sink.take()

    def finish(self) -> bytes:
        """Returns the bytes after the last piece."""
        self._end.close()
        return self._sink.take()


def encode(wav: np.ndarray, sample_rate: int, form: str) -> bytes:
    """Encodes a whole sound to a file of a format of MEDIA_TYPES that announces its length."""
    sink = _Sink()
    with open_encoder(sink, sample_rate, form, form) as append:
        append(wav)
    return sink.take()


class _Sink:
    """What libsndfile writes to. Bytes can be changed until they are taken, such as a header at the end."""

    def __init__(self) -> None:
        self._held, self._taken, self._place = bytearray(), 0, 0

    def take(self) -> bytes:
        """Returns the bytes since the last call."""
        held, self._held = bytes(self._held), bytearray()
        self._taken += len(held)
        return held

    def write(self, data) -> int:
        """Writes at the position what was not taken yet."""
        view = memoryview(data).cast("B")
        start = self._place - self._taken
        self._place += len(view)
        if start + len(view) > 0:
            self._held[max(start, 0) : start + len(view)] = view[max(-start, 0) :]
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position."""
        self._place = offset + (0, self._place, self._taken + len(self._held))[whence]
        return self._place

    def tell(self) -> int:
        """Returns the position."""
        return self._place

    def read(self, size: int = -1) -> bytes:
        """Returns nothing."""
        return b""
