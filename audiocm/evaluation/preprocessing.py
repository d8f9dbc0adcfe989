"""Audio preprocessing for evaluation: decode, downmix, trim, normalise and resample clips, and count unusable ones."""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..audio.io import AUDIO_SUFFIXES, UNREAD_SUFFIXES, UnusableClipError, decode_beginning, resample, to_mono
from ..audio.loudness import (
    SILENT_PEAK,
    keep_level,
    normalize_active_rms,
    normalize_peak,
    normalize_peak_1db,
    trim_silence,
)
from ..checks import check_choice, check_instance, check_number, check_whole

LOUDNESS = {
    "as_is": keep_level,
    "peak": normalize_peak,
    "peak_1db": normalize_peak_1db,
    "active_rms": normalize_active_rms,
}
MAX_RATE = 1_000_000  # Hz
LOUDEST = 2.0**31  # the scale of 32-bit integers; a larger sample is no sound


@dataclass(frozen=True)
class Preprocessing:
    """The steps applied to every clip before it is embedded or compared; all of them are part of the card.

    Raises ValueError for a setting that is not allowed."""

    loudness: str = "as_is"  # a key of LOUDNESS
    trim: bool = False  # cut silence at both ends
    min_seconds: float = 0.05  # shorter clips are unusable
    max_seconds: float = 30.0  # longer clips are truncated
    band_limit: int | None = None  # Hz: a sample rate that all clips pass through, for one bandwidth of all systems

    def __post_init__(self) -> None:
        check_choice("--loudness", self.loudness, LOUDNESS)
        check_instance("--trim", self.trim, bool)
        check_number("--max-seconds", self.max_seconds, least=check_number("min_seconds", self.min_seconds, least=0))
        if self.band_limit is not None:
            check_whole("--band-limit", self.band_limit, least=1000, most=MAX_RATE)

    def as_dict(self) -> dict:
        """Returns the entry of the card, which is also part of the feature cache's key."""
        return {
            "channels": "mean of all",
            "resampler": "soxr HQ",
            "loudness": self.loudness,
            "ends": "trimmed" if self.trim else "untrimmed",
            "shortest_seconds": self.min_seconds,
            "longest_seconds": self.max_seconds,
            "band_limit_rate": self.band_limit,
            "padding": "zeros up to one block of the embedder",
        }

    def __call__(self, wav: np.ndarray, rate: int, target_rate: int) -> np.ndarray:
        """Converts a wav [sample] or [sample, channel] at `rate` to mono float32 [sample] at `target_rate`.

        Raises UnusableClipError if the clip is not finite, silent or too short."""
        wav = np.asarray(wav, dtype=np.float32)
        if not (np.abs(wav) <= LOUDEST).all():
            raise UnusableClipError("corrupt", "samples that are not finite, or beyond the range of 32-bit integers")
        wav = to_mono(wav)
        if len(wav) < self.min_seconds * rate:
            raise UnusableClipError("too short", f"{len(wav) / rate:.3f} s")
        wav = wav[: int(self.max_seconds * rate)]
        if np.abs(wav).max() < SILENT_PEAK:
            raise UnusableClipError("silent", f"peak under {SILENT_PEAK}")
        wav = LOUDNESS[self.loudness](trim_silence(wav, rate) if self.trim else wav, rate)
        if self.band_limit is not None and self.band_limit != rate:
            wav, rate = resample(wav, rate, self.band_limit), self.band_limit
        return resample(wav, rate, target_rate)


