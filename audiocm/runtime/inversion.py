"""Spectra to sound in numpy: the inverse short-time Fourier transform and fast Griffin-Lim of `audiocm.audio.spectral`.

Frames are transformed in blocks, so that what is computed from a block stays in the cache."""

import functools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

MOMENTUM = 0.99
BLOCK = 128  # frames


class Inversion:
    """Inverse of spectra of `n_fft` samples every `hop`, with a periodic Hann window; a spectrum a hop of sound.

    threads: the most that share a sound. Raises ValueError if n_fft is not an even multiple of hop."""

    def __init__(self, n_fft: int, hop: int, threads: int = 1):
        if n_fft % hop or n_fft // hop < 2:
            raise ValueError(f"n_fft must be a multiple of hop, got n_fft={n_fft}, hop={hop}")
        self.n_fft, self.hop, self.pad, self.threads = n_fft, hop, (n_fft - hop) // 2, threads
        self.window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)

    def __call__(self, real: np.ndarray, imag: np.ndarray, iterations: int = 0) -> np.ndarray:
        """Returns the wav [frame * hop], float32, of a spectrum [bin, frame] after Griffin-Lim iterations.

        Perraudin et al. 2013, with the given magnitudes and first phases. Each thread makes a part of the sound, from the
        frames of that part and those beside it that reach it; a frame reaches those that it overlaps in each iteration."""
        count, reach = real.shape[1], (iterations + 1) * (self.n_fft // self.hop - 1)
        parts = max(1, min(self.threads, count // (4 * reach)))

        def invert(part: int) -> np.ndarray:
            start, stop = count * part // parts, count * (part + 1) // parts
            first, last = max(0, start - reach), stop + reach
            wav = self._invert(real[:, first:last], imag[:, first:last], iterations)
            return wav[(start - first) * self.hop : (stop - first) * self.hop]

        if parts == 1:
            return invert(0)
        with ThreadPoolExecutor(parts) as pool:
            return np.concatenate(list(pool.map(invert, range(parts))))

    def _invert(self, real: np.ndarray, imag: np.ndarray, iterations: int) -> np.ndarray:
        spectrum = np.empty(real.T.shape, np.complex64)
        spectrum.real, spectrum.imag = real.T, imag.T
        blocks, count = [spectrum[i : i + BLOCK] for i in range(0, len(spectrum), BLOCK)], len(spectrum)
        wav = self._istft(blocks, count)
        if iterations:
            magnitudes = [np.abs(block) for block in blocks]
            spectrum[:] = 0
        for _ in range(iterations):
            wav = self._istft(self._project(wav, magnitudes, blocks), count)
        return wav

    def _project(
        self, wav: np.ndarray, magnitudes: list[np.ndarray], previous: list[np.ndarray]
    ) -> Iterator[np.ndarray]:
        """Yields the next spectra [frame, bin]: those of a wav, led away from the previous ones, with given magnitudes.

        `previous` holds what is subtracted, MOMENTUM / (1 + MOMENTUM) of the spectra of the wav before, and is replaced
        by that of this one."""
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(wav, self.pad, mode="reflect"), self.n_fft)[
            :: self.hop
        ]
        window = self.window * np.float32(self.n_fft)  # numpy transforms in float32 only where it divides by n_fft
        for i, (magnitude, before) in enumerate(zip(magnitudes, previous, strict=True)):
            current = np.fft.rfft(frames[i * BLOCK : (i + 1) * BLOCK] * window, axis=1, norm="forward")
            previous[i] = current = current.astype(np.complex64, copy=False)
            spectrum = np.subtract(current, before, out=before)
            current *= np.float32(MOMENTUM / (1 + MOMENTUM))
            gain = np.abs(spectrum)
            np.maximum(gain, np.float32(1e-8), out=gain)
            spectrum *= np.divide(magnitude, gain, out=gain)
            yield spectrum

    def _istft(self, blocks: Iterable[np.ndarray], count: int) -> np.ndarray:
        """Returns the wav [count * hop] nearest to spectra in blocks [frame, bin] (Griffin & Lim 1984, eq. 6)."""
        frames = (np.fft.irfft(block, self.n_fft, axis=1).astype(np.float32, copy=False) for block in blocks)
        wav = self._overlap_add(frames, self.window, count)
        wav *= self._inverse_weight(count)
        return wav[self.pad : len(wav) - self.pad]

    def _overlap_add(self, blocks: Iterable[np.ndarray], window: np.ndarray, count: int) -> np.ndarray:
        total, start = np.zeros((count + self.n_fft // self.hop - 1, self.hop), np.float32), 0
        for block in blocks:
            block *= window
            parts = block.reshape(len(block), -1, self.hop)
            for k in range(parts.shape[1]):
                total[start + k : start + k + len(block)] += parts[:, k]
            start += len(block)
        return total.reshape(-1)

    @functools.lru_cache(maxsize=4)  # noqa: B019 (few inversions live, as long as their models)
    def _inverse_weight(self, count: int) -> np.ndarray:
        ones = np.ones((count, self.n_fft), np.float32)
        return 1 / np.maximum(self._overlap_add([ones], self.window**2, count), np.float32(1e-8))
