"""Shared by the text-to-speech recipes: phonemes, durations and F0 of spoken clips, batches, and packing of corpora.

    python -m recipes.text_to_speech.data --corpora data/voice,data/prompts --output data/tts_latents.safetensors

encodes the train and valid clips once, and packs latents, phonemes, durations and F0 in `--parts` files that travel to
another machine. The recipes take them as `--corpora`, beside folders or alone, and need the VAE only to find durations
of recordings. A folder has a manifest.jsonl with `text` and `voice` (recipes/corpora/speech), or one of the layouts of
audiocm/data/speech_corpora.py.
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import torch
from safetensors import safe_open
from tqdm import tqdm

from audiocm.audio.io import read_wave
from audiocm.audio.pitch import estimate_f0
from audiocm.checks import check_number
from audiocm.codec.vae import MelVAE
from audiocm.data.latent_batches import LatentBatches
from audiocm.data.latents import Latents, cached_latents, codec_key, concatenate_latents, pack, unpack
from audiocm.data.manifest import Clip, in_split, warn_of_skipped
from audiocm.data.speech_corpora import read_speech_corpus
from audiocm.data.utterances import TimedPhonemes, build_utterances, pronounce_clip
from audiocm.files import content_digest, read_json_lines, write_json_lines
from audiocm.speech.encoder import SpeechEncoder
from audiocm.speech.losses import Timing, aligned_durations, known_durations
from audiocm.training.run import best_device
from recipes.text_to_audio.data import CACHE, CODEC, load_codec

CORPORA = [Path("data/voice"), Path("data/singing"), Path("data/prompts")]
VAE = f"{CODEC}/vae"
BUCKETS = [(192, 96), (128, 144), (80, 240), (48, 400)]  # (batch, frames): about the same number of frames a step
MAX_FRAMES = 400
EDITING = 0.25  # share of samples of which a part is known


def _annotate(clip: Clip) -> dict | str:
    """Returns the TimedPhonemes of a clip, or why there are none: from NAME.json if it exists, F0 else measured."""
    file = clip.path.with_suffix(".json")
    try:
        line = TimedPhonemes(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else pronounce_clip(clip)
        hertz = estimate_f0(read_wave(clip.path, 24000)) if line.hertz is None else line.hertz
    except ValueError as error:
        return str(error)
    return asdict(line) | {"hertz": [round(float(value), 1) for value in hertz]}


def annotate_clips(clips: list[Clip], cache: Path, n_jobs: int = 1) -> dict[str, TimedPhonemes]:
    """Returns file -> phonemes, seconds (of synthetic voices) and F0 of clips, kept in `cache`.

    Clips that cannot be read or pronounced are left out with a warning."""
    key = content_digest("".join(f"{clip.path}\t{clip.text}\n" for clip in clips))
    file, skipped, lines = cache / f"phonemes-{key}.jsonl", {}, {}
    if not file.is_file():
        if n_jobs > 1:
            with ProcessPoolExecutor(n_jobs, get_context("spawn")) as pool:
                rows = list(tqdm(pool.map(_annotate, clips, chunksize=16), total=len(clips), desc="phonemes"))
        else:
            rows = [_annotate(clip) for clip in clips]
        write_json_lines(file, rows)
    for clip, line in zip(clips, read_json_lines(file), strict=True):
        if isinstance(line, str):
            skipped[clip.file] = line
        else:
            lines[clip.file] = TimedPhonemes(**line)
    warn_of_skipped(skipped, len(clips))
    return lines


def corpus_voices(corpora: Sequence[Path]) -> tuple[str, ...]:
    """Returns the voices of all corpora in order: those of the speech encoder."""
    return tuple(dict.fromkeys(clip.voice for root in corpora for clip in read_speech_corpus(root)))


def load_speech(
    clips: list[Clip], vae: str, device: torch.device, cache: Path, n_jobs: int = 1
) -> tuple[Latents, dict[Path, TimedPhonemes], float]:
    """Returns the latents of clips (encoded once, kept in `cache`), their lines by path, and frames per second."""
    lines, codec = annotate_clips(clips, cache, n_jobs), load_codec(vae, "", device)
    clips = [clip for clip in clips if clip.file in lines]
    latents = cached_latents(clips, codec, codec_key(codec.vae), cache, device, batch=32)
    return latents, {clip.path: lines[clip.file] for clip in clips}, codec.frame_rate


def pack_speech(latents: Latents, lines: dict[Path, TimedPhonemes], frame_rate: float, file: Path) -> None:
    """Writes `latents.pack` with the clips' lines: seconds and F0 as float16, and the counts of each (0: unknown)."""
    ordered, more = [lines[clip.path] for clip in latents.clips], {}
    for name in ("seconds", "hertz"):
        rows = [getattr(line, name) or () for line in ordered]
        more[name] = torch.tensor([value for row in rows for value in row], dtype=torch.float16)
        more[f"{name}_counts"] = torch.tensor([len(row) for row in rows])
    metadata = {"phonemes": json.dumps([line.phonemes for line in ordered]), "frame_rate": str(frame_rate)}
    pack(latents, file, tensors=more, metadata=metadata)


