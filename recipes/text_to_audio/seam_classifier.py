"""How audible the seams of a filled interval are: a classifier that tells patches with a seam, spectral flux and steps of level."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import rankdata

from audiocm.audio.seams import splice
from audiocm.audio.spectral import LogMel
from recipes.text_to_audio.editing_recordings import FIRST, RATE, STOP, WIDTH, level

HALF, HOP = 8, 256  # frames of a patch on each side of a joint, and samples of a frame


def seam_flux(wav: np.ndarray) -> float:
    """Returns the mean size of the changes of log-mels over both joints, in nepers; the classifier does not see it."""
    mel = LogMel()(torch.from_numpy(wav[: len(wav) // HOP * HOP])[None])[0].numpy()
    frames = [round(at / HOP) for at in (FIRST, STOP)]
    return float(np.mean([np.abs(mel[:, at : at + 4].mean(1) - mel[:, at - 4 : at].mean(1)).mean() for at in frames]))


def level_step(wav: np.ndarray) -> float:
    """Returns the mean difference of level between both sides of the joints, over 50 ms each, in decibels."""
    half = RATE // 20
    return float(
        np.mean(
            [
                abs(20 * np.log10((level(wav[at : at + half]) + 1e-5) / (level(wav[at - half : at]) + 1e-5)))
                for at in (FIRST, STOP)
            ]
        )
    )


def patch(wav: np.ndarray, at: int) -> np.ndarray:
    """Returns what the classifier of seams sees of a wav [sample] around a sample: a log-mel patch of 25 bands less
    its mean, the size of its changes from frame to frame, and the step of each band across the sample."""
    begin = at - HALF * HOP
    mel = LogMel()(torch.from_numpy(wav[begin : begin + 2 * HALF * HOP])[None].float())[0].numpy()
    bands = mel.reshape(25, 4, -1).mean(axis=1)
    bands = bands - bands.mean()
    change, step = np.abs(np.diff(bands, axis=1)), np.abs(bands[:, HALF:].mean(1) - bands[:, :HALF].mean(1))
    fine = np.abs(np.diff(mel, axis=1)).mean(axis=0)
    return np.concatenate([bands.ravel(), change.ravel(), change.mean(axis=0), fine, step, [1.0]])


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Returns the probability that a positive score is above a negative one; ties count a half."""
    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    return float((ranks.sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))


class SeamClassifier:
    """Ridge regression of whether a patch holds a seam, trained on recordings [sample] with and without one."""

    def __init__(self, wavs: Sequence[np.ndarray], seed: int, penalty: float = 30.0) -> None:
        generator, features, group = np.random.default_rng(seed), [], []
        for i, wav in enumerate(wavs):
            for _ in range(3):
                first, other = generator.integers(RATE // 2, len(wav) - RATE, 2)
                moved = np.roll(wav, first - other)
                made = moved * (
                    level(wav[first : first + RATE // 2]) / max(level(moved[first : first + RATE // 2]), 1e-5)
                )
                seamed = splice(wav, made.astype(np.float32), int(first), len(wav), WIDTH)
                features += [patch(wav, int(first)), patch(seamed, int(first))]
                group += [i, i]
        x, y, group = np.array(features), np.tile([-1.0, 1.0], len(features) // 2), np.array(group)
        self.mean, self.scale, self.penalty = x.mean(axis=0), x.std(axis=0) + 1e-6, penalty
        self.mean[-1], self.scale[-1] = 0.0, 1.0
        out = np.zeros(len(y))
        for fold in range(5):
            held = group % 5 == fold
            out[held] = self._scaled(x[held]) @ self._fit(x[~held], y[~held])
        self.cross_validated = auc(out[y > 0], out[y < 0])
        self.weights, self.patches = self._fit(x, y), len(y)

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        return (x - self.mean) / self.scale

    def _fit(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x = self._scaled(x)
        return np.linalg.solve(x.T @ x + self.penalty * np.eye(x.shape[1]), x.T @ y)

    def __call__(self, wavs: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the scores [wav, 2] of both joints of sounds whose interval was filled in."""
        scores = [self._scaled(np.array([patch(wav, at) for at in (FIRST, STOP)])) @ self.weights for wav in wavs]
        return np.array(scores)
