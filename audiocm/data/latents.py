"""Clips as latents on disk: each is encoded once by the codec, and found again by its own and the codec's content."""

from __future__ import annotations

from typing import Protocol
from torch import Tensor
from dataclasses import dataclass
from dataclasses import field
import torch
from torch import nn
import hashlib
from collections.abc import Sequence
from pathlib import Path
from tqdm import tqdm
from safetensors.torch import save_file
import json
from safetensors import safe_open
from dataclasses import fields
from collections.abc import Callable
from .manifest import Clip, content_keys, warn_of_skipped, read_waves


class Encoder(Protocol):
    """What the cache needs of a codec."""

    sample_rate: int
    samples_per_frame: int
    channels: int

    def encode(self, wav: Tensor) -> Tensor: ...


@dataclass
class Latents:
    """The latents of some clips, end to end in one tensor on the CPU."""

    clips: list[Clip]
    frames: Tensor  # float16 [all frames, channel]
    starts: Tensor  # int64 [clip], first frame of each
    lengths: Tensor  # int64 [clip], frames of each
    silence: Tensor  # float32 [channel], the latent of digital silence
    skipped: dict[str, str] = field(default_factory=dict)  # file -> why it is not among the clips


def codec_key(*nets: nn.Module) -> str:
    """16 hex digits that change with any weight of the nets."""
    digest = hashlib.sha256()
    for net in nets:
        for name, value in sorted(net.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def cached_latents(
    clips: Sequence[Clip],
    codec: Encoder,
    key: str,
    folder: str | Path,
    device: torch.device | str = "cpu",
    batch: int = 16,
    shard_clips: int = 2048,
) -> Latents:
    """The clips' latents, encoding those that `folder` does not hold yet.

    key: names the codec's weights, see codec_key. A killed call loses at most one shard. Clips that cannot be read are
    left out, counted and named in a warning. ValueError if none is left or a shard is damaged.
    """
    place, skipped = Path(folder) / f"latents-{key}", {}
    place.mkdir(parents=True, exist_ok=True)
    keys = content_keys(clips, skipped)
    index = _read_index(place)
    todo: dict[str, Clip] = {keys[c.file]: c for c in clips if c.file in keys and keys[c.file] not in index}
    queue = sorted(todo.values(), key=lambda clip: clip.seconds)  # alike lengths side by side: little padding
    for start in tqdm(range(0, len(queue), shard_clips), desc="encoding", disable=not queue):
        _encode_shard(queue[start : start + shard_clips], keys, codec, place, device, batch, skipped)
    index = _read_index(place)
    kept = [clip for clip in clips if keys.get(clip.file) in index]
    warn_of_skipped(skipped, len(clips))
    if not kept:
        raise ValueError(f"none of {len(clips)} clips could be read")
    frames, starts, lengths = _gather([index[keys[clip.file]] for clip in kept], place, codec.channels)
    silence = codec.encode(torch.zeros(1, 16 * codec.samples_per_frame, device=device))[0, :, 8].float().cpu()
    return Latents(kept, frames, starts, lengths, silence, skipped)


def _encode_shard(queue, keys, codec: Encoder, place: Path, device, batch: int, skipped: dict[str, str]) -> None:
    lines, parts, total, waiting = [], [], 0, []
    digest = hashlib.sha256("".join(keys[clip.file] for clip in queue).encode()).hexdigest()[:16]

    def flush() -> None:
        nonlocal total
        longest = max(len(wave) for _, wave in waiting)
        wavs = torch.zeros(len(waiting), longest)
        for i, (_, wave) in enumerate(waiting):
            wavs[i, : len(wave)] = torch.from_numpy(wave)
        latents = codec.encode(wavs.to(device)).transpose(1, 2).to(torch.float16).cpu()
        for (clip, wave), latent in zip(waiting, latents, strict=True):
            count = -(-len(wave) // codec.samples_per_frame)
            lines.append({"key": keys[clip.file], "shard": digest, "start": total, "frames": count, "file": clip.file})
            parts.append(latent[:count])
            total += count
        waiting.clear()

    for clip, wave in read_waves(queue, codec.sample_rate, skipped):
        waiting.append((clip, wave))
        if len(waiting) == batch:
            flush()
    if waiting:
        flush()
    if not parts:
        return
    path = place / f"{digest}.safetensors"
    save_file({"frames": torch.cat(parts)}, path.with_suffix(".partial"))
    path.with_suffix(".partial").replace(path)
    index = place / f"{digest}.jsonl"  # written last: a shard without it does not count
    index.with_suffix(".partial2").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    index.with_suffix(".partial2").replace(index)


def _read_index(place: Path) -> dict[str, dict]:
    """content key -> where its frames are."""
    lines = [
        json.loads(text) for path in sorted(place.glob("*.jsonl")) for text in path.read_text("utf-8").splitlines()
    ]
    return {line["key"]: line for line in lines}


def _gather(places: list[dict], folder: Path, channels: int) -> tuple[Tensor, Tensor, Tensor]:
    lengths = torch.tensor([place["frames"] for place in places])
    starts = lengths.cumsum(0) - lengths
    frames = torch.empty(int(lengths.sum()), channels, dtype=torch.float16)
    by_shard: dict[str, list[int]] = {}
    for i, place in enumerate(places):
        by_shard.setdefault(place["shard"], []).append(i)
    for shard, rows in by_shard.items():
        path = folder / f"{shard}.safetensors"
        try:
            with safe_open(path, "pt") as file:
                stored = file.get_tensor("frames")
        except Exception as error:  # safetensors raises its own bare exceptions
            raise ValueError(f"latent cache {path} is missing or damaged ({error}): delete {folder}") from error
        for i in rows:
            first, count = places[i]["start"], places[i]["frames"]
            frames[starts[i] : starts[i] + count] = stored[first : first + count]
    return frames, starts, lengths


STEP = (
    0.4  # the same for all channels, whose mean square is 1: an emphasised channel is rounded as finely as it is heard
)


def pack(
    latents: Latents,
    file: str | Path,
    step: float = STEP,
    more: dict[str, Tensor] | None = None,
    about: dict[str, str] | None = None,
) -> None:
    """The latents, rounded to int8 multiples of `step`, and their clips' words in one safetensors file that can travel alone.

    `more` tensors and `about` metadata go along: what a conditioner needs of the clips."""
    rows = []
    for clip in latents.clips:
        named = {f.name: getattr(clip, f.name) for f in fields(clip)}
        rows.append({name: str(value) if isinstance(value, Path) else value for name, value in named.items()})
    tensors = {
        "frames": (latents.frames.float() / step).round().clamp(-127, 127).to(torch.int8).contiguous(),
        "lengths": latents.lengths,
        "silence": latents.silence.contiguous(),
        "step": torch.tensor(step),
    }
    partial = Path(file).with_suffix(".partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors | (more or {}), partial, {"clips": json.dumps(rows), **(about or {})})
    partial.replace(file)


def unpack(file: str | Path, keep: Callable[[Clip], bool] = lambda clip: True) -> Latents:
    """What `pack` wrote, of the clips that `keep` accepts. ValueError where the file is missing, damaged or empty then."""
    try:
        with safe_open(file, "pt") as stored:
            about = stored.metadata()
            tensors = {name: stored.get_tensor(name) for name in ("frames", "lengths", "silence", "step")}
            rows = json.loads(about["clips"])
    except Exception as error:  # safetensors raises its own bare exceptions
        raise ValueError(f"packed latents {file}: missing or damaged ({error})") from error
    clips = [Clip(**row | {"path": Path(row["path"]), "captions": tuple(row["captions"])}) for row in rows]
    wanted = torch.tensor([keep(clip) for clip in clips])
    if not wanted.any():
        raise ValueError(f"packed latents {file}: no clip in it is wanted")
    frames = (tensors["frames"][wanted.repeat_interleave(tensors["lengths"])] * tensors["step"]).half()
    lengths = tensors["lengths"][wanted]
    return Latents(
        [c for c, w in zip(clips, wanted.tolist(), strict=True) if w],
        frames,
        lengths.cumsum(0) - lengths,
        lengths,
        tensors["silence"],
    )


def concatenate_latents(parts: Sequence[Latents]) -> Latents:
    """Several sets of latents of one codec as one."""
    lengths = torch.cat([part.lengths for part in parts])
    skipped = {file: why for part in parts for file, why in part.skipped.items()}
    clips = [clip for part in parts for clip in part.clips]
    frames = torch.cat([part.frames for part in parts])
    return Latents(clips, frames, lengths.cumsum(0) - lengths, lengths, parts[0].silence, skipped)
