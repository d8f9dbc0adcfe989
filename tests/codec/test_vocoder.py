"""The vocoder: lengths, starting point, fixed noise beyond its period."""

import torch
from waves import tones

from audiocm.codec.vocoder import Vocoder


def vocoder(**settings) -> Vocoder:
    torch.manual_seed(0)
    return Vocoder(width=32, depth=1, **settings).eval()


@torch.no_grad()
def test_training_starts_at_the_magnitudes_of_the_mel() -> None:
    net = vocoder()
    log_mel = net.mel(tones())
    torch.testing.assert_close(net.initial_spectrum(log_mel).abs(), net.mel.magnitude(log_mel, 3), rtol=1e-3, atol=1e-6)


@torch.no_grad()
def test_iterations_default_to_the_config() -> None:
    net = vocoder(iterations=2)
    log_mel = net.mel(tones())
    assert net(log_mel).shape == (2, log_mel.shape[2] * 256)
    assert torch.equal(net(log_mel), net(log_mel, 2)) and not torch.equal(net(log_mel), net(log_mel, 0))


@torch.no_grad()
def test_sounds_longer_than_the_period_of_the_noise() -> None:
    assert vocoder()(torch.full((1, 100, 4100), -3.0), 0).isfinite().all()