def unpack_speech(file: Path, split: str) -> tuple[Latents, dict[Path, TimedPhonemes], float]:
    """Reads one split of a file of `pack_speech`, as `load_speech`. Raises ValueError for a file without lines."""
    latents = unpack(file, in_split(split))
    with safe_open(file, "pt") as stored:
        metadata, rows = stored.metadata(), {}
        if "phonemes" not in metadata:
            raise ValueError(f"packed latents {file} are not of speech: make them with recipes.text_to_speech.data")
        for name in ("seconds", "hertz"):
            parts = stored.get_tensor(name).float().split(stored.get_tensor(f"{name}_counts").tolist())
            rows[name] = [part.tolist() or None for part in parts]
    paths = [Path(row["path"]) for row in json.loads(metadata["clips"])]
    lines = map(TimedPhonemes, json.loads(metadata["phonemes"]), rows["seconds"], rows["hertz"])
    return latents, dict(zip(paths, lines, strict=True)), float(metadata["frame_rate"])


def _concatenate(
    parts: Sequence[tuple[Latents, dict[Path, TimedPhonemes], float]],
) -> tuple[Latents, dict[Path, TimedPhonemes], float]:
    lines = {path: line for _, one, _ in parts for path, line in one.items()}
    return concatenate_latents([latents for latents, _, _ in parts]), lines, parts[0][2]


def load_batches(
    corpora: Sequence[Path],
    voices: tuple[str, ...],
    vae: str,
    device: torch.device,
    seed: int,
    split: str = "train",
    scale: float = 1.0,
    cache: Path = CACHE,
    n_jobs: int = 1,
    editing: float = 0.0,
) -> LatentBatches:
    """Returns batches (latents, SpeechBatch) of one split of all corpora, rare voices more often than their share.

    `scale` multiplies the batch sizes; `editing` is the share of samples of which a part is known. Raises ValueError if
    no corpus has a clip of the split, or `editing` is no share."""
    check_number("editing", editing, least=0, most=1)
    parts = []
    for root in corpora:
        if clips := [clip for clip in read_speech_corpus(root) if clip.split == split]:
            is_packed = root.suffix == ".safetensors"
            parts.append(unpack_speech(root, split) if is_packed else load_speech(clips, vae, device, cache, n_jobs))
    if not parts:
        raise ValueError(f"no {split} clip in {', '.join(map(str, corpora))}")
    latents, lines, frame_rate = _concatenate(parts)
    latents, utterances = build_utterances(
        latents, voices, frame_rate, lambda clip: lines[clip.path], MAX_FRAMES, device
    )
    counts = {voice: sum(clip.voice == voice for clip in latents.clips) for voice in voices}
    buckets = [(max(2, round(batch * scale)), frames) for batch, frames in BUCKETS]
    sampling = {"dropout": 0.1, "weight": lambda clip: counts[clip.voice] ** -0.5, "editing": editing}
    return LatentBatches(latents, utterances, buckets, seed=seed, device=device, **sampling)


def choose_timing(batches: LatentBatches, vae: str) -> Timing:
    """Returns the corpora's own durations if all are known, else alignment search for the unknown ones."""
    durations = batches.conditions.lines.durations
    if durations is not None and bool(durations.isfinite().all()):
        return known_durations
    return aligned_durations(MelVAE.from_pretrained(vae).to(batches.device).eval().requires_grad_(False).decode)


def load_speech_encoder(folder: str, device: torch.device) -> SpeechEncoder:
    """Returns the speech encoder beside a model folder."""
    return SpeechEncoder.from_pretrained(Path(folder).parent / "speech-encoder").to(device)


def pack_corpora(
    corpora: Sequence[Path], vae: str, output: Path, cache: Path, n_jobs: int = 1, parts: int = 1
) -> list[Path]:
    """Packs the train and valid clips of all corpora: NAME.safetensors, or `parts` files NAME-0.safetensors ..."""
    files = [output] if parts == 1 else [output.with_stem(f"{output.stem}-{k}") for k in range(parts)]
    clips = [[clip for clip in read_speech_corpus(root) if clip.split != "test"] for root in corpora]
    for k, file in enumerate(files):
        shares = [one[k::parts] for one in clips if one[k::parts]]
        pack_speech(*_concatenate([load_speech(one, vae, best_device(), cache, n_jobs) for one in shares]), file)
    return files


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Encode and pack the clips of the text-to-speech corpora.")
    corpora = {"type": lambda text: [Path(part) for part in text.split(",")], "default": CORPORA}
    parser.add_argument("--corpora", **corpora, help="folders, comma-separated (default: those of the bundled models)")
    parser.add_argument("--vae", default=VAE, help="VAE of the codec")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of encoded clips")
    parser.add_argument("--output", type=Path, default=Path("data/tts_latents.safetensors"))
    parser.add_argument("--parts", type=int, default=1, help="number of files (default 1)")
    parser.add_argument("--jobs", type=int, default=1, help="processes that measure F0")
    args = parser.parse_args(arguments)
    for file in pack_corpora(args.corpora, args.vae, args.output, args.cache, args.jobs, args.parts):
        print(f"{file}: {file.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
