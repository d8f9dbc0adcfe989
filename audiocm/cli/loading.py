"""Loading of a pipeline for a command, without notices of other libraries."""

import gc
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

QUIET_ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def load_pipeline(model: str, device: str, kind: str = "TextToAudioPipeline"):
    """Returns the pipeline of class `kind` on a device, see `devices.resolve_device`.

    Raises ValueError for an unknown model or device."""
    with paused_garbage_collection():
        from .. import pipelines
        from ..devices import resolve_device
        from ..pipelines.loading import model_folder

        if "/" not in model:
            model_folder(model)  # a wrong name fails before the slow imports
        return getattr(pipelines, kind).from_pretrained(model, device=resolve_device(device))


@contextmanager
def paused_garbage_collection() -> Iterator[None]:
    """Pauses garbage collection, which takes a fifth of the start, and exempts all objects created in the block from it.

    Modules and models live until the end of the process; the collector does not even look at them at exit."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silences other libraries and shows audiocm's own warnings as one line each."""
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", message="(prompt|text) ")
        warnings.showwarning = _print_warning
        yield


def _print_warning(message: Warning | str, *_args, **_kwargs) -> None:
    print(f"audiocm: warning: {message}", file=sys.stderr)
