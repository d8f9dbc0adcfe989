"""Critics: the fake score, the discriminator, and DMD2 with both."""

from dataclasses import replace

import torch
from tiny import Gaussian, TinyNet

from audiocm.diffusion import paths
from audiocm.diffusion.denoiser import Condition
from audiocm.diffusion.guidance import uniform_guidance
from audiocm.distillation import methods, timesteps
from audiocm.distillation.adversarial import Discriminator, FakeScore
from audiocm.distillation.method import Method, Mix
from audiocm.distillation.states import prior_centred_noise
from audiocm.distillation.targets import regression_target


def constant_student(value):
    """A student whose samples are all `value`."""
    return lambda x, t, s=None, cond=None: torch.full_like(x, value)


def test_fake_score_learns_the_students_samples():
    """Trained on a student whose samples are 1, the fake score predicts 1."""
    torch.manual_seed(0)
    fake = FakeScore(TinyNet(2, 32), Method(timesteps.always_t_max, regression_target))
    optimizer = torch.optim.Adam(fake.parameters(), 5e-3)
    for _ in range(300):
        optimizer.zero_grad()
        fake.loss(constant_student(1.0), None, torch.zeros(128, 2), None, 0.0).backward()
        optimizer.step()
    t = torch.full((64,), 3.0)
    assert (fake(1 + 3 * torch.randn(64, 2), t) - 1).abs().mean() < 0.1


def test_dmd2_conditions_each_row_on_its_guidance():
    """A guided Gaussian is the Gaussian with w's mean: the loss is 0 where the fake score has w as an input."""
    truth = Gaussian(paths.edm, mu_null=-0.2)

    class Fake(torch.nn.Module):
        def forward(self, x_t, t, s=None, cond=None):
            return truth.denoise(x_t, t, s, cond)

    ranged = methods.dmd2(truth.denoise, Fake(), w=(0.0, 6.0))
    fixed = methods.dmd2(truth.denoise, Fake(), w=3.0)
    x, cond = torch.zeros(64, 2, dtype=torch.float64), Condition(null=torch.arange(64) % 4 == 0)
    assert ranged.loss(truth.student, None, x, cond, 0.0) < 1e-20 < 1e-2 < fixed.loss(truth.student, None, x, cond, 0.0)


def test_dmd2_with_a_discriminator_trains_two_critics_and_gives_the_student_both_gradients():
    torch.manual_seed(0)
    truth, fake, discriminator, student = Gaussian(paths.edm), TinyNet(2, 8), TinyNet(2, 8), TinyNet(2, 8)
    with_gan, without = (
        methods.dmd2(truth.denoise, fake, discriminator=net, adversarial_weight=0.5) for net in (discriminator, None)
    )
    trained = {id(p) for p in (*fake.parameters(), *discriminator.parameters())}
    assert {id(p) for p in with_gan.critic.parameters()} == trained
    x, gradients = torch.randn(64, 2), []
    with_gan.critic.loss(student, None, x, None, 0.0).backward()
    assert all(any(p.grad is not None and p.grad.any() for p in net.parameters()) for net in (fake, discriminator))
    assert all(p.grad is None for p in student.parameters())
    for method in (with_gan, without):
        torch.manual_seed(1)
        loss = method.loss(student, None, x, None, 0.0)
        gradients.append(torch.autograd.grad(loss, student.last.weight)[0])
    assert gradients[1].any() and (gradients[0] - gradients[1]).abs().max() > 1e-6


