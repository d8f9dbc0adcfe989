"""What sets two speakers apart on log-mels: the frequencies of their formants and the levels of their bands."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audiocm.audio import timbre
from audiocm.audio.io import resample
from audiocm.audio.spectral import LogMel

MEL = LogMel()
CENTRES = timbre.bin_centres(MEL.filters, 24000)
VOWELS = ((700, 1800), (1100, 3000), (900, 2300), (1500, 3500))  # Hz of two resonances


def say(seed: int = 0) -> np.ndarray:
    """Returns four "vowels" of a quarter second each: noise through two resonances."""
    rng, parts = np.random.default_rng(seed), []
    frequency = np.fft.rfftfreq(6144, 1 / 24000)
    for resonances in VOWELS:
        gain = sum(np.exp(-(((frequency - one) / 200) ** 2)) for one in resonances) + 0.01
        parts.append(np.fft.irfft(np.fft.rfft(rng.standard_normal(6144)) * gain))
    return np.concatenate(parts).astype(np.float32)


def test_centres_of_bins_rise_to_half_the_rate():
    assert (CENTRES.diff() > 0).all() and 11000 < CENTRES[-1] < 12000
    assert float(CENTRES[50]) == pytest.approx(
        float((MEL.filters[50] * torch.arange(513) * 23.4375).sum() / MEL.filters[50].sum())
    )


@pytest.mark.parametrize("ratio", [0.82, 1.0, 1.17])
def test_the_ratio_of_the_frequencies_of_two_speakers_is_found_and_undone(ratio):
    slow = resample(say(1), 24000, 24000 / ratio)  # all frequencies times the ratio
    wav = np.interp(np.linspace(0, 1, 100), np.linspace(0, 1, 2), [0, 1])
    one = MEL(torch.from_numpy(say())[None])[0]
    other = MEL(torch.from_numpy(slow[: len(slow) // 256 * 256])[None])[0]
    at = (
        torch.from_numpy((wav * (one.shape[1] - 1)).astype(int)),
        torch.from_numpy((wav * (other.shape[1] - 1)).astype(int)),
    )
    tilt = torch.linspace(-1, 1, 100)[:, None]  # levels of bands do not count
    found = timbre.frequency_ratio(other[:, at[1]] + tilt, one[:, at[0]], CENTRES)
    assert found == pytest.approx(ratio, rel=0.025)
    inside = (CENTRES > 700) & (CENTRES < 6000)

    def apart(mel):
        return float((other[:, at[1]] - mel[:, at[0]])[inside].abs().mean())

    if ratio != 1:
        assert apart(timbre.stretch_frequencies(one, found, CENTRES)) < 0.7 * apart(one)


def test_stretched_frequencies_are_those_of_a_peak_times_the_ratio():
    peak = -((CENTRES - 3000) / 500).square()[None, :, None]
    stretched = timbre.stretch_frequencies(peak, 1.5, CENTRES)
    assert float(CENTRES[stretched[0, :, 0].argmax()]) == pytest.approx(4500, rel=0.05)
    torch.testing.assert_close(timbre.stretch_frequencies(peak, 1.0, CENTRES), peak)


def test_bands_are_those_of_the_other_speaker():
    torch.manual_seed(0)
    made = torch.randn(2, 100, 40)
    tilt = torch.linspace(-1, 1, 100)[:, None]
    known = torch.arange(40) < 30
    apart = timbre.bands_apart(made + tilt, made, known)
    torch.testing.assert_close(
        apart[:, 4:-4], tilt[4:-4].expand(2, -1, -1)
    )  # a mean over 9 bands of a line is its middle
    assert timbre.bands_apart(made + 9, made, known).max() == timbre.SHARPEST
    assert timbre.bands_apart(made - 99, made, known).min() == timbre.DULLEST
    assert not timbre.bands_apart(made + 9, made, known & ~known).any()
    flat = torch.where(known, torch.tensor(0.5), torch.tensor(2.0)).expand(1, 100, 40)
    torch.testing.assert_close(timbre.bands_apart(flat, flat, known, is_alike=False), torch.full((1, 100, 1), -1.5))


def test_speech_is_what_is_loud_where_it_is_looked_for():
    mel = torch.tensor([0.0, -1.9, -2.1, 3.0]).expand(5, 4)
    assert timbre.louder(mel, torch.tensor([True, True, True, False])).tolist() == [True, True, False, False]
