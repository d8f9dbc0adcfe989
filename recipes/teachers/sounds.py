"""The sounds of the recipes of teachers, in one file that can be carried to a machine without corpora.

    python -m recipes.teachers.sounds data/teacher_sounds.safetensors --corpora data/corpus data/rendered

On a CPU, some minutes; a second call encodes nothing anew. Training clips, effects first, become latents of audiocm's codec
in int8; test clips, sound effects with labels alone, stay what they are, as FLAC. 6000 and 200 clips of at most 5.12 s
take up to 45 MB; fewer training clips are stored if the file would be larger than `--most-mb`.
"""

import argparse
import io
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from safetensors import safe_open
from tqdm import tqdm

from audiocm.audio.io import read_wave, resample, write_wave
from audiocm.data.latents import Latents, cached_latents, codec_key, pack, unpack
from audiocm.files import write_json_lines
from audiocm.training.run import best_device
from recipes.judges import corpus_entries
from recipes.text_to_audio.data import CACHE, CODEC, captioned_clips, load_codec

RATE, SECONDS = 16000, 5.12
TRAIN, TEST, MOST_MB = 6000, 200, 45.0
AUDIBLE = 1e-3  # peak of a sound that is used


def test_entries(corpora: Sequence[Path], most: int, seed: int = 0) -> list[dict]:
    """Returns manifest lines of held-out sound effects with captions and labels, in a random order."""
    entries = [e for e in corpus_entries(corpora) if e.get("split") == "test" and e.get("kind") == "effect"]
    entries = [e for e in entries if e.get("captions") and e.get("labels")]
    if not entries:
        raise ValueError(f"--corpora {' '.join(map(str, corpora))}: no effect with captions and labels is held out")
    order = np.random.default_rng(seed).permutation(len(entries))
    return [entries[i] for i in order][:most]


def train_latents(corpora: Sequence[Path], most: int, seconds: float, cache: Path = CACHE, seed: int = 0) -> Latents:
    """Returns latents of the beginnings of `most` training clips in a random order, effects before all others."""
    clips = captioned_clips(corpora, "train")
    order = np.random.default_rng(seed).permutation(len(clips))
    clips = sorted((clips[i] for i in order), key=lambda clip: clip.kind != "effect")[:most]
    codec = load_codec(f"{CODEC}/vae", "", best_device())
    latents = cached_latents(clips, codec, codec_key(codec.vae), cache, best_device(), batch=64)
    return shortened(latents, len(latents.clips), codec.frames(seconds))


def shortened(latents: Latents, clips: int, frames: int) -> Latents:
    """Returns the first `frames` frames of the first `clips` clips."""
    lengths = latents.lengths[:clips].clamp_max(frames)
    kept = [
        latents.frames[start : start + n] for start, n in zip(latents.starts.tolist(), lengths.tolist(), strict=False)
    ]
    starts = lengths.cumsum(0) - lengths
    return Latents(latents.clips[:clips], torch.cat(kept), starts, lengths, latents.silence)


def pack_sounds(
    corpora: Sequence[Path], file: Path, train: int, test: int, seconds: float, most_mb: float, cache: Path = CACHE
) -> str:
    """Writes the packed file and returns a line about it. Raises ValueError if the corpora lack what is needed."""
    lines, stored = [], []
    for entry in tqdm(test_entries(corpora, test), desc="test clips"):
        wav = read_wave(entry["file"], RATE)[: round(seconds * RATE)]
        if np.abs(wav).max() > AUDIBLE:
            content = io.BytesIO()
            soundfile.write(content, wav, RATE, format="FLAC")
            stored.append(np.frombuffer(content.getvalue(), np.uint8))
            lines.append({key: entry[key] for key in ("captions", "labels", "source", "licence") if key in entry})
    sizes = torch.tensor([len(one) for one in stored])
    tensors = {"test": torch.from_numpy(np.concatenate(stored)), "test_sizes": sizes}
    latents = train_latents(corpora, train, seconds, cache)
    while True:
        pack(latents, file, tensors=tensors, metadata={"test": json.dumps(lines), "seconds": str(seconds)})
        megabytes, count = file.stat().st_size / 1e6, len(latents.clips)
        if megabytes <= most_mb:
            return f"{file}: {megabytes:.1f} MB, {count} training clips, {len(lines)} test clips"
        fewer = int(
            0.98 * count * (most_mb - sizes.sum().item() / 1e6) / max(megabytes - sizes.sum().item() / 1e6, 1e-9)
        )
        if fewer < 1:
            file.unlink()
            raise ValueError(f"--most-mb {most_mb:g}: the test clips alone are larger")
        latents = shortened(latents, fewer, int(latents.lengths.max()))


