"""Data sets larger than memory: latents and conditions encoded once into files, and batches read from them.

The cache is a folder of safetensors shards with a JSON-lines index beside each. Shards appear atomically and are
memory-mapped; in memory are only numbers that say where each row is, 30 bytes a row, and the list of recordings.
"""

import os
import shutil
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from ..diffusion.denoiser import Condition
from ..files import atomic_write, content_digest, read_json_lines, remove_partials, write_json_lines
from .encoded_set import MASKED, EncodedSet
from .manifest import warn_of_skipped
from .recordings import Recording, read_parts

LARGEST_HALF = 6e4  # values beyond float16's range are stored in float32
SHARD_RECORDINGS, SHARD_CAPTIONS = 128, 1024


class Encoder(Protocol):
    """A teacher's codec and text encoders; see `teachers.Teacher`."""

    @property
    def sample_rate(self) -> int: ...

    @property
    def channels(self) -> int: ...

    def latent_shape(self, seconds: float) -> tuple[int, ...]:
        """Returns the shape of one latent of a sound of a length."""

    def encode(self, wav: Tensor) -> Tensor:
        """Encodes waveforms [batch, sample], or [batch, channel, sample], to latents [batch, *latent_shape]."""

    def condition(self, prompts: Sequence[str], seconds: float) -> Condition:
        """Encodes prompts for sounds of a length; no row may depend on the others."""


