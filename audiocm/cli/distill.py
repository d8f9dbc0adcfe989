"""`audiocm distill`: anyone's teacher and a folder of sounds to a student of one call.

The output folder holds distill.json (what the run was asked for), encoded-KEY/ (latents and conditions, encoded once),
checkpoints/, log.jsonl, and model/, the student as a plain folder. The same command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checks import check_number, check_path, check_whole
from .loading import quiet_libraries

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..data.encoded import EncodedSet
    from ..teachers import Teacher

EXAMPLES = """examples:
  audiocm distill cvssp/audioldm2 --data my/sounds -o runs/student
  audiocm distill my/teacher --data captions.csv -o runs/student --method tcd --minutes 60 --batch 32
  audiocm distill my/teacher --data my/shards -o runs/lora --method lcm-lora --lora 64 --w-range 3.5
  accelerate launch --multi_gpu -m audiocm distill my/teacher --data my/sounds -o runs/student

DATA is a folder with NAME.txt or NAME.json beside each NAME.wav (or .flac, .ogg, .mp3 ...), a .csv or .jsonl manifest with
the fields file and caption, or webdataset shards (.tar). It is encoded once, into the output folder or --cache.
The student is OUTPUT/model: DiffusionPipeline.from_pretrained reads it, to be called with num_inference_steps=1 and
guidance_scale=1.0. An interrupted command goes on when it is called again."""

# methods that need something that this command has not: stored trajectories, or a training of all noise levels
OTHERS = ("diffusion", "regression")
WITHOUT_TARGET = (  # methods whose target is not a moving average of the student
    "guidance-distillation",
    "progressive",
    "reflow",
    "rectified-flow",
    "zipvoice",
    "ict",
    "ect",
    "continuous-cd",
    "continuous-ct",
    "scd",
    "sct",
    "meanflow",
    "add",
    "dmd2",
)
WITH_CRITIC = ("add", "dmd2")
WITHOUT_GRAPH = ("ict",)  # its times wait for the device
SETTINGS = "distill.json"
# what another call with the same output folder may not change
FIXED = (
    "teacher",
    "data",
    "method",
    "lora",
    "w_range",
    "seconds",
    "batch",
    "accumulate",
    "lr",
    "seed",
)
OF_DATA = ("ct", "ict", "ect", "shortcut", "rectified-flow", "continuous-ct", "sct", "meanflow", "zipvoice-self")
OF_ONE_WEIGHT = ("cd", "ctm", "comospeech", "progressive", "reflow", "continuous-cd", "scd")  # guided by this command
USUAL_W = 3.5  # guidance weight of a saved student, and of methods of one weight
LORA_RANK = 64  # of the advice


def distill_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `audiocm distill`."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    add = parser.add_argument
    add("teacher", metavar="TEACHER", help="a folder of diffusers, a hub id or a bundled model such as tta-teacher")
    add("--data", required=True, help="a folder of sounds with captions, a manifest, or shards; see below")
    add("-o", "--output", required=True, metavar="FOLDER", help="folder of the run; the student is FOLDER/model")
    add("--method", default="consistencytta", help="default consistencytta; a wrong name lists all")
    add("--lora", type=int, metavar="RANK", help="train a low-rank difference (default: all weights)")
    add("--steps", type=int, help="optimizer steps (default 20000, without a limit with --minutes)")
    add("--minutes", type=float, help="minutes of training, in all calls together")
    w_range = "guidance weights that the student learns to take (default 1 7); one number for a method of one weight"
    add("--w-range", type=float, nargs="+", default=(1.0, 7.0), metavar="W", help=w_range)
    add("--save-w", type=float, metavar="W", help="guidance weight of the saved student (default 3.5, if in the range)")
    add("--batch", type=int, default=8, help="sounds of a step, of each process (default 8)")
    add("--accumulate", type=int, default=1, help="batches of a step (default 1)")
    add("--lr", type=float, help="learning rate (default 1e-5; 1e-4 with --lora)")
    add("--seconds", type=float, help="length of the sounds (default: the teacher's, mostly 10)")
    add("--seed", type=int, default=0, help="default 0")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (default auto)")
    add("--precision", choices=("no", "bf16"), help="bf16: autocast (default bf16 on a GPU)")
    add("--gradient-checkpointing", action="store_true", help="less memory, a sixth slower")
    add("--compile", action="store_true", help="compile the blocks of teacher and student: minutes first, then faster")
    add("--shard", action="store_true", help="with several GPUs: shard weights, moments and averages over them (FSDP2)")
    add("--save-every", type=int, default=500, metavar="STEPS", help="between checkpoints (default 500)")
    add("--cache", metavar="FOLDER", help="where encoded data is kept (default: the output folder)")
    add("--force", action="store_true", help="begin anew: delete what another run left in the output folder")
    add("--push-to-hub", metavar="OWNER/NAME", help="upload the student afterwards; nothing is uploaded without this")


def distill_command(args: argparse.Namespace) -> int:
    """Runs `audiocm distill` and returns its exit code. Raises ValueError for what cannot be distilled, and why."""
    _check_options(args)
    import torch

    from ..data.recordings import find_recordings
    from ..distillation import METHODS

    allowed = [name for name in METHODS if name not in OTHERS]
    if args.method not in allowed:
        raise ValueError(f"unknown method {args.method!r}: must be one of {', '.join(allowed)}")
    output = Path(args.output)
    with quiet_libraries():
        warnings.filterwarnings("always", message=r"\d+ of \d+ clips left out")
        recordings, skipped = find_recordings(args.data)
        device, ranks = _device(args.device)
        _check_output(output, args)
        from ..teachers import load_teacher

        teacher = load_teacher(args.teacher)
        if args.seconds is None:
            args.seconds = teacher.adapter.seconds
        try:
            torch.manual_seed(args.seed)
            method = _method(args, teacher)
            student = _student(args, teacher, method, args.lora)  # on the CPU, from which --shard takes it
            w = _saved_w(args, student)
            teacher.to(device)
            if not args.shard:
                _check_training(args, teacher, student, method, device, ranks.is_main_process)
            data = _encode(args, teacher, recordings, skipped, ranks)
            _train(args, teacher, student, method, data, w, ranks)
        except torch.OutOfMemoryError as error:
            advice = "try a smaller --batch, --gradient-checkpointing or --lora 64"
            raise ValueError(f"the memory of {device} is full: {advice}") from error
        except KeyboardInterrupt:
            if ranks.is_main_process:
                print(
                    f"audiocm: {args.output} is as far as its last checkpoint: the same command goes on",
                    file=sys.stderr,
                )
            raise
    if args.push_to_hub and ranks.is_main_process:
        _push(output / "model", args.push_to_hub)
    ranks.end_training()
    return 0


def _check_options(args: argparse.Namespace) -> None:
    """Raises ValueError for an option out of range."""
    for name, most in {"steps": 10**8, "batch": 10**5, "accumulate": 10**5, "lora": 10**5, "save_every": 10**8}.items():
        if getattr(args, name) is not None:
            check_whole(f"--{name.replace('_', '-')}", getattr(args, name), least=1, most=most)
    for name, most in {"minutes": 10**6, "lr": 10, "seconds": 10**4}.items():
        if getattr(args, name) is not None:
            check_number(f"--{name}", getattr(args, name), above=0, most=most)
    for name in ("output", "data"):
        check_path(f"--{name}", getattr(args, name))
    low, high = args.w_range[0], args.w_range[-1]
    if len(args.w_range) > 2 or not 0 <= low <= high < float("inf"):
        given = " ".join(f"{one:g}" for one in args.w_range)
        raise ValueError(f"--w-range must be one or two numbers from 0, the second above the first, not {given}")
    args.w_range = (low, high)
    if args.lora and args.shard:
        raise ValueError(
            "--shard is for full weights: a low-rank difference shares the teacher's weights, which it would cut up"
        )
    if args.shard and (args.compile or args.method in WITH_CRITIC):
        raise ValueError(f"--shard does not go with {'--compile' if args.compile else f'--method {args.method}'}")
    if args.push_to_hub and not re.fullmatch(r"[\w.-]+/[\w.-]+", args.push_to_hub):
        raise ValueError(f"--push-to-hub must be OWNER/NAME, not {args.push_to_hub!r}")
    if args.lr is None:
        args.lr = 1e-4 if args.lora else 1e-5


def _device(name: str) -> tuple[torch.device, Any]:
    """Returns the device of this process and the Accelerator. Raises ValueError if there is no such device."""
    import torch

    from ..devices import resolve_device

    chosen = torch.device(resolve_device(name))
    if chosen.type == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"
    elif chosen.index is not None:
        torch.cuda.set_device(chosen)
    from accelerate import Accelerator

    ranks = Accelerator()
    return ranks.device, ranks


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    values = {name: getattr(args, name) for name in FIXED}
    return json.loads(json.dumps(values))


def _check_output(output: Path, args: argparse.Namespace) -> None:
    """Raises ValueError if the folder holds something else than this run; deletes another run with --force."""
    from ..training.checkpoint import newest_checkpoint

    if output.exists() and not output.is_dir():
        raise ValueError(f"output {output} is a file: give a folder")
    if args.force:
        for name in ("checkpoints", "best", "samples", "model"):
            shutil.rmtree(output / name, ignore_errors=True)
        for name in ("log.jsonl", SETTINGS):
            (output / name).unlink(missing_ok=True)
        return
    how = "choose another folder, or --force to begin anew"
    if not (output / SETTINGS).is_file():
        others = (
            sorted(one.name for one in output.iterdir() if not one.name.startswith("encoded-"))
            if output.is_dir()
            else []
        )
        if others:
            raise ValueError(f"output {output} is not empty ({others[0]}) and holds no run of distill: {how}")
        return
    if newest_checkpoint(output / "checkpoints") is None:
        return
    try:
        before = json.loads((output / SETTINGS).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{output / SETTINGS} is damaged: {how}") from error
    if args.seconds is None:
        args.seconds = before.get("seconds")
    different = [
        f"--{name.replace('_', '-')} {before.get(name)}, not {value}"
        for name, value in _settings(args).items()
        if before.get(name) != value
    ]
    if different:
        raise ValueError(
            f"output {output} holds a run with {'; '.join(different)}: give the same options to go on, or {how}"
        )


def _encode(args: argparse.Namespace, teacher: Teacher, recordings: Any, skipped: Any, ranks: Any) -> EncodedSet:
    """Encodes the data once, then takes the codec and the text encoders off the device."""
    from ..data.encoded import encode_recordings
    from ..data.latents import codec_key
    from ..files import content_digest

    parts = {name: part for name, part in _networks(teacher).items() if name != teacher.adapter.denoiser}
    key = content_digest(codec_key(*(parts[name] for name in sorted(parts))), f"{args.seconds:g}")
    folder = Path(args.cache or args.output) / f"encoded-{key}"
    place = {"rank": ranks.process_index, "ranks": ranks.num_processes, "wait": ranks.wait_for_everyone}
    data = encode_recordings(recordings, teacher, folder, args.seconds, 8, skipped, **place)
    for part in parts.values():
        part.to("cpu")
    if ranks.is_main_process:
        sounds = len(recordings) - len(data.skipped.keys() - dict(skipped).keys())
        print(f"{args.data}: {sounds} sounds, {data.seconds / 3600:.2f} hours, {len(data)} parts of {args.seconds:g} s")
    return data


def _networks(teacher: Teacher) -> dict[str, nn.Module]:
    """Returns the components of a teacher's pipeline that are networks."""
    from torch import nn

    pipe = teacher.adapter.pipe
    components = pipe.components if hasattr(pipe, "components") else vars(pipe)
    return {name: part for name, part in components.items() if isinstance(part, nn.Module)}


