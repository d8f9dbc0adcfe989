"""`audiocm generate` and `speak` with exported graphs (--backend): without torch, diffusers and transformers."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from .loading import quiet_libraries

if TYPE_CHECKING:
    from ..runtime.text_to_audio import ExportedModel
    from ..runtime.text_to_speech import OnnxTextToSpeech

BACKENDS = ("torch", "onnx", "openvino")
HELP = "what runs the model: torch, or onnx or openvino for a folder that `audiocm export` wrote (default torch)"


def _load(model: type[ExportedModel], args: argparse.Namespace) -> ExportedModel:
    """Loads the folder --model. Raises ValueError if it is none of the backend, or for an option that it has not."""
    loaded = model.from_pretrained(args.model)
    written = loaded.settings["backend"]
    if written != args.backend:
        raise ValueError(f"{args.model} was exported for --backend {written}, not {args.backend}")
    if args.steps not in (None, 1):
        raise ValueError(f"an exported student makes a sound in one call: --steps is 1, not {args.steps}")
    if args.device not in ("auto", "cpu"):
        raise ValueError(f"exported graphs run on the CPU here, not on {args.device!r}")
    return loaded


def generate_with_graphs(args: argparse.Namespace, prompts: list[str]) -> int:
    """Makes sounds as `audiocm generate` and returns its exit code. Raises ValueError for wrong options."""
    from ..runtime.text_to_audio import OnnxTextToAudio
    from .output import SOUNDS_MISSING, Destination, report_missing

    start, missing = time.perf_counter(), 0
    destination = Destination(args.output, len(prompts) * args.num, args.force)
    with quiet_libraries():
        model = _load(OnnxTextToAudio, args)
        w = model.check_guidance(args.guidance)
        temperature = model.settings["temperature"] if args.temperature is None else args.temperature
        settings = {"steps": 1, "guidance": w, "temperature": temperature, "model": args.model}
        model.check_inputs(prompts, args.seconds, args.num, temperature)
        for i, prompt in enumerate(prompts):
            for take in range(args.num):
                options = {"seed": args.seed + take, "temperature": temperature, "max_retries": args.retries}
                output = model(prompt, args.seconds, w, **options, on_failure="return")
                for failure in output.failures:
                    missing += 1
                    place = f"take {take}, seeds {', '.join(map(str, failure.seeds))}"
                    report_missing("sound", prompt, place, failure.reason)
                if not output.failures:
                    file = destination.write(i, take, output.audios[0], model.sample_rate)
                    retries = output.retries[0]
                    seed = args.seed + take + retries * model.settings["retry_stride"]
                    destination.record({"file": file, "prompt": prompt, "seed": seed, "retries": retries} | settings)
    made, elapsed = len(prompts) * args.num - missing, time.perf_counter() - start
    if made:
        print(
            f"{args.output}: sounds: {made}, {args.seconds:g} s each, in {elapsed:.1f} s, model {args.model}, {args.backend}"
        )
    return SOUNDS_MISSING if missing else 0


def load_speech(args: argparse.Namespace) -> OnnxTextToSpeech:
    """Returns the exported voice of the folder --model. Raises ValueError as `_load`."""
    from ..runtime.text_to_speech import OnnxTextToSpeech

    return _load(OnnxTextToSpeech, args)
