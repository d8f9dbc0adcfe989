"""Zero-shot editing: known coordinates are kept, unknown ones fit."""

import math
from dataclasses import replace

import pytest
import torch
from tiny import Gaussian, Mixture

from audiocm.diffusion import editing, paths, solvers

MID = torch.tensor([1.0, 1.0, 0, 0], dtype=torch.float64)
MID_SIDE = torch.tensor([[1, 1], [1, -1.0]], dtype=torch.float64) / 2**0.5
EDITS = {  # basis, unknown coordinates
    "inpainting": (editing.identity, torch.tensor([0, 0, 1, 1.0])),
    "bandwidth": (editing.basis_along_axis(editing.cosine_matrix(4)), torch.tensor([0, 1, 1, 1.0])),
    "mean": (editing.basis_along_axis(editing.complete_basis(MID)), torch.tensor([0, 1, 1, 1.0])),
    "mid-side": (editing.basis_along_axis(MID_SIDE, dim=1), torch.tensor([[0], [1.0]])),
}


@pytest.mark.parametrize(("basis", "unknown"), EDITS.values(), ids=EDITS.keys())
def test_known_coordinates_are_kept(basis, unknown):
    torch.manual_seed(0)
    truth, reference = Gaussian(paths.edm), torch.randn(3, 2, 4, dtype=torch.float64)
    torch.testing.assert_close(basis.inverse(basis.forward(reference)), reference)
    hook, start = (edit(reference, unknown, basis) for edit in (editing.keep_known, editing.fill_unknown))
    once = hook(torch.zeros_like(reference), 0.0)
    torch.testing.assert_close(hook(once, 0.0), once)
    noise, falling = torch.randn_like(reference), [80, 5, 1, 0]
    x = solvers.sample(truth.student, paths.edm, noise, None, falling, gamma=1.0, hook=hook, start=start)
    kept = (1 - unknown).expand_as(reference).bool()
    torch.testing.assert_close(basis.forward(x)[kept], basis.forward(reference)[kept], atol=1e-6, rtol=0)
    assert (basis.forward(x)[~kept] - basis.forward(reference)[~kept]).abs().min() > 1e-6


def test_unknown_coordinates_fit_the_known():
    """Of two correlated coordinates (a mixture on the diagonal) one is known, and the other follows it."""
    torch.manual_seed(0)
    truth = Mixture(paths.edm, [0.5, 0.5], [[-1.0, -1.0], [1.0, 1.0]], [0.1, 0.1])

    def student(x, t, s=None, cond=None):
        """The end of the teacher's ODE from t."""
        t = float(t[0])
        falling = [t, *torch.logspace(math.log10(t) - 0.1, -2, 25).tolist(), 0.0]
        return solvers.sample(truth.denoise, replace(paths.edm, t_max=t), x / t, None, falling, solver=solvers.heun)

    reference = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64).repeat(20, 1)
    unknown = torch.tensor([0.0, 1.0])
    hook, start = editing.keep_known(reference, unknown), editing.fill_unknown(reference, unknown)
    noise, falling = torch.randn_like(reference), [80, 10, 5, 2, 1, 0.7, 0.5, 0.3, 0]
    x = solvers.sample(student, paths.edm, noise, None, falling, gamma=1.0, hook=hook, start=start)
    assert (x[:, 1].sign() == reference[:, 0]).double().mean() > 0.9


def test_errors_name_the_remedy():
    x = torch.randn(4, 4, 12)
    with pytest.raises(ValueError, match="gamma"):
        editing.keep_known(x, torch.ones(12))(x, 0.5)
    with pytest.raises(ValueError, match="orthonormal"):
        editing.basis_along_axis(torch.ones(2, 2))
