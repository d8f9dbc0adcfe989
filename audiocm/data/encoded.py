"""Data sets larger than memory: latents and conditions encoded once into files, and batches read from them.

The cache is a folder of safetensors shards with a JSON-lines index beside each. Shards appear atomically and are
memory-mapped; in memory are only numbers that say where each row is, 30 bytes a row, and the list of recordings.
"""

import functools
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import pad
from tqdm import tqdm
from typing_extensions import Self

from ..diffusion.denoiser import Condition
from ..files import atomic_write, content_digest, read_json_lines, write_json_lines
from .manifest import warn_of_skipped
from .recordings import Recording, read_parts

MASKED = {"tokens": "token_mask", "tokens_2": "token_mask_2"}  # padding of these is not stored
LARGEST_HALF = 6e4  # values beyond float16's range are stored in float32
SHARD_RECORDINGS, SHARD_CAPTIONS = 128, 1024


class Encoder(Protocol):
    """A teacher's codec and text encoders; see `teachers.Teacher`."""

    @property
    def sample_rate(self) -> int: ...

    @property
    def channels(self) -> int: ...

    def latent_shape(self, seconds: float) -> tuple[int, ...]: ...

    def encode(self, wav: Tensor) -> Tensor: ...

    def condition(self, prompts: Sequence[str], seconds: float) -> Condition: ...


@dataclass
class EncodedSet:
    """Where the rows of an encoded data set are. Row i is a part of a recording; its captions are rows of another table.

    A part of a recording has one latent; captions of row i are caption_ids[first_caption[i] : first_caption[i + 1]]."""

    latent_files: list[Path]
    latent_places: np.ndarray  # int32 [row, 2]: number of the file, row in it
    first_caption: np.ndarray  # int64 [row + 1]
    caption_ids: np.ndarray  # int32
    condition_files: list[Path]
    condition_places: np.ndarray  # int32 [caption, 2]
    seconds: float  # of sound, of all rows
    skipped: dict[str, str] = field(default_factory=dict)  # name of a recording -> why it is not among them

    def __len__(self) -> int:
        return len(self.latent_places)

    def latents(self, rows: np.ndarray) -> Tensor:
        """Reads latents [row, ...] in float32."""
        places = self.latent_places[rows].tolist()
        return torch.cat([_open(self.latent_files[file]).get_slice("x")[i : i + 1] for file, i in places]).float()

    def conditions(self, captions: np.ndarray) -> Condition:
        """Reads the conditions of captions [row], floating-point fields in float32."""
        rows = [_read_condition(self.condition_files[file], i) for file, i in self.condition_places[captions].tolist()]
        return Condition.cat(rows)


@functools.lru_cache(maxsize=16_384)
def _open(file: Path) -> Any:
    """Maps a shard into memory. Raises ValueError if it is missing or damaged."""
    try:
        return safe_open(file, "pt")
    except Exception as error:  # safetensors raises its own bare exceptions
        raise ValueError(f"encoded data {file} is missing or damaged ({error}): delete {file.parent}") from error


def _read_condition(file: Path, row: int) -> Condition:
    """Reads one row of a shard of conditions."""
    shard, values = _open(file), {}
    for name in shard.keys():  # noqa: SIM118
        if name.endswith(".first"):
            continue
        part = shard.get_slice(name)
        if name in MASKED and f"{name}.first" in shard.keys():  # noqa: SIM118
            first, end = shard.get_slice(f"{name}.first")[row : row + 2].tolist()
            length = shard.get_slice(MASKED[name]).get_shape()[1]
            value = pad(part[first:end], (0, 0, 0, length - (end - first)))[None]
        else:
            value = part[row : row + 1]
        values[name] = value.float() if value.is_floating_point() else value
    return Condition(**values)


