"""Loading of a pipeline for a command, without notices of other libraries."""

import argparse
import gc
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def utf8_text(word: str) -> str:
    """Returns a word of the command line as text in UTF-8, whatever the locale says. Raises ArgumentTypeError else."""
    try:
        return word.encode(errors="surrogateescape").decode()  # bytes that Python could not decode are surrogates
    except UnicodeError:
        raise argparse.ArgumentTypeError(f"{word!r} is not UTF-8 text") from None


def load_pipeline(model: str, device: str, kind: str = "TextToAudioSampler"):
    """Returns the sampler, or the pipeline of diffusers, of class `kind` on a device.

    Raises ValueError for an unknown model or device. Threads of OpenMP that wait sleep, unless the environment says
    otherwise: by default they spin, which other processes pay for, and on a busy machine the threads themselves.
    Garbage collection, which would take a fifth of the start, is paused. Modules and models live until the end of the
    process and stay exempt from it; the collector does not even look at them at exit."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported
    gc.disable()
    try:
        from .. import pipelines
        from ..devices import resolve_device
        from ..pipelines.loading import model_folder

        if "/" not in model:
            model_folder(model)  # a wrong name fails before the slow imports
        return getattr(pipelines, kind).from_pretrained(model, device=resolve_device(device))
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silences other libraries and shows audiocm's own warnings as one line each."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", message="(prompt|text|a pause) ")
        warnings.showwarning = lambda message, *_: _say(f"audiocm: warning: {message}")
        yield


def _say(text: str) -> None:
    """Prints a line on stderr, above any progress bar."""
    bars = sys.modules.get("tqdm")
    if bars is None:
        print(text, file=sys.stderr)
    else:
        bars.tqdm.write(text, file=sys.stderr)
