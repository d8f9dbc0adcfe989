"""Spectra to sound in numpy: the inverse short-time Fourier transform and fast Griffin-Lim of `audiocm.audio.spectral`."""

import functools

import numpy as np

MOMENTUM = 0.99


class Inversion:
    """Inverse of spectra of `n_fft` samples every `hop`, with a periodic Hann window; a spectrum a hop of sound.

    Raises ValueError if n_fft is not an even multiple of hop."""

    def __init__(self, n_fft: int, hop: int):
        if n_fft % hop or n_fft // hop < 2:
            raise ValueError(f"n_fft must be a multiple of hop, got n_fft={n_fft}, hop={hop}")
        self.n_fft, self.hop, self.pad = n_fft, hop, (n_fft - hop) // 2
        self.window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)

    def __call__(self, real: np.ndarray, imag: np.ndarray, iterations: int = 0) -> np.ndarray:
        """Returns the wav [frame * hop], float32, of a spectrum [bin, frame] after Griffin-Lim iterations.

        Perraudin et al. 2013, with the given magnitudes and first phases."""
        spectrum = np.empty(real.T.shape, np.complex64)
        spectrum.real, spectrum.imag = real.T, imag.T
        magnitude, previous = _absolute(spectrum), None
        for _ in range(iterations):
            current = self.stft(self.istft(spectrum))
            spectrum = current.copy()
            if previous is not None:
                previous *= np.float32(MOMENTUM / (1 + MOMENTUM))
                spectrum -= previous
            spectrum *= magnitude / np.maximum(_absolute(spectrum), np.float32(1e-8))
            previous = current
        return self.istft(spectrum)

    def stft(self, wav: np.ndarray) -> np.ndarray:
        """Returns the spectra [frame, bin], complex64, of a wav [frame * hop]."""
        padded = np.pad(wav, self.pad, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.n_fft)[:: self.hop]
        return np.fft.rfft(frames * self.window, axis=1).astype(np.complex64, copy=False)

    def istft(self, spectrum: np.ndarray) -> np.ndarray:
        """Returns the wav [frame * hop] that is nearest to spectra [frame, bin] (Griffin & Lim 1984, eq. 6)."""
        frames = np.fft.irfft(spectrum, self.n_fft, axis=1).astype(np.float32, copy=False)
        frames *= self.window
        wav = self._overlap_add(frames)
        wav *= self._inverse_weight(len(frames))
        return wav[self.pad : len(wav) - self.pad]

    def _overlap_add(self, frames: np.ndarray) -> np.ndarray:
        parts = frames.reshape(len(frames), -1, self.hop)
        total = np.zeros((len(frames) + parts.shape[1] - 1, self.hop), np.float32)
        for k in range(parts.shape[1]):
            total[k : k + len(frames)] += parts[:, k]
        return total.reshape(-1)

    @functools.lru_cache(maxsize=4)  # noqa: B019 (few inversions live, as long as their models)
    def _inverse_weight(self, frames: int) -> np.ndarray:
        squares = np.broadcast_to(self.window**2, (frames, self.n_fft))
        return 1 / np.maximum(self._overlap_add(squares), np.float32(1e-8))


def _absolute(spectrum: np.ndarray) -> np.ndarray:
    """|spectrum|, faster than numpy's, which guards against overflow."""
    return np.sqrt(np.square(spectrum.real) + np.square(spectrum.imag))