def repeated(wav: np.ndarray, samples: int, fade: int = RATE // 100) -> np.ndarray:
    """Returns a sound [sample] of exactly so many samples, repeated if it is shorter; every end fades in 10 ms."""
    fade = min(fade, len(wav) // 2)
    ramp = np.linspace(0, 1, fade, endpoint=False, dtype=np.float32)
    faded = np.concatenate([wav[:fade] * ramp, wav[fade : len(wav) - fade], wav[len(wav) - fade :] * ramp[::-1]])
    return np.resize(faded, samples)


def unpack_sounds(file: Path, out: Path, minutes: float = 9.0, most: int | None = None, fill: bool = False) -> None:
    """Writes OUT/{train,test}/N.wav and a manifest in each, which `audiocm distill` and `audiocm score` read.

    most: of the test clips, which are in a random order (default: all). fill: repeat shorter training clips up to the
    length of the longest, since what is trained on sounds that end in silence learns silence. Sounds that are there are not decoded again. Raises ValueError if the file is damaged, or time did not suffice."""
    end = time.monotonic() + 60 * minutes
    try:
        with safe_open(file, "pt") as opened:
            stored, sizes = opened.get_tensor("test"), opened.get_tensor("test_sizes").tolist()
            lines, seconds = json.loads(opened.metadata()["test"]), float(opened.metadata()["seconds"])
    except Exception as error:  # safetensors raises its own bare exceptions
        raise ValueError(f"{file} is no file of recipes.teachers.sounds: {error}") from error
    lines = lines[:most]
    for i, content in enumerate(tqdm(stored.split(sizes)[:most], desc="test clips", unit="sound")):
        lines[i] |= {"file": f"{i:05}.wav", "prompt": lines[i]["captions"][0]}
        if not (out / "test" / lines[i]["file"]).is_file():
            wav, rate = soundfile.read(io.BytesIO(content.numpy().tobytes()), dtype="float32")
            write_wave(out / "test" / lines[i]["file"], wav, rate)
    write_json_lines(out / "test" / "manifest.jsonl", lines)
    latents = unpack(file)
    if (out / "train" / "manifest.jsonl").is_file():
        return
    names = [f"{i:05}.wav" for i in range(len(latents.clips))]
    missing = [i for i, name in enumerate(names) if not (out / "train" / name).is_file()]
    with tqdm(total=len(names), initial=len(names) - len(missing), desc="training clips", unit="sound") as bar:
        for i, wav in decoded(latents, missing):
            write_wave(out / "train" / names[i], repeated(wav, round(seconds * RATE)) if fill else wav, RATE)
            bar.update()
            if time.monotonic() > end:
                raise ValueError(f"out of time after {minutes:g} minutes: the same command goes on")
    rows = [{"file": name, "captions": list(c.captions)} for name, c in zip(names, latents.clips, strict=True)]
    write_json_lines(out / "train" / "manifest.jsonl", rows)


def decoded(latents: Latents, rows: Sequence[int], batch: int = 64) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (row, waveform at RATE) of latents, decoded side by side in batches of like lengths."""
    codec, device = load_codec(f"{CODEC}/vae", f"{CODEC}/vocoder", best_device()), best_device()
    by_length = iter(sorted(rows, key=lambda i: int(latents.lengths[i])))
    while group := list(itertools.islice(by_length, batch)):
        longest = int(latents.lengths[group[-1]])
        frames = latents.silence.half().repeat(len(group), longest, 1)
        for row, i in enumerate(group):
            start, length = int(latents.starts[i]), int(latents.lengths[i])
            frames[row, :length] = latents.frames[start : start + length]
        with torch.no_grad():
            waves = codec.decode(frames.float().transpose(1, 2).to(device)).float().cpu().numpy()
        for wav, i in zip(waves, group, strict=True):
            wav = wav[: int(latents.lengths[i]) * codec.samples_per_frame]
            yield i, np.clip(resample(wav, codec.sample_rate, RATE), -1, 1)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--corpora", type=Path, nargs="+", default=[Path("data/corpus")])
    parser.add_argument("--train", type=int, default=TRAIN, help="clips, at most")
    parser.add_argument("--test", type=int, default=TEST)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a clip, at most")
    parser.add_argument("--most-mb", type=float, default=MOST_MB)
    parser.add_argument("--cache", type=Path, default=CACHE, help="of latents")
    args: Any = parser.parse_args(argv)
    print(pack_sounds(args.corpora, args.file, args.train, args.test, args.seconds, args.most_mb, args.cache))


if __name__ == "__main__":
    main()
