"""What the text-to-speech recipes share: speech corpora in the field's layouts, what was said and when, and batches.

A corpus is a folder: a manifest.jsonl with `text` and `voice` (recipes/corpora/speech/voices.py), LJSpeech's layout (metadata.csv,
wavs/), VCTK's (txt/VOICE/, wav48*/VOICE/), or sound files with a .txt of the same name beside each.

    python -m recipes.text_to_speech.data --corpora data/voice,data/singing,data/prompts --output data/tts_latents.safetensors --parts 2

encodes the train and valid clips and packs latents, phonemes, durations and F0 in files that travel to another machine;
the recipes take them as `--corpora` (comma-separated, beside folders or alone). A file needs the VAE no more, except to find
durations of recordings.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import torch
from safetensors import safe_open
from tqdm import tqdm

from audiocm.audio.io import AUDIO_SUFFIXES, read_wave
from audiocm.audio.pitch import estimate_f0
from audiocm.codec.vae import MelVAE
from audiocm.data.batches import LatentBatches
from audiocm.data.latents import Latents, cached_latents, codec_key, concatenate_latents, pack, unpack
from audiocm.data.manifest import Clip, in_split, read_manifest, warn_of_skipped
from audiocm.data.utterances import TimedPhonemes, Utterances, build_utterances, pronounce_clip
from audiocm.speech.encoder import SpeechEncoder
from audiocm.speech.losses import Timing, aligned_durations, known_durations
from audiocm.training.run import best_device
from recipes.corpora.manifests import split_of
from recipes.text_to_audio.data import CODEC, codec

CORPORA = "data/voice,data/singing,data/prompts"
BUCKETS = [(192, 96), (128, 144), (80, 240), (48, 400)]  # (lines, frames): about the same number of frames a step
MAX_FRAMES = 400


def _clip(root: Path, path: Path, text: str, voice: str) -> Clip:
    import soundfile

    name = str(path.relative_to(root))
    return Clip(
        name,
        path,
        soundfile.info(path).duration,
        split_of(name),
        kind="speech",
        source=root.name,
        group=name,
        text=text,
        voice=voice,
    )


def ljspeech(root: Path) -> list[Clip]:
    """metadata.csv: `name|text|normalised text`, wavs/name.wav."""
    rows = [line.split("|") for line in (root / "metadata.csv").read_text(encoding="utf-8").splitlines() if "|" in line]
    return [_clip(root, root / "wavs" / f"{row[0]}.wav", row[-1] or row[1], root.name) for row in rows]


def vctk(root: Path) -> list[Clip]:
    """txt/VOICE/NAME.txt with wav48_silence_trimmed/VOICE/NAME_mic1.flac or wav48/VOICE/NAME.wav."""
    found = []
    for text in sorted((root / "txt").glob("*/*.txt")):
        voice, name = text.parent.name, text.stem
        places = (root / "wav48_silence_trimmed" / voice / f"{name}_mic1.flac", root / "wav48" / voice / f"{name}.wav")
        if sound := next((place for place in places if place.is_file()), None):
            found.append(_clip(root, sound, text.read_text(encoding="utf-8").strip(), voice))
    return found


def beside(root: Path) -> list[Clip]:
    """Sound files with their words in a .txt beside them; one voice, of the folder's name."""
    sounds = [
        p for p in sorted(root.rglob("*")) if p.suffix.lower() in AUDIO_SUFFIXES and p.with_suffix(".txt").is_file()
    ]
    return [_clip(root, p, p.with_suffix(".txt").read_text(encoding="utf-8").strip(), root.name) for p in sounds]


def corpus(root: Path) -> list[Clip]:
    """The spoken clips of a folder in any of the layouts, or of a packed file. ValueError when it is none."""
    if root.suffix == ".safetensors":
        return unpack(root).clips
    if (root / "manifest.jsonl").is_file():
        return read_manifest(root / "manifest.jsonl", lambda clip: clip.kind == "speech" and bool(clip.text))
    layout = ljspeech if (root / "metadata.csv").is_file() else vctk if (root / "txt").is_dir() else beside
    if not (root.is_dir() and (found := layout(root))):
        raise ValueError(f"{root}: no speech corpus (manifest.jsonl, metadata.csv, txt/ or NAME.txt beside NAME.wav)")
    return found


