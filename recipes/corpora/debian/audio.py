"""From a source file to clips of the Debian corpus: decode, resample, cut, trim and level; and statistics of a clip."""

from pathlib import Path

import numpy as np

from audiocm.audio.io import decode, resample, to_mono
from recipes.corpora.manifests import RATE, level, read_g722

MAX_SECONDS = 20.0
WINDOW_SECONDS = 10.0
MAX_WINDOWS = 4
MIN_SECONDS = 0.25
MIN_PEAK = 4e-3


def trim(wav: np.ndarray, keep: float = 0.05, floor_db: float = -50.0) -> np.ndarray:
    """Cuts the ends of a wav [sample] where 10 ms frames are more than 50 dB below the loudest, except for `keep` s."""
    rms = np.sqrt((wav[: len(wav) // 240 * 240].reshape(-1, 240) ** 2).mean(axis=1) + 1e-12)
    if not rms.size:
        return wav
    active = np.flatnonzero(rms > max(rms.max() * 10 ** (floor_db / 20), 1e-4))
    if not active.size:
        return wav[:0]
    pad = round(keep * RATE)
    return wav[max(0, active[0] * 240 - pad) : (active[-1] + 1) * 240 + pad]


def split_windows(wav: np.ndarray, kind: str) -> list[np.ndarray]:
    """Returns a wav of up to 20 s as it is, of a longer one up to four evenly spread windows of 10 s (music: one)."""
    if len(wav) <= MAX_SECONDS * RATE:
        return [wav]
    size = round(WINDOW_SECONDS * RATE)
    count = 1 if kind == "music" else min(MAX_WINDOWS, len(wav) // size)
    inner = np.linspace(0, len(wav) - size, count if count >= 3 else count + 2)
    starts = (inner if count >= 3 else inner[1:-1]).astype(int)
    return [wav[start : start + size] for start in starts]


def read_clips(path: Path, kind: str) -> list[np.ndarray]:
    """Returns the clips of one source file, float32 [sample] at 24 kHz; none if it is silent or too short.

    Raises an exception of the decoder if the file is damaged."""
    wav, rate = (read_g722(path), 16000) if path.suffix.lower() == ".g722" else decode(path)
    wav = to_mono(wav)
    wav = resample(wav - wav.mean(), rate, RATE)  # centred first, or the offset rings at both ends
    wav = np.nan_to_num(wav - wav.mean())
    if np.abs(wav).max(initial=0.0) < MIN_PEAK:
        return []
    clips = []
    for part in split_windows(trim(wav), kind):
        part = trim(part)
        if len(part) >= MIN_SECONDS * RATE and np.abs(part).max() >= MIN_PEAK:
            part = part - part.mean()
            ramp = np.linspace(0, 1, min(120, len(part) // 4), dtype=np.float32)
            part[: len(ramp)] *= ramp
            part[-len(ramp) :] *= ramp[::-1]
            clips.append(level(part, -20.0, peak=0.97))
    return clips


def log_mel_statistics(wav: np.ndarray) -> np.ndarray:
    """Returns the mean, standard deviation and mean absolute step over time of a 64-band log-mel, [192], of norm 1."""
    import librosa

    mel = librosa.feature.melspectrogram(y=wav, sr=RATE, n_fft=1024, hop_length=480, n_mels=64)
    log = np.log(mel + 1e-5)
    step = np.abs(np.diff(log, axis=1)).mean(axis=1) if log.shape[1] > 1 else np.zeros(64)
    parts = [log.mean(axis=1) - log.mean(), log.std(axis=1), step]
    vector = np.concatenate([part / (np.linalg.norm(part) + 1e-6) for part in parts])
    return (vector / np.linalg.norm(vector)).astype(np.float32)