def part_samples(encoder: Encoder, seconds: float) -> int:
    """Returns the samples of a sound whose latent has the shape latent_shape(seconds): `seconds`, or a frame more.

    Raises ValueError if neither has."""
    if not 0 < seconds < float("inf"):
        raise ValueError(f"seconds must be a positive number, not {seconds}")
    shape, samples = tuple(encoder.latent_shape(seconds)), round(seconds * encoder.sample_rate)
    try:
        for extra in (0, -(-samples // max(shape[1:2] or (1,)))):
            if tuple(encoder.encode(_sound(torch.zeros(1, encoder.channels, samples + extra))).shape[1:]) == shape:
                return samples + extra
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # of a length that does not go through a network
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"seconds: sounds of {seconds:g} s cannot be encoded ({reason}): choose another length"
        ) from error
    raise ValueError(f"seconds: sounds of {seconds:g} s have no latents of shape {list(shape)}: choose another length")


def _sound(wav: Tensor) -> Tensor:
    """Returns wavs [batch, channel, sample] as encoders take them: mono is [batch, sample]."""
    return wav[:, 0] if wav.shape[1] == 1 else wav


def encode_recordings(
    recordings: Sequence[Recording],
    encoder: Encoder,
    folder: str | Path,
    seconds: float = 10.0,
    batch: int = 8,
    skipped: Mapping[str, str] | None = None,
    rank: int = 0,
    ranks: int = 1,
    wait: Callable[[], None] = lambda: None,
) -> EncodedSet:
    """Encodes recordings, in parts of `seconds`, and their captions that `folder` does not hold, and opens it.

    The folder must be of one encoder and one length. An interrupted call loses at most a shard of 128 recordings. Each
    of `ranks` processes encodes its share; `wait` lets them wait for each other. Recordings that cannot be read or
    encoded are left out, named in a warning with those of `skipped`, and not tried again. A teacher whose latents have
    one shape at any length is conditioned on the length of each part, others on `seconds`. Raises ValueError if none is
    left."""
    place, left_out = Path(folder), dict(skipped or {})
    places = place / "latents", place / "conditions"
    samples = part_samples(encoder, seconds)
    for one in places:
        one.mkdir(parents=True, exist_ok=True)
        remove_partials(one)
    told_length = tuple(encoder.latent_shape(seconds)) == tuple(encoder.latent_shape(seconds / 2))

    known = _keys(places[0])
    missing = [recording for recording in recordings if recording.key not in known]
    shards = _split(missing, SHARD_RECORDINGS)
    total = sum(len(shard) for shard in shards[rank::ranks])
    wait()  # all ranks have read the same index before one of them writes
    with tqdm(total=total, desc="encoding sounds", unit="sound", disable=not total or rank > 0) as bar:
        for shard in shards[rank::ranks]:
            _write_latents(shard, encoder, samples, batch, places[0], bar)
    wait()
    rows = _rows(recordings, places[0], seconds if not told_length else None, left_out)
    number_of, captions_of = _number_captions(rows)
    encoded = {(line["caption"], line["seconds"]) for line in _lines(places[1])}
    new = _split([pair for pair in number_of if pair not in encoded], SHARD_CAPTIONS)
    wait()
    with _one_warning_of_cut_prompts():
        for shard in tqdm(new[rank::ranks], desc="encoding captions", disable=not new or rank > 0):
            _write_conditions(shard, encoder, 4 * batch, places[1])
    wait()
    if rank == 0 and rows:
        warn_of_skipped(left_out, len(recordings) + len(skipped or {}))
    if not rows:
        if rank == 0 and not any(places[0].glob("*.safetensors")):
            shutil.rmtree(place, ignore_errors=True)
            with suppress(OSError):
                place.parent.rmdir()  # if it is empty
        named = "; ".join(f"{name} {reason}" for name, reason in list(left_out.items())[:3])
        raise ValueError(f"none of {len(recordings)} recordings can be used: {named}")
    latent_files, condition_files = (sorted(one.glob("*.safetensors")) for one in places)
    number = {file.stem: i for i, file in enumerate(latent_files)}
    first = np.cumsum([0, *(len(one) for one in captions_of)])
    where = {}
    for i, file in enumerate(condition_files):
        for j, line in enumerate(read_json_lines(file.with_suffix(".jsonl"))):
            where[line["caption"], line["seconds"]] = (i, j)
    return EncodedSet(
        latent_files,
        np.array([(number[row.shard], row.row) for row in rows], np.int32),
        first,
        np.array([i for one in captions_of for i in one], np.int32),
        condition_files,
        np.array([where[pair] for pair in number_of], np.int32),
        sum(row.seconds for row in rows),
        left_out,
    )


@contextmanager
def _one_warning_of_cut_prompts() -> Iterator[None]:
    """Gives the first of the warnings of prompts that are cut, with the number of the others, and others as they are."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    cut = [str(one.message) for one in caught if "is cut to" in str(one.message)]
    if cut:
        warnings.warn(cut[0] + (f", and so are {len(cut) - 1} others" if cut[1:] else ""), stacklevel=3)
    for one in caught:
        if "is cut to" not in str(one.message):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _split(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def _lines(place: Path) -> Iterator[dict]:
    for file in sorted(place.glob("*.jsonl")):
        yield from read_json_lines(file)


def _keys(place: Path) -> set[str]:
    return {line["key"] for line in _lines(place)}


@dataclass(slots=True)
class _Row:
    """A latent: its shard and row, the seconds of sound, those that its condition holds, and its captions."""

    shard: str
    row: int
    seconds: float
    condition_seconds: float
    captions: tuple[str, ...]


def _rows(recordings: Sequence[Recording], place: Path, seconds: float | None, left_out: dict[str, str]) -> list[_Row]:
    """Returns the rows of recordings, in their order, and adds those without any to `left_out`."""
    index: dict[str, dict] = {}
    for file in sorted(place.glob("*.jsonl")):
        for line in read_json_lines(file):
            index[line["key"]] = line | {"shard": file.stem}
    rows = []
    for recording in recordings:
        line = index[recording.key]
        if "reason" in line:
            left_out[recording.name] = line["reason"]
        for i, length in enumerate(line.get("seconds", ())):
            own = max(0.1, round(length, 1)) if seconds is None else seconds
            rows.append(_Row(line["shard"], line["first"] + i, length, own, recording.captions))
    return rows


def _number_captions(rows: Sequence[_Row]) -> tuple[dict[tuple[str, float], int], list[list[int]]]:
    """Numbers the different pairs of a caption and the seconds of its condition; returns the numbers of each row too."""
    number_of: dict[tuple[str, float], int] = {}
    own = [
        [number_of.setdefault((text, row.condition_seconds), len(number_of)) for text in row.captions] for row in rows
    ]
    return number_of, own


def _write_latents(
    recordings: Sequence[Recording], encoder: Encoder, samples: int, batch: int, place: Path, bar: tqdm
) -> None:
    """Writes a shard of latents, then its index, without which it does not count."""

    def read(recording: Recording) -> list[tuple[np.ndarray, float]] | str:
        try:
            return read_parts(recording, encoder.sample_rate, encoder.channels, samples)
        except ValueError as error:
            return str(error)

    lines: list[dict[str, Any]] = []
    stored: list[Tensor] = []
    for recording, parts in _ahead(read, recordings):
        bar.update()
        if isinstance(parts, str):
            lines.append({"key": recording.key, "name": recording.name, "reason": parts})
            continue
        waves = [torch.from_numpy(wav) for wav, _ in parts]
        latents = torch.cat([encoder.encode(_sound(torch.stack(list(some)))).cpu() for some in _split(waves, batch)])
        flat = latents.half().flatten(1)
        good = flat.isfinite().all(1) & (flat != 0).any(1)
        line: dict[str, Any] = {"key": recording.key, "name": recording.name}
        if good.any():
            line["first"] = sum(len(one) for one in stored)
            line["seconds"] = [round(one, 3) for (_, one), is_good in zip(parts, good.tolist(), strict=True) if is_good]
            stored.append(latents[good].half())
        else:
            is_finite = bool(flat.isfinite().all())
            line["reason"] = "has a latent of zeros" if is_finite else "has a latent that is not finite"
        lines.append(line)
    name = content_digest(*(recording.key for recording in recordings))
    if stored:
        with atomic_write(place / f"{name}.safetensors") as partial:
            save_file({"x": torch.cat(stored).contiguous()}, partial)
    write_json_lines(place / f"{name}.jsonl", lines)


def _ahead(read: Callable[[Recording], Any], recordings: Sequence[Recording]) -> Iterator[tuple[Recording, Any]]:
    """Yields recordings with what `read` returns, read by a few threads, of which each holds one recording in memory."""
    threads = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[Recording, Future]] = deque()
        for recording in recordings:
            waiting.append((recording, pool.submit(read, recording)))
            if len(waiting) > threads:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


def _write_conditions(pairs: Sequence[tuple[str, float]], encoder: Encoder, batch: int, place: Path) -> None:
    """Writes a shard of the conditions of (caption, seconds), then its index.

    Raises ValueError for a condition that is not finite."""
    order = sorted(pairs, key=lambda pair: pair[1])
    parts = []
    for length in dict.fromkeys(seconds for _, seconds in order):
        captions = [caption for caption, seconds in order if seconds == length]
        parts += [encoder.condition(some, length).to("cpu") for some in _split(captions, batch)]
    cond = Condition.cat(parts)
    stored: dict[str, Tensor] = {}
    for one in fields(cond):
        value = getattr(cond, one.name)
        if value is None:
            continue
        if value.is_floating_point() and value.ndim > 1:
            if not value.isfinite().all():
                row = int((~value.flatten(1).isfinite().all(1)).nonzero()[0])
                raise ValueError(f"the condition of the caption {order[row][0]!r} is not finite ({one.name})")
            value = value.half() if value.abs().max() < LARGEST_HALF else value.float()
        mask = getattr(cond, MASKED.get(one.name, ""), None)
        if mask is not None:
            lengths = (mask * torch.arange(1, mask.shape[1] + 1)).amax(1)
            stored[f"{one.name}.first"] = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
            value = value[torch.arange(mask.shape[1]) < lengths[:, None]]
        stored[one.name] = value.contiguous()
    name = content_digest(*(f"{caption}|{seconds}" for caption, seconds in order))
    with atomic_write(place / f"{name}.safetensors") as partial:
        save_file(stored, partial)
    write_json_lines(place / f"{name}.jsonl", [{"caption": caption, "seconds": seconds} for caption, seconds in order])