def part_samples(encoder: Encoder, seconds: float) -> int:
    """Returns the samples of a sound whose latent has the shape latent_shape(seconds): `seconds`, or a frame more.

    Raises ValueError if neither has."""
    if not 0 < seconds < float("inf"):
        raise ValueError(f"seconds must be a positive number, not {seconds}")
    shape, samples = tuple(encoder.latent_shape(seconds)), round(seconds * encoder.sample_rate)
    for extra in (0, -(-samples // max(shape[1:2] or (1,)))):
        if tuple(encoder.encode(_sound(torch.zeros(1, encoder.channels, samples + extra))).shape[1:]) == shape:
            return samples + extra
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
    one shape at any length is told the length of each part, others `seconds`. Raises ValueError if none is left."""
    place, left_out = Path(folder), dict(skipped or {})
    places = place / "latents", place / "conditions"
    samples = part_samples(encoder, seconds)
    for one in places:
        one.mkdir(parents=True, exist_ok=True)
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
    for shard in tqdm(new[rank::ranks], desc="encoding captions", disable=not new or rank > 0):
        _write_conditions(shard, encoder, 4 * batch, places[1])
    wait()
    if rank == 0:
        warn_of_skipped(left_out, len(recordings) + len(skipped or {}))
    if not rows:
        if rank == 0 and not any(places[0].glob("*.safetensors")):
            shutil.rmtree(place, ignore_errors=True)
            with suppress(OSError):
                place.parent.rmdir()  # if it is empty
        raise ValueError(f"none of {len(recordings)} recordings can be used: {next(iter(left_out.values()), '')}")
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


def _split(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def _lines(place: Path) -> Iterator[dict]:
    for file in sorted(place.glob("*.jsonl")):
        yield from read_json_lines(file)


def _keys(place: Path) -> set[str]:
    return {line["key"] for line in _lines(place)}


@dataclass(slots=True)
class _Row:
    """A latent: its shard and row, the seconds of sound, those that its condition is told, and its captions."""

    shard: str
    row: int
    seconds: float
    told: float
    captions: tuple[str, ...]


def _rows(recordings: Sequence[Recording], place: Path, told: float | None, left_out: dict[str, str]) -> list[_Row]:
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
            own = max(0.1, round(length, 1)) if told is None else told
            rows.append(_Row(line["shard"], line["first"] + i, length, own, recording.captions))
    return rows


def _number_captions(rows: Sequence[_Row]) -> tuple[dict[tuple[str, float], int], list[list[int]]]:
    """Numbers the different pairs of a caption and the seconds that are told; returns the numbers of each row too."""
    number_of: dict[tuple[str, float], int] = {}
    own = [[number_of.setdefault((text, row.told), len(number_of)) for text in row.captions] for row in rows]
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
        good = latents.half().flatten(1).isfinite().all(1)
        line: dict[str, Any] = {"key": recording.key, "name": recording.name}
        if good.any():
            line["first"] = sum(len(one) for one in stored)
            line["seconds"] = [round(one, 3) for (_, one), is_good in zip(parts, good.tolist(), strict=True) if is_good]
            stored.append(latents[good].half())
        else:
            line["reason"] = "has a latent that is not finite"
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
    for told in dict.fromkeys(seconds for _, seconds in order):
        captions = [caption for caption, seconds in order if seconds == told]
        parts += [encoder.condition(some, told).to("cpu") for some in _split(captions, batch)]
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
    write_json_lines(place / f"{name}.jsonl", [{"caption": caption, "seconds": told} for caption, told in order])


class EncodedBatches:
    """Endless batches of (latents [batch, ...], Condition) of an `EncodedSet`, each row once an epoch, in random order.

    batch     rows of one rank
    dropout   share of rows whose condition is dropped (cond.null)
    rank, ranks   of this process; None: the environment variables RANK and WORLD_SIZE, as torchrun sets them

    A batch is a function of seed, rank and step alone. The ranks of a step take consecutive rows of one order, so that
    two ranks see in a step what one rank sees with the doubled batch, or in two steps; a run resumes on any number of
    ranks. The next batch is read while a step runs. Raises ValueError for a batch below 1."""

    any_ranks = True  # `Trainer` may resume on another number of ranks

    def __init__(
        self,
        data: EncodedSet,
        batch: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dropout: float = 0.0,
        rank: int | None = None,
        ranks: int | None = None,
    ):
        if batch < 1:
            raise ValueError(f"batch must be at least 1, not {batch}")
        self.data, self.batch, self.seed, self.dropout = data, batch, seed, dropout
        self.device = torch.device(device)
        self.rank = int(os.environ.get("RANK", 0)) if rank is None else rank
        self.ranks = int(os.environ.get("WORLD_SIZE", 1)) if ranks is None else ranks
        self.position = 0  # rows that all ranks have taken
        self._order = functools.lru_cache(maxsize=2)(self._order_of_epoch)
        self._pool = ThreadPoolExecutor(1)
        self._ahead: tuple[int, Future] | None = None

    def __iter__(self) -> Self:
        return self

    def state_dict(self) -> dict[str, int]:
        """Returns what `load_state_dict` needs to continue after the current step; the same on every rank."""
        return {"position": self.position, "seed": self.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continues after the step of a saved state. Raises ValueError if its seed differs."""
        if state["seed"] != self.seed:
            raise ValueError(f"the checkpoint's batches were drawn with seed {state['seed']}, not {self.seed}")
        self.position = state["position"]

    def _order_of_epoch(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.data))

    def rows(self, position: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns (rows, captions, null bool), all [batch], of this rank's batch of a step that starts at `position`."""
        places = position + self.rank * self.batch + np.arange(self.batch)
        epochs, inside = np.divmod(places, len(self.data))
        rows = np.array([self._order(int(epoch))[i] for epoch, i in zip(epochs, inside, strict=True)])
        # Philox can jump: the numbers of a place in the order do not depend on the batch that it is in
        bits = np.random.Philox(key=self.seed).advance(int(places[0]))
        uniform = np.random.Generator(bits).random((self.batch, 4))
        first, end = self.data.first_caption[rows], self.data.first_caption[rows + 1]
        captions = self.data.caption_ids[first + (uniform[:, 0] * (end - first)).astype(np.int64)]
        return rows, captions, uniform[:, 1] < self.dropout

    def _load(self, position: int) -> tuple[Tensor, Condition]:
        rows, captions, null = self.rows(position)
        cond = self.data.conditions(captions)
        if self.dropout > 0:
            cond.null = torch.from_numpy(null)
        return self.data.latents(rows), cond

    def __next__(self) -> tuple[Tensor, Condition]:
        ahead, self._ahead = self._ahead, None
        if ahead is None or ahead[0] != self.position:
            ahead = self.position, self._pool.submit(self._load, self.position)
        self.position += self.batch * self.ranks
        self._ahead = self.position, self._pool.submit(self._load, self.position)
        x, cond = ahead[1].result()
        values = {one.name: getattr(cond, one.name) for one in fields(cond)}
        moved = {name: self._moved(value) for name, value in values.items() if value is not None}
        return self._moved(x), Condition(**moved)

    def _moved(self, value: Tensor) -> Tensor:
        """Copies to the device without waiting for it."""
        return value.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else value
