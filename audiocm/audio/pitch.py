"""F0 that moves, in steps of 12.5 ms: librosa's YIN (de Cheveigné & Kawahara 2002) where the sound, low-passed, repeats after one
period. Some 40 times real time on one core, and finer than pYIN's bins."""

from __future__ import annotations

import numpy as np

LOW, HIGH = 60.0, 500.0  # Hz
WINDOW = 1024 / 24000  # seconds: short, so that a moving F0 is met where it is
PERIODIC = 0.5  # correlation with itself one period later from which a frame counts as voiced


def voiced_frames(wav: np.ndarray, rate: int, f0: np.ndarray) -> np.ndarray:
    """bool [frame]: whether wav [sample] repeats after 1 / f0 [frame] and is not much weaker than the loudest frame."""
    from scipy.signal import butter, sosfiltfilt

    wav = sosfiltfilt(butter(4, 1000.0, fs=rate, output="sos"), wav)
    width, count = int(rate * 0.03), len(f0)
    lag = np.clip(np.round(rate / np.clip(f0, LOW, HIGH)).astype(int), 1, None)
    centre = ((np.arange(count) + 0.5) * len(wav) / count).astype(int)
    padded = np.pad(wav.astype(np.float64), width + int(rate / LOW))
    at = centre[:, None] + np.arange(width)[None] - width // 2 + width + int(rate / LOW)
    now, later = padded[at - lag[:, None] // 2], padded[at - lag[:, None] // 2 + lag[:, None]]
    power = (now**2).mean(1) * (later**2).mean(1)
    match = (now * later).mean(1) / np.sqrt(power + 1e-16)
    return (match > PERIODIC) & (np.sqrt(power) > np.sqrt(power).max() * 1e-4)


def estimate_f0(wav: np.ndarray, rate: int = 24000, step: float = 0.0125) -> np.ndarray:
    """F0 in Hz about every `step` seconds of wav [sample], evenly over its length; 0 where unvoiced."""
    import librosa

    hop = round(step * rate)
    count = max(1, round(len(wav) / hop))
    wav = wav[: count * hop]
    late = np.pad(wav[hop // 2 :], (0, hop))  # librosa's frame i is about i * hop: ours about the middle of step i
    f0 = librosa.yin(late, fmin=LOW, fmax=HIGH, sr=rate, frame_length=round(WINDOW * rate / 2) * 2, hop_length=hop)[
        :count
    ]
    return np.where(voiced_frames(wav, rate, f0), f0, 0.0)


def track_pitch(wav: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """F0 in Hz and whether it is voiced, [frame] both, by librosa's pYIN (Mauch & Dixon 2014), 65-500 Hz."""
    import librosa

    return librosa.pyin(np.asarray(wav, np.float32), fmin=65, fmax=500, sr=rate)[:2]
