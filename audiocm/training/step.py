"""One training step: the networks of a run, their optimizers and averages, and what a step does to them."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .compile import checkpoint_blocks, compile_blocks
from .graphed_step import CUDAGraphStep
from .meters import Meters
from .optimizer import FlatLayout, FlatParameters, Optimizer, Parameters
from .run import Run
from .sharding import ShardedParameters, shard_net, unsharded_copy


class TrainingStep:
    """The networks, averages, optimizers and meters of a run on a device, and the step that changes them.

    `advance(x, cond, ...)` is the step, replayed as a CUDA graph where the run asks for it, `step` the same without a
    graph. All that a step changes is in tensors that a recorded graph can write to. Raises ValueError if the critic is
    on another device than the run."""

    def __init__(self, run: Run, device: torch.device, num_processes: int = 1):
        self.run, self.device, self.step_count = run, device, 0
        net, self.whole = run.net.train(), None
        if run.shard:  # from the CPU, shard by shard
            layout = FlatLayout(p for p in net.parameters() if p.requires_grad)
            self.whole = unsharded_copy(net)
        else:
            net.to(device)
        self.ema = None if run.ema is None else copy.deepcopy(net).eval()
        self.target = None if run.target_ema is None else copy.deepcopy(net)
        self.net = net

        def parameters(module: nn.Module, trained: bool) -> Parameters:
            if run.shard:
                return ShardedParameters(shard_net(module, device), layout, trained)
            return FlatParameters((p for p in module.parameters() if p.requires_grad), trained)

        self.flat = parameters(net, True)
        self.averages: dict[str, tuple[Parameters, nn.Module]] = {}
        for name, module in (("ema", self.ema), ("target", self.target)):
            if module is not None:
                self.averages[name] = (parameters(module, False), module.requires_grad_(False))
        settings = run.betas, run.weight_decay, run.max_grad_norm
        self.optimizers = {"student": Optimizer(self.flat, *settings)}
        self.critic = None
        if run.critic is not None:
            if isinstance(run.critic, nn.Module):
                run.critic.to(device)
            self.critic = FlatParameters(run.critic.parameters())
            if (there := self.critic.values.device) != (here := self.flat.values.device):
                raise ValueError(f"the critic is on {there}, the run on {here}: move it there")
            self.optimizers["critic"] = Optimizer(self.critic, *settings)
        if num_processes > 1 and not run.shard:
            for optimizer in self.optimizers.values():
                torch.distributed.broadcast(optimizer.flat.values, 0)
            for flat, _ in self.averages.values():
                flat.values.copy_(self.flat.values)
        self.progress, self.ema_weight = torch.zeros(2, device=device).unbind()
        self.meters = Meters(device, with_critic=run.critic is not None)
        for net in (self.net, self.target):
            if run.compile and net is not None:
                compile_blocks(net)
        if run.gradient_checkpointing:
            checkpoint_blocks(self.net)
        # ranks draw batches of different shapes, so that they would record, and join collectives, at different steps
        graphed = run.cuda_graph and device.type == "cuda" and num_processes == 1
        self.advance = CUDAGraphStep(self.step) if graphed else self.step

    def _gradient(self, flat: Parameters, loss: Callable[..., Tensor], batches: Sequence[Any]) -> Tensor:
        """Fills the gradients of `flat` with the mean over batches x, cond, x, cond ...; returns the mean loss."""
        flat.zero_grads()
        total, share = torch.zeros((), device=self.device), 2 / len(batches)
        for x, cond in zip(batches[::2], batches[1::2], strict=True):
            # no cache of cast weights: one filled under no_grad (by the target's call) would cut the student's gradient
            with self.autocast(cache_enabled=False):
                value = loss(self.net, self.target, x, cond, self.progress)
            (value if share == 1 else share * value).backward()
            total += share * value.detach().float()
        return total

    def autocast(self, **options: bool) -> torch.autocast:
        """Returns the context of the run's precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.run.precision == "bf16", **options)

    def step(self, *batches: Any) -> None:
        """Updates critic, student, averages and meters by batches x, cond, x, cond ..., of which there are `accumulate`.

        It only uses device tensors and never waits for them."""
        run, critic_loss = self.run, torch.zeros((), device=self.device)
        if self.critic is not None:
            self.critic.require_grad(True)
            critic_loss = self._gradient(self.critic, run.critic.loss, batches)
            self.optimizers["critic"].step(critic_loss)
            self.critic.require_grad(False)
        loss = self._gradient(self.flat, run.method.loss, batches)
        norm, finite = self.optimizers["student"].step(loss)
        self._update_averages()
        self.meters.update(loss, critic_loss, norm, finite)

    def _update_averages(self) -> None:
        """Moves each average towards the student: average += (1 - decay) (student - average)."""
        weights = {"ema": self.ema_weight, "target": 1 - (self.run.target_ema or 0.0)}
        for name, (flat, _) in self.averages.items():
            flat.move_towards(self.flat, weights[name])
        self._copy_buffers()

    @torch.no_grad()
    def _copy_buffers(self) -> None:
        """Gives the averages the student's buffers, such as batch statistics, which are not averaged."""
        for _, module in self.averages.values():
            for own, current in zip(module.buffers(), self.net.buffers(), strict=True):
                own.copy_(current)

    def set_scalars(self, progress: float) -> float:
        """Writes progress, learning rates and the average's weight of this step to the device; returns the learning
        rate."""
        run, k = self.run, self.step_count
        factor = min(1.0, (k + 1) / max(run.warmup, 1)) * run.decay(progress)
        self.progress.fill_(progress)
        self.optimizers["student"].lr.fill_(run.lr * factor)
        if self.critic is not None:
            self.optimizers["critic"].lr.fill_((run.critic_lr or run.lr) * factor)
        if run.ema is not None:  # over the first steps the average has a shorter memory
            self.ema_weight.fill_(1 - min(run.ema, (1 + k) / (10 + k)))
        return run.lr * factor

    def averaged_net(self) -> nn.Module:
        """Returns the network that is validated and exported, in eval mode: the average, or the student if there is
        none.

        It is sharded if the run is, so that every rank has to call it."""
        return (self.net if self.ema is None else self.ema).eval()

    def tensors(self) -> dict[str, Tensor]:
        """Returns all tensors of the run that change, by name; every rank calls this."""
        tensors = {f"{name}.values": flat.values for name, (flat, _) in self.averages.items()}
        for name, optimizer in self.optimizers.items():
            tensors |= optimizer.tensors(name)
        return tensors | self._other_tensors()

    def _other_tensors(self) -> dict[str, Tensor]:
        """Returns meters and buffers; not copies, so they can be restored."""
        tensors = {"meters": self.meters.values}
        for name, module in (("buffer", self.net), ("critic.buffer", self.run.critic)):
            if isinstance(module, nn.Module):
                persistent = module.state_dict().keys()
                tensors |= {f"{name}.{k}": v for k, v in module.named_buffers() if k in persistent}
        return tensors

    def restore(self, saved: dict[str, Tensor]) -> None:
        """Sets all tensors of the run to those of a checkpoint, see `tensors`."""
        for name, optimizer in self.optimizers.items():
            optimizer.load(name, saved)
        for name, (flat, _) in self.averages.items():
            flat.load_values(saved[f"{name}.values"])
        for name, tensor in self._other_tensors().items():
            tensor.copy_(saved[name])
        self._copy_buffers()
