"""torch.compile and gradient checkpointing of the blocks that a network repeats.

All private names of torch that training depends on are in this file (`forward_ad._current_level`, `Module._call_impl`,
`Module._compiled_call_impl`, `_dynamo.config`); checked with torch 2.11 and 2.13.
"""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint


class CompiledBlock:
    """The compiled call of a block, which also supports forward-mode differentiation.

    torch.compile cannot trace dual tensors. They take the block's own derivative `jvp(inputs, tangents) -> (value,
    tangent)`, compiled as well, or the plain block if it has none."""

    def __init__(self, block: nn.Module):
        self.block, self.forward = block, torch.compile(block._call_impl, dynamic=False)
        self.jvp = torch.compile(block.jvp, dynamic=False) if hasattr(block, "jvp") else None

    def __call__(self, *inputs: Any, **kwargs: Any) -> Tensor:
        if forward_ad._current_level < 0:
            return self.forward(*inputs, **kwargs)
        duals = [forward_ad.unpack_dual(x) if isinstance(x, Tensor) else (x, None) for x in inputs]
        values, tangents = zip(*duals, strict=True)
        if all(tangent is None for tangent in tangents):
            return self.forward(*values, **kwargs)
        if self.jvp is None or kwargs:
            return self.block._call_impl(*inputs, **kwargs)
        return forward_ad.make_dual(*self.jvp(values, tangents))


def compile_blocks(net: nn.Module) -> None:
    """Compiles the repeated blocks of a diffusers network in place, or the whole network if it names none.

    Each kind of block is compiled once for any depth, in a tenth of the time that the whole network takes."""
    config = torch._dynamo.config
    config.recompile_limit = max(64, config.recompile_limit)  # the same code serves many networks and shapes
    for block in repeated_blocks(net) or [net]:
        block._compiled_call_impl = CompiledBlock(block)  # as nn.Module.compile does; copies of the network lack it


def repeated_blocks(net: nn.Module, more: Collection[str] = ()) -> list[nn.Module]:
    """Returns the blocks of the kinds that a network's `_repeated_blocks` names, or of the classes `more`, outermost
    only."""
    names = {name for part in net.modules() for name in getattr(part, "_repeated_blocks", None) or ()} | set(more)
    found: list[nn.Module] = []
    inside: set[nn.Module] = set()
    for part in net.modules():
        if names & {cls.__name__ for cls in type(part).__mro__} and part not in inside:  # FSDP makes a subclass
            found.append(part)
            inside.update(part.modules())
    return found


CHECKPOINTED = ("ResnetBlock2D", "Transformer2DModel")  # of U-Nets, beside the blocks that a network names


class CheckpointedBlock:
    """The call of a block, compiled or not, that keeps its inputs only and is repeated in the backward pass.

    Forward-mode differentiation, which keeps nothing, takes the plain call."""

    def __init__(self, block: nn.Module):
        self.call = block._compiled_call_impl or block._call_impl
        self.has_dropout = any(isinstance(part, nn.Dropout) and part.p > 0 for part in block.modules())

    def __call__(self, *inputs: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled() or forward_ad._current_level >= 0:
            return self.call(*inputs, **kwargs)
        options = {
            "use_reentrant": False,
            "preserve_rng_state": self.has_dropout,
        }  # its state cannot be read in a graph
        return checkpoint(self.call, *inputs, **options, **kwargs)


def checkpoint_blocks(net: nn.Module) -> None:
    """Makes a network keep only the inputs of its repeated blocks for the backward pass, which computes them again.

    Compile first. Raises ValueError if the network has no blocks that are known."""
    blocks = repeated_blocks(net, CHECKPOINTED)
    if not blocks:
        raise ValueError(f"gradient checkpointing: {type(net).__name__} names no `_repeated_blocks`")
    for block in blocks:
        block._compiled_call_impl = CheckpointedBlock(block)
