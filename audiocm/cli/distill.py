"""`audiocm distill`: anyone's teacher and a folder of sounds to a student of one call.

The output folder holds distill.json (what the run was asked for), encoded-KEY/ (latents and conditions, encoded once),
checkpoints/, log.jsonl, and model/, the student as a plain folder. The same command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .distill_methods import OTHERS, build_method, build_student, saved_weight
from .distill_options import check_options, check_output
from .distill_training import check_training, components_of, is_complete, networks_of, newest_state, train_student
from .loading import quiet_libraries

if TYPE_CHECKING:
    import torch

    from ..data.encoded_set import EncodedSet
    from ..teachers import Teacher

EXAMPLES = """examples:
  audiocm distill cvssp/audioldm2 --data my/sounds -o runs/student
  audiocm distill my/teacher --data captions.csv -o runs/student --method tcd --minutes 60 --batch 32
  audiocm distill my/teacher --data my/shards -o runs/lora --method lcm-lora --lora 64 --w-range 3.5
  accelerate launch --multi_gpu -m audiocm distill my/teacher --data my/sounds -o runs/student

DATA is a folder with NAME.txt or NAME.json beside each NAME.wav (or .flac, .ogg, .mp3 ...), a .csv or .jsonl manifest with
the fields file and caption, or webdataset shards (.tar). It is encoded once, into the output folder or --cache.
The student is OUTPUT/model: DiffusionPipeline.from_pretrained reads it, to be called with num_inference_steps=1 and
guidance_scale=1.0. Scores come into its card, README.md, by audiocm score MADE --reference REAL --card OUTPUT/model.
An interrupted command goes on when it is called again."""


OF_FILES = ("transformers_version", "architectures", "dtype", "torch_dtype")  # settings that say how weights are stored


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
    check_options(args)
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
        check_output(output, args)
        from ..teachers import load_teacher

        teacher = load_teacher(args.teacher)
        if args.seconds is None:
            args.seconds = teacher.adapter.seconds
        teacher.adapter.seconds = args.seconds  # of which the card speaks
        try:
            torch.manual_seed(args.seed)
            method = build_method(args, teacher)
            student = build_student(args, teacher, method, args.lora)  # on the CPU, from which --shard takes it
            w = saved_weight(args, student)
            teacher.to(device)
            if not args.shard:
                check_training(args, teacher, student, method, device, ranks.is_main_process)
            data = _encode(args, teacher, recordings, skipped, ranks)
            train_student(args, teacher, student, method, data, w, ranks)
            if ranks.is_main_process:
                _report(args, output, w)
        except torch.OutOfMemoryError as error:
            advice = "try a smaller --batch, --gradient-checkpointing or --lora 64"
            raise ValueError(f"the memory of {device} is full: {advice}") from error
        except (KeyboardInterrupt, SystemExit):  # the trainer turns SIGTERM into the latter
            if ranks.is_main_process:
                said = f"{args.output} is as far as its last checkpoint: the same command goes on"
                print(f"audiocm: {said}", file=sys.stderr)
            raise
    if args.push_to_hub and ranks.is_main_process:
        _push(output / "model", args.push_to_hub)
    ranks.end_training()
    return 0


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


def _encode(args: argparse.Namespace, teacher: Teacher, recordings: Any, skipped: Any, ranks: Any) -> EncodedSet:
    """Encodes the data once, then takes the codec and the text encoders off the device."""
    from ..data.encoded import encode_recordings

    folder = encoded_folder(teacher, args.seconds, Path(args.cache or args.output))
    place = {"rank": ranks.process_index, "ranks": ranks.num_processes, "wait": ranks.wait_for_everyone}
    data = encode_recordings(recordings, teacher, folder, args.seconds, 8, skipped, **place)
    for name, part in networks_of(teacher).items():
        if name != teacher.adapter.denoiser:
            part.to("cpu")
    if ranks.is_main_process:
        sounds = len(recordings) - len(data.skipped.keys() - dict(skipped).keys())
        print(f"{args.data}: {sounds} sounds, {data.seconds / 3600:.2f} hours, {len(data)} parts of {args.seconds:g} s")
    return data


def encoded_folder(teacher: Teacher, seconds: float, root: Path) -> Path:
    """Returns the folder in `root` of sounds and captions that a teacher encoded in parts of `seconds`.

    Its name changes with everything that latents and conditions come from: weights, settings and vocabularies."""
    from ..data.latents import codec_key
    from ..files import content_digest

    parts = {name: part for name, part in networks_of(teacher).items() if name != teacher.adapter.denoiser}
    weights = codec_key(*(parts[name] for name in sorted(parts)))
    return root / f"encoded-{content_digest(weights, _settings_of(teacher), f'{seconds:g}')}"


def _settings_of(teacher: Teacher) -> str:
    """Returns what besides weights makes latents and conditions: settings of networks, and words of tokenizers."""
    found = {}
    for name, part in sorted(components_of(teacher).items()):
        config = getattr(part, "config", None)
        values = config.to_dict() if hasattr(config, "to_dict") else config if isinstance(config, Mapping) else {}
        found[name] = {k: v for k, v in values.items() if k[0] != "_" and k not in OF_FILES}
        if hasattr(part, "get_vocab"):
            found[name] = {"vocabulary": part.get_vocab(), "longest": part.model_max_length}
    return json.dumps(found, sort_keys=True, default=str)


def _report(args: argparse.Namespace, output: Path, w: float | None) -> None:
    """Says where the student is, and how it is called."""
    state = newest_state(output)
    end = f"{output / 'model'}: {args.method}, {state['step']} steps in {state['trained'] / 60:.1f} minutes"
    print(f"{end}{'' if w is None else f', guidance weight {w:g} inside'}")
    if is_complete(args, state):
        print(f"how it is called: {output / 'model' / 'README.md'}")
    else:
        print("stopped before the end: the same command goes on")
    if args.lora and not (output / "model" / "pytorch_lora_weights.safetensors").is_file():
        print("no LoRA file: this student takes w or s, which such a file cannot hold; --method lcm-lora has one")


def _push(folder: Path, name: str) -> None:
    """Uploads a folder to the hub. Raises ValueError if that fails."""
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        api.create_repo(name, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=str(folder))
    except Exception as error:  # of the hub, and of the packages that reach it
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(
            f"{folder} is complete, but could not be uploaded to {name} ({reason}): the same command tries it again"
        ) from error
    print(f"uploaded to {name}")
