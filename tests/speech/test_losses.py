"""The joint loss of speech, durations by alignment search, and batches conditioned by a frozen encoder."""

import torch
from tiny_speech import tiny_encoder, tiny_net

from audiocm.diffusion import guidance
from audiocm.diffusion.denoiser import Condition
from audiocm.diffusion.guidance import guided_net
from audiocm.distillation import methods, states
from audiocm.speech.encoder_net import SUBFRAMES, SpeechBatch, phoneme_batch, pitch_features
from audiocm.speech.losses import (
    ConditionedBatches,
    SpeechLoss,
    SpeechModel,
    aligned_durations,
    hide_pitch,
    known_durations,
)

LINES = ["həlˈO ðˈɛɹ.", "ðə tɹˈAn lˈivz."]


def speech_batch(frames: tuple[int, int] = (13, 9)) -> tuple[torch.Tensor, SpeechBatch]:
    """Random latents of two lines of so many frames, with known durations and a constant pitch."""
    spoken = phoneme_batch(LINES, [0, 1])
    spoken.mask = torch.arange(14) < torch.tensor(frames)[:, None]
    tokens = spoken.token_mask.sum(1)
    spoken.durations = spoken.token_mask * (torch.tensor(frames) / tokens)[:, None]
    spoken.pitch = pitch_features(torch.full((2, 14 * SUBFRAMES), 180.0))
    return torch.randn(2, 4, 14) * spoken.mask[:, None], spoken


def test_the_loss_ignores_padding_and_trains_all_weights():
    torch.manual_seed(3)
    x, spoken = speech_batch()
    net = SpeechModel(tiny_encoder(), tiny_net(student=False))
    loss = SpeechLoss(methods.diffusion(coupling=states.prior_centred_noise), pitch_share=1.0)

    def value(x):
        torch.manual_seed(4)
        return loss.loss(net, None, x, spoken, 0.0)

    first = value(x)
    assert torch.allclose(first, value(torch.where(spoken.mask[:, None], x, 7.0)), rtol=1e-5)
    first.backward()
    untrained = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()}
    unused = {"encoder.template.weight", "encoder.template.bias"}  # of alignment search
    assert untrained <= unused | {"transformer.null_token", "transformer.null_pooled"}


def test_the_duration_loss_is_stationary_at_the_mean():
    duration, log_rate = torch.tensor([1.0, 2.0, 6.0]), torch.tensor(3.0).log().requires_grad_()
    (log_rate.exp() - duration * log_rate).mean().backward()
    assert abs(log_rate.grad) < 1e-6


def test_aligned_durations_find_true_boundaries_and_keep_known_ones():
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
    durations, error = aligned_durations(lambda x: mel)(encoder, states, spoken, None)
    assert torch.equal(durations[0] * SUBFRAMES, truth) and torch.equal(durations[1], spoken.durations[1])
    first = SpeechBatch(**{name: None if value is None else value[:1] for name, value in vars(spoken).items()})
    _, error_alone = aligned_durations(lambda x: mel[:1])(encoder, states[:1], first, None)
    assert error_alone < 1e-8 < error


class Repeat:
    """A resumable source of always the same batch."""

    def __init__(self, batch):
        self.batch, self.step = batch, 5

    def __next__(self):
        return self.batch

    def state_dict(self):
        return {"step": self.step}

    def load_state_dict(self, state):
        self.step = state["step"]


def test_distillation_gets_conditions_of_a_frozen_encoder():
    encoder = tiny_encoder()
    batches = ConditionedBatches(Repeat(speech_batch()), encoder, known_durations, pitch_share=0.0)
    assert batches.state_dict() == {"step": 5}
    batches.load_state_dict({"step": 7})
    assert batches.source.step == 7
    x, cond = next(batches)
    assert isinstance(cond, Condition) and not cond.prior.requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    x, spoken = speech_batch()
    expected = encoder.condition(encoder.states(spoken), hide_pitch(spoken, 0.0), spoken.durations, 14)
    assert torch.allclose(expected.prior, cond.prior, atol=1e-6)
    teacher, student = tiny_net(student=False), tiny_net(student=True, target_time=True)
    for method in (
        methods.comospeech(teacher),
        methods.comospeech(guided_net(teacher), guidance=guidance.uniform_guidance(1.0, 3.0)),
        methods.zipvoice(teacher, coupling=states.prior_centred_noise),
    ):
        method.loss(student, None, x, cond, 0.5).backward()
    assert all(p.grad is not None for name, p in student.named_parameters() if "null" not in name)
