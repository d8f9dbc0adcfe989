"""The sounds of a row of a table, one file for each clip; `make` of a bench continues where it stopped."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import soundfile

from audiocm.files import atomic_write


def write_missing_sounds(
    folder: Path, clips: Mapping[str, tuple], make: Callable[..., np.ndarray], rate: int, title: str = ""
) -> None:
    """Writes folder/NAME.wav for each clip that has no such file: what `make` returns, float [sample], for its arguments.

    A clip for which `make` raises ValueError is left out, and told in a line with the title of the row."""
    title = title or folder.name
    for name, arguments in clips.items():
        if (file := folder / f"{name}.wav").exists():
            continue
        try:
            wav = make(*arguments)
        except ValueError as error:
            print(f"{title}, {name}: {error}", flush=True)
            continue
        with atomic_write(file) as partial:
            soundfile.write(partial, wav, rate, "FLOAT", format="WAV")
    print(f"{title}: done", flush=True)
