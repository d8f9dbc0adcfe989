"""Networks that do not fit on one device: FSDP2 (torch.distributed.fsdp.fully_shard) for the trainer.

Weights, gradients, AdamW's moments and averages are cut up over the ranks; each block is put together for its own call
only. Checkpoints have the same form as without sharding, so that a run resumes with and without it.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from .compile import repeated_blocks
from .optimizer import FlatLayout


def shard_net(net: nn.Module, device: torch.device) -> nn.Module:
    """Shards a network in place, its repeated blocks one by one, and moves the shards to the device; returns it.

    All ranks get the weights of rank 0. Raises ValueError if there is one rank only."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        raise ValueError("shard needs several ranks: start with `accelerate launch` or `torchrun`")
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            there = tensor.detach().to(device)
            torch.distributed.broadcast(there, 0)
            tensor.copy_(there)
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for block in repeated_blocks(net):
        fully_shard(block, mesh=mesh)
    fully_shard(net, mesh=mesh)
    return net.to(device)


class ShardedParameters:
    """This rank's shards of the trained parameters of a network that `shard_net` sharded.

    layout: that of the parameters before they were sharded, in the same order"""

    def __init__(self, net: nn.Module, layout: FlatLayout, trained: bool = True):
        self.layout = layout
        own: list[Any] = [p for p in net.parameters() if p.requires_grad]
        self.parameters: list[Any] = sorted(own, key=lambda p: p.ndim < 2)  # DTensors
        leaves = [nn.Parameter(p.to_local().detach(), requires_grad=trained) for p in self.parameters]
        self.groups = [leaves[: layout.matrices], leaves[layout.matrices :]]

    def require_grad(self, enabled: bool) -> None:
        """Sets whether autograd records operations on the parameters."""
        for p in self.parameters:
            p.requires_grad_(enabled)

    def _leaves(self) -> list[nn.Parameter]:
        return [leaf for group in self.groups for leaf in group]

    @property
    def values(self) -> Tensor:
        """All values in the flat layout, on the CPU; every rank calls this."""
        return torch.cat(self.gather(self.groups))

    def load_values(self, vector: Tensor) -> None:
        """Sets the values to this rank's shards of a vector in the flat layout."""
        self.scatter([vector], self.groups)

    def zero_grads(self) -> None:
        """Drops all gradients."""
        for p in self.parameters:
            p.grad = None

    def reduce_grads(self, loss: Tensor) -> Tensor:
        """Returns the norm of the gradient, which FSDP has averaged; not finite if the loss is not on any rank."""
        leaves = self._leaves()
        for p, leaf in zip(self.parameters, leaves, strict=True):
            leaf.grad = torch.zeros_like(leaf) if p.grad is None else p.grad.to_local()
        norms = torch._foreach_norm([leaf.grad for leaf in leaves if leaf.grad is not None])
        square = torch.stack(list(norms)).square().sum()
        square = square + 0 * loss.detach()
        torch.distributed.all_reduce(square)
        return square.sqrt()

    @torch.no_grad()
    def move_towards(self, other: "ShardedParameters", weight: Tensor | float) -> None:
        """Adds weight (other - own) to the values."""
        for leaf, one in zip(self._leaves(), other._leaves(), strict=True):
            leaf.lerp_(one, weight)

    @torch.no_grad()
    def gather(self, parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Returns one vector on the CPU for each group that has leaves; every rank calls this."""
        whole = torch.zeros(self.layout.total)
        views = self.layout.views(whole)
        for p, view, part in zip(self.parameters, views, (one for group in parts for one in group), strict=True):
            form = {"run_check": False, "shape": p.shape, "stride": p.stride()}
            view.copy_(DTensor.from_local(part, p.device_mesh, p.placements, **form).full_tensor())
        return [one for one in whole.tensor_split([self.layout.first_vector]) if len(one)]

    @torch.no_grad()
    def scatter(self, vectors: Sequence[Tensor], parts: Sequence[Sequence[Tensor]]) -> None:
        """Copies this rank's shards of the vectors into the parts."""
        views = self.layout.views(torch.cat(list(vectors)))
        for p, view, part in zip(self.parameters, views, (one for group in parts for one in group), strict=True):
            whole = view.to(part.device).contiguous()
            part.copy_(distribute_tensor(whole, p.device_mesh, p.placements, src_data_rank=None).to_local())


@torch.no_grad()
def copy_whole(sharded: nn.Module, whole: nn.Module) -> nn.Module:
    """Copies the weights and buffers of a sharded network into an unsharded one of the same form; every rank calls
    this."""
    state = dict(whole.named_parameters())
    for name, p in sharded.named_parameters():
        state[name].copy_(p.full_tensor() if isinstance(p, DTensor) else p)
    for own, buffer in zip(whole.buffers(), sharded.buffers(), strict=True):
        own.copy_(buffer)
    return whole


def unsharded_copy(net: nn.Module) -> nn.Module:
    """Returns a copy on the CPU, made before sharding."""
    return copy.deepcopy(net).cpu().requires_grad_(False)
