"""The mel VAE: initialisation by principal components, whitening, texture, scale of the channels."""

import pytest
import torch
from waves import tones

from audiocm.audio.spectral import LogMel
from audiocm.codec.vae import MelVAE
from audiocm.codec.vae_net import Texture, WithNoise, tile_frames


@pytest.fixture
def vae() -> MelVAE:
    torch.manual_seed(0)
    return MelVAE(widths=(32, 32, 48), blocks=(1, 1, 1), channels=16)


def test_whitening_is_an_affine_change_of_coordinates(vae: MelVAE) -> None:
    log_mel = LogMel()(tones())
    with torch.no_grad():
        raw = vae.encode(log_mel)
        before = vae.decode(raw)
        vae.whiten(raw.mean((0, 2)), raw.std((0, 2)))
        white = vae.encode(log_mel)
        assert torch.allclose(white.std((0, 2)), torch.ones(16), atol=1e-4)
        assert torch.allclose(vae.decode(white), before, atol=1e-4)


def test_init_from_pca_reconstructs_low_rank_mels_at_unit_std() -> None:
    generator = torch.Generator().manual_seed(0)
    basis, factors = torch.randn(6, 400, generator=generator), torch.randn(256, 6, generator=generator)
    log_mel = (factors @ basis).view(8, 32, 100, 4).permute(0, 2, 1, 3).reshape(8, 100, 128) - 4.0
    vae = MelVAE(widths=(16, 16, 16), blocks=(1, 1, 1), channels=6, noise_channels=0)
    vae.init_from_pca(log_mel)
    with torch.no_grad():
        latent = vae.posterior(log_mel)[0]
        assert torch.allclose(latent.std((0, 2)), torch.ones(6), atol=0.05)
        assert (vae.reconstruct(latent)[0] - log_mel).abs().mean() < 0.15 * log_mel.std()


def test_texture_is_white_noise_in_log_mel() -> None:
    texture = Texture(100, 1024)
    assert texture.pattern.std(1).sub(1).abs().max() < 1e-3 and texture.pattern.mean(1).abs().max() < 1e-4
    neighbours = (texture.pattern[:, 1:] * texture.pattern[:, :-1]).mean()
    assert 0.3 < neighbours < 0.9  # windows overlap by three quarters: real noise does not jump from frame to frame


def test_texture_is_added_where_the_std_is_that_of_noise() -> None:
    texture = Texture(100, 64)
    mean = torch.randn(2, 100, 200)
    for share, expected in ((0.1, 0.0), (1.0, 1.0)):
        std = (share * texture.spread).expand(2, 100, 200)
        added = texture(mean, std) - mean
        assert torch.allclose(texture.noise_share(std), torch.tensor(expected), atol=1e-2)
        assert torch.allclose(added, expected * std * tile_frames(texture.pattern, 200), atol=3e-2)


def test_fixed_noise_repeats_and_ignores_the_batch() -> None:
    layer = WithNoise(3, period=50)
    x = torch.randn(2, 4, 120)
    out = layer(x)
    assert torch.equal(out[:, :4], x) and torch.equal(out[0, 4:], out[1, 4:])
    assert torch.equal(out[0, 4:], torch.cat([layer.noise, layer.noise, layer.noise[:, :20]], 1))
    assert torch.equal(WithNoise(3, period=50).noise, layer.noise)
    assert torch.equal(layer(x[:1, :, :30])[:, 4:], out[:1, 4:, :30])


def test_rescaling_equalizes_the_sensitivity_of_channels(vae: MelVAE) -> None:
    log_mel = LogMel()(tones())
    with torch.no_grad():
        vae.linear_decoder.weight *= torch.logspace(0, 1, 16)[:, None, None]
    latent = vae.encode(log_mel)
    before, sensitivity = vae.decode(latent), vae.mel_sensitivity(latent)
    gains = vae.rescale_by_sensitivity(latent, 1.0)
    again = vae.encode(log_mel)
    assert torch.allclose(again, latent * gains[:, None], rtol=1e-3, atol=1e-4)
    assert torch.allclose(vae.decode(again), before, atol=1e-3)
    assert gains.square().mean().item() == pytest.approx(1.0, abs=1e-5)
    after = vae.mel_sensitivity(again)
    assert after.max() / after.min() < 1.5 < 5 < sensitivity.max() / sensitivity.min()
