"""Cache of latents: each clip is encoded once, and found by its own content and the codec's weights."""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from ..files import atomic_write, content_digest, read_json_lines, write_json_lines
from ..schema import list_of, number, parse_json, table, text
from .manifest import Clip, content_keys, read_waves, warn_of_skipped

BLOCK_FRAMES = 65_536  # of a deflated block of packed latents
INT8_STEP = 0.4  # of packed latents; the same for all channels, whose mean square is 1: audible ones have larger stds


class LatentEncoder(Protocol):
    """The part of a codec that the cache needs; see `codec.Codec`."""

    sample_rate: int
    samples_per_frame: int
    channels: int

    def encode(self, wav: Tensor) -> Tensor:
        """Encodes waveforms [batch, sample] to latents [batch, channel, frame]."""


@dataclass
class Latents:
    """The latents of some clips, concatenated in one tensor on the CPU."""

    clips: list[Clip]
    frames: Tensor  # float16 [frame of all clips, channel]
    starts: Tensor  # int64 [clip], first frame of each
    lengths: Tensor  # int64 [clip], frames of each
    silence: Tensor  # float32 [channel], the latent of digital silence
    skipped: dict[str, str] = field(default_factory=dict)  # file -> why it is not among the clips


def codec_key(*nets: nn.Module) -> str:
    """Returns 16 hex digits that change with any weight of the networks."""

    def contents(value: Tensor) -> bytes:
        return value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()

    states = [sorted(net.state_dict().items()) for net in nets]
    return content_digest(*(part for state in states for name, value in state for part in (name, contents(value))))


def cached_latents(
    clips: Sequence[Clip],
    codec: LatentEncoder,
    key: str,
    folder: str | Path,
    device: torch.device | str = "cpu",
    batch: int = 16,
    shard_clips: int = 2048,
) -> Latents:
    """Returns the latents of the readable clips, after encoding those that `folder` does not hold.

    `key` identifies the codec's weights, see `codec_key`. An interrupted call loses at most one shard. Unreadable clips
    are named in a warning. Raises ValueError if no clip is left or a shard is damaged."""
    place, skipped = Path(folder) / f"latents-{key}", {}
    place.mkdir(parents=True, exist_ok=True)
    keys = content_keys(clips, skipped)
    index = _read_index(place)
    missing = {keys[clip.file]: clip for clip in clips if clip.file in keys and keys[clip.file] not in index}
    queue = sorted(missing.values(), key=lambda clip: clip.seconds)  # similar lengths side by side: little padding
    for start in tqdm(range(0, len(queue), shard_clips), desc="encoding", disable=not queue):
        part = queue[start : start + shard_clips]
        waves = read_waves(part, codec.sample_rate, skipped)
        shard = place / content_digest("".join(keys[clip.file] for clip in part))
        _write_shard(shard, _encode(waves, codec, device, batch), keys)
    index = _read_index(place)
    kept = [clip for clip in clips if keys.get(clip.file) in index]
    warn_of_skipped(skipped, len(clips))
    if not kept:
        raise ValueError(f"none of {len(clips)} clips could be read")
    stored = _read_frames([index[keys[clip.file]] for clip in kept], place, codec.channels)
    silence = codec.encode(torch.zeros(1, 16 * codec.samples_per_frame, device=device))[0, :, 8].float().cpu()
    return Latents(kept, *stored, silence, skipped)


def _starts(lengths: Tensor) -> Tensor:
    """Returns the first frame of each clip [clip] in a tensor that holds them in order."""
    return lengths.cumsum(0) - lengths


