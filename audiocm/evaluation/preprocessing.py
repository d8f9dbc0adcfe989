"""Sound files on their way to a judge: what is read, how it is brought to one form, and what was left out and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..audio.io import AUDIO_SUFFIXES, UNREAD_SUFFIXES, UnusableClipError, resample
from ..audio.loudness import SILENT_PEAK, keep_ends, keep_level


@dataclass(frozen=True)
class Preprocessing:
    """How a clip is brought to one form before an embedder hears it. All of it stands in the card."""

    loudness: Callable[[np.ndarray, int], np.ndarray] = keep_level
    ends: Callable[[np.ndarray, int], np.ndarray] = keep_ends
    shortest: float = 0.05  # seconds; shorter clips are left out and counted
    longest: float = 30.0  # seconds; the rest of longer clips is not heard
    band_limit: int | None = None  # Hz: resampled to this rate first, so that all systems have one bandwidth

    def as_dict(self) -> dict:
        return {
            "channels": "mean of all",
            "resampler": "soxr HQ",
            "loudness": self.loudness.__name__,
            "ends": self.ends.__name__,
            "shortest_seconds": self.shortest,
            "longest_seconds": self.longest,
            "band_limit_rate": self.band_limit,
            "padding": "zeros up to one block of the embedder",
        }

    def most(self, rate: int) -> int:
        """Samples at `rate` that are heard of a clip."""
        return int(self.longest * rate)

    def __call__(self, wav: np.ndarray, rate: int, wanted: int) -> np.ndarray:
        """wav [sample] or [sample, channel] at `rate` → float32 [sample] at `wanted`.

        Raises UnusableClipError where a clip is not finite, silent or too short."""
        wav = np.asarray(wav, dtype=np.float32)
        wav = wav.mean(axis=1) if wav.ndim == 2 else wav
        if not np.isfinite(wav).all():
            raise UnusableClipError("corrupt", "samples that are not finite")
        if len(wav) < self.shortest * rate:
            raise UnusableClipError("too short", f"{len(wav) / rate:.3f} s")
        wav = wav[: self.most(rate)]
        if np.abs(wav).max() < SILENT_PEAK:
            raise UnusableClipError("silent", f"peak under {SILENT_PEAK}")
        wav = self.loudness(self.ends(wav, rate), rate)
        if self.band_limit is not None and self.band_limit != rate:
            wav, rate = resample(wav, rate, self.band_limit), self.band_limit
        return resample(wav, rate, wanted)


def list_clips(folder: str | Path) -> list[Path]:
    """Sound files under `folder`, by path; those of UNREAD_SUFFIXES too, so that they are counted as left out.

    Raises ValueError if there is no such folder or no file in it that could be read."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: {'is a file, name its folder' if folder.exists() else 'no such folder'}")
    wanted = AUDIO_SUFFIXES | UNREAD_SUFFIXES
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in wanted and p.is_file())
    if all(p.suffix.lower() in UNREAD_SUFFIXES for p in found):
        raise ValueError(f"{folder}: holds no sound file ({', '.join(sorted(AUDIO_SUFFIXES))})")
    return found


@dataclass(frozen=True)
class Source:
    """What a file itself is: the hash of its bytes, its rate, channels and samples."""

    content: str
    rate: int
    channels: int
    samples: int

    @classmethod
    def of(cls, content: str, wav: np.ndarray, rate: int) -> Source:
        """Of a decoded file, wav [sample] or [sample, channel]."""
        return cls(content, rate, 1 if wav.ndim == 1 else wav.shape[1], len(wav))


@dataclass
class LoadReport:
    """Counts and names of what was used and what was left out; `rates` and `channels` are the files' own, `cut` how
    many files are longer than is heard."""

    used: int = 0
    cut: int = 0
    left_out: dict[str, list[str]] = field(default_factory=dict)
    rates: dict[int, int] = field(default_factory=dict)
    channels: dict[int, int] = field(default_factory=dict)
    contents: dict[Path, str] = field(default_factory=dict)  # hashes of the used files

    def use(self, path: Path, source: Source, form: Preprocessing) -> None:
        """One more file that is heard in `form`."""
        self.used += 1
        self.cut += source.samples > form.most(source.rate)
        self.contents[path] = source.content
        self.rates[source.rate] = self.rates.get(source.rate, 0) + 1
        self.channels[source.channels] = self.channels.get(source.channels, 0) + 1

    def mixed(self) -> list[str]:
        """What the files do not have in common, in words."""
        found = []
        for what, counts in (("rates", self.rates), ("channel counts", self.channels)):
            if len(counts) > 1:
                found.append(
                    f"{what} mixed: {', '.join(f'{n} files with {value}' for value, n in sorted(counts.items()))}"
                )
        return found

    def leave_out(self, reason: str, name: str) -> None:
        self.left_out.setdefault(reason, []).append(name)

    def as_dict(self) -> dict:
        counts = {reason: len(names) for reason, names in sorted(self.left_out.items())}
        rates, channels = ({str(k): n for k, n in sorted(d.items())} for d in (self.rates, self.channels))
        return {"used": self.used, "cut": self.cut, "left_out": counts, "rates": rates, "channels": channels,
                "left_out_names": self.left_out}  # fmt: skip
