"""The hand-written forward derivative of a block against torch's forward-mode differentiation, plain and compiled."""

import pytest
import torch
from tiny_model import tiny_condition, tiny_transformer
from torch.nn.attention import SDPBackend, sdpa_kernel

from audiocm.distillation.targets import exact_derivative
from audiocm.models.layers import rms_norm
from audiocm.models.transformer_jvp import attention_jvp, block_jvp, rms_norm_jvp
from audiocm.models.transformer_net import Block
from audiocm.training.compile import compile_blocks


def assert_close(mine: tuple, theirs: tuple) -> None:
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_rms_norm():
    x, dx, weight = torch.randn(3, 8), torch.randn(3, 8), torch.randn(8)
    for scale in (None, weight):
        wanted = torch.func.jvp(lambda x, scale=scale: rms_norm(x, scale), (x,), (dx,))
        assert_close(rms_norm_jvp(x, dx, scale), wanted)
        assert torch.allclose(wanted[0], rms_norm(x, scale), atol=1e-6)
    value, tangent = torch.func.jvp(rms_norm, (x.bfloat16(),), (dx.bfloat16(),))
    assert value.dtype == tangent.dtype == torch.bfloat16


def test_attention():
    q, dq, k, dk, v, dv = torch.randn(6, 2, 2, 5, 4)
    mask = torch.arange(5) < 4

    def attention(q, k, v):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    with sdpa_kernel(SDPBackend.MATH):
        every = torch.func.jvp(attention, (q, k, v), (dq, dk, dv))
        queries = torch.func.jvp(lambda q: attention(q, k, v), (q,), (dq,))
    assert_close(attention_jvp(q, dq, k, v, mask, dk, dv), every)
    assert_close(attention_jvp(q, dq, k, v, mask), queries)


@pytest.mark.parametrize("masked", [True, False])
def test_block(masked):
    net = tiny_transformer()
    block, (x, dx), (modulation, dmodulation) = net.blocks[0], torch.randn(2, 2, 9, 32), torch.randn(2, 2, 6, 32)
    mask = (torch.arange(9) < 7)[None, None, None] if masked else None
    constants = (net.rotary[:, :9], mask, torch.randn(2, 5, 32), None)
    with sdpa_kernel(SDPBackend.MATH):
        wanted = torch.func.jvp(lambda x, m: block(x, m, *constants), (x, modulation), (dx, dmodulation))
    assert_close(block.jvp((x, modulation, *constants), (dx, dmodulation, *(None,) * 4)), wanted)
    assert_close(block_jvp(block, (x, modulation, *constants), (dx, dmodulation, *(None,) * 4)), wanted)


def test_block_refuses_other_tangents_and_dropout():
    inputs = (torch.randn(2, 9, 32), torch.randn(2, 6, 32), None, None, torch.randn(2, 5, 32), None)
    tangents = (inputs[0], inputs[1], None, None, None, None)
    for block, wrong in (
        (Block(32, 2, 0.0), (*tangents[:4], inputs[4], None)),
        (Block(32, 2, 0.0), (inputs[0], *(None,) * 5)),
        (Block(32, 2, 0.1).train(), tangents),
    ):
        with pytest.raises(ValueError, match="needs tangents of x and modulation, no others, and no dropout"):
            block.jvp(inputs, wrong)


def test_derivative_of_a_compiled_network_uses_it(monkeypatch):
    """compile_blocks sends dual tensors through Block.jvp; value and derivative equal those of the plain network."""
    net = tiny_transformer()
    t, dt, noise = torch.tensor([2.0, 0.7]), torch.tensor([1.0, -0.5]), torch.randn(2, 4, 9)
    cond = tiny_condition(2, 9, [9, 6])

    def derivative(net):
        with torch.no_grad():
            return exact_derivative(lambda x, t: net(x, t, None, cond), noise, t, noise.cos(), dt)

    wanted, calls, jvp = derivative(net), [], Block.jvp
    monkeypatch.setattr(torch, "compile", lambda call, **_: call)
    monkeypatch.setattr(Block, "jvp", lambda *args: calls.append(0) or jvp(*args))
    compile_blocks(net)
    assert_close(derivative(net), wanted)
    assert len(calls) == len(net.blocks)
    assert torch.equal(net(noise, t, None, cond), tiny_transformer()(noise, t, None, cond))
