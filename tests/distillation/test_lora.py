"""Low-rank adaptation."""

import torch
from tiny import TinyNet

from audiocm.distillation import lora


def test_low_rank_difference_starts_at_zero_and_merges():
    torch.manual_seed(0)
    net, x, t = TinyNet(), torch.randn(4, 2), torch.ones(4)
    torch.nn.init.normal_(net.last.weight)
    before = net(x, t)
    trained = lora.add_lora(net, 4, 4.0)
    assert torch.equal(net(x, t), before) and all(p.requires_grad for p in trained)
    torch.nn.init.normal_(trained[-1])
    changed = net(x, t)
    assert not torch.allclose(changed, before)
    lora.merge_lora(net)
    torch.testing.assert_close(net(x, t), changed)
    assert {type(m) for m in net.modules()} == {type(m) for m in TinyNet().modules()}