def _fixed_w(args: argparse.Namespace) -> float:
    """Returns the guidance weight of methods of one weight."""
    low, high = args.w_range
    return min(max(USUAL_W, low), high)


def _method(args: argparse.Namespace, teacher: Teacher) -> Any:
    """Builds the method; the teacher of one whose student takes no weight is guided with a fixed one."""
    import copy

    from ..diffusion.guidance import guided_net
    from ..distillation import get_method, methods

    w, net, path = _fixed_w(args), teacher.net, teacher.path
    if args.method == "add":
        return methods.add(net, copy.deepcopy(net), distillation_weight=0.1, w=w, net_path=path)
    if args.method == "dmd2":
        return methods.dmd2(net, copy.deepcopy(net), w=w, net_path=path)
    if args.method in OF_ONE_WEIGHT:
        return get_method(args.method, guided_net(net, w), (w, w), path)
    return get_method(args.method, net, (w, w) if args.method == "lcm-lora" else args.w_range, path)


def _student(args: argparse.Namespace, teacher: Teacher, method: Any, lora: int | None) -> nn.Module:
    """Returns a student with the inputs that a method trains."""
    parts = [part for _, part in getattr(method, "parts", ((1.0, method),))]
    takes_w = any(getattr(part, "guidance", None) is not None for part in parts)
    if takes_w and not args.w_range[0] < args.w_range[1]:
        raise ValueError(f"--w-range: {args.method} learns a range of weights: give two, the second above the first")
    takes_s = any(getattr(part, "needs_target_time", False) for part in parts)
    return teacher.student(args.w_range if takes_w else None, takes_s, lora)