def _measure(clip: Clip) -> dict | str:
    """What was said, when and how high: as the synthesiser told, F0 else as measured; or why not."""
    told = clip.path.with_suffix(".json")
    try:
        line = TimedPhonemes(**json.loads(told.read_text(encoding="utf-8"))) if told.is_file() else pronounce_clip(clip)
        hertz = estimate_f0(read_wave(clip.path, 24000)) if line.hertz is None else line.hertz
    except ValueError as error:
        return str(error)
    return asdict(line) | {"hertz": [round(float(value), 1) for value in hertz]}


def said(clips: list[Clip], cache: Path, n_jobs: int = 1) -> dict[str, TimedPhonemes]:
    """Clip -> phonemes, seconds (synthetic voices) and F0, kept in `cache`. Those that cannot be read are named."""
    key = hashlib.sha256("".join(f"{clip.path}\t{clip.text}\n" for clip in clips).encode()).hexdigest()[:16]
    file, skipped = cache / f"said-{key}.jsonl", {}
    if file.is_file():
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    else:
        if n_jobs > 1:
            with ProcessPoolExecutor(n_jobs, get_context("spawn")) as pool:
                lines = list(tqdm(pool.map(_measure, clips, chunksize=16), total=len(clips), desc="said"))
        else:
            lines = [_measure(clip) for clip in clips]
        cache.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".partial").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        file.with_suffix(".partial").replace(file)
    found = {}
    for clip, line in zip(clips, lines, strict=True):
        if isinstance(line, str):
            skipped[clip.file] = line
        else:
            found[clip.file] = TimedPhonemes(**line)
    warn_of_skipped(skipped, len(clips))
    return found


def voices_of(corpora: str) -> tuple[str, ...]:
    """The voices of all corpora, in order: the encoder's."""
    return tuple(dict.fromkeys(clip.voice for root in corpora.split(",") for clip in corpus(Path(root))))


def gathered(
    clips: list[Clip], vae: str, device: torch.device, cache: str, n_jobs: int = 1
) -> tuple[Latents, dict[Path, TimedPhonemes], float]:
    """Latents of one folder's clips (encoded once, kept in `cache`), their lines by path, and frames a second."""
    lines, speaker = said(clips, Path(cache), n_jobs), codec(vae, "", device)
    clips = [clip for clip in clips if clip.file in lines]
    latents = cached_latents(clips, speaker, codec_key(speaker.vae), cache, device, batch=32)
    return latents, {clip.path: lines[clip.file] for clip in clips}, speaker.frame_rate


def pack_speech(latents: Latents, lines: dict[Path, TimedPhonemes], frame_rate: float, file: str | Path) -> None:
    """What `latents.pack` writes, with the clips' lines: seconds and F0 as float16, how many of each clip (0: not known)."""
    told, more = [lines[clip.path] for clip in latents.clips], {}
    for name in ("seconds", "hertz"):
        rows = [getattr(one, name) or () for one in told]
        more[name] = torch.tensor([value for row in rows for value in row], dtype=torch.float16)
        more[f"{name}_counts"] = torch.tensor([len(row) for row in rows])
    about = {"phonemes": json.dumps([one.phonemes for one in told]), "frame_rate": str(frame_rate)}
    pack(latents, file, more=more, about=about)


