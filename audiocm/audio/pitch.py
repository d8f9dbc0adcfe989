"""Two trackers of the fundamental frequency (F0).

`estimate_f0` is YIN with a voicing decision of its own and short windows: it follows a moving F0 at about 40 times real
time on one core, finer than pYIN's bins. `track_pitch` is librosa's pYIN, which smooths over time and is the usual
measure of the F0 of speech.
"""

import numpy as np

MIN_F0, MAX_F0 = 60.0, 500.0  # Hz, of estimate_f0
WINDOW = 1024 / 24000  # seconds
VOICED_CORRELATION = 0.5  # of the sound with itself one period later, from which a frame counts as voiced


def estimate_f0(wav: np.ndarray, rate: int = 24000, step: float = 0.0125) -> np.ndarray:
    """Returns F0 in Hz, [frame], in steps of about `step` seconds spread evenly over wav [sample]; 0 where unvoiced.

    F0 is by librosa's YIN (de Cheveigné & Kawahara 2002), voicing by `voiced_frames`."""
    import librosa

    hop = round(step * rate)
    count = max(1, round(len(wav) / hop))
    wav = wav[: count * hop]
    shifted = np.pad(wav[hop // 2 :], (0, hop))  # librosa centres frame i at i * hop, here it is the middle of step i
    window = round(WINDOW * rate / 2) * 2
    f0 = librosa.yin(shifted, fmin=MIN_F0, fmax=MAX_F0, sr=rate, frame_length=window, hop_length=hop)[:count]
    return np.where(voiced_frames(wav, rate, f0), f0, 0.0)


def voiced_frames(wav: np.ndarray, rate: int, f0: np.ndarray) -> np.ndarray:
    """Returns whether each frame is voiced, bool [frame].

    It is if wav [sample], low-passed at 1 kHz, repeats after 1 / f0 [frame] and is within 40 dB of the loudest
    frame."""
    from scipy.signal import butter, sosfiltfilt

    wav = sosfiltfilt(butter(4, 1000.0, fs=rate, output="sos"), wav)
    width, count = int(rate * 0.03), len(f0)
    lag = np.clip(np.round(rate / np.clip(f0, MIN_F0, MAX_F0)).astype(int), 1, None)[:, None]
    margin = width + int(rate / MIN_F0)
    padded = np.pad(wav.astype(np.float64), margin)
    centre = ((np.arange(count) + 0.5) * len(wav) / count).astype(int)[:, None]
    first = centre + np.arange(width)[None] - width // 2 + margin - lag // 2
    now, later = padded[first], padded[first + lag]
    power = (now**2).mean(1) * (later**2).mean(1)
    correlation = (now * later).mean(1) / np.sqrt(power + 1e-16)
    return (correlation > VOICED_CORRELATION) & (np.sqrt(power) > np.sqrt(power).max() * 1e-4)


def track_pitch(wav: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns F0 in Hz and whether it is voiced, both [frame], by librosa's pYIN (Mauch & Dixon 2014) from 65 to 500
    Hz."""
    import librosa

    return librosa.pyin(np.asarray(wav, np.float32), fmin=65, fmax=500, sr=rate)[:2]
