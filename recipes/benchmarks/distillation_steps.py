"""The training steps that `distillation.py` compares: a plain loop, and audiocm's trainer."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiocm.diffusion.denoiser import Condition, Net
from audiocm.diffusion.paths import broadcast_like
from audiocm.distillation import Method
from audiocm.distillation.states import teacher_field
from audiocm.training.compile import compile_blocks
from audiocm.training.run import Run
from audiocm.training.trainer import Trainer


def guided_in_two_calls(teacher: Net) -> Net:
    """Returns the guided teacher as diffusers' example has it: the condition and its absence in calls of their own."""

    def net(x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Any = None) -> Tensor:
        plain = cond.with_guidance(None)
        with_cond, without = teacher(x_t, t, s, plain), teacher(x_t, t, s, plain.as_null())
        return without + broadcast_like(cond.guidance, x_t) * (with_cond - without)

    return net


def script_step(teacher: nn.Module, student: nn.Module, method: Method, device: torch.device) -> Callable:
    """Returns a step in the style of diffusers' train_lcm_distill scripts."""
    method = replace(method, field=teacher_field(guided_in_two_calls(teacher)))
    target = copy.deepcopy(student).requires_grad_(False)
    parameters = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, 1e-6, betas=(0.9, 0.99), weight_decay=0.0)
    progress = torch.zeros((), device=device)

    def step(x: Tensor, cond: Condition) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            loss = method.loss(student, target, x, cond, progress)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for average, p in zip(target.parameters(), student.parameters(), strict=True):
                average.mul_(0.95).add_(p, alpha=0.05)
        return loss.detach()

    return step


def trainer_step(
    teacher: nn.Module, student: nn.Module, method: Method, compiled: bool, folder: str
) -> tuple[Callable, Trainer]:
    """Returns a step of audiocm's trainer, and the trainer."""
    if compiled:
        compile_blocks(teacher)
    run = Run(
        name="benchmark",
        net=student,
        method=method,
        batches=iter(()),
        steps=1000,
        lr=1e-6,
        ema=None,
        target_ema=0.95,
        precision="bf16",
        cuda_graph=True,
        compile=compiled,
    )
    trainer = Trainer(run, Path(folder))
    trainer.set_scalars(0.0)

    def step(x: Tensor, cond: Condition) -> Tensor:
        trainer.advance(x, cond)
        return trainer.meters.sums[0] / trainer.meters.sums[3]  # the mean so far; waits for nothing

    return step, trainer
