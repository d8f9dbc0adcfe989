"""Resampling, speed, noise and masks of batches, against their definitions."""

import numpy as np
import pytest
import torch

from audiocm.audio.augmentation import add_white_noise, change_speed, mask_spectrogram, resample_batch
from audiocm.audio.io import resample

RATE = 16000


def tone(hertz, seconds=0.5, rate=RATE):
    return 0.3 * torch.sin(2 * torch.pi * hertz * torch.arange(int(seconds * rate)) / rate)


def peak(wav, rate=RATE):
    """Returns the loudest frequency in Hz."""
    return float(torch.fft.rfft(wav * torch.hann_window(len(wav))).abs().argmax() * rate / len(wav))


def test_resampling_is_that_of_files_and_has_gradients():
    wav = tone(440, rate=24000).requires_grad_()
    found = resample_batch(wav[None], 24000, RATE)[0]
    expected = resample(wav.detach().numpy(), 24000, RATE)
    assert len(found) == len(expected) and np.abs(found.detach().numpy() - expected)[200:-200].max() < 2e-3
    found.square().sum().backward()
    assert wav.grad.abs().max() > 0


def test_speed_changes_pitch_and_keeps_the_length():
    torch.manual_seed(0)
    found = change_speed(tone(1000).expand(24, -1), RATE)
    assert found.shape == (24, 8000)
    heard = {round(peak(wav[:6000]), -2) for wav in found}
    assert heard == {900, 1000, 1100}
    faster = change_speed(tone(1000)[None], RATE, (1.25,))[0]
    assert not faster[6500:].any() and faster[6000:6300].abs().max() > 0.2
    with pytest.raises(ValueError, match="factors must be above 0"):
        change_speed(tone(1000)[None], RATE, (0.0,))


def test_noise_has_the_ratio_that_is_drawn_and_silence_stays():
    torch.manual_seed(0)
    wav = torch.stack([tone(500), torch.zeros(8000)])
    noise = add_white_noise(wav, (20.0, 20.0)) - wav
    assert 10 * torch.log10(wav[0].square().mean() / noise[0].square().mean()) == pytest.approx(20, abs=0.01)
    assert not noise[1].any()


def test_masks_cover_whole_bands_and_spans_and_differ_by_row():
    torch.manual_seed(0)
    masked = mask_spectrogram(torch.zeros(8, 1, 40, 80), 1.0)[:, 0]
    bands, spans = masked.amin(2).sum(1), masked.amin(1).sum(1)
    assert ((masked == masked.amin(2, keepdim=True)) | (masked == masked.amin(1, keepdim=True))).all()
    assert bands.max() <= 2 * 5 and spans.max() <= 2 * 10 and bands.sum() > 0 and len(set(spans.tolist())) > 2
