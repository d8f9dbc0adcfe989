"""How much memory a training takes, estimated without using any: shapes are propagated, nothing is computed.

The tests compare it with what a real step has alive at its peak on a CPU; `recipes/benchmarks/distillation.py` writes it
beside the peak that a GPU measures.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from .compile import CHECKPOINTED, repeated_blocks
from .run import Critic
from .trees import map_tensors, tree_tensors

GIB = 2**30
MARGIN = 1.08  # over what is counted: temporary tensors of single operations, and fragments


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of a training: `fixed` of networks, gradients, moments and averages, `row` of the activations of each row."""

    fixed: float
    row: float

    def needed(self, batch: int) -> float:
        """Returns the bytes that batches of `batch` rows need."""
        return MARGIN * (self.fixed + batch * self.row)

    def largest_batch(self, available: float) -> int:
        """Returns the largest batch that fits in `available` bytes, 0 if none does."""
        return max(0, int((available / MARGIN - self.fixed) / self.row))


def readable_bytes(count: float) -> str:
    """Returns a number of bytes in GiB, or in MiB below a tenth of one."""
    return f"{count / GIB:.1f} GiB" if abs(count) >= GIB / 10 else f"{count / 2**20:.1f} MiB"


def estimate_memory(
    net: nn.Module,
    teacher: nn.Module,
    inputs: tuple[Any, ...],
    averages: int = 1,
    critic: Critic | None = None,
    device: torch.device | str = "cpu",
    precision: str = "no",
) -> tuple[MemoryEstimate, MemoryEstimate]:
    """Estimates the memory of training `net` with AdamW, without and with gradient checkpointing.

    teacher   kept on the device and not trained; weights that `net` shares with it count once, and are taken to be shared
              by its averages as well
    inputs    what `net` is called with, one row
    averages  number of copies of the network (ema, target_ema)
    critic    trained as well

    Counted are weights, gradients, two moments and what one call keeps for the backward pass, as the published losses
    have one call with a gradient; a loss with several needs more. The network must have been called once before, so
    that tables which it caches hold numbers."""
    frozen = {id(p): p.nbytes for p in (*teacher.parameters(), *teacher.buffers())}
    own = {id(p): p.nbytes for p in (*net.parameters(), *net.buffers()) if id(p) not in frozen}
    trained = sum(p.nbytes for p in net.parameters() if p.requires_grad)
    weights = sum(frozen.values()) + (1 + averages) * sum(own.values()) + 3 * trained
    weights += 0 if critic is None else 4 * sum(p.nbytes for p in critic.parameters())
    one, two = (_kept_bytes(net, inputs, rows, torch.device(device), precision) for rows in (1, 2))
    plain, checkpointed = (
        MemoryEstimate(weights + max(0, 2 * first - second), max(1, second - first))
        for first, second in zip(one, two, strict=True)
    )
    return plain, checkpointed


def _kept_bytes(
    net: nn.Module, inputs: tuple[Any, ...], rows: int, device: torch.device, precision: str
) -> tuple[int, int]:
    """Returns the bytes that a call keeps for its backward pass: all, and with checkpointed blocks.

    These keep their inputs, and the largest of them is computed again while all others have none."""
    blocks = {block: i for i, block in enumerate(repeated_blocks(net, CHECKPOINTED))}
    inside, kept_alive = [-1], []  # the block that runs; tensors, so that the identities of storages are not used again
    weights: set[int] = set()
    saved: dict[int, tuple[int, int]] = {}  # identity of a storage -> (block, bytes)
    block_inputs: dict[int, int] = {}

    def identity(tensor: Tensor) -> tuple[int, int]:
        storage = tensor.untyped_storage()
        kept_alive.append(storage)
        return storage._cdata, storage.nbytes()

    def pack(tensor: Tensor) -> Tensor:
        key, size = identity(tensor)
        if key not in weights:
            saved.setdefault(key, (inside[0], size))
        return tensor

    def enter(block: nn.Module, args: tuple, kwargs: dict) -> None:
        inside[0] = blocks[block]
        for tensor in tree_tensors((args, kwargs)):
            key, size = identity(tensor)
            block_inputs[key] = size

    def leave(block: nn.Module, args: tuple, output: Any) -> None:
        inside[0] = -1

    hooks = [block.register_forward_pre_hook(enter, with_kwargs=True) for block in blocks]
    hooks += [block.register_forward_hook(leave) for block in blocks]
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):

            def fake(tensor: Tensor, rows: int | None = None) -> Tensor:
                shape = tensor.shape if rows is None else (rows, *tensor.shape[1:])
                return torch.empty(shape, dtype=tensor.dtype, device=device)

            state = {name: fake(p).requires_grad_(p.requires_grad) for name, p in net.named_parameters()}
            state |= {name: fake(b) for name, b in net.named_buffers()}
            weights = {identity(one)[0] for one in state.values()}
            batch = map_tensors(inputs, lambda tensor: fake(tensor, rows))
            autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)
            with autocast, saved_tensors_hooks(pack, lambda tensor: tensor):
                torch.func.functional_call(net, state, batch)
    finally:
        for hook in hooks:
            hook.remove()
    of_block = [0] * len(blocks)
    outside = {key: size for key, (block, size) in saved.items() if block < 0}
    for block, size in saved.values():
        if block >= 0:
            of_block[block] += size
    checkpointed = sum((outside | block_inputs).values()) + 2 * max(of_block, default=0)  # values and gradients
    return sum(size for _, size in saved.values()), checkpointed


def available_bytes(device: torch.device | str) -> int:
    """Returns the free bytes of a device's memory, with those that torch keeps for itself but does not use."""
    device = torch.device(device)
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    import psutil

    return psutil.virtual_memory().available
