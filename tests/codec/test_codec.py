"""The codec as equations: spectra invert, mels are moved to where they are asked, lengths and whitening are exact."""

import pytest
import torch

from audiocm.audio.spectral import LogMel, griffin_lim, istft, mel_filters, stft
from audiocm.codec.codec import Codec
from audiocm.codec.discriminators import MelCritic, WaveCritic, critic_loss, feature_loss, fooling_loss
from audiocm.codec.losses import CodecCritic, SpectralDistance, VAELoss, VocoderLoss, balanced
from audiocm.codec.vae import MelVAE, Texture, fixed_noise_pattern
from audiocm.codec.vocoder import Vocoder


def tones(batch: int = 2, samples: int = 24576) -> torch.Tensor:
    time = torch.arange(samples) / 24000
    pitch = torch.tensor([[220.0], [523.0]])[:batch]
    generator = torch.Generator().manual_seed(0)
    return 0.3 * torch.sin(2 * torch.pi * pitch * time) + 0.02 * torch.randn(batch, samples, generator=generator)


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(0)
    return Codec(MelVAE(widths=(32, 32, 48), blocks=(1, 1, 1), channels=16), Vocoder(width=32, depth=1))


@pytest.mark.parametrize("n_fft, hop", [(1024, 256), (512, 128), (512, 256)])
def test_stft_inverts(n_fft: int, hop: int) -> None:
    wav, window = tones(), torch.hann_window(n_fft)
    spectrum = stft(wav, n_fft, hop, window)
    assert spectrum.shape[-1] == wav.shape[1] // hop
    assert torch.allclose(istft(spectrum, n_fft, hop, window), wav, atol=1e-5)


def test_istft_refuses_ragged_hop() -> None:
    with pytest.raises(ValueError, match="multiple of hop"):
        istft(torch.zeros(1, 513, 4, dtype=torch.complex64), 1024, 300, torch.hann_window(1024))


@pytest.mark.parametrize("settings", [(24000, 1024, 100), (16000, 512, 64), (44100, 2048, 128), (1600, 400, 20)])
def test_mel_filters_are_librosas_to_the_bit(settings: tuple[int, int, int]) -> None:
    rate, n_fft, bins = settings
    theirs = pytest.importorskip("librosa").filters.mel(sr=rate, n_fft=n_fft, n_mels=bins)
    assert torch.equal(mel_filters(*settings), torch.from_numpy(theirs))


def test_mel_of_a_tone_peaks_at_its_bin() -> None:
    mel = LogMel()
    centre = (mel_filters(24000, 1024, 100) * torch.linspace(0, 12000, 513)).sum(1) / mel_filters(24000, 1024, 100).sum(
        1
    )
    for row, pitch in zip(mel(tones())[:, :, 40], (220.0, 523.0), strict=True):
        assert abs(centre[row.argmax()] - pitch) < 35


def test_consistent_gives_the_asked_mel_and_keeps_phases() -> None:
    mel = LogMel()
    spectrum, asked = mel.stft(tones()), mel(tones()) + 0.7
    moved = mel.consistent(spectrum, asked)
    assert (mel.of_spectrum(moved) - asked).abs().mean() < 1e-3
    loud = spectrum.abs() > 1e-2
    assert torch.allclose(moved.angle()[loud], spectrum.angle()[loud], atol=1e-4)


def test_magnitude_of_a_mel_has_that_mel() -> None:
    mel = LogMel()
    log_mel = mel(tones())
    rough = (mel.filters @ mel.magnitude(log_mel)).log()
    fine = (mel.filters @ mel.magnitude(log_mel, 50)).log()
    assert (fine - log_mel).abs().mean() < 0.3 * (rough - log_mel).abs().mean() < 0.3


def test_griffin_lim_converges_from_random_phases() -> None:
    mel, wav = LogMel(), tones()
    log_mel, exact = mel(wav), mel.stft(wav).abs()
    start = torch.polar(exact, 2 * torch.pi * torch.rand(exact.shape, generator=torch.Generator().manual_seed(1)))
    error = [(mel.stft(griffin_lim(mel, log_mel, start, n)).abs() - exact).norm() / exact.norm() for n in (0, 8, 64)]
    assert error[2] < 0.6 * error[1] and error[1] < 0.6 * error[0]


def test_griffin_lim_leaves_a_true_signal_alone() -> None:
    mel, wav = LogMel(), tones()
    assert torch.allclose(griffin_lim(mel, mel(wav), mel.stft(wav), 4), wav, atol=1e-4)


def test_lengths(codec: Codec) -> None:
    assert codec.frame_rate == pytest.approx(23.4375)
    assert codec.frames(4.0) == 94 and codec.frames(1024 / 24000) == 1 and codec.frames(1025 / 24000) == 2
    latent = codec.encode(tones()[:, :10_000])
    assert latent.shape == (2, 16, 10)
    assert codec.decode(latent).shape == (2, 10 * 1024)