def test_parts_of_a_shared_sample_mix_share_one_estimate():
    """With two levels, a step of both parts, and of both critics, is one backward simulation and one call."""
    truth, calls = Gaussian(paths.edm), []

    def student(x_t, t, s=None, cond=None):
        calls.append(len(x_t))
        return truth.denoise(x_t, t, s, cond) + 0.1

    fake, discriminator = (TinyNet(2, 8).double() for _ in range(2))
    method = methods.dmd2(truth.denoise, fake, (80.0, 5.0), discriminator=discriminator, adversarial_weight=0.5)
    x = torch.randn(64, 2, dtype=torch.float64)
    for loss in (method, method.critic):
        calls.clear()
        loss.loss(student, None, x, None, 0.0)
        assert calls == [64, 64]
    (half, matching), (_, adversary) = method.parts
    values = []
    for mix in (replace(method, parts=((half, matching),)), Mix(((half, matching),))):
        torch.manual_seed(3)
        values.append(mix.loss(student, None, x, None, 0.0))
    assert values[0] == values[1]
    state = matching.sample_states(student, x, None, 0.0)
    torch.manual_seed(4)
    loss = adversary.loss_of_estimate(student, None, state, x)
    torch.manual_seed(4)
    assert loss == -adversary.discriminator.logits(x, None, 0.0).mean()


def test_discriminator_separates_real_from_generated_and_its_gradient_leads_to_the_real():
    torch.manual_seed(0)
    method = Method(timesteps.always_t_max, regression_target)
    discriminator = Discriminator(TinyNet(2, 32), method, timesteps.lognormal(-1, 0.5), r1_weight=1e-3)
    optimizer = torch.optim.Adam(discriminator.parameters(), 5e-3)
    for _ in range(200):
        optimizer.zero_grad()
        discriminator.loss(constant_student(-1.0), None, torch.ones(128, 2), None, 0.0).backward()
        optimizer.step()
    real, generated = (discriminator.logits(torch.full((256, 2), v), None, 0.0).mean() for v in (1.0, -1.0))
    assert real > 0.5 > -0.5 > generated
    x = torch.zeros(256, 2, requires_grad=True)
    (-discriminator.logits(x, None, 0.0).mean()).backward()
    assert (x.grad.mean(0) < 0).all()  # gradient descent moves samples towards the real ones


def test_discriminator_draws_noise_as_its_method_does():
    """At the highest level what the discriminator sees is noise around the prior."""
    seen = []

    class Net(torch.nn.Module):
        def forward(self, x_t, t, s=None, cond=None):
            seen.append(float((x_t / t[:, None, None]).mean()))
            return x_t

    method = Method(timesteps.always_t_max, regression_target, coupling=prior_centred_noise)
    critic = Discriminator(Net(), method, timesteps.always_t_max)
    x, cond = torch.zeros(64, 4, 32), Condition(prior=torch.full((64, 4, 32), 2.0))
    critic.loss_on_samples(x, x, cond, 0.0)
    critic.logits(x, cond, 0.0)
    assert len(seen) == 3 and all(abs(mean - 2.0) < 0.05 for mean in seen)


def test_a_discriminator_is_added_to_any_method():
    """The added part is the adversarial loss of one jump from pure noise to 0 on the networks' path."""
    truth, calls, discriminator = Gaussian(paths.edm), [], TinyNet(2, 8).double()

    def student(x_t, t, s=None, cond=None):
        calls.append((t, s, x_t))
        return truth.student(x_t, t, s, cond)

    plain = methods.zipvoice_self(guidance=uniform_guidance(1.0, 3.0))
    method = methods.with_discriminator(plain, discriminator, weight=0.5)
    x, cond = torch.randn(64, 2, dtype=torch.float64), Condition(null=torch.zeros(64, dtype=torch.bool))
    adversary = method.parts[1][1]
    assert method.parts[0] == (1.0, plain) and method.parts[1][0] == 0.5 and method.critic is adversary.discriminator
    losses = []
    for loss in (plain, adversary, method):
        torch.manual_seed(1)
        losses.append(loss.loss(student, student, x, cond, 0.0))
    assert losses[0] < 1e-12 and losses[1] != 0
    calls.clear()
    adversary.loss(student, None, x, cond, 0.0)
    ((t, s, x_t),) = calls
    assert s is None and (t == paths.edm.t_max).all() and abs(x_t.std() / paths.edm.t_max - 1) < 0.2
