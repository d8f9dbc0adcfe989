"""The training of `audiocm distill`: what it needs, what it trains and what it writes."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .distill_methods import (
    LORA_RANK,
    OF_DATA,
    WITHOUT_GRAPH,
    WITHOUT_TARGET,
    build_student,
    fixed_weight,
    weights_taken,
)
from .distill_options import SETTINGS, run_settings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..data.encoded_set import EncodedSet
    from ..teachers import Teacher


def components_of(teacher: Teacher) -> dict[str, Any]:
    """Returns the components of a teacher's pipeline by their names."""
    pipe = teacher.adapter.pipe
    return dict(pipe.components if hasattr(pipe, "components") else vars(pipe))


def networks_of(teacher: Teacher) -> dict[str, nn.Module]:
    """Returns the components of a teacher's pipeline that are networks."""
    from torch import nn

    return {name: part for name, part in components_of(teacher).items() if isinstance(part, nn.Module)}


def newest_state(output: Path) -> dict[str, Any]:
    """Returns what the newest checkpoint says of the run: its steps, and its seconds of training."""
    return json.loads(max(output.glob("checkpoints/step-*/state.json")).read_text(encoding="utf-8"))


def steps_of(args: argparse.Namespace) -> int:
    """Returns the steps of the whole run: with minutes alone, more than there is time for."""
    return args.steps or (20_000 if args.minutes is None else 10_000_000)


def is_complete(args: argparse.Namespace, state: dict[str, Any]) -> bool:
    """Returns whether a run has taken its steps, or its minutes."""
    is_over = args.minutes is not None and state["trained"] >= 60 * args.minutes
    return is_over or state["step"] >= steps_of(args)


def target_ema(args: argparse.Namespace) -> float | None:
    """Returns the decay of the target network's average, None for a method without a target network."""
    return None if args.method in WITHOUT_TARGET else 0.95


def precision_of(args: argparse.Namespace, device: torch.device) -> str:
    """Returns the precision of a training, bf16 on a GPU by default, see `training.run.Run`."""
    return args.precision or ("bf16" if device.type == "cuda" else "no")


def check_training(
    args: argparse.Namespace, teacher: Teacher, student: nn.Module, method: Any, device: torch.device, is_main: bool
) -> None:
    """Computes the loss of one random latent, and compares the memory of the training with what is free.

    Raises ValueError if the method cannot train this teacher, or with what fits, if memory does not suffice."""
    import copy

    import torch
    from torch import nn

    from ..training.memory import available_bytes, estimate_memory, readable_bytes

    precision, averages = precision_of(args, device), 1 + (target_ema(args) is not None)
    critic = getattr(method, "critic", None)
    if isinstance(critic, nn.Module):
        critic.to(device)
    x = torch.randn(1, *teacher.latent_shape(args.seconds), device=device)
    cond = teacher.condition(["a sound"], args.seconds)
    t = torch.full((1,), teacher.path.t_max, device=device)
    inputs = (x, t, torch.zeros_like(t), cond.with_guidance(args.w_range[0]))
    student.to(device)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    try:
        with torch.no_grad(), autocast:
            loss = method.loss(student, copy.copy(student), x, cond, torch.zeros((), device=device))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # of a size that does not go through a network
        reason = f"a latent of shape {list(x.shape[1:])} does not go through its network"
        line = str(error).splitlines()[0]
        raise ValueError(f"--seconds {args.seconds:g} does not suit this teacher: {reason} ({line})") from error
    if not loss.isfinite():
        raise ValueError(f"{args.teacher}: the loss of a random latent is not finite, nor would training be")

    def estimate(net: nn.Module) -> Any:
        return estimate_memory(net, teacher.net, inputs, averages, critic, device, precision)

    both = estimate(student)
    used = both[args.gradient_checkpointing].needed(args.batch)
    # weights that are already there; codec and text encoders will make room
    there = [*networks_of(teacher).values(), teacher.net, student, *([critic] if critic is not None else [])]
    inside = {id(p): p.nbytes for net in there for p in net.parameters()}
    free = available_bytes(device) + sum(inside.values())
    texts = f"{readable_bytes(used)} at batch {args.batch}", f"{readable_bytes(free)}"
    if is_main:
        print("memory: about {}, of {}".format(*texts))
    if used <= free:
        return
    options = {"": both[args.gradient_checkpointing]}
    if not args.gradient_checkpointing:
        options["--gradient-checkpointing "] = both[1]
    if not args.lora:
        with contextlib.suppress(ValueError):  # of networks whose layers are too small
            small = estimate(build_student(args, teacher, method, LORA_RANK))
            options |= {f"--lora {LORA_RANK} ": small[0], f"--lora {LORA_RANK} --gradient-checkpointing ": small[1]}
    fitting = [f"{text}--batch {most}" for text, one in options.items() if (most := one.largest_batch(free))]
    advice = f"what fits: {'; '.join(fitting)}" if fitting else "nothing fits, not even a batch of 1"
    raise ValueError("training needs about {}, but {} are free on {}; {}".format(*texts, device, advice))


def train_student(
    args: argparse.Namespace,
    teacher: Teacher,
    student: nn.Module,
    method: Any,
    data: EncodedSet,
    w: float | None,
    ranks: Any,
) -> None:
    """Trains and saves the student."""
    from ..data.encoded_batches import EncodedBatches
    from ..files import write_json
    from ..teachers import save_student
    from ..training.compile import compile_blocks
    from ..training.run import Run
    from ..training.trainer import train

    output = Path(args.output)
    if args.compile:
        compile_blocks(teacher.net)

    def export(net: nn.Module, folder: Path) -> None:
        state = newest_state(output)
        facts = {
            "method": args.method,
            "data": f"{Path(args.data).name}, {data.seconds / 3600:.2f} hours",
            "training": f"{state['step']} steps of {args.batch * args.accumulate * ranks.num_processes} sounds, "
            f"{state['trained'] / 60:.1f} minutes",
            "seconds of a sound": f"{args.seconds:g}",
            "learning rate": f"{args.lr:g}",
            "trained": "all weights" if not args.lora else f"a low-rank difference, rank {args.lora}",
            "seed": args.seed,
        }
        if weights_taken(student) is not None:
            facts["guidance weights it learnt"] = "{:g} to {:g}".format(*args.w_range)
        elif args.method not in OF_DATA:
            facts["guidance weight of the teacher"] = f"{fixed_weight(args):g}"
        save_student(teacher, net, folder, w, replaces=output / "model", **facts)

    if ranks.is_main_process:
        write_json(output / SETTINGS, run_settings(args))
    steps = steps_of(args)
    run = Run(
        name="distill",
        net=student,
        method=method,
        batches=EncodedBatches(data, args.batch, args.seed, ranks.device),
        steps=steps,
        lr=args.lr,
        warmup=min(200, max(1, steps // 10)),
        ema=0.999,
        target_ema=target_ema(args),
        critic=getattr(method, "critic", None),
        accumulate=args.accumulate,
        precision=precision_of(args, ranks.device),
        gradient_checkpointing=args.gradient_checkpointing,
        shard=args.shard,
        seed=args.seed,
        train_seconds=None if args.minutes is None else 60 * args.minutes,
        save_every=args.save_every,
        log_every=min(50, max(1, steps // 10)),
        cuda_graph=args.method not in WITHOUT_GRAPH and not args.shard,
        compile=args.compile,
        export=export,
    )
    train(run, output)
