"""Speech corpora as clips: a manifest, the layouts of LJSpeech and VCTK, or transcripts beside sound files."""

from pathlib import Path

from ..audio.io import AUDIO_SUFFIXES
from .latents import unpack
from .manifest import Clip, read_manifest, split_of


def _speech_clip(root: Path, path: Path, text: str, voice: str) -> Clip:
    """Builds the clip of a recording; its split follows from its name. Raises ValueError if the file cannot be read."""
    import soundfile

    name = str(path.relative_to(root))
    try:
        seconds = soundfile.info(path).duration
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    return Clip(name, path, seconds, split_of(name), (), "speech", root.name, group=name, text=text, voice=voice)


def ljspeech_clips(root: Path) -> list[Clip]:
    """Returns the clips of LJSpeech's layout: metadata.csv with `name|text|normalised text`, and wavs/NAME.wav."""
    rows = [line.split("|") for line in (root / "metadata.csv").read_text(encoding="utf-8").splitlines() if "|" in line]
    return [_speech_clip(root, root / "wavs" / f"{row[0]}.wav", row[-1] or row[1], root.name) for row in rows]


def vctk_clips(root: Path) -> list[Clip]:
    """Returns the clips of VCTK's layout: txt/VOICE/NAME.txt with a sound file in wav48_silence_trimmed or wav48."""
    clips = []
    for text in sorted((root / "txt").glob("*/*.txt")):
        voice, name = text.parent.name, text.stem
        trimmed = root / "wav48_silence_trimmed" / voice / f"{name}_mic1.flac"
        sound = trimmed if trimmed.is_file() else root / "wav48" / voice / f"{name}.wav"
        if sound.is_file():
            clips.append(_speech_clip(root, sound, text.read_text(encoding="utf-8").strip(), voice))
    return clips


def transcribed_clips(root: Path) -> list[Clip]:
    """Returns the sound files, at any depth, with a transcript NAME.txt beside them; the folder names the voice."""
    sounds = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in AUDIO_SUFFIXES]
    pairs = [(path, path.with_suffix(".txt")) for path in sounds if path.with_suffix(".txt").is_file()]
    return [_speech_clip(root, path, text.read_text(encoding="utf-8").strip(), root.name) for path, text in pairs]


def read_speech_corpus(root: Path) -> list[Clip]:
    """Returns the clips of a folder in any of these layouts, or of packed latents. Raises ValueError for others."""
    if root.suffix == ".safetensors":
        return unpack(root).clips
    if (root / "manifest.jsonl").is_file():
        return read_manifest(root / "manifest.jsonl", lambda clip: clip.kind == "speech" and bool(clip.text))
    has_metadata, has_texts = (root / "metadata.csv").is_file(), (root / "txt").is_dir()
    read = ljspeech_clips if has_metadata else vctk_clips if has_texts else transcribed_clips
    if not (root.is_dir() and (clips := read(root))):
        raise ValueError(f"{root}: no speech corpus (manifest.jsonl, metadata.csv, txt/ or NAME.txt beside NAME.wav)")
    return clips
