"""Gaussian optimal transport and the critic that is made of it, against the Fréchet distance itself."""

import numpy as np
import pytest
import torch
from torch import nn

from audiocm import times
from audiocm.codec import MelVAE
from audiocm.critic import Frechet, Generated, heard_of
from audiocm.distill import Method, OneSample, pure_at_top
from audiocm.ear import Ear, pooled
from audiocm.goals import follow
from audiocm.metrics import frechet_distance
from audiocm.transport import Transport, inverse_root


def cloud(count: int, dim: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    return shift + torch.randn(count, dim, generator=generator, dtype=torch.float64) @ mixing


def test_inverse_root_undoes_a_matrix_of_wide_spread() -> None:
    axes = torch.linalg.qr(cloud(12, 12, 0))[0]
    matrix = (axes * torch.logspace(-5, 4, 12, dtype=torch.float64)) @ axes.T
    root = inverse_root(matrix)
    assert torch.allclose(root @ matrix @ root, torch.eye(12, dtype=torch.float64), atol=1e-5)


def population(made: np.ndarray, real: np.ndarray) -> float:
    """The Fréchet distance with covariances divided by n: of each cloud with its mirror image about its mean, which has them."""

    def exact(x: np.ndarray) -> np.ndarray:
        return x.mean(0) + (x - x.mean(0)) * ((len(x) - 1) / len(x)) ** 0.5

    return frechet_distance(exact(made), exact(real))


def seen_once(real: torch.Tensor, made: torch.Tensor) -> Transport:
    space = Transport(real, real.shape[1], decay=0.0)
    space.see(made)
    return space


def test_the_cost_is_the_frechet_distance_and_so_is_its_gradient() -> None:
    real, made = cloud(400, 6, 1), cloud(300, 6, 2, shift=0.7)
    variance = (real - real.mean(0)).square().sum(1).mean()
    space = seen_once(real, made)
    wanted = population(made.numpy(), real.numpy()) / variance
    assert float(space.cost(made)) == pytest.approx(float(wanted), rel=1e-4)

    weight = torch.eye(6, requires_grad=True)
    space.cost(made.float() @ weight).backward()
    change = torch.randn(6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    h = 1e-5
    ends = [population((made @ (torch.eye(6) + sign * h * change)).numpy(), real.numpy()) for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * h) / variance
    assert float((weight.grad * change).sum()) == pytest.approx(float(slope), rel=1e-3)


def test_a_space_starts_content_and_forgets_what_is_not_finite() -> None:
    real = cloud(200, 4, 1)
    space = Transport(real, 4)
    assert float(space.cost(real)) == pytest.approx(0.0, abs=1e-6)
    before = {name: value.clone() for name, value in space.state_dict().items()}
    space.see(torch.full((8, 4), torch.nan))
    assert all(torch.equal(before[name], value) for name, value in space.state_dict().items())
    with pytest.raises(ValueError, match="7 real clips are too few for 4 components: need 8"):
        Transport(real[:7], 4)


class Affine(nn.Module):
    """clean = x A + b, per frame."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix, self.bias = nn.Parameter(0.3 * torch.eye(3)), nn.Parameter(torch.zeros(3, 1))

    def forward(self, x_t, t, s=None, cond=None):
        return self.matrix @ (x_t / 80) + self.bias


def means(x, mask=None) -> list[torch.Tensor]:
    return [x.mean(2)]


def test_descending_it_gives_the_made_features_the_real_moments() -> None:
    torch.manual_seed(0)
    mixing, net = torch.randn(3, 3), Affine()
    batch = lambda: (2.0 + mixing @ torch.randn(256, 3, 1), None)  # noqa: E731
    real = heard_of(means, (batch() for _ in range(100)), 4000)
    calls = Generated(Method(times.top, follow, noising=pure_at_top))
    critic = Frechet(means, real, calls, size=3, decay=0.9)
    method = OneSample(((0.0, calls.method), (1.0, critic)), critic=critic)
    optimiser = torch.optim.Adam(net.parameters(), 2e-2)
    for _ in range(600):
        x, cond = batch()
        critic.loss(net, None, x, cond, 0.0)
        optimiser.zero_grad()
        method.loss(net, None, x, cond, 0.0).backward()
        optimiser.step()
    assert torch.allclose(net.bias[:, 0], torch.full((3,), 2.0), atol=0.15)
    assert torch.allclose(net.matrix @ net.matrix.T, mixing @ mixing.T, atol=0.35)


def small_ear() -> Ear:
    torch.manual_seed(0)
    vae = MelVAE(mel_bins=100, channels=8, widths=(16, 16, 16), blocks=(1, 1, 1))
    vae.begin(torch.randn(64, 100, 64) - 4.0)
    return Ear(vae)


def test_an_ear_gives_a_vector_for_each_name_and_its_gradient_reaches_the_latent() -> None:
    ear, latent = small_ear(), torch.randn(3, 8, 12, requires_grad=True)
    heard = ear(latent)
    assert len(heard) == len(ear.names) and [x.shape for x in heard[:2]] == [(3, 200), (3, 300)]
    sum(x.sum() for x in heard).backward()
    assert latent.grad.abs().sum(1).min() > 0
    assert not any(p.requires_grad for p in ear.vae.parameters())


def test_an_ear_does_not_hear_level_nor_what_is_far_outside_of_the_mask() -> None:
    ear, latent = small_ear(), torch.randn(2, 8, 100)
    mask = torch.arange(100) < torch.tensor([[50], [20]])
    other = torch.where(torch.arange(100) < 90, latent, torch.randn(2, 8, 100))
    for a, b in zip(ear(latent, mask), ear(other, mask), strict=True):
        assert torch.equal(a, b)
    log_mel = torch.randn(2, 100, 48)
    heard = []
    for level in (0.0, -3.0):
        ear.vae.decode = lambda z, level=level: log_mel + level
        heard.append(ear(torch.zeros(2, 8, 12)))
    for a, b in zip(*heard, strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_pooling_counts_valid_frames_alone() -> None:
    mean, std = pooled(torch.tensor([[[1.0, 3.0, 99.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]])).chunk(2, dim=1)
    assert float(mean) == 2.0 and float(std) == pytest.approx(1.0, rel=1e-4)