def _newest_state(output: Path) -> dict[str, Any]:
    """Returns what the newest checkpoint says of the run: its steps, and its seconds of training."""
    return json.loads(max(output.glob("checkpoints/step-*/state.json")).read_text(encoding="utf-8"))


def _target_ema(args: argparse.Namespace) -> float | None:
    return None if args.method in WITHOUT_TARGET else 0.95


def _precision(args: argparse.Namespace, device: torch.device) -> str:
    return args.precision or ("bf16" if device.type == "cuda" else "no")


def _train(
    args: argparse.Namespace,
    teacher: Teacher,
    student: nn.Module,
    method: Any,
    data: EncodedSet,
    w: float | None,
    ranks: Any,
) -> None:
    """Trains and saves the student."""
    from ..data.encoded import EncodedBatches
    from ..files import write_json
    from ..teachers import save_student
    from ..training.compile import compile_blocks
    from ..training.run import Run
    from ..training.trainer import train

    output = Path(args.output)
    if args.compile:
        compile_blocks(teacher.net)

    def export(net: nn.Module, folder: Path) -> None:
        state = _newest_state(output)
        facts = {
            "method": args.method,
            "data": f"{Path(args.data).name}, {data.seconds / 3600:.2f} hours",
            "training": f"{state['step']} steps of {args.batch * args.accumulate * ranks.num_processes} sounds, "
            f"{state['trained'] / 60:.1f} minutes",
            "learning rate": f"{args.lr:g}",
            "trained": "all weights" if not args.lora else f"a low-rank difference, rank {args.lora}",
            "seed": args.seed,
        }
        if _taken(student) is not None:
            facts["guidance weights it learnt"] = "{:g} to {:g}".format(*args.w_range)
        elif args.method not in OF_DATA:
            facts["guidance weight of the teacher"] = f"{_fixed_w(args):g}"
        save_student(teacher, net, folder, w, **facts)

    if ranks.is_main_process:
        write_json(output / SETTINGS, _settings(args))
    steps = args.steps or (20_000 if args.minutes is None else 10_000_000)
    run = Run(
        name="distill",
        net=student,
        method=method,
        batches=EncodedBatches(data, args.batch, args.seed, ranks.device),
        steps=steps,
        lr=args.lr,
        warmup=min(200, max(1, steps // 10)),
        ema=0.999,
        target_ema=_target_ema(args),
        critic=getattr(method, "critic", None),
        accumulate=args.accumulate,
        precision=_precision(args, ranks.device),
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
    if ranks.is_main_process:
        _report(args, output, w, steps)


def _is_bundled(student: Any) -> bool:
    """Returns whether a student is one of audiocm's own, which keep w as an input when they are saved."""
    return "guidance_range" in getattr(student, "config", {})


def _taken(student: Any) -> tuple[float, float] | None:
    """Returns the range of guidance weights that a student takes."""
    return student.config["guidance_range"] if _is_bundled(student) else student.guidance_range


def _saved_w(args: argparse.Namespace, student: nn.Module) -> float | None:
    """Returns the guidance weight that the saved student has. Raises ValueError for one that it does not take."""
    taken = _taken(student)
    if taken is None and _is_bundled(student):
        return _fixed_w(args) if args.save_w is None else args.save_w
    if taken is None:
        if args.save_w is not None:
            raise ValueError(f"--save-w {args.save_w:g}: a student of {args.method} takes no guidance weight")
        return None
    low, high = taken
    w = min(max(USUAL_W, low), high) if args.save_w is None else args.save_w
    if not low <= w <= high:
        raise ValueError(f"--save-w must be between {low:g} and {high:g}, the range that the student learns, not {w:g}")
    return w


def _check_training(
    args: argparse.Namespace, teacher: Teacher, student: nn.Module, method: Any, device: torch.device, is_main: bool
) -> None:
    """Computes the loss of one random latent, and compares the memory of the training with what is free.

    Raises ValueError if the method cannot train this teacher, or with what fits, if memory does not suffice."""
    import copy

    import torch
    from torch import nn

    from ..training.memory import available_bytes, estimate_memory, readable_bytes

    precision, averages = _precision(args, device), 1 + (_target_ema(args) is not None)
    critic = getattr(method, "critic", None)
    if isinstance(critic, nn.Module):
        critic.to(device)
    x = torch.randn(1, *teacher.latent_shape(args.seconds), device=device)
    cond = teacher.condition(["a sound"], args.seconds)
    t = torch.full((1,), teacher.path.t_max, device=device)
    inputs = (x, t, torch.zeros_like(t), cond.with_guidance(args.w_range[0]))
    student.to(device)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    with torch.no_grad(), autocast:
        method.loss(student, copy.copy(student), x, cond, torch.zeros((), device=device))

    def estimate(net: nn.Module) -> Any:
        return estimate_memory(net, teacher.net, inputs, averages, critic, device, precision)

    both = estimate(student)
    used = both[args.gradient_checkpointing].needed(args.batch)
    # weights that are already there; codec and text encoders will make room
    there = [*_networks(teacher).values(), teacher.net, student, *([critic] if critic is not None else [])]
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
            small = estimate(_student(args, teacher, method, LORA_RANK))
            options |= {f"--lora {LORA_RANK} ": small[0], f"--lora {LORA_RANK} --gradient-checkpointing ": small[1]}
    fitting = [f"{text}--batch {most}" for text, one in options.items() if (most := one.largest_batch(free))]
    advice = f"what fits: {'; '.join(fitting)}" if fitting else "nothing fits, not even a batch of 1"
    raise ValueError("training needs about {}, but {} are free on {}; {}".format(*texts, device, advice))


def _report(args: argparse.Namespace, output: Path, w: float | None, steps: int) -> None:
    """Says where the student is, and how it is called."""
    state = _newest_state(output)
    complete = state["step"] >= steps or (args.minutes is not None and state["trained"] >= 60 * args.minutes)
    end = f"{output / 'model'}: {args.method}, {state['step']} steps in {state['trained'] / 60:.1f} minutes"
    print(f"{end}{'' if w is None else f', guidance weight {w:g} inside'}")
    if complete:
        print(f"how it is called: {output / 'model' / 'README.md'}")
    else:
        print("stopped before the end: the same command goes on")
    if args.lora and not (output / "model" / "pytorch_lora_weights.safetensors").is_file():
        print("no LoRA file: this student takes w or s, which such a file cannot hold; --method lcm-lora has one")


def _push(folder: Path, name: str) -> None:
    """Uploads a folder to the hub."""
    from huggingface_hub import HfApi

    api = HfApi()
    api.create_repo(name, exist_ok=True)
    api.upload_folder(repo_id=name, folder_path=str(folder))
    print(f"uploaded to {name}")