def test_bad_shapes_are_named(codec: Codec) -> None:
    with pytest.raises(ValueError, match=r"\[batch, sample\]"):
        codec.encode(torch.zeros(5))
    with pytest.raises(ValueError, match="multiple of 4"):
        codec.vae.encode(torch.zeros(1, 100, 6))


def test_whitening_is_an_affine_change_of_coordinates(codec: Codec) -> None:
    log_mel = codec.vocoder.mel(tones())
    vae = MelVAE.from_config(codec.vae.config)
    vae.load_state_dict(codec.vae.state_dict())
    with torch.no_grad():
        raw = vae.encode(log_mel)
        before = vae.decode(raw)
        vae.whiten(raw.mean((0, 2)), raw.std((0, 2)))
        white = vae.encode(log_mel)
        assert torch.allclose(white.std((0, 2)), torch.ones(16), atol=1e-4)
        assert torch.allclose(vae.decode(white), before, atol=1e-4)


def test_decoding_is_a_function_and_batch_mates_do_not_matter(codec: Codec) -> None:
    latent = torch.randn(3, 16, 12, generator=torch.Generator().manual_seed(0))
    together = codec.decode(latent)
    assert torch.equal(together, codec.decode(latent))
    assert torch.allclose(together[1:2], codec.decode(latent[1:2]), atol=1e-4)
    assert torch.equal(fixed_noise_pattern(3, 9000)[:, :100], fixed_noise_pattern(3, 100))


def test_long_sound_gets_noise_beyond_the_period(codec: Codec) -> None:
    with torch.no_grad():
        assert codec.vocoder(torch.full((1, 100, 4100), -3.0), 0).isfinite().all()


def test_adversarial_terms_at_known_scores() -> None:
    ones, zeros = [[torch.ones(2, 1, 3, 3)]], [[torch.zeros(2, 1, 3, 3)]]
    assert critic_loss(ones, zeros) == 0 and critic_loss(zeros, ones) == 2
    assert fooling_loss(ones) == 0 and fooling_loss(zeros) == 1
    hidden = [[torch.full((1, 2), 4.0), torch.zeros(1)]]
    assert feature_loss(hidden, hidden) == 0
    assert feature_loss(hidden, [[torch.full((1, 2), 2.0), torch.zeros(1)]]) == pytest.approx(0.5)


def test_spectral_distance_is_zero_only_at_home_and_grows() -> None:
    distance, wav = SpectralDistance(), tones()
    noise = torch.randn(wav.shape, generator=torch.Generator().manual_seed(2))
    steps = [distance(wav + level * noise, wav).item() for level in (0.0, 0.02, 0.1, 0.3)]
    assert steps[0] == 0 and steps == sorted(steps) and steps[-1] > 0.5


@pytest.mark.parametrize("part", ["vae", "vocoder"])
def test_training_step_lowers_both_losses(part: str) -> None:
    torch.manual_seed(0)
    wav, mel = tones(), LogMel()
    vae = MelVAE(widths=(32, 32, 32), blocks=(1, 1, 1), channels=16)
    if part == "vae":
        net, judge = vae, MelCritic(4)
        terms = VAELoss(mel, judge, warm=0.0)
    else:
        net, judge = Vocoder(width=32, depth=1), WaveCritic(periods=(2, 3), resolutions=(512,), width=4)
        terms = VocoderLoss(judge, vae.requires_grad_(False))
    critic = CodecCritic(judge, terms)
    student_step = torch.optim.AdamW(net.parameters(), 2e-3)
    critic_step = torch.optim.AdamW(critic.parameters(), 2e-3)
    history = []
    for _ in range(12):
        critic_step.zero_grad()
        judged = critic.loss(net, None, wav, None, 0.5)
        judged.backward()
        critic_step.step()
        student_step.zero_grad()
        loss = terms.loss(net, None, wav, None, 0.5)
        loss.backward()
        student_step.step()
        history.append((loss.item(), judged.item()))
    assert history[-1][0] < 0.9 * history[0][0]
    assert history[-1][1] < history[0][1]


def test_critics_gradient_never_reaches_the_codec() -> None:
    net, judge = Vocoder(width=16, depth=1), WaveCritic(periods=(2,), resolutions=(512,), width=4)
    CodecCritic(judge, VocoderLoss(judge)).loss(net, None, tones(), None, 0.0).backward()
    assert all(p.grad is None for p in net.parameters())
    assert any(p.grad is not None for p in judge.parameters())
    judge.zero_grad()
    VocoderLoss(judge).loss(net, None, tones(), None, 0.0).backward()
    assert all(p.grad is None for p in judge.parameters())
    assert any(p.grad is not None for p in net.parameters())


