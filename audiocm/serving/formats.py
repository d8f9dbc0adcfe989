"""Sound as bytes, piece by piece: the audio formats of the server. A wav is float32 [sample] in [-1, 1]."""

import io
import struct

import numpy as np

MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}  # response_format -> Content-Type; pcm is signed 16 bit, little-endian, one channel
_SNDFILE = {"mp3": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS"), "flac": ("FLAC", "PCM_16")}
_MP3_RATE = {"compression_level": 0.5, "bitrate_mode": "CONSTANT"}  # readers guess the length of a stream from its rate
_BLOCK = 16_384  # samples handed to an encoder at once, see `audio.io`
_UNKNOWN = 0xFFFF_FFFF  # size in the header of a WAV file whose end is not made yet


class Encoder:
    """Encodes a sound that is handed over in pieces; the bytes of all calls, in order, are one valid file.

    The header of a FLAC file holds its length and digest, so its bytes all come at the end; that of a WAV file in
    pieces announces the largest length there is."""

    def __init__(self, form: str, sample_rate: int):
        """form: a key of MEDIA_TYPES."""
        from soundfile import SoundFile

        self._sink, self._rate, self._file = _Sink(), sample_rate, None
        self._is_whole = form == "flac"
        self._needs_header = form == "wav"
        if form in _SNDFILE:
            container, subtype = _SNDFILE[form]
            rate = _MP3_RATE if form == "mp3" else {}
            self._file = SoundFile(self._sink, "w", sample_rate, 1, subtype, format=container, **rate)

    def append(self, wav: np.ndarray) -> bytes:
        """Returns the bytes that are complete after this piece, possibly none yet."""
        if self._file is None:
            header = wave_header(self._rate) if self._needs_header else b""
            self._needs_header = False
            return header + to_pcm(wav)
        self._write(wav)
        return b"" if self._is_whole else self._sink.take()

    def finish(self) -> bytes:
        """Returns the bytes after the last piece."""
        if self._file is None:
            return b""
        self._file.close()
        return self._sink.take()

    def _write(self, wav: np.ndarray) -> None:
        for start in range(0, len(wav), _BLOCK):
            self._file.write(wav[start : start + _BLOCK])


def encode(wav: np.ndarray, sample_rate: int, form: str) -> bytes:
    """Encodes a whole sound to a file of a format of MEDIA_TYPES that announces its length."""
    if form == "wav":
        return wave_header(sample_rate, len(wav)) + to_pcm(wav)
    encoder = Encoder(form, sample_rate)
    if encoder._file is None:
        return encoder.append(wav)
    encoder._write(wav)
    return encoder.finish()


def to_pcm(wav: np.ndarray) -> bytes:
    """Returns signed 16-bit little-endian samples; those beyond full scale are clipped."""
    return np.rint(np.clip(wav, -1, 1) * 32767).astype("<i2").tobytes()


def wave_header(sample_rate: int, samples: int | None = None) -> bytes:
    """Returns the 44 bytes before the samples of a 16-bit WAV file of one channel; None: of unknown length."""
    data, riff = (_UNKNOWN, _UNKNOWN) if samples is None else (2 * samples, 36 + 2 * samples)
    form = struct.pack("<IHHIIHH", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + form + b"data" + struct.pack("<I", data)


class _Sink(io.RawIOBase):
    """What libsndfile writes to. Bytes can be changed until they are taken, such as a header at the end."""

    def __init__(self):
        self._held, self._taken, self._place = bytearray(), 0, 0

    def take(self) -> bytes:
        """Returns the bytes since the last call."""
        held, self._held = bytes(self._held), bytearray()
        self._taken += len(held)
        return held

    def write(self, data) -> int:
        data = bytes(data)
        start = self._place - self._taken
        self._place += len(data)
        if start + len(data) > 0:  # else all of it went out before
            self._held[max(start, 0) : start + len(data)] = data[max(-start, 0) :]
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._taken + len(self._held)}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True
