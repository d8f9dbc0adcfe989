"""The codec as a map: lengths, shapes, determinism."""

import pytest
import torch
from waves import tones

from audiocm.codec.codec import Codec
from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(0)
    return Codec(MelVAE(widths=(32, 32, 48), blocks=(1, 1, 1), channels=16), Vocoder(width=32, depth=1))


def test_lengths(codec: Codec) -> None:
    assert codec.frame_rate == pytest.approx(23.4375)
    assert codec.frames(4.0) == 94 and codec.frames(1024 / 24000) == 1 and codec.frames(1025 / 24000) == 2
    latent = codec.encode(tones()[:, :10_000])
    assert latent.shape == (2, 16, 10)
    assert codec.decode(latent).shape == (2, 10 * 1024)


def test_max_rms_limits_the_decoded_sound(codec: Codec) -> None:
    latent = codec.encode(tones())
    loud = codec.decode(latent)
    limited = codec.decode(latent, max_rms=0.1 * loud.square().mean().sqrt().item())
    assert limited.square().mean() < 0.1 * loud.square().mean()


def test_bad_shapes_are_named(codec: Codec) -> None:
    with pytest.raises(ValueError, match=r"\[batch, sample\]"):
        codec.encode(torch.zeros(5))
    with pytest.raises(ValueError, match="multiple of 4"):
        codec.vae.encode(torch.zeros(1, 100, 6))


def test_decoding_is_a_function_and_batch_mates_do_not_matter(codec: Codec) -> None:
    latent = torch.randn(3, 16, 12, generator=torch.Generator().manual_seed(0))
    together = codec.decode(latent)
    assert torch.equal(together, codec.decode(latent))
    assert torch.allclose(together[1:2], codec.decode(latent[1:2]), atol=1e-4)


def test_large_batches_are_decoded_in_groups(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    latent, rows = torch.randn(6, 16, 8, generator=torch.Generator().manual_seed(0)), []
    decode = codec.vae.decode
    monkeypatch.setattr(codec.vae, "decode", lambda group: rows.append(len(group)) or decode(group))
    together = codec.decode(latent)
    assert rows == [4, 2]
    torch.testing.assert_close(together[5:], codec.decode(latent[5:]), atol=1e-4, rtol=1e-4)