def test_balanced_gradient_has_the_asked_share() -> None:
    output = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    main, judged = output.square().sum(), (1e4 * output[:, 0]).sum()
    (gradient,) = torch.autograd.grad(balanced(output, main, judged, 0.5), output)
    added = (gradient - 2 * output).detach()
    assert added.norm().item() == pytest.approx(0.5 * (2 * output).norm().item(), rel=1e-4)
    assert torch.allclose(added[:, 1:], torch.zeros(4, 2), atol=1e-5)
    assert balanced(output, main, judged, 0.5).item() == pytest.approx(main.item())


def test_vae_begins_as_principal_components() -> None:
    generator = torch.Generator().manual_seed(0)
    basis, factors = torch.randn(6, 400, generator=generator), torch.randn(256, 6, generator=generator)
    log_mel = (factors @ basis).view(8, 32, 100, 4).permute(0, 2, 1, 3).reshape(8, 100, 128) - 4.0
    vae = MelVAE(widths=(16, 16, 16), blocks=(1, 1, 1), channels=6, noise_channels=0)
    vae.begin(log_mel)
    with torch.no_grad():
        latent = vae.posterior(log_mel)[0]
        assert torch.allclose(latent.std((0, 2)), torch.ones(6), atol=0.05)
        assert (vae.reconstruct(latent)[0] - log_mel).abs().mean() < 0.15 * log_mel.std()


def test_texture_is_white_noise_in_log_mel() -> None:
    texture = Texture(100, 1024)
    assert texture.pattern.std(1).sub(1).abs().max() < 1e-3 and texture.pattern.mean(1).abs().max() < 1e-4
    neighbours = (texture.pattern[:, 1:] * texture.pattern[:, :-1]).mean()
    assert 0.3 < neighbours < 0.9  # windows overlap by three quarters: real noise does not jump from frame to frame
    assert torch.equal(texture(3000)[:, :1024], texture(1024))
    somewhere = texture.anywhere(3, 64)
    assert somewhere.shape == (3, 100, 64) and not torch.equal(somewhere[0], somewhere[1])


def test_std_is_learned_by_likelihood() -> None:
    """On pure noise of known std, the decoder ends up saying that std."""
    torch.manual_seed(0)
    vae = MelVAE(widths=(8, 8, 8), blocks=(1, 1, 1), channels=2, noise_channels=0)

    class Noise:
        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return 0.4 * torch.randn(8, 100, 64) - 4.0

    optimiser = torch.optim.Adam(vae.parameters(), 2e-2)
    for _ in range(80):
        optimiser.zero_grad()
        VAELoss(Noise(), None, scale=1.0).loss(vae, None, torch.zeros(8, 1), None, 0.0).backward()
        optimiser.step()
    with torch.no_grad():
        mean, std = vae.reconstruct(torch.zeros(1, 2, 16))
    assert std.mean().item() == pytest.approx(0.4, rel=0.25)
    assert mean.mean().item() == pytest.approx(-4.0, abs=0.2)


def test_the_limiter_turns_down_what_is_too_loud_and_nothing_else() -> None:
    mel = LogMel()
    wav = torch.randn(1, 24 * 1024, generator=torch.Generator().manual_seed(0)) * 0.1
    level = mel.level(mel(wav))[:, 4:-4]
    assert (level.log().mean() - torch.tensor(0.1).log()).abs() < 0.2  # nepers: under 2 dB
    loud = wav.clone()
    loud[:, 10 * 1024 : 14 * 1024] *= 20
    limited = mel.limited(mel(loud), 0.3)
    assert mel.level(limited).max() <= 0.3 * 1.001
    assert torch.equal(limited[:, :, :30], mel(loud)[:, :, :30]) and torch.equal(mel.limited(mel(wav), 0.3), mel(wav))


def test_emphasis_makes_noise_in_every_channel_equally_audible(codec: Codec) -> None:
    vae = MelVAE.from_config(codec.vae.config)
    vae.load_state_dict(codec.vae.state_dict())
    log_mel = codec.vocoder.mel(tones())
    with torch.no_grad():
        vae.linear_decoder.weight *= torch.logspace(0, 1, 16)[:, None, None]
    latent = vae.encode(log_mel)
    before, heard = vae.decode(latent), vae.audibility(latent)
    gains = vae.emphasise(latent, 1.0)
    again = vae.encode(log_mel)
    assert torch.allclose(again, latent * gains[:, None], rtol=1e-3, atol=1e-4)
    assert torch.allclose(vae.decode(again), before, atol=1e-3) and torch.allclose(
        gains.square().mean(), torch.tensor(1.0)
    )
    after = vae.audibility(again)
    assert after.max() / after.min() < 1.5 < 5 < heard.max() / heard.min()