def list_clips(folder: str | Path) -> list[Path]:
    """Lists the audio files under `folder` and under folders linked from it, each folder once, sorted by path. Hidden
    files and folders, such as the `._` files of macOS, are passed over. Files of UNREAD_SUFFIXES are listed too, so
    that they are counted as unusable.

    Raises ValueError if the folder does not exist, cannot be listed or holds no readable audio file."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: {'is a file, name its folder' if folder.exists() else 'no such folder'}")
    suffixes, files, seen, pending = AUDIO_SUFFIXES | UNREAD_SUFFIXES, [], set(), [folder]
    while pending:
        here = pending.pop()
        try:
            if (real := here.resolve()) in seen:  # a link to a folder that is listed already
                continue
            entries = [entry for entry in os.scandir(here) if not entry.name.startswith(".")]
        except (OSError, RuntimeError) as error:
            raise ValueError(f"{here}: cannot be listed ({getattr(error, 'strerror', None) or error})") from error
        seen.add(real)
        pending += sorted((here / entry.name for entry in entries if os.path.isdir(entry)), reverse=True)
        files += [
            here / entry.name
            for entry in entries
            if Path(entry.name).suffix.lower() in suffixes and os.path.isfile(entry)
        ]
    files.sort()
    if all(path.suffix.lower() in UNREAD_SUFFIXES for path in files):
        raise ValueError(f"{folder}: holds no audio file ({', '.join(sorted(AUDIO_SUFFIXES))})")
    return files


@dataclass(frozen=True)
class Source:
    """The properties of a file before preprocessing: the hash of its bytes, sample rate, channels and samples."""

    content: str
    rate: int
    channels: int
    samples: int


def hash_content(path: Path) -> str:
    """Returns the hash of a file's bytes. Raises UnusableClipError if it is empty or cannot be read."""
    digest, empty = hashlib.sha256(), True
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                empty = False
    except OSError as error:
        raise UnusableClipError("corrupt", str(error)) from error
    if empty:
        raise UnusableClipError("corrupt", "the file is empty")
    return digest.hexdigest()


def decode_clip(path: Path, content: str, seconds: float) -> tuple[np.ndarray, Source]:
    """Decodes the first `seconds` of a file, whose hash is `content`, to a wav [sample] or [sample, channel], and
    returns it with the file's properties."""
    wav, rate, samples = decode_beginning(path, seconds)
    return wav, Source(content, rate, 1 if wav.ndim == 1 else wav.shape[1], samples)


@dataclass
class LoadReport:
    """Which clips of a folder were used or unusable and why, and the properties of the files."""

    used: int = 0
    truncated: int = 0  # files longer than `max_seconds`
    unusable: dict[str, list[str]] = field(default_factory=dict)  # file names by reason
    rates: Counter[int] = field(default_factory=Counter)  # files of each sample rate
    channels: Counter[int] = field(default_factory=Counter)  # files of each channel count
    contents: dict[Path, str] = field(default_factory=dict)  # hashes of the used files

    def add(self, path: Path, source: Source, preprocessing: Preprocessing) -> None:
        """Counts a usable file."""
        self.used += 1
        self.truncated += source.samples > int(preprocessing.max_seconds * source.rate)
        self.contents[path] = source.content
        self.rates[source.rate] += 1
        self.channels[source.channels] += 1

    def skip(self, path: Path, error: UnusableClipError) -> None:
        """Counts an unusable file."""
        self.unusable.setdefault(error.reason, []).append(str(path))

    def require_usable(self, role: str, max_unusable: float) -> None:
        """Raises ValueError if more than the share `max_unusable` of the folder's clips are unusable."""
        bad = sum(map(len, self.unusable.values()))
        if bad > max_unusable * (total := bad + self.used):
            reasons = ", ".join(f"{len(names)} {why} (first: {names[0]})" for why, names in self.unusable.items())
            raise ValueError(f"{role}: {bad} of {total} clips cannot be used: {reasons}; --max-unusable allows more")

    def describe_mixed_formats(self) -> list[str]:
        """Returns a sentence for each of sample rate and channel count that differs between files."""
        lines = []
        for what, counts in (("rates", self.rates), ("channel counts", self.channels)):
            files = ", ".join(f"{count} files with {value}" for value, count in sorted(counts.items()))
            lines += [f"{what} mixed: {files}"] if len(counts) > 1 else []
        return lines

    def as_dict(self) -> dict:
        """Returns the entry of the result file."""
        counts = {reason: len(names) for reason, names in sorted(self.unusable.items())}
        rates, channels = ({str(k): n for k, n in sorted(d.items())} for d in (self.rates, self.channels))
        result = {"used": self.used, "cut": self.truncated, "left_out": counts, "rates": rates, "channels": channels}
        return result | {"left_out_names": self.unusable}
