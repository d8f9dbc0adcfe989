"""The speech encoder: batches and padding, stress, voice and pitch, durations and speed, saved weights."""

import itertools

import pytest
import torch
from tiny_speech import tiny_encoder, tiny_net

from audiocm.diffusion.denoiser import Condition
from audiocm.speech.encoder_net import SUBFRAMES, phoneme_batch, pitch_features

LINES = ["həlˈO ðˈɛɹ.", "ðə tɹˈAn lˈivz."]


def test_a_line_is_the_same_in_any_batch():
    encoder = tiny_encoder()
    both, alone = phoneme_batch(LINES), [phoneme_batch([line]) for line in LINES]
    cond, durations = encoder(both)
    for row, one in enumerate(alone):
        single, lasting = encoder(one)
        frames, tokens = int(lasting.sum().round()), one.symbols.shape[1]
        assert cond.mask[row].sum() == frames == single.mask.sum() and not cond.prior[row, :, frames:].any()
        for a, b in (
            (durations[row, :tokens], lasting[0]),
            (cond.prior[row, :, :frames], single.prior[0]),
            (cond.tokens[row, :tokens], single.tokens[0]),
        ):
            assert torch.allclose(a, b, atol=1e-5)
        assert not cond.tokens[row, tokens:].any() and not durations[row, tokens:].any()


def test_stress_voice_and_pitch_change_the_prior():
    encoder, line = tiny_encoder(), phoneme_batch(LINES[:1])
    plain = encoder(line)[0].prior
    line.durations = encoder(line)[1]
    frames = plain.shape[2]
    for change in ({"stress": 2 - line.stress}, {"voice": line.voice + 1}):
        assert not torch.allclose(plain, encoder(type(line)(**{**vars(line), **change}))[0].prior, atol=1e-3)
    tones = [pitch_features(torch.full((1, frames * SUBFRAMES), f)) for f in (0.0, 150.0, 300.0, float("nan"))]
    priors = [encoder(type(line)(**{**vars(line), "pitch": tone}))[0].prior for tone in tones]
    assert torch.allclose(priors[3], plain, atol=1e-6)  # free pitch is no pitch
    assert all((a - b).abs().max() > 1e-3 for a, b in itertools.combinations(priors, 2))


def test_shared_states_are_those_of_no_voice():
    encoder, line = tiny_encoder(shares_states=True), phoneme_batch(LINES[:1])
    other = type(line)(**{**vars(line), "voice": line.voice + 1})
    assert torch.equal(encoder.states(line), encoder.states(other))
    (one, seconds), (two, other_seconds) = encoder(line), encoder(other)
    assert not torch.allclose(one.pooled, two.pooled, atol=1e-3) and not torch.allclose(
        seconds, other_seconds, atol=1e-3
    )
    line.durations = other.durations = seconds
    assert not torch.allclose(encoder(line)[0].prior, encoder(other)[0].prior, atol=1e-3)


def test_pitch_features_are_octaves_voiced_and_known():
    features = pitch_features(torch.tensor([[0.0, 400.0, 100.0, float("nan")]]))
    assert features[0, :, 0].tolist() == [0, 1, -1, 0, 0, 1, 1, 0, 1, 1, 1, 0]


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.25, 2.0])
def test_speed_scales_durations(speed):
    encoder, line = tiny_encoder(), phoneme_batch(LINES[:1])
    states = encoder.states(line)
    normal, other = (encoder.predict_durations(states, line, rate).detach() for rate in (1.0, speed))
    assert abs(float(normal.sum()) / speed - float(other.sum())) < 0.51 + 0.5 / speed  # both rounded
    assert torch.allclose(other / other.sum(), normal / normal.sum(), atol=1e-5)
    assert float(other.sum()) == pytest.approx(round(float(other.sum())), abs=1e-4)


def test_a_dropped_condition_includes_the_prior():
    net, x = tiny_net(student=False), torch.randn(1, 4, 6)
    cond = Condition(
        torch.randn(1, 3, 16), torch.ones(1, 3, dtype=torch.bool), torch.randn(1, 16), None, torch.randn(1, 4, 6)
    )
    other = Condition(cond.tokens, cond.token_mask, cond.pooled, None, -cond.prior)
    assert not torch.allclose(net(x, torch.ones(1), None, cond), net(x, torch.ones(1), None, other), atol=1e-3)
    assert torch.equal(net(x, torch.ones(1), None, cond.as_null()), net(x, torch.ones(1), None, other.as_null()))
