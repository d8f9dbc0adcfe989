"""Spectra as equations: transforms invert, mels match the request, Griffin-Lim converges, the limiter limits."""

import librosa
import pytest
import torch
from waves import tones

from audiocm.audio.spectral import LogMel, griffin_lim, istft, mel_filters, stft


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
    theirs = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=bins)
    assert torch.equal(mel_filters(*settings), torch.from_numpy(theirs))


@pytest.mark.parametrize(("name", "norm"), [("slaney", "slaney"), ("sum", 1), (None, None)])
@pytest.mark.parametrize("htk", [False, True])
@pytest.mark.parametrize("settings", [(16000, 512, 64, 125, 7500), (44100, 2048, 96, 0, 22050)])
def test_other_mel_filters_are_librosas_to_the_bit(settings: tuple, htk: bool, name: str | None, norm: object) -> None:
    theirs = librosa.filters.mel(
        **dict(zip(("sr", "n_fft", "n_mels", "fmin", "fmax"), settings, strict=True)), htk=htk, norm=norm
    )
    assert torch.equal(mel_filters(*settings, htk=htk, norm=name), torch.from_numpy(theirs))


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
    moved = mel.match_mel(spectrum, asked)
    assert (mel.from_spectrum(moved) - asked).abs().mean() < 1e-3
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


def test_the_limiter_turns_down_what_is_too_loud_and_nothing_else() -> None:
    mel = LogMel()
    wav = torch.randn(1, 24 * 1024, generator=torch.Generator().manual_seed(0)) * 0.1
    level = mel.rms(mel(wav))[:, 4:-4]
    assert (level.log().mean() - torch.tensor(0.1).log()).abs() < 0.2  # nepers: under 2 dB
    loud = wav.clone()
    loud[:, 10 * 1024 : 14 * 1024] *= 20
    limited = mel.limit(mel(loud), 0.3)
    assert mel.rms(limited).max() <= 0.3 * 1.001
    assert torch.equal(limited[:, :, :30], mel(loud)[:, :, :30]) and torch.equal(mel.limit(mel(wav), 0.3), mel(wav))


def test_griffin_lim_is_the_published_algorithm() -> None:
    mel, wav = LogMel(), tones()
    turns = torch.rand(1, 513, wav.shape[1] // 256, generator=torch.Generator().manual_seed(0))
    start, log_mel = mel.stft(wav) * torch.exp(6.28j * turns), mel(wav)
    c = mel.match_mel(start, log_mel)
    magnitude, before = c.abs(), None
    for _ in range(8):  # t_n = P(c_n-1), c_n = P2(t_n + a (t_n - t_n-1)); the factor 1 + a does not matter to P2
        t = mel.stft(mel.istft(c))
        moved = t if before is None else t + 0.99 * (t - before)
        c, before = magnitude * moved / moved.abs().clamp_min(1e-8), t
    wanted, made = mel.istft(c), griffin_lim(mel, log_mel, start, 8)
    assert 10 * torch.log10(wanted.square().sum() / (made - wanted).square().sum()) > 80
