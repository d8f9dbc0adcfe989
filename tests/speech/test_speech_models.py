"""Alignment against brute force, spreading by durations, masks right to the frame, and the joint loss."""

import itertools

import pytest
import torch
from tiny_speech import tiny_encoder, tiny_net

from audiocm.diffusion import guidance
from audiocm.diffusion.denoiser import Condition
from audiocm.diffusion.guidance import guided_net
from audiocm.distillation import methods, states
from audiocm.speech.alignment import distribute_frames, monotonic_alignment, whole_frames
from audiocm.speech.encoder import SUBFRAMES, phoneme_batch, pitch_features
from audiocm.speech.losses import (
    ConditionedBatches,
    Speaker,
    SpeechLoss,
    aligned_durations,
    hide_pitch,
    known_durations,
)
from audiocm.speech.singing import align_notes, hertz, resample_contour

LINES = ["həlˈO ðˈɛɹ.", "ðə tɹˈAn lˈivz."]


def brute(score, tokens, frames):
    """The best of all ways to share so many frames among so many tokens."""
    best, found = -float("inf"), None
    for cuts in itertools.combinations(range(1, frames), tokens - 1):
        ends = [0, *cuts, frames]
        value = sum(score[ends[k] : ends[k + 1], k].sum().item() for k in range(tokens))
        if value > best:
            best, found = value, [ends[k + 1] - ends[k] for k in range(tokens)]
    return found


def test_search_finds_the_best_path_of_every_row():
    torch.manual_seed(0)
    sizes = [(4, 9), (1, 9), (5, 5), (3, 7), (2, 2)]
    score = torch.randn(len(sizes), 9, 5)
    tokens = torch.arange(5) < torch.tensor([n for n, _ in sizes])[:, None]
    frames = torch.arange(9) < torch.tensor([n for _, n in sizes])[:, None]
    found = monotonic_alignment(score, tokens, frames)
    for row, (n, total) in enumerate(sizes):
        assert found[row].tolist() == [*brute(score[row], n, total), *[0] * (5 - n)]


def test_search_shares_frames_equally_where_there_are_too_few():
    found = monotonic_alignment(torch.randn(1, 6, 4), torch.ones(1, 4, dtype=torch.bool), torch.arange(6)[None] < 3)
    assert torch.allclose(found, torch.full((1, 4), 0.75))


def test_spread_fills_frames_by_overlap():
    shares = distribute_frames(torch.tensor([[0.5, 2.0, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0]]), 4)
    assert shares[0].tolist() == [[0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 0]]
    assert shares[1].sum(1).tolist() == [1, 0, 0, 0]
    durations = torch.rand(3, 20)
    stretched, frames = whole_frames(durations)
    assert torch.allclose(
        distribute_frames(stretched, int(frames.max())).sum(1), stretched, atol=1e-4
    )  # nothing is lost


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


def test_stress_voice_and_pitch_are_heard():
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


def test_contour_is_octaves_voiced_known():
    told = pitch_features(torch.tensor([[0.0, 400.0, 100.0, float("nan")]]))
    assert told[0, :, 0].tolist() == [0, 1, -1, 0, 0, 1, 1, 0, 1, 1, 1, 0]


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.25, 2.0])
def test_speed_scales_durations(speed):
    encoder, line = tiny_encoder(), phoneme_batch(LINES[:1])
    states = encoder.states(line)
    normal, other = (encoder.predicted(states, line, rate).detach() for rate in (1.0, speed))
    assert abs(float(normal.sum()) / speed - float(other.sum())) < 0.51 + 0.5 / speed  # both rounded
    assert torch.allclose(other / other.sum(), normal / normal.sum(), atol=1e-5)
    assert float(other.sum()) == pytest.approx(round(float(other.sum())), abs=1e-4)


def batch_of(frames=(13, 9)):
    spoken = phoneme_batch(LINES, [0, 1])
    spoken.mask = torch.arange(14) < torch.tensor(frames)[:, None]
    tokens = spoken.token_mask.sum(1)
    spoken.durations = spoken.token_mask * (torch.tensor(frames) / tokens)[:, None]
    spoken.pitch = pitch_features(torch.full((2, 14 * SUBFRAMES), 180.0))
    return torch.randn(2, 4, 14) * spoken.mask[:, None], spoken


def test_joint_loss_ignores_padding_and_reaches_everything():
    torch.manual_seed(3)
    x, spoken = batch_of()
    net = Speaker(tiny_encoder(), tiny_net(student=False))
    loss = SpeechLoss(methods.diffusion(coupling=states.prior_centred_noise), knowing=1.0)

    def value(x):
        torch.manual_seed(4)
        return loss.loss(net, None, x, spoken, 0.0)

    first = value(x)
    assert torch.allclose(first, value(torch.where(spoken.mask[:, None], x, 7.0)), rtol=1e-5)
    first.backward()
    silent = {n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()}
    assert silent <= {
        "encoder.template.weight",
        "encoder.template.bias",
        "transformer.null_token",
        "transformer.null_pooled",
    }


