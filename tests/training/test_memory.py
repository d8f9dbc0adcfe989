"""The estimate of memory: counted by hand, and against what a real step has alive at its peak."""

import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from audiocm.training.compile import checkpoint_blocks
from audiocm.training.memory import MARGIN, MemoryEstimate, available_bytes, estimate_memory, readable_bytes
from audiocm.training.optimizer import FlatParameters, Optimizer


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return x + self.second(torch.tanh(self.first(x)))


class Net(nn.Module):
    _repeated_blocks = ("Block",)

    def __init__(self, width=32, depth=6):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def test_bytes_of_a_known_network():
    """A block keeps its input (1) and the tanh's output (4); checkpointed, all keep inputs and one has both and their gradients."""
    net = Net()
    weights = 6 * (2 * 4 * 32 * 32 + 5 * 32) * 4
    row = 10 * 32 * 4
    plain, checkpointed = estimate_memory(net, nn.Identity(), (torch.zeros(1, 10, 32),), averages=2)
    assert plain.fixed == checkpointed.fixed == weights * (1 + 2 + 3)
    assert plain.row == 6 * 5 * row and checkpointed.row == (6 + 2 * 5) * row
    teacher = Net()
    plain, _ = estimate_memory(net, teacher, (torch.zeros(1, 10, 32),), averages=0)
    assert plain.fixed == weights * (1 + 3) + weights
    plain, _ = estimate_memory(net, teacher, (torch.zeros(1, 10, 32),), averages=0, critic=Net())
    assert plain.fixed == weights * (1 + 3) + weights + 4 * weights
    net.requires_grad_(False)
    for block in net.blocks:
        block.second.requires_grad_(True)
    plain, _ = estimate_memory(net, net, (torch.zeros(1, 10, 32),), averages=2)  # all weights are the teacher's
    assert plain.fixed == weights + 3 * sum(p.nbytes for p in net.parameters() if p.requires_grad)


def test_largest_batch_fits_and_one_more_does_not():
    estimate = MemoryEstimate(1000.0, 70.0)
    for available in (1200, 5000, 10**6):
        batch = estimate.largest_batch(available)
        assert estimate.needed(batch) <= available < estimate.needed(batch + 1)
    assert estimate.largest_batch(900) == 0
    assert available_bytes("cpu") > 1e6
    assert readable_bytes(3 * 2**30) == "3.0 GiB" and readable_bytes(2**20) == "1.0 MiB"


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that exist, at their peak."""

    def __init__(self):
        super().__init__()
        self.now, self.peak, self.known = 0, 0, set()

    def freed(self, key, size):
        self.now -= size
        self.known.discard(key)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for one in tree_leaves(out):
            if isinstance(one, torch.Tensor):
                storage = one.untyped_storage()
                key, size = storage._cdata, storage.nbytes()
                if key not in self.known:
                    self.known.add(key)
                    self.now += size
                    weakref.finalize(storage, self.freed, key, size)
        self.peak = max(self.peak, self.now)
        return out


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_real_step_needs_what_is_estimated(checkpointed):
    """U-Net of AudioLDM's form; weights, gradients and moments exist before, so that only activations are measured."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 64),
        layers_per_block=2,
        norm_num_groups=8,
        cross_attention_dim=32,
    )

    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = unet

        def forward(self, x, t, states):
            return self.net(x, t, states, return_dict=False)[0]

    net, batch = Called(), 4
    inputs = (torch.zeros(1, 4, 32, 32), torch.ones(1), torch.zeros(1, 7, 32))
    estimate = estimate_memory(net, nn.Identity(), inputs)[checkpointed]
    if checkpointed:
        checkpoint_blocks(net)
    flat = FlatParameters(net.parameters())
    optimizer = Optimizer(flat, (0.9, 0.99), 0.0, 1.0)
    assert estimate.fixed == pytest.approx(20 * sum(p.numel() for p in net.parameters()), rel=0.02)
    x, t, states = (one.expand(batch, *one.shape[1:]).clone() for one in inputs)
    with LiveBytes() as live:
        loss = net(x, t, states).square().mean()
        loss.backward()
        optimizer.step(loss)
    assert 0.7 * live.peak < MARGIN * batch * estimate.row < 1.4 * live.peak
