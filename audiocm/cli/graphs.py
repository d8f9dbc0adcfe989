"""`audiocm generate` and `speak` with graphs (--backend): without torch, diffusers and transformers."""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .loading import quiet_libraries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from ..runtime.text_to_audio import ExportedModel
    from ..runtime.text_to_speech import OnnxTextToSpeech

BACKENDS = ("auto", "torch", "onnx", "openvino")
HELP = (
    "what runs the model: torch, or onnx or openvino for a folder that `audiocm export` wrote; auto: that of such a folder, "
    "onnx for a bundled student on a CPU, which starts several times faster, else torch (default auto)"
)
PRETRAINED = Path(__file__).parents[1] / "pretrained"
FEW_SOUNDS, SHORT_TEXT = 8, 800  # sounds and letters up to which it does not pay to optimise the graphs


def takes_export(args: argparse.Namespace) -> bool:
    """Whether --model is to be an exported model: a backend of graphs is named, or none, and it is the folder of one."""
    is_folder = args.backend == "auto" and (Path(args.model) / "audiocm.json").is_file()
    return is_folder or args.backend in ("onnx", "openvino")


def find_bundled(args: argparse.Namespace, kind: str, seconds: float = 0.0) -> Path | None:
    """Returns the folder of a bundled model's graphs, None if there is none or another backend is to be taken.

    seconds: the length of sounds. What the graphs make is the sound of torch on the CPU, to rounding."""
    folder = PRETRAINED / args.model / "graphs"
    is_cpu = args.device == "cpu" or (args.device == "auto" and not _may_have_gpu())
    is_bundled = args.model == Path(args.model).name and (folder / "audiocm.json").is_file()
    if args.backend != "auto" or not is_cpu or not is_bundled or importlib.util.find_spec("onnxruntime") is None:
        return None
    from ..runtime.folder import read_manifest

    found = read_manifest(folder)
    return folder if found["kind"] == kind and seconds <= found.get("seconds_range", [0, math.inf])[1] else None


def _may_have_gpu() -> bool:
    """Whether torch might find a GPU here, as far as that can be said without it."""
    if sys.platform != "linux":
        return True
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1")
    return not hidden and any(any(Path("/dev").glob(name)) for name in ("nvidia*", "kfd", "dxg"))


def _load(model: type[ExportedModel], args: argparse.Namespace) -> ExportedModel:
    """Loads the folder --model. Raises ValueError if it is none of the backend, or for an option that it has not."""
    loaded = model.from_pretrained(args.model)
    written = loaded.settings["backend"]
    if args.backend not in ("auto", written):
        raise ValueError(f"{args.model} was exported for --backend {written}, not {args.backend}")
    args.backend = written
    if args.steps not in (None, 1):
        raise ValueError(f"an exported student makes a sound in one call: --steps is 1, not {args.steps}")
    for option in ("lora", "loop"):
        if getattr(args, option, None):
            raise ValueError(f"an exported student takes no --{option}")
    if args.device not in ("auto", "cpu"):
        raise ValueError(f"exported graphs run on the CPU here, not on {args.device!r}")
    return loaded


def generate_with_graphs(args: argparse.Namespace, prompts: list[str], bundled: Path | None = None) -> int:
    """Makes sounds as `audiocm generate` and returns its exit code. bundled: the folder of a bundled model's graphs.

    Raises ValueError for wrong options."""
    from ..runtime.text_to_audio import OnnxTextToAudio
    from .output import Destination, print_summary, write_takes

    wanted = len(prompts) * args.num
    destination = Destination(args.output, wanted, args.force)
    with quiet_libraries():
        start = time.perf_counter()
        if bundled is None:
            model = _load(OnnxTextToAudio, args)
        else:
            model = OnnxTextToAudio.from_pretrained(bundled, few_calls=wanted <= FEW_SOUNDS)
        args.steps, args.guidance = 1, model.check_guidance(args.guidance)
        args.temperature = model.settings["temperature"] if args.temperature is None else args.temperature
        model.check_inputs(prompts, args.seconds, args.num, args.temperature)
        options = {"temperature": args.temperature, "max_retries": args.retries, "on_failure": "return"}

        def make(jobs: list[tuple[int, int]]) -> Iterator[tuple[np.ndarray, str | None, Sequence[int]]]:
            for i, take in jobs:
                seed = args.seed + take
                output = model(prompts[i], args.seconds, args.guidance, seed=seed, **options)
                fault = output.failures[0].reason if output.failures else None
                tried = range(output.retries[0] + 1)
                yield output.audios[0], fault, [seed + k * model.settings["retry_stride"] for k in tried]

        count = write_takes(make, args, prompts, destination, model.sample_rate)
    return print_summary(args, count, wanted, time.perf_counter() - start, "" if bundled else args.backend)


def load_speech(args: argparse.Namespace) -> OnnxTextToSpeech | None:
    """Returns the exported voice of the folder --model, or the graphs of a bundled one; None: torch is to be taken.

    Raises ValueError as `_load`."""
    bundled = find_bundled(args, "text-to-speech") if args.steps in (None, 1) else None
    if bundled is None and not takes_export(args):
        return None
    from ..runtime.text_to_speech import OnnxTextToSpeech

    if bundled is None:
        return _load(OnnxTextToSpeech, args)
    voice = OnnxTextToSpeech.from_pretrained(bundled, few_calls=0 < len(args.text or "") < SHORT_TEXT)
    voice.load()
    return voice