def _encode(
    waves: Iterator[tuple[Clip, np.ndarray]], codec: LatentEncoder, device: torch.device | str, batch: int
) -> Iterator[tuple[Clip, Tensor]]:
    """Yields each clip with its latent, float16 [frame, channel] on the CPU."""
    while group := list(islice(waves, batch)):
        padded = pad_sequence([torch.from_numpy(wave) for _, wave in group], batch_first=True)
        latents = codec.encode(padded.to(device)).transpose(1, 2).to(torch.float16).cpu()
        for (clip, wave), latent in zip(group, latents, strict=True):
            yield clip, latent[: -(-len(wave) // codec.samples_per_frame)]


def _write_shard(shard: Path, encoded: Iterable[tuple[Clip, Tensor]], keys: dict[str, str]) -> None:
    """Writes latents, then their index lines, without which they do not count."""
    lines, parts, start = [], [], 0
    for clip, latent in encoded:
        count = len(latent)
        lines.append({"key": keys[clip.file], "shard": shard.name, "start": start, "frames": count, "file": clip.file})
        parts.append(latent)
        start += count
    if parts:
        with atomic_write(shard.with_suffix(".safetensors")) as partial:
            save_file({"frames": torch.cat(parts)}, partial)
        write_json_lines(shard.with_suffix(".jsonl"), lines)


def _read_index(place: Path) -> dict[str, dict]:
    """Returns content key -> index line of each clip in the cache."""
    return {line["key"]: line for path in sorted(place.glob("*.jsonl")) for line in read_json_lines(path)}


def _read_frames(lines: Sequence[dict], place: Path, channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the frames of index lines in order, float16 [frame, channel], and each line's start and length."""
    lengths = torch.tensor([line["frames"] for line in lines])
    starts = _starts(lengths)
    frames = torch.empty(int(lengths.sum()), channels, dtype=torch.float16)
    by_shard: dict[str, list[int]] = {}
    for i, line in enumerate(lines):
        by_shard.setdefault(line["shard"], []).append(i)
    for shard, members in by_shard.items():
        path = place / f"{shard}.safetensors"
        try:
            with safe_open(path, "pt") as file:
                stored = file.get_tensor("frames")
        except Exception as error:  # safetensors raises its own bare exceptions
            raise ValueError(f"latent cache {path} is missing or damaged ({error}): delete {place}") from error
        for i in members:
            frames[starts[i] :][: lengths[i]] = stored[lines[i]["start"] :][: lengths[i]]
    return frames, starts, lengths


def pack(
    latents: Latents,
    file: str | Path,
    step: float = INT8_STEP,
    tensors: dict[str, Tensor] | None = None,
    metadata: dict[str, str] | None = None,
) -> None:
    """Writes latents, rounded to int8 multiples of `step`, clips and other data to a portable safetensors file.

    The frames are deflated in blocks, channel by channel, which are alike: to about 40 % of their bytes."""
    parts = latents.frames.split(BLOCK_FRAMES)
    rounded = ((part.float() / step).round().clamp(-127, 127).to(torch.int8).T.contiguous() for part in parts)
    with ThreadPoolExecutor() as pool:
        blocks = list(pool.map(lambda part: zlib.compress(part.numpy(), 6), rounded))
    stored = {
        "blocks": torch.from_numpy(np.frombuffer(b"".join(blocks), np.uint8).copy()),
        "sizes": torch.tensor([len(block) for block in blocks]),
        "lengths": latents.lengths,
        "silence": latents.silence.contiguous(),
        "step": torch.tensor(step),
    }
    clips = json.dumps([asdict(clip) for clip in latents.clips], default=str)
    with atomic_write(Path(file)) as partial:
        save_file(stored | (tensors or {}), partial, {"clips": clips, **(metadata or {})})


def _inflate(blocks: Tensor, sizes: list[int], channels: int) -> Tensor:
    """Returns the int8 frames [frame, channel] of deflated blocks, which are bounded by BLOCK_FRAMES."""

    def inflate(block: Tensor) -> Tensor:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(block.numpy(), BLOCK_FRAMES * channels)
        return torch.from_numpy(np.frombuffer(data, np.int8).copy()).view(channels, -1).T

    with ThreadPoolExecutor() as pool:
        return torch.cat(list(pool.map(inflate, blocks.split(sizes))))


_CLIP_TEXT = text(longest=100_000)
_CLIP = table(  # what `pack` writes of a clip
    {
        **dict.fromkeys(("file", "path"), _CLIP_TEXT),
        "seconds": number(0, 1e9),
        "captions": list_of(_CLIP_TEXT),
        **{one.name: lambda value, place: value == "" or _CLIP_TEXT(value, place) for one in fields(Clip)[5:]},
        "split": _CLIP_TEXT,
    },
    ["file", "path", "seconds", "captions"],
)


def unpack(file: str | Path, keep: Callable[[Clip], bool] = lambda clip: True) -> Latents:
    """Reads clips that `keep` accepts from a file of `pack`. Raises ValueError if it is damaged or none is left."""
    try:
        with safe_open(file, "pt") as stored:
            lines = parse_json(stored.metadata()["clips"])
            names = ("blocks", "sizes", "lengths", "silence", "step")
            blocks, sizes, lengths, silence, step = (stored.get_tensor(name) for name in names)
        frames = _inflate(blocks, sizes.tolist(), len(silence))
        if len(frames) != int(lengths.sum()):
            raise ValueError(f"{len(frames)} frames for clips of {int(lengths.sum())}")
        list_of(_CLIP, len(lengths), len(lengths))(lines, "clips")
    except Exception as error:  # safetensors raises its own bare exceptions
        raise ValueError(f"packed latents {file}: missing or damaged ({error})") from error
    clips = [Clip(**line | {"path": Path(line["path"]), "captions": tuple(line["captions"])}) for line in lines]
    selected = torch.tensor([keep(clip) for clip in clips])
    if not selected.any():
        raise ValueError(f"packed latents {file}: no clip in it is selected")
    frames = (frames[selected.repeat_interleave(lengths)] * step).half()
    clips = [clip for clip, is_selected in zip(clips, selected.tolist(), strict=True) if is_selected]
    return Latents(clips, frames, _starts(lengths[selected]), lengths[selected], silence)


def concatenate_latents(parts: Sequence[Latents]) -> Latents:
    """Concatenates latents of one codec."""
    lengths = torch.cat([part.lengths for part in parts])
    skipped = {file: reason for part in parts for file, reason in part.skipped.items()}
    clips = [clip for part in parts for clip in part.clips]
    frames = torch.cat([part.frames for part in parts])
    return Latents(clips, frames, _starts(lengths), lengths, parts[0].silence, skipped)