def unpack_speech(file: str | Path, split: str) -> tuple[Latents, dict[Path, TimedPhonemes], float]:
    """`gathered` of one split of what `pack_speech` wrote. ValueError for a file without lines."""
    latents = unpack(file, in_split(split))
    with safe_open(file, "pt") as stored:
        about = stored.metadata()
        if "phonemes" not in about:
            raise ValueError(f"packed latents {file} are not of speech: make them with recipes.text_to_speech.data")
        rows = {
            name: [
                part.tolist() or None
                for part in stored.get_tensor(name).float().split(stored.get_tensor(f"{name}_counts").tolist())
            ]
            for name in ("seconds", "hertz")
        }
    paths = [Path(row["path"]) for row in json.loads(about["clips"])]
    told = map(TimedPhonemes, json.loads(about["phonemes"]), rows["seconds"], rows["hertz"])
    return latents, dict(zip(paths, told, strict=True)), float(about["frame_rate"])


def batches(
    corpora: str, voices: tuple[str, ...], vae: str, device: torch.device, seed: int, split: str = "train", scale: float = 1.0,
    cache: str = "data/latents", n_jobs: int = 1,
) -> LatentBatches:  # fmt: skip
    """Latents and lines of one split of all corpora, rare voices more often than their share. Gives (x, Spoken)."""
    parts = []
    for root in map(Path, corpora.split(",")):
        if clips := [clip for clip in corpus(root) if clip.split == split]:
            packed = root.suffix == ".safetensors"
            parts.append(unpack_speech(root, split) if packed else gathered(clips, vae, device, cache, n_jobs))
    if not parts:
        raise ValueError(f"no {split} clip in {corpora}")
    lines = {path: line for _, told, _ in parts for path, line in told.items()}
    latents, table = build_utterances(
        concatenate_latents([part for part, _, _ in parts]),
        voices,
        parts[0][2],
        lambda clip: lines[clip.path],
        MAX_FRAMES,
        device,
    )
    counts = {voice: sum(clip.voice == voice for clip in latents.clips) for voice in voices}
    buckets = [(max(2, round(batch * scale)), frames) for batch, frames in BUCKETS]
    words: Utterances = table
    return LatentBatches(
        latents, words, buckets, dropout=0.1, weight=lambda clip: counts[clip.voice] ** -0.5, seed=seed, device=device
    )


def timing(batches: LatentBatches, vae: MelVAE | None = None, home: str = CODEC + "/vae") -> Timing:
    """The corpora's own durations where all are known, else alignment search for the others."""
    durations = batches.words.spoken.durations
    if durations is not None and bool(durations.isfinite().all()):
        return known_durations
    vae = MelVAE.from_pretrained(home).to(batches.device).eval().requires_grad_(False) if vae is None else vae
    return aligned_durations(vae.decode)


def encoder_of(folder: str, device: torch.device) -> SpeechEncoder:
    """The speech encoder beside a model folder."""
    return SpeechEncoder.from_pretrained(Path(folder).parent / "speech-encoder").to(device)


def pack_corpora(corpora: str, vae: str, output: Path, cache: str, n_jobs: int = 1, parts: int = 1) -> list[Path]:
    """Train and valid clips of all corpora in `parts` files of about the same size: NAME.safetensors or NAME-0.safetensors ..."""
    files = [output] if parts == 1 else [output.with_stem(f"{output.stem}-{k}") for k in range(parts)]
    roots = [[clip for clip in corpus(Path(root)) if clip.split != "test"] for root in corpora.split(",")]
    for k, file in enumerate(files):
        found = [gathered(clips[k::parts], vae, best_device(), cache, n_jobs) for clips in roots if clips[k::parts]]
        lines = {path: line for _, told, _ in found for path, line in told.items()}
        pack_speech(concatenate_latents([latents for latents, _, _ in found]), lines, found[0][2], file)
    return files


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", default=CORPORA, help=f"comma-separated folders (default {CORPORA})")
    parser.add_argument("--vae", default=CODEC + "/vae")
    parser.add_argument("--cache", default="data/latents")
    parser.add_argument("--output", type=Path, default=Path("data/tts_latents.safetensors"))
    parser.add_argument("--parts", type=int, default=1, help="files to share the clips among (default 1)")
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args(arguments)
    for file in pack_corpora(args.corpora, args.vae, args.output, args.cache, args.jobs, args.parts):
        print(f"{file}: {file.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
