"""From a source file to corpus clips: decode, resample, cut, trim, level, write; and pooled features of a clip."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 24000
MAX_SECONDS = 20.0
WINDOW_SECONDS = 10.0
MAX_WINDOWS = 4
Wave = np.ndarray


def read(path: Path) -> tuple[Wave, int]:
    """Mono float32 [sample] and its rate in Hz. G.722 needs PyPI ``av``. Raises on damaged files."""
    if path.suffix.lower() == ".g722":
        import av

        with av.open(str(path), format="g722") as container:
            parts = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
        return np.concatenate(parts).astype(np.float32) / 32768, 16000
    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return wave.mean(axis=1), rate


def envelope(wave: Wave, hop: int = 240) -> Wave:
    """RMS [frame] over consecutive 10 ms frames."""
    frames = wave[: len(wave) // hop * hop].reshape(-1, hop)
    return np.sqrt((frames**2).mean(axis=1) + 1e-12)


def trim(wave: Wave, keep: float = 0.05, floor_db: float = -50.0) -> Wave:
    """Cut leading and trailing frames more than ``-floor_db`` under the loudest; at most ``keep`` s of them stay."""
    level = envelope(wave)
    if not level.size:
        return wave
    active = np.flatnonzero(level > max(level.max() * 10 ** (floor_db / 20), 1e-4))
    if not active.size:
        return wave[:0]
    pad = round(keep * RATE)
    return wave[max(0, active[0] * 240 - pad) : (active[-1] + 1) * 240 + pad]


def level(wave: Wave, rms_db: float = -20.0, peak: float = 0.97) -> Wave:
    """Scale the RMS of the active part (frames within 30 dB of the loudest) to ``rms_db`` dBFS, peak at most ``peak``."""
    frames = envelope(wave)
    active = frames[frames > frames.max() * 10 ** (-30 / 20)]
    gain = 10 ** (rms_db / 20) / np.sqrt((active**2).mean())
    return wave * min(gain, peak / np.abs(wave).max())


def windows(wave: Wave, kind: str) -> list[Wave]:
    """The whole clip up to 20 s; of a longer one up to four 10 s windows spread evenly (music: one)."""
    if len(wave) <= MAX_SECONDS * RATE:
        return [wave]
    size = round(WINDOW_SECONDS * RATE)
    count = 1 if kind == "music" else min(MAX_WINDOWS, len(wave) // size)
    starts = (
        np.linspace(0, len(wave) - size, count + 2)[1:-1].astype(int)
        if count < 3
        else np.linspace(0, len(wave) - size, count).astype(int)
    )
    return [wave[s : s + size] for s in starts]


def clips(path: Path, kind: str) -> list[Wave]:
    """All corpus clips of one source file: float32 [sample] at 24 kHz; empty when it is silent or too short."""
    wave, rate = read(path)
    wave = wave - wave.mean()  # before resampling, or the offset rings at both ends
    if rate != RATE:
        wave = soxr.resample(wave, rate, RATE, quality="HQ")
    wave = np.nan_to_num(wave - wave.mean())
    if np.abs(wave).max(initial=0.0) < 4e-3:
        return []
    found = []
    for part in windows(trim(wave), kind):
        part = trim(part)
        if len(part) >= 0.25 * RATE and np.abs(part).max() >= 4e-3:
            faded = part - part.mean()
            edge = min(120, len(faded) // 4)
            faded[:edge] *= np.linspace(0, 1, edge, dtype=np.float32)
            faded[-edge:] *= np.linspace(1, 0, edge, dtype=np.float32)
            found.append(level(faded).astype(np.float32))
    return found


def write_flac(path: Path, wave: Wave) -> None:
    """16-bit FLAC at 24 kHz, atomically."""
    partial = path.with_suffix(".part")
    soundfile.write(partial, wave, RATE, format="FLAC", subtype="PCM_16")
    os.replace(partial, path)


def log_mel_statistics(wave: Wave) -> Wave:
    """Unit-norm [192]: mean, standard deviation and mean absolute difference over time of a 64-band log-mel."""
    import librosa

    mel = librosa.feature.melspectrogram(y=wave, sr=RATE, n_fft=1024, hop_length=480, n_mels=64)
    log = np.log(mel + 1e-5)
    step = np.abs(np.diff(log, axis=1)).mean(axis=1) if log.shape[1] > 1 else np.zeros(64)
    parts = [log.mean(axis=1) - log.mean(), log.std(axis=1), step]
    vector = np.concatenate([p / (np.linalg.norm(p) + 1e-6) for p in parts])
    return (vector / np.linalg.norm(vector)).astype(np.float32)
