"""What the text-to-speech recipes share: speech corpora in the field's layouts, what was said and when, and batches.

A corpus is a folder: a manifest.jsonl with `text` and `voice` (recipes/tts_corpus.py), LJSpeech's layout (metadata.csv,
wavs/), VCTK's (txt/VOICE/, wav48*/VOICE/), or sound files with a .txt of the same name beside each.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import torch
from tqdm import tqdm

from audiocm.clips import AUDIO_SUFFIXES
from audiocm.codec import MelVAE
from audiocm.data import LatentBatches
from audiocm.latents import cached_latents, codec_key
from audiocm.manifest import Clip, read_manifest, read_wave, report
from audiocm.speech import SpeechEncoder, Timing, given, searched
from audiocm.utterances import Timed, Utterances, read_line, utterances
from recipes.clips import split_of
from recipes.pitch import f0_of
from recipes.tta_data import CODEC, codec

CORPORA = "data/voice,data/prompts"
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
    """The spoken clips of a folder in any of the layouts. ValueError when it is none."""
    if (root / "manifest.jsonl").is_file():
        return read_manifest(root / "manifest.jsonl", lambda clip: clip.kind == "speech" and bool(clip.text))
    layout = ljspeech if (root / "metadata.csv").is_file() else vctk if (root / "txt").is_dir() else beside
    if not (root.is_dir() and (found := layout(root))):
        raise ValueError(f"{root}: no speech corpus (manifest.jsonl, metadata.csv, txt/ or NAME.txt beside NAME.wav)")
    return found


def _measure(clip: Clip) -> dict | str:
    """What was said, when if the synthesiser told, and how high; or why not."""
    told = clip.path.with_suffix(".json")
    try:
        line = Timed(**json.loads(told.read_text(encoding="utf-8"))) if told.is_file() else read_line(clip)
        f0 = f0_of(read_wave(clip.path, 24000))
    except ValueError as error:
        return str(error)
    return asdict(line) | {"hertz": [round(float(value), 1) for value in f0]}


def said(clips: list[Clip], cache: Path, n_jobs: int = 1) -> dict[str, Timed]:
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
            found[clip.file] = Timed(**line)
    report(skipped, len(clips))
    return found


def voices_of(corpora: str) -> tuple[str, ...]:
    """The voices of all corpora, in order: the encoder's."""
    return tuple(dict.fromkeys(clip.voice for root in corpora.split(",") for clip in corpus(Path(root))))


def batches(
    corpora: str, voices: tuple[str, ...], vae: str, device: torch.device, seed: int, split: str = "train", scale: float = 1.0,
    cache: str = "data/latents", n_jobs: int = 1,
) -> LatentBatches:  # fmt: skip
    """Latents and lines of one split of all corpora, rare voices more often than their share. Gives (x, Spoken)."""
    clips = [clip for root in corpora.split(",") for clip in corpus(Path(root)) if clip.split == split]
    lines = said(clips, Path(cache), n_jobs)
    speaker = codec(vae, "", device)
    latents = cached_latents(
        [c for c in clips if c.file in lines], speaker, codec_key(speaker.vae), cache, device, batch=32
    )
    latents, table = utterances(latents, voices, speaker.frame_rate, lines, MAX_FRAMES, device)
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
        return given
    vae = MelVAE.from_pretrained(home).to(batches.device).eval().requires_grad_(False) if vae is None else vae
    return searched(vae.decode)


def encoder_of(folder: str, device: torch.device) -> SpeechEncoder:
    """The speech encoder beside a model folder."""
    return SpeechEncoder.from_pretrained(Path(folder).parent / "speech-encoder").to(device)