def test_durations_learn_the_mean():
    """The Poisson loss is stationary where the rate is the mean duration."""
    duration, log_rate = torch.tensor([1.0, 2.0, 6.0]), torch.tensor(3.0).log().requires_grad_()
    (log_rate.exp() - duration * log_rate).mean().backward()
    assert abs(log_rate.grad) < 1e-6


def test_searched_durations_find_planted_boundaries_and_keep_known_ones():
    torch.manual_seed(5)
    encoder, spoken = tiny_encoder(mel_bins=8), phoneme_batch(LINES[:1] * 2)
    states = encoder.states(spoken)
    with torch.no_grad():
        encoder.template.weight.mul_(5)
        template = encoder.template(states.transpose(1, 2))[0]
    truth = torch.randint(1, 9, (template.shape[0],)).float()
    truth[-1] += -truth.sum() % SUBFRAMES
    frames = int(truth.sum()) // SUBFRAMES
    spoken.mask = torch.ones(2, frames, dtype=torch.bool)
    spoken.durations = torch.stack([torch.full_like(truth, float("nan")), torch.full_like(truth, frames / len(truth))])
    mel = template.repeat_interleave(truth.long(), 0).T.expand(2, -1, -1) * 3.0 - 4.0
    found, error = aligned_durations(lambda x: mel)(encoder, states, spoken, None)
    assert torch.equal(found[0] * SUBFRAMES, truth) and torch.equal(found[1], spoken.durations[1])
    alone = aligned_durations(lambda x: mel[:1])(
        encoder, states[:1], type(spoken)(**{k: None if v is None else v[:1] for k, v in vars(spoken).items()}), None
    )
    assert alone[1] < 1e-8 < error


def test_distillation_sees_a_frozen_condition():
    encoder = tiny_encoder()
    source = iter([batch_of()] * 2)
    batches = ConditionedBatches(source, encoder, known_durations, knowing=0.0)
    x, cond = next(batches)
    assert (
        isinstance(cond, Condition)
        and not cond.prior.requires_grad
        and not any(p.requires_grad for p in encoder.parameters())
    )
    x, spoken = batch_of()
    told = encoder.condition(encoder.states(spoken), hide_pitch(spoken, 0.0), spoken.durations, 14)
    assert torch.allclose(told.prior, cond.prior, atol=1e-6)
    teacher, student = tiny_net(student=False), tiny_net(student=True, target_time=True)
    for method in (
        methods.comospeech(teacher),
        methods.comospeech(guided_net(teacher), guidance=guidance.uniform_guidance(1.0, 3.0)),
        methods.zipvoice(teacher, coupling=states.prior_centred_noise),
    ):
        method.loss(student, None, x, cond, 0.5).backward()
    assert all(p.grad is not None for name, p in student.named_parameters() if "null" not in name)


def test_null_rows_hear_no_prior():
    net, x = tiny_net(student=False), torch.randn(1, 4, 6)
    cond = Condition(
        torch.randn(1, 3, 16), torch.ones(1, 3, dtype=torch.bool), torch.randn(1, 16), None, torch.randn(1, 4, 6)
    )
    other = Condition(cond.tokens, cond.token_mask, cond.pooled, None, -cond.prior)
    assert not torch.allclose(net(x, torch.ones(1), None, cond), net(x, torch.ones(1), None, other), atol=1e-3)
    assert torch.equal(net(x, torch.ones(1), None, cond.nulled()), net(x, torch.ones(1), None, other.nulled()))


def test_sung_vowels_last_their_notes():
    symbols, spoken = ["_", "l", "A", "k", "t", "i", "_"], [0.1, 0.05, 0.1, 0.06, 0.04, 0.1, 0.2]
    seconds, f0 = align_notes(symbols, spoken, [(69, 0.5), (57, 0.1)], 0.01)
    assert seconds[2] + seconds[3] + seconds[4] == pytest.approx(0.5) and seconds[3] == pytest.approx(0.06)
    assert seconds[5] == pytest.approx(0.1) and hertz(69) == 440 and hertz(57) == pytest.approx(220)
    assert set(f0[~(f0 != f0)].round()) == {220.0, 440.0} and (f0 != f0)[:14].all()
    assert align_notes(symbols, spoken, [(69, 0.1), (57, 0.1)], 0.01)[0][2] == pytest.approx(
        0.05
    )  # consonants take half
    with pytest.raises(ValueError, match="3 notes for 2 syllables"):
        align_notes(symbols, spoken, [(60, 1.0)] * 3, 0.01)
    import numpy as np

    assert resample_contour(np.array([100.0, 0.0], np.float32), 4).tolist() == [100, 100, 0, 0]
    with pytest.raises(ValueError, match="in Hz"):
        resample_contour(np.array([60000.0]), 4)
