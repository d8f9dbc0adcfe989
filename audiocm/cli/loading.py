"""Loading a pipeline for a command, quietly."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def load_pipeline(model: str, device: str, kind: str = "TextToAudioPipeline"):
    """A pipeline (by its public name) on a device; "auto" is the first GPU, else the CPU. ValueError for an unknown device."""
    with paused_garbage_collection():
        from .. import pipelines
        from ..devices import resolve_device
        from ..pipelines.loading import model_folder

        if "/" not in model:
            model_folder(model)  # a wrong name is told before the slow imports
        return getattr(pipelines, kind).from_pretrained(model, device=resolve_device(device))


@contextmanager
def paused_garbage_collection() -> Iterator[None]:
    """No garbage collection during the start: imports and models are here to stay, and searching them takes a fifth of it.

    Afterwards it never looks at them again, not even at exit.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Libraries keep their notices to themselves; audiocm's own warnings are one line each."""
    for name, value in {"TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error",
                        "DIFFUSERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}.items():  # fmt: skip
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", message="(prompt|text) ")
        warnings.showwarning = lambda message, *_rest, **_more: print(f"audiocm: warning: {message}", file=sys.stderr)
        yield
