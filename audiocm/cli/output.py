"""The files and folders that commands write, what they say of missing sounds, and the file of prompts they read."""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np

from ..audio.io import FORMATS, Append, file_format, open_wave_writer
from ..checks import check_path
from ..files import append_json_line, read_text, remove_partials

SOUNDS_MISSING = 3  # exit code
MANIFEST = "manifest.jsonl"
NUMBERED = re.compile(r"\d{3,}_\d+\.wav")  # names of the sounds of a folder


def read_prompts(file: str | os.PathLike) -> list[str]:
    """Returns the non-empty lines of a file. Raises ValueError if it cannot be read or holds none."""
    prompts = [line.strip() for line in read_text(file, "prompt").splitlines() if line.strip()]
    if not prompts:
        raise ValueError(f"the prompt file {file} holds no prompt")
    return prompts


def check_output_file(file: str, force: bool = False, option: str = "--output") -> Path:
    """Returns the path of a file that a command will write, and deletes what killed processes left beside it.

    Raises ValueError, before any work is done, if it cannot be written, or exists and is not to be replaced."""
    path = Path(check_path(option, file))
    check_folder(path.parent, path)
    if path.is_dir():
        raise ValueError(f"{option} {file}: is a folder, name a file")
    if path.is_file() and not force:
        raise ValueError(f"{option} {file}: the file exists, choose another name or replace it by --force")
    return path


def check_folder(folder: Path, path: Path) -> None:
    """Raises ValueError if `path` cannot be written in `folder`, which need not exist; removes partial files there."""
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(path)  # which fails for a name that is too long
        existing = next(one for one in (folder.absolute(), *folder.absolute().parents) if os.path.exists(one))
        if not existing.is_dir():
            raise ValueError(f"cannot write {path}: {existing} is not a folder")
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from error
    remove_partials(existing)


class Destination:
    """A file for one sound, or a folder for numbered files and a manifest.

    Raises ValueError at once if it cannot be written, `count` sounds do not fit, or it holds the sounds of another run,
    which `force` replaces."""

    def __init__(self, output: str, count: int, force: bool = False):
        self.path, self.force, self.written = Path(check_path("--output", output)), force, set()
        self.is_folder = os.path.isdir(self.path) or output.endswith(("/", os.sep)) or not self.path.suffix
        if self.path.name.lower() in FORMATS:
            raise ValueError(f"cannot write {output}: the file has no name before its extension")
        if not self.is_folder:
            file_format(self.path)
            if count > 1:
                raise ValueError(f"{output} is one file, but {count} sounds were asked for: give a folder")
            check_output_file(output, force)
            return
        if os.path.exists(self.path) and not os.path.isdir(self.path):
            raise ValueError(f"cannot write to the folder {output}: a file is in its place")
        check_folder(self.path, self.path)
        if not force and (old := self._sounds()):
            raise ValueError(
                f"{output} holds the sounds of another run ({old[0]}): choose another folder, or --force replaces them"
            )

    def _sounds(self) -> list[str]:
        """Returns the names of the sounds of another run in the folder, and of its manifest."""
        names = sorted(os.listdir(self.path)) if self.path.is_dir() else []
        return [name for name in names if (NUMBERED.fullmatch(name) or name == MANIFEST) and name not in self.written]

    def write(self, prompt: int, take: int, wav: np.ndarray, sample_rate: int) -> str:
        """Writes one sound [sample] and returns its file name."""
        with self.open(prompt, take, sample_rate) as (name, append):
            append(wav)
        return name

    @contextmanager
    def open(self, prompt: int, take: int, sample_rate: int) -> Iterator[tuple[str, Append]]:
        """Yields the file name of one sound and a function that appends parts [sample] to it; it appears at the end."""
        if not self.is_folder:
            with open_wave_writer(self.path, sample_rate) as append:
                yield self.path.name, append
            return
        name = f"{prompt:03d}_{take}.wav"
        with open_wave_writer(self.path / name, sample_rate) as append:
            yield name, append
        if not self.written:  # the manifest of another run would not fit
            (self.path / MANIFEST).unlink(missing_ok=True)
        self.written |= {name, MANIFEST}

    def record(self, row: dict) -> None:
        """Appends a sound's line to the manifest, if this is a folder."""
        if self.is_folder:
            append_json_line(self.path / MANIFEST, row)

    def report_old_sounds(self) -> None:
        """Prints one line on stderr about sounds of another run that were not replaced, which the manifest lacks."""
        if self.is_folder and self.written and (old := self._sounds()):
            print(
                f"audiocm: {self.path} holds {len(old)} older sounds that {MANIFEST} lacks: {old[0]} ...",
                file=sys.stderr,
            )


def report_missing(what: str, prompt: str, place: str, reason: str) -> None:
    """Prints one line on stderr about a sound that no seed made valid."""
    print(f"audiocm: no {what} for {prompt!r} ({place}): it {reason}", file=sys.stderr)


def write_takes(
    make: Callable[[list[tuple[int, int]]], Iterable[tuple[np.ndarray | None, str | None, Sequence[int]]]],
    args: argparse.Namespace,
    prompts: Sequence[str],
    destination: Destination,
    sample_rate: int,
    batch: int = 1,
) -> int:
    """Writes all takes of all prompts, each with its line of the manifest, and says which are missing.

    make: called with up to `batch` pairs of a prompt's place and a take; yields of each its sound [sample], its fault
    or None, and the seeds that were tried. Returns the number of sounds written."""
    jobs = [(i, take) for i in range(len(prompts)) for take in range(args.num)]
    settings = {name: getattr(args, name) for name in ("steps", "guidance", "temperature", "model")}
    missing = []
    try:
        with ExitStack() as stack:
            bar = None
            if len(jobs) > 1:  # one sound does without the import
                from tqdm import tqdm

                bar = stack.enter_context(tqdm(total=len(jobs), unit="sound"))
            for first in range(0, len(jobs), batch):
                some = jobs[first : first + batch]
                for (i, take), (wav, fault, seeds) in zip(some, make(some), strict=True):
                    if bar is not None:
                        bar.update()
                    if fault:
                        place = f"take {take}, seeds {', '.join(map(str, seeds))}"
                        missing.append(("sound", prompts[i], place, fault))
                        continue
                    file = destination.write(i, take, wav, sample_rate)
                    row = {"file": file, "prompt": prompts[i], "seed": seeds[-1], "retries": len(seeds) - 1}
                    destination.record(row | settings)
    finally:
        for one in missing:
            report_missing(*one)
        destination.report_old_sounds()
    return len(jobs) - len(missing)


def print_summary(args: argparse.Namespace, count: int, wanted: int, elapsed: float, backend: str = "") -> int:
    """Prints what was made, if anything was, and returns the exit code: 3 if some sounds are missing."""
    sounds = f"{count} sounds" if count == wanted else f"{count} of {wanted} sounds"
    amount = f"{sounds} in {elapsed:.1f} s" if wanted > 1 else f"{args.seconds:g} s of sound in {elapsed:.1f} s"
    if count:
        how = f"model {args.model}, steps {args.steps}, guidance {args.guidance:g}{backend and f', {backend}'}"
        print(f"{args.output}: {amount}, {how}")
    return 0 if count == wanted else SOUNDS_MISSING
