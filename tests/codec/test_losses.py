"""Losses of the codec: the spectral distance, the likelihood of the std, training steps."""

import pytest
import torch
from waves import tones

from audiocm.audio.spectral import LogMel
from audiocm.codec.losses import SpectralDistance, VAELoss, VocoderLoss
from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder


def test_spectral_distance_is_zero_for_equal_waveforms_and_grows() -> None:
    distance, wav = SpectralDistance(), tones()
    noise = torch.randn(wav.shape, generator=torch.Generator().manual_seed(2))
    steps = [distance(wav + level * noise, wav).item() for level in (0.0, 0.02, 0.1, 0.3)]
    assert steps[0] == 0 and steps == sorted(steps) and steps[-1] > 0.5


@pytest.mark.parametrize("part", ["vae", "vocoder", "vocoder on recoded mels"])
def test_training_steps_lower_the_loss(part: str) -> None:
    torch.manual_seed(0)
    wav = tones()
    vae = MelVAE(widths=(32, 32, 32), blocks=(1, 1, 1), channels=16)
    if part == "vae":
        net, method = vae, VAELoss(LogMel())
    else:
        recode = (lambda log_mel: vae.decode(vae.encode(log_mel))) if "recoded" in part else None
        net, method = Vocoder(width=32, depth=1), VocoderLoss(SpectralDistance(), recode)
    optimizer, history = torch.optim.AdamW(net.parameters(), 2e-3), []
    for _ in range(12):
        optimizer.zero_grad()
        loss = method.loss(net, None, wav, None, 0.5)
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.9 * history[0]
    assert net is vae or all(weight.grad is None for weight in vae.parameters())


def test_half_of_the_mels_are_recoded() -> None:
    mel, wav = LogMel(), tones()
    mels = VocoderLoss(SpectralDistance(), lambda log_mel: log_mel + 1).input_mels(mel, wav)
    assert torch.allclose(mels - mel(wav), torch.tensor([0.0, 1.0])[:, None, None], atol=1e-5)
    assert torch.equal(VocoderLoss(SpectralDistance()).input_mels(mel, wav), mel(wav))


def test_std_is_learned_by_likelihood() -> None:
    """On pure noise of known std, the decoder learns that std."""
    torch.manual_seed(0)
    vae = MelVAE(widths=(8, 8, 8), blocks=(1, 1, 1), channels=2, noise_channels=0)

    def noise(_wav: torch.Tensor) -> torch.Tensor:
        return 0.4 * torch.randn(8, 100, 64) - 4.0

    optimizer = torch.optim.Adam(vae.parameters(), 2e-2)
    for _ in range(80):
        optimizer.zero_grad()
        VAELoss(noise, likelihood=1.0).loss(vae, None, torch.zeros(8, 1), None, 0.0).backward()
        optimizer.step()
    with torch.no_grad():
        mean, std = vae.reconstruct(torch.zeros(1, 2, 16))
    assert std.mean().item() == pytest.approx(0.4, rel=0.25)
    assert mean.mean().item() == pytest.approx(-4.0, abs=0.2)
